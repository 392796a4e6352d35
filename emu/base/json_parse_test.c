/* Oracle: the replies of qemu-storage-daemon 10.0.2 to the same bytes. */
#include "emu/base/json_parse.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_write.h"
#include "emu/base/str.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

/* Everything a stream emits, one line each, errors without what they all begin with. */
static void note(void *arg, struct json *value, struct err *err)
{
    struct str *out = arg;
    const char *rest = err ? str_after_prefix(err_text(err), "JSON parse error, ") : NULL;

    if (value)
        json_write(out, value, JSON_TIGHT);
    else
        str_addf(out, "! %s", rest ? rest : err_text(err));
    str_addc(out, '\n');
    json_free(value);
    err_free(err);
}

/* Feeds the text in pieces of the given size, then a byte that drops what is left, and compares. */
static void expect_stream(const char *text, size_t len, size_t piece, const char *expected)
{
    struct json_stream s;
    struct str out = { 0 };

    json_stream_init(&s, note, &out);
    for (size_t at = 0; at < len; at += piece)
        json_stream_feed(&s, text + at, MIN(piece, len - at));
    EXPECT_STR(str_cstr(&out), expected);
    json_stream_fini(&s);
    str_fini(&out);
}

static void expect_bytes(const char *text, size_t len, const char *expected)
{
    expect_stream(text, len, 1, expected);
    expect_stream(text, len, 3, expected);
    expect_stream(text, len, 4096, expected);
}

static void expect(const char *text, const char *expected)
{
    expect_bytes(text, strlen(text), expected);
}

static void messages_are_framed_by_nesting(void)
{
    expect("{'a':\n[{}]}{'b':1}[[]]\n", "{\"a\":[{}]}\n{\"b\":1}\n[[]]\n");
}

static void a_scalar_is_complete_at_its_delimiter(void)
{
    expect("5", "");
    expect("5 true\nnull[]\"s\"-1.5e3,", "5\ntrue\nnull\n[]\n\"s\"\n-1500\n! expecting value\n");
}

static void closing_too_often_completes_a_message(void)
{
    expect("]", "! expecting value\n");
    expect("[}", "! expecting value\n");
    expect("[1}", "! expected separator in list\n");
    expect("{'a':1]", "! expected separator in dict\n");
    expect("{]", "! expecting value\n");
}

static void errors_of_grammar_wait_for_the_end_of_the_message(void)
{
    expect("[1 2, {", "");
    expect("[1 2, {} tru]{}", "! expected separator in list\n{}\n");
}

struct row {
    const char *text, *emitted;
};

static void expect_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        test_note("row %zu: %s", i, rows[i].text);
        expect(rows[i].text, rows[i].emitted);
    }
}

static void errors_of_grammar_have_the_texts_of_the_reference(void)
{
    static const struct row rows[] = {
        { "{'a':1,'a':2}", "! duplicate key\n" },
        { "{'a':1,'a':}", "! expecting value\n" },
        { "{'a' 1}", "! missing : in object pair\n" },
        { "{'a'}", "! missing : in object pair\n" },
        { "[1 2]", "! expected separator in list\n" },
        { "{'a':1 'b':2}", "! expected separator in dict\n" },
        { "[1 tru]", "! expected separator in list\n" },
        { "tru ", "! invalid keyword 'tru'\n" },
        { "[truefalse]", "! invalid keyword 'truefalse'\n" },
        { "{a:1}", "! invalid keyword 'a'\n" },
        { "{1:2}", "! key is not a string in object\n" },
        { "{{}:1}", "! key is not a string in object\n" },
        { "{[1,]:1}", "! expecting value\n" },
        { "{true:1}", "! key is not a string in object\n" },
        { "{,}", "! expecting value\n" },
        { "{'a':1,}", "! expecting value\n" },
        { "{'a':}", "! expecting value\n" },
        { "[1,]", "! expecting value\n" },
        { "[,1]", "! expecting value\n" },
        { ":", "! expecting value\n" },
    };

    expect_rows(rows, ARRAY_LEN(rows));
}

