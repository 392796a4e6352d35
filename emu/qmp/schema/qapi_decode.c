/*
 * JSON to typed values.
 *
 * Errors name a parameter by its full path ("file.filename", "actions[0].data", and with keyval
 * input "server.0"), except that a value out of an enum's or integer's range, and a wrong type for
 * an alternate, are reported under the last name only, "null" for an element of a list. Clients
 * match on these texts.
 */
#include "emu/qmp/schema/qapi.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"

/* Where in the input a value is; the innermost is handed down, on the stack. */
struct place {
    const struct place *up; /* NULL: the root, which has no name. */
    const char *name;       /* NULL: an element. */
    size_t index;
    enum qapi_input input;
};

static struct err *decode_value(const struct qapi_type *type, const struct json *in,
                                const struct place *at, void *out);

static void add_path(struct str *path, const struct place *at)
{
    if (!at->up)
        return;
    add_path(path, at->up);
    if (at->name && path->len)
        str_addc(path, '.');
    if (at->name)
        str_add(path, at->name);
    else if (at->input == QAPI_KEYVAL)
        str_addf(path, ".%zu", at->index);
    else
        str_addf(path, "[%zu]", at->index);
}

/* The full path goes between the texts, after a quote. */
static struct err *path_err(const struct place *at, const char *before, const char *after)
{
    CLEANUP(str_fini) struct str path = { 0 };

    add_path(&path, at);
    return err_new("%s'%s%s", before, str_cstr(&path), after);
}

static struct err *type_err(const struct place *at, const char *expected)
{
    CLEANUP(str_fini) struct str after = { 0 };

    str_addf(&after, "', expected: %s", expected);
    return path_err(at, "Invalid parameter type for ", str_cstr(&after));
}

static struct err *expects_err(const struct place *at, const char *expected)
{
    CLEANUP(str_fini) struct str after = { 0 };

    str_addf(&after, "' expects %s", expected);
    return path_err(at, "Parameter ", str_cstr(&after));
}

static const char *last_name(const struct place *at) { return at->name ? at->name : "null"; }

/* The text of a scalar in keyval input. */
static struct err *keyval_text(const struct json *in, const struct place *at, const char **out)
{
    *out = json_as_str(in);
    return *out ? NULL : path_err(at, "Parameters ", ".*' are unexpected");
}

static struct err *decode_str(const struct json *in, const struct place *at, char **out)
{
    const char *text;

    if (at->input == QAPI_KEYVAL)
        TRY(keyval_text(in, at, &text));
    else if (!(text = json_as_str(in)))
        return type_err(at, "string");
    *out = xstrdup(text);
    return NULL;
}

static struct err *decode_bool(const struct json *in, const struct place *at, bool *out)
{
    const char *text;

    if (at->input == QAPI_STRICT)
        return json_as_bool(in, out) ? NULL : type_err(at, "boolean");
    TRY(keyval_text(in, at, &text));
    return opts_parse_bool(text, out) ? NULL : expects_err(at, "'on' or 'off'");
}

static struct err *decode_number(const struct json *in, const struct place *at, double *out)
{
    const char *text;
    char *end;

    if (at->input == QAPI_STRICT)
        return json_as_double(in, out) ? NULL : type_err(at, "number");
    TRY(keyval_text(in, at, &text));
    *out = strtod(text, &end);
    return end != text && !*end && isfinite(*out) ? NULL : expects_err(at, "number");
}

static struct err *decode_signed(const struct json *in, const struct place *at, int64_t *out)
{
    const char *text;
    char *end;

    if (at->input == QAPI_STRICT)
        return json_as_int64(in, out) ? NULL : type_err(at, "integer");
    TRY(keyval_text(in, at, &text));
    errno = 0;
    *out = strtoll(text, &end, 0); /* 0x10 and 010 mean what they mean in C. */
    return end != text && !*end && !errno ? NULL : expects_err(at, "integer");
}

/* Negative input wraps around: old clients send -1 for the largest value. */
static struct err *decode_unsigned(const struct json *in, const struct place *at, bool is_size,
                                   uint64_t *out)
{
    const char *text;
    int64_t negative;
    char *end;

    if (at->input == QAPI_STRICT) {
        if (json_as_uint64(in, out))
            return NULL;
        if (!json_as_int64(in, &negative))
            return expects_err(at, "uint64");
        *out = (uint64_t)negative;
        return NULL;
    }
    TRY(keyval_text(in, at, &text));
    if (is_size) {
        struct err *err = parse_size(text, out);

        if (!err)
            return NULL;
        err_free(err); /* Says what is wrong but not with which parameter. */
        return expects_err(at, "size");
    }
    errno = 0;
    *out = strtoull(text, &end, 0);
    return end != text && !*end && !errno ? NULL : expects_err(at, "integer");
}

