/* Oracle: text and order of members as the reference prints them. */
#include "emu/base/json_write.h"

#include <math.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/base/rng.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static void expect_text(const char *json, unsigned flags, const char *expected)
{
    struct json *v = NULL;
    char *text;

    REQUIRE_OK(json_parse_text(json, &v));
    text = json_to_text(v, flags);
    EXPECT_STR(text, expected);
    xfree(text);
    json_free(v);
}

static void layouts_differ_in_white_space(void)
{
    static const char json[] = "{'a': [1, {}, []], 'b': true}";

    expect_text(json, JSON_COMPACT, "{\"a\": [1, {}, []], \"b\": true}");
    expect_text(json, JSON_TIGHT, "{\"a\":[1,{},[]],\"b\":true}");
    expect_text(json, JSON_PRETTY,
                "{\n    \"a\": [\n        1,\n        {\n        },\n        [\n        ]\n    ],\n"
                "    \"b\": true\n}");
}

static void members_come_in_the_order_of_the_reference(void)
{
    expect_text("{'data': 1, 'event': 2, 'timestamp': 3}", JSON_HASH_ORDER,
                "{\"timestamp\": 3, \"event\": 2, \"data\": 1}");
    expect_text("{'id': 1, 'return': {}}", JSON_HASH_ORDER, "{\"return\": {}, \"id\": 1}");
    expect_text("{'status': 1, 'id': 2}", JSON_HASH_ORDER, "{\"status\": 1, \"id\": 2}");
    expect_text("{'error': {'desc': 'x', 'class': 'y'}, 'id': 1}", JSON_HASH_ORDER,
                "{\"id\": 1, \"error\": {\"class\": \"y\", \"desc\": \"x\"}}");
    expect_text("{'type': 1, 'speed': 2, 'offset': 3, 'len': 4, 'device': 5}", JSON_HASH_ORDER,
                "{\"device\": 5, \"len\": 4, \"offset\": 3, \"speed\": 2, \"type\": 1}");
}

/* More members than are sorted on the stack: the order is the same as that of each two alone. */
static void large_objects_are_sorted_too(void)
{
    struct json *all = json_object();
    CLEANUP(str_fini) struct str name = { 0 };
    CLEANUP(xfree) char *text = NULL;
    char *first, *second;

    for (int i = 0; i < 1000; i++) {
        str_clear(&name);
        str_addf(&name, "key%d", i);
        json_object_set_int(all, str_cstr(&name), i);
    }
    json_object_set_int(all, "return", 1);
    json_object_set_int(all, "id", 1);
    text = json_to_text(all, JSON_HASH_ORDER);
    first = strstr(text, "\"return\"");
    second = strstr(text, "\"id\"");
    EXPECT(first && second && first < second);
    json_free(all);
}

static void text_is_ascii(void)
{
    expect_text("'\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\\u0001\\n\\u0000'", JSON_COMPACT,
                "\"\\u00E9\\u20AC\\uD83D\\uDE00\\u007F\\u0001\\n\\u0000\"");
}

static void bytes_that_are_not_utf8_are_replaced(void)
{
    struct str out = { 0 };

    json_write_string(&out,
                      "a\xff\xfe"
                      "b\xe2\x82",
                      6);
    EXPECT_STR(str_cstr(&out), "\"a\\uFFFD\\uFFFDb\\uFFFD\"");
    str_fini(&out);
}

static void a_nul_in_a_string_is_written(void)
{
    struct json *v = json_strn("a\0b", 3);
    char *text = json_to_text(v, JSON_COMPACT);

    EXPECT_STR(text, "\"a\\u0000b\"");
    xfree(text);
    json_free(v);
}

static void numbers_have_all_their_digits(void)
{
    expect_text("[0.1, 1e3, 1e22, 1.5, -0.0, 1e-7]", JSON_COMPACT,
                "[0.10000000000000001, 1000, 1e+22, 1.5, -0, 9.9999999999999995e-08]");
    expect_text("[0, -1, 9223372036854775807, -9223372036854775808, 18446744073709551615]",
                JSON_COMPACT,
                "[0, -1, 9223372036854775807, -9223372036854775808, 18446744073709551615]");
}

static struct json *random_value(struct rng *rng, unsigned depth)
{
    struct json *v;
    char bytes[12];
    size_t n = rng_below(rng, sizeof(bytes));

    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(1 + rng_below(rng, 0x7e));
    switch (rng_below(rng, depth ? 8 : 6)) {
    case 0:  return json_null();
    case 1:  return json_bool(rng_chance(rng, 1, 2));
    case 2:  return json_int((int64_t)rng_u64(rng));
    case 3:  return json_uint(rng_u64(rng));
    case 4:  return json_double(ldexp((double)rng_u64(rng), (int)rng_below(rng, 200) - 150) + 0.5);
    case 5:  return json_strn(bytes, n);
    case 6:
        v = json_array();
        for (uint64_t i = rng_below(rng, 20); i > 0; i--)
            json_array_add(v, random_value(rng, depth - 1));
        return v;
    default:
        v = json_object();
        for (uint64_t i = rng_below(rng, 20); i > 0; i--) {
            uint64_t key = rng_below(rng, 1000);

            json_object_add_n(v, &"0123456789abcdef"[key % 10], key / 200 + 1,
                              random_value(rng, depth - 1));
        }
        return v;
    }
}

static void what_is_written_parses_to_the_same(void)
{
    static const unsigned flags[] = { JSON_COMPACT, JSON_PRETTY, JSON_TIGHT, JSON_HASH_ORDER };
    struct rng rng;

    rng_init(&rng, 1);
    for (int round = 0; round < 500; round++) {
        struct json *v = random_value(&rng, 4), *again = NULL;
        char *text = json_to_text(v, flags[round % 4]);

        REQUIRE_OK(json_parse_text(text, &again));
        /* A double without a fraction is written as an integer. */
        char *text_again = json_to_text(again, flags[round % 4]);
        EXPECT_MSG(flags[round % 4] == JSON_HASH_ORDER || strcmp(text, text_again) == 0,
                   "round %d: %s", round, text);
        xfree(text);
        xfree(text_again);
        json_free(v);
        json_free(again);
    }
}

/* Oracle: "Format specific information" of the reference's qemu-img info. */
static void an_outline_is_for_people(void)
{
    CLEANUP(str_fini) struct str out = { 0 };
    CLEANUP(json_free) struct json *v = NULL;

    REQUIRE_OK(json_parse_text("{\"refcount-bits\": 16, \"lazy\": false, \"name\": \"x-y\", "
                               "\"list\": [{\"a-b\": true}, 2]}",
                               &v));
    json_write_outline(&out, v, 4);
    EXPECT(strstr(str_cstr(&out), "    refcount bits: 16\n"));
    EXPECT(strstr(str_cstr(&out), "    name: x-y\n"));
    EXPECT(strstr(str_cstr(&out), "    lazy: false\n"));
    EXPECT(
        strstr(str_cstr(&out), "    list:\n        [0]:\n            a b: true\n        [1]: 2\n"));
}

TEST_LIST(TEST(an_outline_is_for_people), TEST(layouts_differ_in_white_space),
          TEST(members_come_in_the_order_of_the_reference), TEST(large_objects_are_sorted_too),
          TEST(text_is_ascii), TEST(bytes_that_are_not_utf8_are_replaced),
          TEST(a_nul_in_a_string_is_written), TEST(numbers_have_all_their_digits),
          TEST(what_is_written_parses_to_the_same));
