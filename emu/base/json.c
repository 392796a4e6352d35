#include "emu/base/json.h"

#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/map.h"
#include "emu/base/vec.h"

/* Only as much of the union is allocated as the type needs. */
struct json {
    enum json_type type;
    unsigned refs;
    union {
        bool boolean;
        int64_t integer;
        uint64_t uinteger;
        double number;
        struct {
            char *text; /* Right behind this structure, terminated. */
            size_t len;
        } string;
        VEC(struct json *) array;
        struct map object;
    } u;
};

static struct json *make(enum json_type type, size_t payload)
{
    struct json *v = xmalloc(offsetof(struct json, u) + payload);

    v->type = type;
    v->refs = 1;
    return v;
}

struct json *json_null(void) { return make(JSON_NULL, 0); }

struct json *json_bool(bool value)
{
    struct json *v = make(JSON_BOOL, sizeof(v->u.boolean));

    v->u.boolean = value;
    return v;
}

struct json *json_int(int64_t value)
{
    struct json *v = make(JSON_INT, sizeof(v->u.integer));

    v->u.integer = value;
    return v;
}

struct json *json_uint(uint64_t value)
{
    struct json *v = make(JSON_UINT, sizeof(v->u.uinteger));

    v->u.uinteger = value;
    return v;
}

struct json *json_double(double value)
{
    struct json *v = make(JSON_DOUBLE, sizeof(v->u.number));

    v->u.number = value;
    return v;
}

struct json *json_strn(const char *bytes, size_t len)
{
    struct json *v = make(JSON_STRING, sizeof(v->u.string) + len + 1);
    char *text = (char *)&v->u.string + sizeof(v->u.string);

    if (len)
        memcpy(text, bytes, len);
    text[len] = 0;
    v->u.string.text = text;
    v->u.string.len = len;
    return v;
}

struct json *json_str(const char *text) { return json_strn(text, strlen(text)); }

struct json *json_strf(const char *fmt, ...)
{
    struct json *v;
    va_list args;
    char *text;

    va_start(args, fmt);
    text = xvasprintf(fmt, args);
    va_end(args);
    v = json_str(text);
    xfree(text);
    return v;
}

struct json *json_array(void)
{
    struct json *v = make(JSON_ARRAY, sizeof(v->u.array));

    memset(&v->u.array, 0, sizeof(v->u.array));
    return v;
}

struct json *json_object(void)
{
    struct json *v = make(JSON_OBJECT, sizeof(v->u.object));

    map_init(&v->u.object);
    return v;
}

struct json *json_ref(const struct json *v)
{
    struct json *shared = (struct json *)v;

    if (shared)
        shared->refs++;
    return shared;
}

static void free_value(void *value) { json_free(value); }

void json_free(struct json *v)
{
    if (!v || --v->refs > 0)
        return;
    if (v->type == JSON_ARRAY) {
        for (size_t i = 0; i < v->u.array.len; i++)
            json_free(v->u.array.items[i]);
        vec_fini(&v->u.array);
    } else if (v->type == JSON_OBJECT) {
        map_fini_values(&v->u.object, free_value);
    }
    xfree(v);
}

struct json *json_copy(const struct json *v)
{
    struct json *copy;
    const char *key;
    struct json *inner;

    switch (v->type) {
    case JSON_NULL: return json_null();
    case JSON_BOOL: return json_bool(v->u.boolean);
    case JSON_INT: return json_int(v->u.integer);
    case JSON_UINT: return json_uint(v->u.uinteger);
    case JSON_DOUBLE: return json_double(v->u.number);
    case JSON_STRING: return json_strn(v->u.string.text, v->u.string.len);
    case JSON_ARRAY:
        copy = json_array();
        for (size_t i = 0; i < v->u.array.len; i++)
            json_array_add(copy, json_copy(v->u.array.items[i]));
        return copy;
    case JSON_OBJECT:
        copy = json_object();
        json_object_for_each(v, i, key, inner)
            json_object_set(copy, key, json_copy(inner));
        return copy;
    case JSON_TYPE_COUNT: break;
    }
    unreachable();
}

static bool is_integer(const struct json *v) { return v->type == JSON_INT || v->type == JSON_UINT; }

static bool integers_equal(const struct json *a, const struct json *b)
{
    bool a_negative = a->type == JSON_INT && a->u.integer < 0;
    bool b_negative = b->type == JSON_INT && b->u.integer < 0;

    return a_negative == b_negative && a->u.uinteger == b->u.uinteger;
}

bool json_equal(const struct json *a, const struct json *b)
{
    const char *key;
    struct json *inner;

    if (is_integer(a) && is_integer(b))
        return integers_equal(a, b);
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case JSON_BOOL: return a->u.boolean == b->u.boolean;
    case JSON_DOUBLE: return a->u.number == b->u.number;
    case JSON_STRING:
        return a->u.string.len == b->u.string.len &&
               memcmp(a->u.string.text, b->u.string.text, a->u.string.len) == 0;
    case JSON_ARRAY:
        if (a->u.array.len != b->u.array.len)
            return false;
        for (size_t i = 0; i < a->u.array.len; i++) {
            if (!json_equal(a->u.array.items[i], b->u.array.items[i]))
                return false;
        }
        return true;
    case JSON_OBJECT:
        if (map_count(&a->u.object) != map_count(&b->u.object))
            return false;
        json_object_for_each(a, i, key, inner) {
            const struct json *other = map_get(&b->u.object, key);

            if (!other || !json_equal(inner, other))
                return false;
        }
        return true;
    default: return true;
    }
}

enum json_type json_type_of(const struct json *v) { return v->type; }

