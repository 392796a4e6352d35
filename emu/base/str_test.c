/* String builder, numbers, sizes, UTF-8. Oracle: expected values; for sizes the reference's tools. */
#include "emu/base/str.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/utf8.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static void a_builder_grows(void)
{
    struct str s = { 0 };

    EXPECT_STR(str_cstr(&s), "");
    for (int i = 0; i < 1000; i++)
        str_addc(&s, (char)('a' + i % 26));
    str_addf(&s, "-%d-%s", 42, "x");
    str_add_repeat(&s, '=', 3);
    EXPECT_EQ(s.len, 1000 + 5 + 3);
    EXPECT_STR(str_cstr(&s) + 1000, "-42-x===");
    str_truncate(&s, 3);
    EXPECT_STR(str_cstr(&s), "abc");
    str_fini(&s);
}

static void formatted_text_may_be_longer_than_the_room(void)
{
    struct str s = { 0 };
    char text[300];

    memset(text, 'x', sizeof(text));
    text[299] = 0;
    for (int i = 0; i < 10; i++)
        str_addf(&s, "%s", text);
    EXPECT_EQ(s.len, 2990);
    EXPECT_EQ(strlen(str_cstr(&s)), 2990);
    str_fini(&s);
}

static void stolen_text_is_never_null(void)
{
    struct str s = { 0 };
    char *text = str_steal(&s);

    EXPECT_STR(text, "");
    xfree(text);
    str_add(&s, "a");
    text = str_steal(&s);
    EXPECT_STR(text, "a");
    EXPECT_EQ(s.len, 0);
    xfree(text);
}

static void reserved_room_is_filled_by_hand(void)
{
    struct str s = { 0 };

    memcpy(str_reserve(&s, 5), "hello", 5);
    str_added(&s, 5);
    memcpy(str_reserve(&s, 100), " you", 4);
    str_added(&s, 4);
    EXPECT_STR(str_cstr(&s), "hello you");
    str_fini(&s);
}

static void prefixes_and_suffixes(void)
{
    static const char *const names[] = { "a", NULL, "b" };

    EXPECT(str_has_prefix("nbd:x", "nbd:"));
    EXPECT(!str_has_prefix("nb", "nbd:"));
    EXPECT(str_has_suffix("x.qcow2", ".qcow2"));
    EXPECT(!str_has_suffix("w2", ".qcow2"));
    EXPECT_STR(str_after_prefix("nbd:x", "nbd:"), "x");
    EXPECT(str_after_prefix("x", "nbd:") == NULL);
    EXPECT(str_eq("a", "a"));
    EXPECT(str_eq(NULL, NULL));
    EXPECT(!str_eq(NULL, "a"));
    EXPECT_EQ(str_index("b", names, 3), 2);
    EXPECT_EQ(str_index("c", names, 3), -1);
}

static void numbers_are_strict(void)
{
    static const char *const bad[] = { "",
                                       " 1",
                                       "1 ",
                                       "+1",
                                       "-1",
                                       "0x",
                                       "1x",
                                       "0xg",
                                       "1.",
                                       "1e",
                                       "18446744073709551616",
                                       "0x10000000000000000" };
    uint64_t v = 5;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        EXPECT_MSG(!parse_u64(bad[i], &v), "%s", bad[i]);
    EXPECT_EQ(v, 5);
    EXPECT(parse_u64("18446744073709551615", &v));
    EXPECT_EQ(v, UINT64_MAX);
    EXPECT(parse_u64("0xFFff", &v));
    EXPECT_EQ(v, 65535);
    EXPECT(parse_u64("010", &v));
    EXPECT_EQ(v, 10);
}

static void signed_numbers_have_their_limits(void)
{
    int64_t v = 5;

    EXPECT(!parse_i64("9223372036854775808", &v));
    EXPECT(!parse_i64("-9223372036854775809", &v));
    EXPECT(!parse_i64("--1", &v));
    EXPECT(!parse_i64("-", &v));
    EXPECT_EQ(v, 5);
    EXPECT(parse_i64("-9223372036854775808", &v));
    EXPECT_EQ(v, INT64_MIN);
    EXPECT(parse_i64("9223372036854775807", &v));
    EXPECT_EQ(v, INT64_MAX);
}

