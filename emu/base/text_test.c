/* Numbers, sizes, options and key=value text. Oracle: the reference's tools and daemon. */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/hash.h"
#include "emu/base/iov.h"
#include "emu/base/json_parse.h"
#include "emu/base/json_write.h"
#include "emu/base/keyval.h"
#include "emu/base/nstime.h"
#include "emu/base/opts.h"
#include "emu/base/ratelimit.h"
#include "emu/base/rng.h"
#include "emu/base/str.h"
#include "emu/base/uuid.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static void sizes_have_suffixes_and_fractions(void)
{
    uint64_t v = 0;

    EXPECT_OK(parse_size("1.5G", &v));
    EXPECT_EQ(v, UINT64_C(1610612736));
    EXPECT_OK(parse_size("64k", &v));
    EXPECT_EQ(v, 65536);
    EXPECT_OK(parse_size("0x200", &v));
    EXPECT_EQ(v, 512);
    EXPECT_OK(parse_size("7", &v));
    EXPECT_EQ(v, 7);
    EXPECT_ERR(parse_size("1X", &v), "'1X' is not a size");
    EXPECT_ERR(parse_size("", &v), "'' is not a size");
    EXPECT_ERR(parse_size("16E", &v), "Size '16E' is too large");
    EXPECT_EQ(v, 7);
}

static void sizes_for_people_have_three_digits(void)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = { { 0, "0 B" },
                  { 512, "512 B" },
                  { 200704, "196 KiB" },
                  { 1073741824, "1 GiB" },
                  { 1610612736, "1.5 GiB" },
                  { 1023, "0.999 KiB" } };
    char buf[SIZE_HUMAN_MAX];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        EXPECT_STR(size_human(cases[i].bytes, buf, sizeof(buf)), cases[i].text);
}

static void expect_keyval(const char *text, const char *implied, const char *expected)
{
    struct json *v = NULL;
    char *out;

    REQUIRE_OK(keyval_parse(text, implied, &v));
    out = json_to_text(v, JSON_TIGHT);
    EXPECT_STR(out, expected);
    xfree(out);
    json_free(v);
}

static void keyval_nests_dotted_keys(void)
{
    struct json *v = NULL;

    expect_keyval("file,node-name=x,file.filename=a,,b", "driver",
                  "{\"driver\":\"file\",\"node-name\":\"x\",\"file\":{\"filename\":\"a,b\"}}");
    expect_keyval("a.0=x,a.1=y", NULL, "{\"a\":[\"x\",\"y\"]}");
    EXPECT_ERR(keyval_parse("foo", NULL, &v), "Expected '=' after parameter 'foo'");
    EXPECT_ERR(keyval_parse("=x", NULL, &v), "Invalid parameter ''");
    EXPECT_ERR(keyval_parse("a..b=1", NULL, &v), "Invalid parameter 'a..b'");
    EXPECT_ERR(keyval_parse("a.b=1,a=2", NULL, &v), "Parameters 'a.*' used inconsistently");
    EXPECT_ERR(keyval_parse("a.0=1,a.2=2", NULL, &v), "Parameter 'a.1' missing");
}

static void options_name_what_is_wrong(void)
{
    struct json *obj = NULL;
    struct opts o;
    bool flag = false;
    uint64_t n = 0;
    const char *text = NULL;
    int choice = 0;
    static const char *const names[] = { "threads", "io_uring" };

    REQUIRE_OK(json_parse_text("{'a': 'on', 'n': '12', 's': 5, 'aio': 'x', 'left': 1}", &obj));
    opts_init(&o, obj);
    EXPECT_OK(opts_bool(&o, "a", &flag));
    EXPECT(flag);
    EXPECT_OK(opts_u64(&o, "n", &n));
    EXPECT_EQ(n, 12);
    EXPECT_ERR(opts_str(&o, "s", &text), "Invalid parameter type for 's', expected: string");
    EXPECT_ERR(opts_str(&o, "none", &text), "Parameter 'none' is missing");
    EXPECT_ERR(opts_enum(&o, "aio", names, 2, &choice),
               "Parameter 'aio' does not accept value 'x'");
    EXPECT_STR(opts_unused(&o), "left");
    EXPECT_ERR(opts_check_unused(&o), "Parameter 'left' is unexpected");
    opts_fini(&o);
    json_free(obj);
}