static struct err *range_err(const struct qapi_type *type, const struct place *at)
{
    return err_new("Parameter '%s' expects %s_t", last_name(at), type->name);
}

static struct err *decode_int(const struct qapi_type *type, const struct json *in,
                              const struct place *at, void *out)
{
    int64_t value;
    unsigned bits = type->size * 8;

    TRY(decode_signed(in, at, &value));
    if (bits < 64 && (value < -(INT64_C(1) << (bits - 1)) || value >= INT64_C(1) << (bits - 1)))
        return range_err(type, at);
    switch (type->size) {
    case 1: *(int8_t *)out = (int8_t)value; break;
    case 2: *(int16_t *)out = (int16_t)value; break;
    case 4: *(int32_t *)out = (int32_t)value; break;
    default: *(int64_t *)out = value; break;
    }
    return NULL;
}

static struct err *decode_uint(const struct qapi_type *type, const struct json *in,
                               const struct place *at, void *out)
{
    uint64_t value;
    unsigned bits = type->size * 8;

    TRY(decode_unsigned(in, at, type == &qapi_type_size, &value));
    if (bits < 64 && value >= UINT64_C(1) << bits)
        return range_err(type, at);
    switch (type->size) {
    case 1: *(uint8_t *)out = (uint8_t)value; break;
    case 2: *(uint16_t *)out = (uint16_t)value; break;
    case 4: *(uint32_t *)out = (uint32_t)value; break;
    default: *(uint64_t *)out = value; break;
    }
    return NULL;
}

static struct err *decode_enum(const struct qapi_type *type, const struct json *in,
                               const struct place *at, int *out)
{
    const char *text;

    if (at->input == QAPI_KEYVAL)
        TRY(keyval_text(in, at, &text));
    else if (!(text = json_as_str(in)))
        return type_err(at, "string");
    *out = qapi_enum_value(type, text);
    if (*out >= 0)
        return NULL;
    *out = 0;
    return err_new("Parameter '%s' does not accept value '%s'", last_name(at), text);
}

static struct err *decode_null(const struct json *in, const struct place *at)
{
    bool is_null =
        at->input == QAPI_STRICT ? json_type_of(in) == JSON_NULL : str_eq(json_as_str(in), "");

    return is_null ? NULL : type_err(at, "null");
}

/* Objects and alternates: *out is what the slot of a member holds, a pointer to new memory. */
static struct err *decode_new(const struct qapi_type *type, const struct json *in,
                              const struct place *at, void **out)
{
    *out = try_calloc(1, type->size);
    if (!*out)
        return err_new_errno(ENOMEM, "Cannot decode '%s'", type->name);
    return decode_value(type, in, at, *out);
}

static struct err *decode_slot(const struct qapi_type *type, const struct json *in,
                               const struct place *at, void *slot)
{
    if (type->kind == QAPI_OBJECT || type->kind == QAPI_ALTERNATE)
        return decode_new(type, in, at, slot);
    return decode_value(type, in, at, slot);
}

/* Decodes the members into base; adds to *seen how many were there. */
static struct err *decode_members(const struct qapi_type *type, const struct json *in,
                                  const struct place *at, void *base, size_t *seen)
{
    for (uint32_t i = 0; i < type->count; i++) {
        const struct qapi_member *m = &type->members[i];
        const struct json *value = json_object_get(in, m->name);
        struct place place = { .up = at, .name = m->name, .input = at->input };

        if (!value) {
            if (m->presence == QAPI_REQUIRED)
                return path_err(&place, "Parameter ", "' is missing");
            continue;
        }
        ++*seen;
        if (m->presence == QAPI_OPTIONAL)
            *(bool *)((char *)base + m->set_offset) = true;
        TRY(decode_slot(m->type, value, &place, (char *)base + m->offset));
    }
    return NULL;
}

static bool is_member(const struct qapi_type *type, const char *name)
{
    for (uint32_t i = 0; type && i < type->count; i++)
        if (!strcmp(type->members[i].name, name))
            return true;
    return false;
}

