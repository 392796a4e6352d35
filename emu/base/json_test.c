/* The value tree. Oracle: expected values. */
#include "emu/base/json.h"

#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "tests/harness/test.h"

static void members_keep_their_order(void)
{
    static const char *const keys[] = { "z", "a", "m", "b", "y", "c", "x", "d", "w", "e" };
    struct json *obj = json_object(), *val;
    const char *key;
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        json_object_set_int(obj, keys[i], (int64_t)i);
    json_object_set_int(obj, "m", 7);
    json_object_for_each(obj, i, key, val) {
        EXPECT_STR(key, keys[n]);
        EXPECT_EQ(json_get_int(val), n == 2 ? 7 : n);
        n++;
    }
    EXPECT_EQ(n, ARRAY_LEN(keys));
    json_free(obj);
}

static void members_may_be_deleted_during_a_walk(void)
{
    struct json *obj = json_object(), *val;
    char name[8];
    const char *key;
    int64_t sum = 0;

    for (int k = 0; k < 20; k++) {
        snprintf(name, sizeof(name), "k%d", k);
        json_object_set_int(obj, name, k);
    }
    json_object_for_each(obj, i, key, val) {
        int64_t k = json_get_int(val);

        sum += k;
        if (k % 2)
            EXPECT(json_object_del(obj, key));
    }
    EXPECT_EQ(sum, 190);
    EXPECT_EQ(json_object_size(obj), 10);
    EXPECT(!json_object_has(obj, "k7"));
    EXPECT(json_object_has(obj, "k8"));
    json_free(obj);
}

static void adding_does_not_replace(void)
{
    struct json *obj = json_object();

    EXPECT(json_object_add(obj, "a", json_int(1)));
    EXPECT(!json_object_add(obj, "a", json_int(2)));
    EXPECT(!json_object_add_n(obj, "abc", 1, json_int(3)));
    EXPECT(!json_object_add_take(obj, xstrdup("a"), 1, json_int(4)));
    EXPECT_EQ(json_get_int(json_object_get(obj, "a")), 1);
    json_free(obj);
}

static void a_member_can_be_taken_out(void)
{
    struct json *obj = json_object(), *a;

    json_object_set_str(obj, "a", "text");
    a = json_object_take(obj, "a");
    EXPECT_STR(json_as_str(a), "text");
    EXPECT(json_object_take(obj, "a") == NULL);
    EXPECT_EQ(json_object_size(obj), 0);
    json_free(a);
    json_free(obj);
}

static void large_objects_are_looked_up_quickly(void)
{
    struct json *v = json_object();

    for (int i = 0; i < 100000; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        json_object_set_int(v, key, i);
    }
    for (int i = 0; i < 100000; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        EXPECT_EQ(json_get_int(json_object_get(v, key)), i);
        EXPECT(json_object_del(v, key));
    }
    EXPECT_EQ(json_object_size(v), 0);
    json_free(v);
}

static void integers_convert_by_value(void)
{
    struct json *negative = json_int(-1), *small = json_uint(5), *large = json_uint(UINT64_MAX);
    int64_t i = 77;
    uint64_t u = 77;
    double d = 0;

    EXPECT(!json_as_uint64(negative, &u));
    EXPECT_EQ(u, 77);
    EXPECT(!json_as_int64(large, &i));
    EXPECT_EQ(i, 77);
    EXPECT(json_as_int64(small, &i));
    EXPECT_EQ(i, 5);
    EXPECT(json_as_uint64(large, &u));
    EXPECT_EQ(u, UINT64_MAX);
    EXPECT(json_as_double(negative, &d));
    EXPECT(d == -1.0);
    json_free(negative);
    json_free(small);
    json_free(large);
}

static void access_checks_the_type(void)
{
    struct json *text = json_str("1"), *real = json_double(1.0);
    int64_t i;
    double d;
    bool b;

    EXPECT(!json_as_int64(text, &i));
    EXPECT(!json_as_int64(real, &i));
    EXPECT(!json_as_double(text, &d));
    EXPECT(!json_as_bool(text, &b));
    EXPECT(!json_as_bool(NULL, &b));
    EXPECT(json_as_str(real) == NULL);
    EXPECT(json_as_str(NULL) == NULL);
    EXPECT(json_object_get(text, "a") == NULL);
    json_free(text);
    json_free(real);
}

static void strings_carry_their_length(void)
{
    struct json *v = json_strn("a\0b", 3);

    EXPECT_EQ(json_str_len(v), 3);
    EXPECT_MEM(json_as_str(v), "a\0b", 4);
    json_free(v);
}

/* {"a": [1, 2.5, true, null, "x"], "b": {}} */
static struct json *sample(void)
{
    struct json *obj = json_object(), *list = json_array();

    json_array_add(list, json_int(1));
    json_array_add(list, json_double(2.5));
    json_array_add(list, json_bool(true));
    json_array_add(list, json_null());
    json_array_add_str(list, "x");
    json_object_set(obj, "a", list);
    json_object_set(obj, "b", json_object());
    return obj;
}

static void a_copy_is_equal_and_apart(void)
{
    struct json *v = sample(), *copy = json_copy(v);

    EXPECT(json_equal(v, copy));
    json_array_set(json_object_get(copy, "a"), 4, json_str("y"));
    EXPECT(!json_equal(v, copy));
    EXPECT_STR(json_as_str(json_array_get(json_object_get(v, "a"), 4)), "x");
    json_free(v);
    json_free(copy);
}

static void equality_ignores_the_order_of_members(void)
{
    struct json *a = json_object(), *b = json_object();

    json_object_set_int(a, "x", 1);
    json_object_set_uint(a, "y", 2);
    json_object_set_int(b, "y", 2);
    json_object_set_uint(b, "x", 1);
    EXPECT(json_equal(a, b));
    json_object_set(b, "x", json_double(1.0));
    EXPECT(!json_equal(a, b));
    json_object_set(b, "x", json_int(1));
    json_object_set_int(b, "z", 3);
    EXPECT(!json_equal(a, b));
    json_free(a);
    json_free(b);
}

static void a_negative_number_is_not_its_unsigned_twin(void)
{
    struct json *a = json_int(-1), *b = json_uint(UINT64_MAX);

    EXPECT(!json_equal(a, b));
    json_free(a);
    json_free(b);
}

static void a_reference_keeps_a_subtree(void)
{
    struct json *v = sample(), *list = json_ref(json_object_get(v, "a"));

    json_free(v);
    EXPECT_EQ(json_array_len(list), 5);
    json_free(list);
}

static void a_shared_value_may_not_be_changed(void)
{
    struct json *v = json_object();

    EXPECT_DEATH(json_object_set_int(json_ref(v), "a", 1), "check '.*refs == 1' failed");
    json_free(v);
}

TEST_LIST(TEST(members_keep_their_order), TEST(members_may_be_deleted_during_a_walk),
          TEST(adding_does_not_replace), TEST(a_member_can_be_taken_out),
          TEST(large_objects_are_looked_up_quickly), TEST(integers_convert_by_value),
          TEST(access_checks_the_type), TEST(strings_carry_their_length),
          TEST(a_copy_is_equal_and_apart), TEST(equality_ignores_the_order_of_members),
          TEST(a_negative_number_is_not_its_unsigned_twin), TEST(a_reference_keeps_a_subtree),
          TEST(a_shared_value_may_not_be_changed));