static void a_speed_limit_holds_on_average(void)
{
    struct ratelimit rl;
    int64_t now = 0;
    uint64_t sent = 0;

    ratelimit_init(&rl);
    ratelimit_set_speed(&rl, 64 << 10, RATELIMIT_SLICE_NS);
    while (now < 100 * NS_PER_SEC) {
        sent += 1 << 20;
        now += ratelimit_delay_ns(&rl, 1 << 20, now);
    }
    EXPECT_GE(sent, UINT64_C(100) * (64 << 10));
    EXPECT_LE(sent, UINT64_C(120) * (64 << 10));
    ratelimit_set_speed(&rl, 0, RATELIMIT_SLICE_NS);
    EXPECT_EQ(ratelimit_delay_ns(&rl, 1 << 30, now), 0);
}

static void views_slice_and_copy(void)
{
    uint8_t a[100], b[100], flat[100];
    struct iovec iov[4] = { { a, 10 }, { a + 10, 0 }, { a + 10, 60 }, { a + 70, 30 } }, out[4];
    struct iov_view view = iov_view_advance(iov_view(iov, 4), 5);

    for (int i = 0; i < 100; i++)
        b[i] = (uint8_t)i;
    iov_copy_to(view, 95, b);
    iov_copy_from(iov_view_advance(view, 20), 10, flat);
    EXPECT_MEM(flat, b + 20, 10);
    EXPECT_EQ(iov_slice(view, 70, out, 4), 3);
    EXPECT_EQ(out[0].iov_len, 5);
    EXPECT_EQ(out[2].iov_len, 5);
    memset(a, 0, sizeof(a));
    EXPECT(iov_is_zero(view, 95));
    a[99] = 1;
    EXPECT(!iov_is_zero(view, 95));
}

static void zero_is_found_at_any_place(void)
{
    uint8_t *p = xcalloc(1, 1000);

    for (size_t len = 0; len < 600; len++) {
        EXPECT(mem_is_zero(p + len % 7, len));
        for (size_t at = 0; at < len; at += 1 + len / 13) {
            p[len % 7 + at] = 1;
            EXPECT(!mem_is_zero(p + len % 7, len));
            p[len % 7 + at] = 0;
        }
    }
    xfree(p);
}

/* Check values of RFC 3720 B.4 and FIPS 180-4. */
static void hashes_have_their_published_values(void)
{
    uint8_t zeroes[32] = { 0 };
    struct sha256 h;
    char hex[SHA256_HEX_SIZE];

    EXPECT_EQ(crc32c(0, zeroes, 32), 0x8a9136aa);
    EXPECT_EQ(crc32c(0, "123456789", 9), 0xe3069283);
    sha256_init(&h);
    sha256_update(&h, "abc", 3);
    EXPECT_STR(sha256_final_hex(&h, hex),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void uuids_come_back(void)
{
    struct rng rng;
    struct uuid a, b;
    char text[UUID_TEXT_LEN + 1];

    rng_init(&rng, 9);
    a = uuid_random(&rng);
    REQUIRE(uuid_parse(uuid_format(&a, text), &b));
    EXPECT(uuid_equal(&a, &b));
    EXPECT(!uuid_parse("12345678-1234-1234-1234-12345678901", &b));
}

TEST_LIST(TEST(sizes_have_suffixes_and_fractions), TEST(sizes_for_people_have_three_digits),
          TEST(keyval_nests_dotted_keys), TEST(options_name_what_is_wrong),
          TEST(a_speed_limit_holds_on_average), TEST(views_slice_and_copy),
          TEST(zero_is_found_at_any_place), TEST(hashes_have_their_published_values),
          TEST(uuids_come_back));