static struct err *decode_object(const struct qapi_type *type, const struct json *in,
                                 const struct place *at, void *out)
{
    const struct qapi_type *branch = NULL;
    size_t seen = 0;
    const char *key;
    struct json *value;

    if (json_type_of(in) != JSON_OBJECT)
        return type_err(at, "object");
    TRY(decode_members(type, in, at, out, &seen));
    if (type->tag)
        branch = qapi_branch_type(type, *(int *)((char *)out + type->tag->offset));
    if (branch)
        TRY(decode_members(branch, in, at, (char *)out + type->union_offset, &seen));
    if (seen == json_object_size(in))
        return NULL;
    json_object_for_each(in, i, key, value) {
        struct place place = { .up = at, .name = key, .input = at->input };

        if (!is_member(type, key) && !is_member(branch, key))
            return path_err(&place, "Parameter ", "' is unexpected");
    }
    unreachable();
}

/* Which JSON types a type takes when it is one of several. */
static bool alternative_takes(const struct qapi_type *type, enum json_type json)
{
    switch (type->kind) {
    case QAPI_STR:
    case QAPI_ENUM: return json == JSON_STRING;
    case QAPI_INT:
    case QAPI_UINT: return json == JSON_INT || json == JSON_UINT;
    case QAPI_NUMBER: return json == JSON_INT || json == JSON_UINT || json == JSON_DOUBLE;
    case QAPI_BOOL: return json == JSON_BOOL;
    case QAPI_NULL: return json == JSON_NULL;
    case QAPI_OBJECT: return json == JSON_OBJECT;
    case QAPI_LIST: return json == JSON_ARRAY;
    case QAPI_ANY:
    case QAPI_ALTERNATE: return false;
    }
    unreachable();
}

static struct err *decode_alternate(const struct qapi_type *type, const struct json *in,
                                    const struct place *at, void *out)
{
    for (uint32_t i = 0; i < type->count; i++)
        if (alternative_takes(type->members[i].type, json_type_of(in))) {
            *(int *)out = (int)i;
            return decode_slot(type->members[i].type, in, at, (char *)out + type->union_offset);
        }
    return err_new("Invalid parameter type for '%s', expected: %s", last_name(at), type->name);
}

/* All lists have this layout. */
struct any_list {
    char *items;
    size_t len;
};

static struct err *decode_list(const struct qapi_type *type, const struct json *in,
                               const struct place *at, struct any_list *out)
{
    const struct qapi_type *element = type->element;
    size_t n;

    if (json_type_of(in) != JSON_ARRAY)
        return type_err(at, "array");
    n = json_array_len(in);
    if (!n)
        return NULL;
    out->items = try_calloc(n, element->size);
    if (!out->items)
        return err_new_errno(ENOMEM, "Cannot decode '%s'", type->name);
    for (size_t i = 0; i < n; i++) {
        struct place place = { .up = at, .index = i, .input = at->input };

        out->len = i + 1;
        TRY(decode_value(element, json_array_get(in, i), &place, out->items + i * element->size));
    }
    return NULL;
}

/* On an error, out holds what was decoded so far and can be given to qapi_fini. */
static struct err *decode_value(const struct qapi_type *type, const struct json *in,
                                const struct place *at, void *out)
{
    switch (type->kind) {
    case QAPI_STR: return decode_str(in, at, out);
    case QAPI_INT: return decode_int(type, in, at, out);
    case QAPI_UINT: return decode_uint(type, in, at, out);
    case QAPI_NUMBER: return decode_number(in, at, out);
    case QAPI_BOOL: return decode_bool(in, at, out);
    case QAPI_NULL: return decode_null(in, at);
    case QAPI_ANY: *(struct json **)out = json_ref(in); return NULL;
    case QAPI_ENUM: return decode_enum(type, in, at, out);
    case QAPI_OBJECT: return decode_object(type, in, at, out);
    case QAPI_ALTERNATE: return decode_alternate(type, in, at, out);
    case QAPI_LIST: return decode_list(type, in, at, out);
    }
    unreachable();
}

struct err *qapi_decode(const struct qapi_type *type, const struct json *in, enum qapi_input input,
                        void **out)
{
    struct place root = { .input = input };
    struct err *err;

    *out = NULL;
    err = decode_new(type, in, &root, out);
    if (err) {
        qapi_free(type, *out);
        *out = NULL;
    }
    return err;
}

void *qapi_clone(const struct qapi_type *type, const void *value)
{
    CLEANUP(json_free) struct json *json = qapi_encode(type, value);
    void *copy;
    struct err *err = qapi_decode(type, json, QAPI_STRICT, &copy);

    check(!err);
    return copy;
}