const char *json_type_name(enum json_type type)
{
    static const char *const names[JSON_TYPE_COUNT] = { "null",   "boolean", "integer", "integer",
                                                        "number", "string",  "array",   "object" };

    check(type < JSON_TYPE_COUNT);
    return names[type];
}

bool json_as_bool(const struct json *v, bool *out)
{
    if (!v || v->type != JSON_BOOL)
        return false;
    *out = v->u.boolean;
    return true;
}

bool json_as_int64(const struct json *v, int64_t *out)
{
    if (!v || !is_integer(v) || (v->type == JSON_UINT && v->u.uinteger > INT64_MAX))
        return false;
    *out = v->u.integer;
    return true;
}

bool json_as_uint64(const struct json *v, uint64_t *out)
{
    if (!v || !is_integer(v) || (v->type == JSON_INT && v->u.integer < 0))
        return false;
    *out = v->u.uinteger;
    return true;
}

bool json_as_double(const struct json *v, double *out)
{
    if (!v)
        return false;
    if (v->type == JSON_INT)
        *out = (double)v->u.integer;
    else if (v->type == JSON_UINT)
        *out = (double)v->u.uinteger;
    else if (v->type == JSON_DOUBLE)
        *out = v->u.number;
    else
        return false;
    return true;
}

const char *json_as_str(const struct json *v)
{
    return v && v->type == JSON_STRING ? v->u.string.text : NULL;
}

bool json_get_bool(const struct json *v)
{
    check(v && v->type == JSON_BOOL);
    return v->u.boolean;
}

int64_t json_get_int(const struct json *v)
{
    int64_t value = 0;
    bool ok = json_as_int64(v, &value);

    check(ok);
    return value;
}

uint64_t json_get_uint(const struct json *v)
{
    uint64_t value = 0;
    bool ok = json_as_uint64(v, &value);

    check(ok);
    return value;
}

double json_get_double(const struct json *v)
{
    double value = 0;
    bool ok = json_as_double(v, &value);

    check(ok);
    return value;
}

const char *json_get_str(const struct json *v)
{
    check(v && v->type == JSON_STRING);
    return v->u.string.text;
}

size_t json_str_len(const struct json *v)
{
    check(v->type == JSON_STRING);
    return v->u.string.len;
}

void json_object_set(struct json *obj, const char *key, struct json *val)
{
    check(obj->type == JSON_OBJECT && obj->refs == 1);
    json_free(map_put(&obj->u.object, key, val));
}

bool json_object_add_n(struct json *obj, const char *key, size_t key_len, struct json *val)
{
    check(obj->type == JSON_OBJECT && obj->refs == 1);
    if (map_add_n(&obj->u.object, key, key_len, val))
        return true;
    json_free(val);
    return false;
}

bool json_object_add_take(struct json *obj, char *key, size_t key_len, struct json *val)
{
    check(obj->type == JSON_OBJECT && obj->refs == 1);
    if (map_add_take(&obj->u.object, key, key_len, val))
        return true;
    json_free(val);
    return false;
}

bool json_object_add(struct json *obj, const char *key, struct json *val)
{
    return json_object_add_n(obj, key, strlen(key), val);
}

void json_object_set_str(struct json *obj, const char *key, const char *text)
{
    json_object_set(obj, key, json_str(text));
}

void json_object_set_int(struct json *obj, const char *key, int64_t value)
{
    json_object_set(obj, key, json_int(value));
}

void json_object_set_uint(struct json *obj, const char *key, uint64_t value)
{
    json_object_set(obj, key, json_uint(value));
}

void json_object_set_bool(struct json *obj, const char *key, bool value)
{
    json_object_set(obj, key, json_bool(value));
}

struct json *json_object_get(const struct json *obj, const char *key)
{
    return obj && obj->type == JSON_OBJECT ? map_get(&obj->u.object, key) : NULL;
}

const char *json_object_get_str(const struct json *obj, const char *key)
{
    return json_as_str(json_object_get(obj, key));
}

bool json_object_has(const struct json *obj, const char *key)
{
    return json_object_get(obj, key) != NULL;
}

bool json_object_del(struct json *obj, const char *key)
{
    struct json *v = json_object_take(obj, key);

    json_free(v);
    return v != NULL;
}

struct json *json_object_take(struct json *obj, const char *key)
{
    check(obj->type == JSON_OBJECT && obj->refs == 1);
    return map_remove(&obj->u.object, key);
}

size_t json_object_size(const struct json *obj)
{
    check(obj->type == JSON_OBJECT);
    return map_count(&obj->u.object);
}

bool json_object_next(const struct json *obj, size_t *i, const char **key, struct json **val)
{
    void *value;
    bool more;

    check(obj->type == JSON_OBJECT);
    more = map_next(&obj->u.object, i, key, &value);
    if (!more)
        return false;
    --*i;
    *val = value;
    return true;
}

void json_array_add(struct json *array, struct json *val)
{
    check(array->type == JSON_ARRAY && array->refs == 1);
    vec_push(&array->u.array, val);
}

void json_array_add_str(struct json *array, const char *text)
{
    json_array_add(array, json_str(text));
}

struct json *json_array_get(const struct json *array, size_t i)
{
    check(array->type == JSON_ARRAY && i < array->u.array.len);
    return array->u.array.items[i];
}

void json_array_set(struct json *array, size_t i, struct json *val)
{
    check(array->type == JSON_ARRAY && i < array->u.array.len && array->refs == 1);
    json_free(array->u.array.items[i]);
    array->u.array.items[i] = val;
}

size_t json_array_len(const struct json *array)
{
    check(array->type == JSON_ARRAY);
    return array->u.array.len;
}
