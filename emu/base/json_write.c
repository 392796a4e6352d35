#include "emu/base/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/utf8.h"

enum { HASH_BUCKETS = 512, INDENT = 4 };

static void add_escape(struct str *out, uint32_t code)
{
    if (code > 0xffff) {
        code -= 0x10000;
        str_addf(out, "\\u%04X\\u%04X", 0xd800 + (code >> 10), 0xdc00 + (code & 0x3ff));
    } else {
        str_addf(out, "\\u%04X", code);
    }
}

static void add_code(struct str *out, uint32_t code)
{
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";

    for (const char *n = named; *n; n += 2) {
        if (code == (uint8_t)n[0]) {
            str_addc(out, '\\');
            str_addc(out, n[1]);
            return;
        }
    }
    if (code < 0x20 || code >= 0x7f)
        add_escape(out, code);
    else
        str_addc(out, (char)code);
}

static bool is_plain(char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

void json_write_string(struct str *out, const char *bytes, size_t len)
{
    str_addc(out, '"');
    while (len > 0) {
        size_t n = 0;

        while (n < len && is_plain(bytes[n]))
            n++;
        str_addn(out, bytes, n);
        bytes += n;
        len -= n;
        if (len > 0) {
            uint32_t code;

            n = utf8_decode(bytes, len, &code);
            add_code(out, code == UINT32_MAX ? UTF8_REPLACEMENT : code);
            bytes += n;
            len -= n;
        }
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

static struct member *members_of(const struct json *object, unsigned flags)
{
    struct member *members = xcalloc(json_object_size(object), sizeof(*members));
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
        qsort(members, n, sizeof(*members), compare_members);
    return members;
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
    str_add(out, flags & (JSON_PRETTY | JSON_TIGHT) ? "," : ", ");
}

static void write_value(struct str *out, const struct json *v, unsigned flags, unsigned depth);

static void write_object(struct str *out, const struct json *v, unsigned flags, unsigned depth)
{
    struct member *members = members_of(v, flags);

    str_addc(out, '{');
    for (size_t i = 0; i < json_object_size(v); i++) {
        if (i)
            separator(out, flags);
        new_line(out, flags, depth + 1);
        json_write_string(out, members[i].key, strlen(members[i].key));
        str_add(out, flags & JSON_TIGHT ? ":" : ": ");
        write_value(out, members[i].value, flags, depth + 1);
    }
    new_line(out, flags, depth);
    str_addc(out, '}');
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

static void write_value(struct str *out, const struct json *v, unsigned flags, unsigned depth)
{
    switch (json_type_of(v)) {
    case JSON_BOOL: str_add(out, json_get_bool(v) ? "true" : "false"); break;
    case JSON_INT: str_addf(out, "%" PRId64, json_get_int(v)); break;
    case JSON_UINT: str_addf(out, "%" PRIu64, json_get_uint(v)); break;
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
