#include "emu/base/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/utf8.h"

enum {
    HASH_BUCKETS = 512,
    INDENT = 4,
    MEMBERS_FEW = 12, /* Kept on the stack, which is as deep as the value. */
    SORT_SMALL = 24,
};

static char *put_unit(char *to, uint32_t unit)
{
    static const char digits[] = "0123456789ABCDEF";

    *to++ = '\\';
    *to++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4)
        *to++ = digits[unit >> shift & 15];
    return to;
}

static void add_code(struct str *out, uint32_t code)
{
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    char escape[12], *end;

    for (const char *n = named; *n; n += 2) {
        if (code == (uint8_t)n[0]) {
            str_addc(out, '\\');
            str_addc(out, n[1]);
            return;
        }
    }
    if (code > 0xffff) {
        end = put_unit(escape, 0xd800 + ((code - 0x10000) >> 10));
        end = put_unit(end, 0xdc00 + ((code - 0x10000) & 0x3ff));
    } else {
        end = put_unit(escape, code);
    }
    str_addn(out, escape, (size_t)(end - escape));
}

/* The other bytes are escaped, or are part of a sequence that is. */
static bool is_plain(char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

void json_write_string(struct str *out, const char *bytes, size_t len)
{
    const char *end = bytes + len;

    str_addc(out, '"');
    while (bytes < end) {
        const char *plain = bytes;
        uint32_t code;

        while (bytes < end && is_plain(*bytes))
            bytes++;
        str_addn(out, plain, (size_t)(bytes - plain));
        if (bytes == end)
            break;
        bytes += utf8_decode(bytes, (size_t)(end - bytes), &code);
        add_code(out, code == UINT32_MAX ? UTF8_REPLACEMENT : code);
    }
    str_addc(out, '"');
}

struct member {
    const char *key;
    const struct json *value;
    uint32_t bucket;
    size_t place;
};

/* The bucket of a key in the reference's table, which decides the order clients see. */
static uint32_t bucket_of(const char *key)
{
    size_t len = strlen(key);
    uint32_t v = 0x238F13AFu * (uint32_t)len;

    for (size_t i = 0; i < len; i++)
        v += (uint32_t)(uint8_t)key[i] << (i * 5 % 24);
    return (1103515243u * v + 12345u) % HASH_BUCKETS;
}

/* Ascending buckets; within one the newest member comes first. */
static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;

    if (x->bucket != y->bucket)
        return x->bucket < y->bucket ? -1 : 1;
    return x->place > y->place ? -1 : x->place < y->place;
}

static void sort_members(struct member *members, size_t n)
{
    if (n > SORT_SMALL) {
        qsort(members, n, sizeof(*members), compare_members);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        struct member m = members[i];
        size_t at = i;

        for (; at > 0 && compare_members(&m, &members[at - 1]) < 0; at--)
            members[at] = members[at - 1];
        members[at] = m;
    }
}

/* Fills members, in the order in which they are written. */
static void list_members(const struct json *object, unsigned flags, struct member *members)
{
    const char *key;
    struct json *value;
    size_t n = 0;

    json_object_for_each(object, i, key, value) {
        members[n] = (struct member){ key, value, 0, n };
        if (flags & JSON_HASH_ORDER)
            members[n].bucket = bucket_of(key);
        n++;
    }
    if (flags & JSON_HASH_ORDER)
        sort_members(members, n);
}

static void new_line(struct str *out, unsigned flags, unsigned depth)
{
    if (!(flags & JSON_PRETTY))
        return;
    str_addc(out, '\n');
    str_add_repeat(out, ' ', (size_t)depth * INDENT);
}

static void separator(struct str *out, unsigned flags)
{
    str_addc(out, ',');
    if (!(flags & (JSON_PRETTY | JSON_TIGHT)))
        str_addc(out, ' ');
}

static void write_value(struct str *out, const struct json *v, unsigned flags, unsigned depth);

static void write_members(struct str *out, const struct member *members, size_t n, unsigned flags,
                          unsigned depth)
{
    str_addc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            separator(out, flags);
        new_line(out, flags, depth + 1);
        json_write_string(out, members[i].key, strlen(members[i].key));
        str_addc(out, ':');
        if (!(flags & JSON_TIGHT))
            str_addc(out, ' ');
        write_value(out, members[i].value, flags, depth + 1);
    }
    new_line(out, flags, depth);
    str_addc(out, '}');
}

