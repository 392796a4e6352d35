/* Oracle: texts and order as the reference prints them over QMP. */

#include "emu/base/json.h"

#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/base/json_write.h"
#include "emu/base/str.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

/* Everything a stream emits, one line each. */
static void note(void *arg, struct json *value, struct err *err)
{
    struct str *out = arg;

    if (value)
        json_write(out, value, JSON_COMPACT | JSON_HASH_ORDER);
    else
        str_add(out, err_text(err));
    str_addc(out, '\n');
    json_free(value);
    err_free(err);
}

/* Feeds the text in pieces of the given size and compares what comes out. */
static void expect_stream(const char *text, size_t piece, const char *expected)
{
    struct json_stream s;
    struct str out = { 0 };
    size_t len = strlen(text);

    json_stream_init(&s, note, &out);
    for (size_t at = 0; at < len; at += piece)
        json_stream_feed(&s, text + at, MIN(piece, len - at));
    json_stream_end(&s);
    EXPECT_STR(str_cstr(&out), expected);
    json_stream_fini(&s);
    str_fini(&out);
}

static void expect_both(const char *text, const char *expected)
{
    expect_stream(text, 1, expected);
    expect_stream(text, 4096, expected);
}

static void members_come_in_the_order_of_the_reference(void)
{
    expect_both("{'data': 1, 'event': 2, 'timestamp': 3}",
                "{\"timestamp\": 3, \"event\": 2, \"data\": 1}\n");
    expect_both("{'id': 1, 'return': {}}", "{\"return\": {}, \"id\": 1}\n");
    expect_both("{'error': {'desc': 'x', 'class': 'y'}, 'id': 1}",
                "{\"id\": 1, \"error\": {\"class\": \"y\", \"desc\": \"x\"}}\n");
    expect_both("{'type': 1, 'speed': 2, 'offset': 3, 'len': 4, 'device': 5}",
                "{\"device\": 5, \"len\": 4, \"offset\": 3, \"speed\": 2, \"type\": 1}\n");
}

static void numbers_keep_their_kind(void)
{
    expect_both(
        "[0.1, 1e3, 18446744073709551615, 18446744073709551616, -9223372036854775808]",
        "[0.10000000000000001, 1000, 18446744073709551615, 1.8446744073709552e+19, -9223372036854775808]\n");
}

static void strings_are_ascii_on_the_way_out(void)
{
    expect_both(
        "['\\u0000', '\xc3\xa9', '\xf0\x9f\x98\x80', '\\uD83D\\uDE00', '\\'', \"\\/\"]",
        "[\"\\u0000\", \"\\u00E9\", \"\\uD83D\\uDE00\", \"\\uD83D\\uDE00\", \"'\", \"/\"]\n");
}

static void messages_are_framed_by_nesting(void)
{
    expect_both("{'a':\n[{}]}{'b':1}\n 5 ", "{\"a\": [{}]}\n{\"b\": 1}\n5\n");
}

static void grammar_errors_have_the_reference_texts(void)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { "{'a':1,'a':2}", "JSON parse error, duplicate key\n" },
        { "{'a' 1}", "JSON parse error, missing : in object pair\n" },
        { "[1 2]", "JSON parse error, expected separator in list\n" },
        { "{'a':1 'b':2}", "JSON parse error, expected separator in dict\n" },
        { "tru ", "JSON parse error, invalid keyword 'tru'\n" },
        { "{a:1}", "JSON parse error, invalid keyword 'a'\n" },
        { "{1:2}", "JSON parse error, key is not a string in object\n" },
        { "['\\q']", "JSON parse error, invalid escape sequence in string\n" },
        { "['\xc0\xff']", NULL },
        { "['\xe9']", "JSON parse error, invalid UTF-8 sequence in string\n" },
        { "['\\ud800']", "JSON parse error, invalid escape sequence in string\n" },
        { "[1,]", "JSON parse error, expecting value\n" },
        { "{'a':}", "JSON parse error, expecting value\n" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].error)
            expect_both(cases[i].text, cases[i].error);
    }
}

static void bad_bytes_are_skipped_to_structure(void)
{
    expect_both("[01] {'a':1}",
                "JSON parse error, stray '01'\nJSON parse error, expecting value\n{\"a\": 1}\n");
    expect_both("\xff{'a':1}", "JSON parse error, stray '\xef\xbf\xbd'\n{\"a\": 1}\n");
    expect_both("{'x\xff{'a':1}", "JSON parse error, stray ''x\xef\xbf\xbd'\n{\"a\": 1}\n");
}

static void nesting_is_limited(void)
{
    struct str text = { 0 }, out = { 0 };
    struct json_stream s;

    str_add_repeat(&text, '[', JSON_DEPTH_MAX + 1);
    json_stream_init(&s, note, &out);
    json_stream_feed(&s, str_cstr(&text), text.len);
    EXPECT_STR(str_cstr(&out), "JSON nesting depth limit exceeded\n");
    json_stream_fini(&s);
    str_fini(&text);
    str_fini(&out);
}

static void tokens_are_limited(void)
{
    struct str text = { 0 }, out = { 0 };
    struct json_stream s;

    str_addc(&text, '[');
    for (uint64_t i = 0; i < JSON_MESSAGE_TOKENS_MAX / 2 + 1; i++)
        str_add(&text, "1,");
    json_stream_init(&s, note, &out);
    json_stream_feed(&s, str_cstr(&text), text.len);
    EXPECT(str_has_prefix(str_cstr(&out), "JSON token count limit exceeded\n"));
    json_stream_fini(&s);
    str_fini(&text);
    str_fini(&out);
}

static void pretty_breaks_even_empty_containers(void)
{
    struct json *v = NULL;
    char *text;

    REQUIRE_OK(json_parse_text("{'a': [1, {}]}", &v));
    text = json_to_text(v, JSON_PRETTY);
    EXPECT_STR(text, "{\n    \"a\": [\n        1,\n        {\n        }\n    ]\n}");
    xfree(text);
    json_free(v);
}

static void one_value_and_nothing_else(void)
{
    struct json *v = NULL;

    EXPECT_ERR(json_parse_text("", &v), "JSON parse error, expecting value");
    EXPECT_ERR(json_parse_text("1 2", &v), "JSON parse error, expecting one value");
    EXPECT_ERR(json_parse_text("{'a': 1", &v), "JSON parse error, premature EOI");
    EXPECT_OK(json_parse_text(" 7", &v));
    json_free(v);
}

static void large_objects_are_looked_up_quickly(void)
{
    struct json *v = json_object();

    for (int i = 0; i < 100000; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        json_object_set_int(v, key, i);
    }
    EXPECT_EQ(json_object_size(v), 100000);
    EXPECT_EQ(json_get_int(json_object_get(v, "k99999")), 99999);
    EXPECT(json_object_del(v, "k5"));
    EXPECT(!json_object_has(v, "k5"));
    json_free(v);
}

TEST_LIST(TEST(members_come_in_the_order_of_the_reference), TEST(numbers_keep_their_kind),
          TEST(strings_are_ascii_on_the_way_out), TEST(messages_are_framed_by_nesting),
          TEST(grammar_errors_have_the_reference_texts), TEST(bad_bytes_are_skipped_to_structure),
          TEST(nesting_is_limited), TEST(tokens_are_limited),
          TEST(pretty_breaks_even_empty_containers), TEST(one_value_and_nothing_else),
          TEST(large_objects_are_looked_up_quickly));