static void sizes_have_suffixes_and_fractions(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {
        { "0", 0 },
        { "7", 7 },
        { "077", 77 },
        { "1b", 1 },
        { "64k", 65536 },
        { "64K", 65536 },
        { "1.5G", UINT64_C(1610612736) },
        { "0x200", 512 },
        { "0X1F", 31 },
        { "1.k", 1024 },
        { "1.0B", 1 },
        { "0.1k", 102 },
        { "0.15k", 154 },
        { "1.9999k", 2048 },
        { "0.3G", 322122547 },
        { "3.14159T", UINT64_C(3454214734705) },
        { "1.000000000000000001k", 1024 },
        { "1e", UINT64_C(1) << 60 },
        { "2.6P", UINT64_C(2927339757790822) },
        { "8.6E", UINT64_C(9915124939618883968) },
        { "0.0000001E", UINT64_C(115292150461) },
        { "15E", UINT64_C(15) << 60 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v = 0;

        test_note("%s", rows[i].text);
        EXPECT_OK(parse_size(rows[i].text, &v));
        EXPECT_EQ(v, rows[i].bytes);
    }
}

static void what_is_no_size_is_refused(void)
{
    static const char *const bad[] = { "",    "x",    ".5",   "1X", "5kB",  "5KiB", "5kk", "1 k",
                                       "1e3", "1e3k", "0.5b", "0x", "0x1k", "1,5",  "-1",  "1.5" };
    uint64_t v = 3;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err *err = parse_size(bad[i], &v);

        EXPECT_MSG(err && err_errnum(err) == EINVAL, "%s", bad[i]);
        err_free(err);
    }
    EXPECT_EQ(v, 3);
}

static void a_size_that_does_not_fit_is_refused(void)
{
    static const char *const bad[] = { "16E", "18446744073709551616", "99999999999999999999k",
                                       "15.99999999999999999999E", "0x10000000000000000" };
    uint64_t v = 3;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err *err = parse_size(bad[i], &v);

        EXPECT_MSG(err && err_errnum(err) == ERANGE, "%s", bad[i]);
        err_free(err);
    }
    EXPECT_EQ(v, 3);
}

static void a_unit_may_be_implied(void)
{
    uint64_t v = 0;

    EXPECT_OK(parse_size_unit("64", 1 << 20, &v));
    EXPECT_EQ(v, 64 << 20);
    EXPECT_OK(parse_size_unit("64k", 1 << 20, &v));
    EXPECT_EQ(v, 64 << 10);
    EXPECT_OK(parse_size_unit("0.5", 1 << 20, &v));
    EXPECT_EQ(v, 512 << 10);
}

static void sizes_for_people_have_three_digits(void)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        { 0, "0 B" },
        { 512, "512 B" },
        { 1023, "0.999 KiB" },
        { 200704, "196 KiB" },
        { 1000448, "977 KiB" },
        { 1023488, "1e+03 KiB" }, /* As the reference prints it. */
        { 1024000, "0.977 MiB" },
        { 1073741824, "1 GiB" },
        { 1610612736, "1.5 GiB" },
        { UINT64_C(104857600000), "97.7 GiB" },
        { UINT64_MAX, "16 EiB" },
    };
    char buf[SIZE_HUMAN_MAX];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        EXPECT_STR(size_human(rows[i].bytes, buf, sizeof(buf)), rows[i].text);
}

static void every_code_point_comes_back(void)
{
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char bytes[4];
        uint32_t again;
        size_t n;

        if (!utf8_is_scalar(code))
            continue;
        n = utf8_encode_modified(code, bytes);
        if (utf8_decode(bytes, n, &again) != n || again != code) {
            TEST_FAIL("U+%04X does not come back", code);
            return;
        }
    }
}

static void malformed_bytes_are_found(void)
{
    static const struct {
        const char *bytes;
        size_t skip;
    } rows[] = {
        { "\x80", 1 },         { "\xc3", 1 },     { "\xc1\x81", 2 }, { "\xe2\x82", 2 },
        { "\xed\xa0\x80", 3 }, { "\xe2(", 1 },    { "\xff", 1 },     { "\xf4\x90\x80\x80", 4 },
        { "\xe0\x80\x80", 3 }, { "\xf8\x88", 1 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t code;

        test_note("row %zu", i);
        EXPECT_EQ(utf8_decode(rows[i].bytes, strlen(rows[i].bytes), &code), rows[i].skip);
        EXPECT_EQ(code, UINT32_MAX);
        EXPECT(!utf8_valid(rows[i].bytes, strlen(rows[i].bytes)));
    }
    EXPECT(utf8_valid("a\xc3\xa9\xf0\x9f\x98\x80", 7));
    EXPECT(!utf8_valid("\xc0\x80", 2));
}

TEST_LIST(TEST(a_builder_grows), TEST(formatted_text_may_be_longer_than_the_room),
          TEST(stolen_text_is_never_null), TEST(reserved_room_is_filled_by_hand),
          TEST(prefixes_and_suffixes), TEST(numbers_are_strict),
          TEST(signed_numbers_have_their_limits), TEST(sizes_have_suffixes_and_fractions),
          TEST(what_is_no_size_is_refused), TEST(a_size_that_does_not_fit_is_refused),
          TEST(a_unit_may_be_implied), TEST(sizes_for_people_have_three_digits),
          TEST(every_code_point_comes_back), TEST(malformed_bytes_are_found));