static void write_object(struct str *out, const struct json *v, unsigned flags, unsigned depth)
{
    struct member few[MEMBERS_FEW], *members = few;
    size_t n = json_object_size(v);

    if (n > MEMBERS_FEW)
        members = xcalloc(n, sizeof(*members));
    list_members(v, flags, members);
    write_members(out, members, n, flags, depth);
    if (members != few)
        xfree(members);
}

static void write_array(struct str *out, const struct json *v, unsigned flags, unsigned depth)
{
    str_addc(out, '[');
    for (size_t i = 0; i < json_array_len(v); i++) {
        if (i)
            separator(out, flags);
        new_line(out, flags, depth + 1);
        write_value(out, json_array_get(v, i), flags, depth + 1);
    }
    new_line(out, flags, depth);
    str_addc(out, ']');
}

static void write_magnitude(struct str *out, uint64_t value)
{
    char digits[20], *first = digits + sizeof(digits);

    do {
        *--first = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    str_addn(out, first, (size_t)(digits + sizeof(digits) - first));
}

static void write_integer(struct str *out, int64_t value)
{
    if (value < 0)
        str_addc(out, '-');
    write_magnitude(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

static void write_value(struct str *out, const struct json *v, unsigned flags, unsigned depth)
{
    switch (json_type_of(v)) {
    case JSON_BOOL: str_add(out, json_get_bool(v) ? "true" : "false"); break;
    case JSON_INT: write_integer(out, json_get_int(v)); break;
    case JSON_UINT: write_magnitude(out, json_get_uint(v)); break;
    case JSON_DOUBLE:
        if (isfinite(json_get_double(v)))
            str_addf(out, "%.17g", json_get_double(v));
        else
            str_add(out, "null"); /* JSON has no infinities. */
        break;
    case JSON_STRING: json_write_string(out, json_get_str(v), json_str_len(v)); break;
    case JSON_ARRAY: write_array(out, v, flags, depth); break;
    case JSON_OBJECT: write_object(out, v, flags, depth); break;
    default: str_add(out, "null");
    }
}

void json_write(struct str *out, const struct json *v, unsigned flags)
{
    write_value(out, v, flags, 0);
}

char *json_to_text(const struct json *v, unsigned flags)
{
    struct str out = { 0 };

    json_write(&out, v, flags);
    return str_steal(&out);
}

struct json *json_hash_ordered(const struct json *object)
{
    size_t n = json_object_size(object);
    struct member *members = NEW_ARRAY(struct member, n);
    struct json *ordered = json_object();

    list_members(object, JSON_HASH_ORDER, members);
    for (size_t i = 0; i < n; i++)
        json_object_set(ordered, members[i].key, json_ref(members[i].value));
    xfree(members);
    return ordered;
}

static void outline_value(struct str *out, const char *key, const struct json *value, int indent)
{
    CLEANUP(str_fini) struct str name = { 0 };
    bool flag;
    int64_t integer;

    str_add(&name, key);
    for (size_t i = 0; i < name.len; i++)
        name.data[i] = name.data[i] == '-' ? ' ' : name.data[i];
    str_addf(out, "%*s%s:", indent, "", str_cstr(&name));
    if (json_type_of(value) == JSON_OBJECT) {
        str_add(out, "\n");
        json_write_outline(out, value, indent + INDENT);
    } else if (json_type_of(value) == JSON_ARRAY) {
        str_add(out, "\n");
        for (size_t i = 0; i < json_array_len(value); i++) {
            char place[24];

            snprintf(place, sizeof(place), "[%zu]", i);
            outline_value(out, place, json_array_get(value, i), indent + INDENT);
        }
    } else if (json_as_bool(value, &flag)) {
        str_addf(out, " %s\n", flag ? "true" : "false");
    } else if (json_as_int64(value, &integer)) {
        str_addf(out, " %" PRId64 "\n", integer);
    } else if (json_as_str(value)) {
        str_addf(out, " %s\n", json_as_str(value));
    } else {
        str_add(out, "\n");
    }
}

void json_write_outline(struct str *out, const struct json *object, int indent)
{
    CLEANUP(json_free) struct json *ordered = json_hash_ordered(object);
    const char *key;
    struct json *value;

    json_object_for_each(ordered, i, key, value)
        outline_value(out, key, value, indent);
}