static void strings_are_decoded(void)
{
    static const struct row rows[] = {
        { "['a\"b', \"a'b\", '\\'', \"\\/\\b\\f\\n\\r\\t\\\\\\\"\"]",
          "[\"a\\\"b\",\"a'b\",\"'\",\"/\\b\\f\\n\\r\\t\\\\\\\"\"]\n" },
        { "['\\u00e9\\u20AC\\ud83d\\ude00', '\xc3\xa9']",
          "[\"\\u00E9\\u20AC\\uD83D\\uDE00\",\"\\u00E9\"]\n" },
        { "['\\u0000', '\xc0\x80', '\x7f']", "[\"\\u0000\",\"\\u0000\",\"\\u007F\"]\n" },
        { "['\\q']", "! invalid escape sequence in string\n" },
        { "['\\u12g4']", "! \\u12g4 is not a valid Unicode character\n" },
        { "['\\u1']", "! \\u1' is not a valid Unicode character\n" },
        { "['\\ud800']", "! \\ud800 is not a valid Unicode character\n" },
        { "['\\ud800\\u0041']", "! \\ud800 is not a valid Unicode character\n" },
        { "['\\udc00']", "! \\udc00 is not a valid Unicode character\n" },
        { "['\\uffff']", "! \\uffff is not a valid Unicode character\n" },
        { "['\\ud83f\\udffe']", "! \\ud83f\\udffe is not a valid Unicode character\n" },
        { "['\xe9']", "! invalid UTF-8 sequence in string\n" },
        { "['\xc1\x80']", "! invalid UTF-8 sequence in string\n" },
        { "['\xed\xa0\x80']", "! invalid UTF-8 sequence in string\n" },
        { "['\xef\xbf\xbf']", "! invalid UTF-8 sequence in string\n" },
        { "['\xf4\x90\x80\x80']", "! invalid UTF-8 sequence in string\n" },
    };

    expect_rows(rows, ARRAY_LEN(rows));
}

static void numbers_keep_their_kind(void)
{
    expect("[0.1, 1e3, -0, -0.0, 18446744073709551615]",
           "[0.10000000000000001,1000,0,-0,18446744073709551615]\n");
    expect("[18446744073709551616, -9223372036854775808, -9223372036854775809]",
           "[1.8446744073709552e+19,-9223372036854775808,-9.2233720368547758e+18]\n");
}

static void a_bad_byte_is_quoted_with_its_token(void)
{
    static const struct row rows[] = {
        { "01 ", "! stray '01'\n" },
        { "1.x", "! stray '1.x'\n" },
        { "--1", "! stray '--'\n" },
        { "1e+ ", "! stray '1e+ '\n" },
        { "'a\n", "! stray ''a\n'\n" },
        { "+1", "! stray '+'\n" },
        { "TRUE", "! stray 'T'\n" },
        { "\"x\\\xff", "! stray '\"x\\\xff'\n" },
        { "\xc3\xa9", "! stray '\xc3'\n" },
        { "1@", "1\n! stray '@'\n" },
        { "[tru\xff]", "! stray '\xff'\n! expecting value\n" },
    };

    expect_rows(rows, ARRAY_LEN(rows));
    expect_bytes("\0", 1, "! stray ''\n");
    expect_bytes("1.\0", 3, "! stray '1.'\n");
}

static void what_follows_a_bad_byte_is_skipped_to_something_structural(void)
{
    expect("[@ 1 'x' \t true\n2 ", "! stray '@'\n2\n");
    expect("@{'a':1}", "! stray '@'\n{\"a\":1}\n");
    expect("[@, 1] ", "! stray '@'\n! expecting value\n1\n! expecting value\n");
    expect_bytes("@\0@", 3, "! stray '@'\n! stray ''\n");
}

static void a_client_resynchronises_with_0xff(void)
{
    expect("{'x': [\xff\n{'a':1}", "! stray '\xff'\n{\"a\":1}\n");
    expect("{'x\xff{'a':1}", "! stray ''x\xff'\n{\"a\":1}\n");
    expect("@\xff\xfe", "! stray '@'\n! stray '\xff'\n! stray '\xfe'\n");
}

/* Feeds '[' and then the unit so many times; the first error is compared. */
static void expect_error_of_long_text(const char *unit, uint64_t times, const char *error)
{
    struct str out = { 0 };
    struct json_stream s;

    json_stream_init(&s, note, &out);
    json_stream_feed(&s, "[", 1);
    for (uint64_t i = 0; i < times; i++)
        json_stream_feed(&s, unit, strlen(unit));
    str_truncate(&out, strcspn(str_cstr(&out), "\n"));
    EXPECT_STR(str_cstr(&out), error);
    json_stream_fini(&s);
    str_fini(&out);
}

static void nesting_is_limited(void)
{
    expect_error_of_long_text("[", JSON_DEPTH_MAX - 1, "");
    expect_error_of_long_text("[", JSON_DEPTH_MAX, "! JSON nesting depth limit exceeded");
}

static void tokens_are_limited(void)
{
    expect_error_of_long_text("1,", JSON_MESSAGE_TOKENS_MAX / 2 - 1, "");
    expect_error_of_long_text("1,", JSON_MESSAGE_TOKENS_MAX / 2,
                              "! JSON token count limit exceeded");
}

static void bytes_are_limited(void)
{
    struct str text = { 0 };

    str_addc(&text, '"');
    str_add_repeat(&text, 'x', 1 << 20);
    str_add(&text, "\",");
    expect_error_of_long_text(str_cstr(&text), 63, "");
    expect_error_of_long_text(str_cstr(&text), 64, "! JSON token size limit exceeded");
    str_fini(&text);
}

static void one_endless_string_is_limited(void)
{
    struct str text = { 0 }, out = { 0 };
    struct json_stream s;

    json_stream_init(&s, note, &out);
    json_stream_feed(&s, "'", 1);
    str_add_repeat(&text, 'x', 1 << 20);
    for (int i = 0; i < 64; i++)
        json_stream_feed(&s, str_cstr(&text), text.len);
    json_stream_feed(&s, "\n[]", 3);
    EXPECT_STR(str_cstr(&out), "! JSON token size limit exceeded\n[]\n");
    json_stream_fini(&s);
    str_fini(&text);
    str_fini(&out);
}

static void finish(void *arg, struct json *value, struct err *err)
{
    json_free(value);
    err_free(err);
    json_stream_fini(arg);
}

static void the_receiver_may_end_the_stream(void)
{
    struct json_stream s;

    json_stream_init(&s, finish, &s);
    json_stream_feed(&s, "[] {} 1 2", 9);
    EXPECT(s.finished);
}

static void a_reset_drops_what_was_begun(void)
{
    struct json_stream s;
    struct str out = { 0 };

    json_stream_init(&s, note, &out);
    json_stream_feed(&s, "{'a': ['x", 9);
    json_stream_reset(&s);
    json_stream_feed(&s, "[]", 2);
    EXPECT_STR(str_cstr(&out), "[]\n");
    json_stream_fini(&s);
    str_fini(&out);
}

static void one_value_and_nothing_else(void)
{
    static const struct row rows[] = {
        { "", "Expecting a JSON value" },
        { " \n", "Expecting a JSON value" },
        { "{", "JSON parse error, premature EOI" },
        { "{'a", "JSON parse error, stray ''a'" },
        { "{'a':1", "JSON parse error, premature EOI" },
        { "{'a':tru", "JSON parse error, invalid keyword 'tru'" },
        { "{'a' 1", "JSON parse error, missing : in object pair" },
        { "{'a':1.", "JSON parse error, stray '1.'" },
        { "{'a':@}", "JSON parse error, stray '@'" },
        { "1 2", "Expecting at most one JSON value" },
        { "{}}", "Expecting at most one JSON value" },
        { "{} 'b", "Expecting at most one JSON value" },
        { "{} [", "Expecting at most one JSON value" },
    };
    struct json *v = NULL;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        EXPECT_ERR(json_parse_text(rows[i].text, &v), rows[i].emitted);
    EXPECT(v == NULL);
    REQUIRE_OK(json_parse_text(" 7", &v));
    EXPECT_EQ(json_get_int(v), 7);
    json_free(v);
}

TEST_LIST(TEST(messages_are_framed_by_nesting), TEST(a_scalar_is_complete_at_its_delimiter),
          TEST(closing_too_often_completes_a_message),
          TEST(errors_of_grammar_wait_for_the_end_of_the_message),
          TEST(errors_of_grammar_have_the_texts_of_the_reference), TEST(strings_are_decoded),
          TEST(numbers_keep_their_kind), TEST(a_bad_byte_is_quoted_with_its_token),
          TEST(what_follows_a_bad_byte_is_skipped_to_something_structural),
          TEST(a_client_resynchronises_with_0xff), TEST(nesting_is_limited),
          TEST(tokens_are_limited), TEST(bytes_are_limited), TEST(one_endless_string_is_limited),
          TEST(the_receiver_may_end_the_stream), TEST(a_reset_drops_what_was_begun),
          TEST(one_value_and_nothing_else));
