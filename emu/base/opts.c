#include "emu/base/opts.h"

#include <errno.h>
#include <string.h>

#include "emu/base/str.h"

void opts_init(struct opts *o, const struct json *obj) { opts_init_prefix(o, obj, ""); }

void opts_init_prefix(struct opts *o, const struct json *obj, const char *prefix)
{
    o->obj = obj;
    o->prefix = prefix;
    map_init(&o->used);
}

void opts_fini(struct opts *o) { map_fini(&o->used); }

bool opts_has(const struct opts *o, const char *name) { return json_object_has(o->obj, name); }

void opts_mark(struct opts *o, const char *name) { map_put(&o->used, name, o); }

const char *opts_unused(const struct opts *o)
{
    const char *key;
    struct json *value;

    json_object_for_each(o->obj, i, key, value) {
        if (!map_has(&o->used, key))
            return key;
    }
    return NULL;
}

struct err *opts_check_unused(const struct opts *o)
{
    const char *key = opts_unused(o);

    return key ? err_new("Parameter '%s%s' is unexpected", o->prefix, key) : NULL;
}

bool opts_parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = { "on", "yes", "true", "y" };
    static const char *const no[] = { "off", "no", "false", "n" };

    if (str_index(text, yes, ARRAY_LEN(yes)) >= 0)
        *out = true;
    else if (str_index(text, no, ARRAY_LEN(no)) >= 0)
        *out = false;
    else
        return false;
    return true;
}

static struct err *missing(const struct opts *o, const char *name)
{
    return err_new("Parameter '%s%s' is missing", o->prefix, name);
}

static struct err *wrong_type(const struct opts *o, const char *name, const char *expected)
{
    return err_new("Invalid parameter type for '%s%s', expected: %s", o->prefix, name, expected);
}

static struct err *bad_value(const struct opts *o, const char *name, const char *expected)
{
    return err_new("Parameter '%s%s' expects %s", o->prefix, name, expected);
}

/* The value of a parameter, counted as read; NULL when missing. */
static const struct json *take(struct opts *o, const char *name)
{
    const struct json *v = json_object_get(o->obj, name);

    if (v)
        opts_mark(o, name);
    return v;
}

struct err *opts_str_opt(struct opts *o, const char *name, const char **out)
{
    const struct json *v = take(o, name);

    if (!v)
        return NULL;
    if (!json_as_str(v))
        return wrong_type(o, name, "string");
    *out = json_as_str(v);
    return NULL;
}

struct err *opts_bool_opt(struct opts *o, const char *name, bool *out)
{
    const struct json *v = take(o, name);

    if (!v || json_as_bool(v, out))
        return NULL;
    if (!json_as_str(v))
        return wrong_type(o, name, "boolean");
    return opts_parse_bool(json_as_str(v), out) ? NULL : bad_value(o, name, "'on' or 'off'");
}

struct err *opts_u64_opt(struct opts *o, const char *name, uint64_t *out)
{
    const struct json *v = take(o, name);

    if (!v || json_as_uint64(v, out))
        return NULL;
    if (!json_as_str(v))
        return wrong_type(o, name, "integer");
    return parse_u64(json_as_str(v), out) ? NULL : bad_value(o, name, "integer");
}

struct err *opts_i64_opt(struct opts *o, const char *name, int64_t *out)
{
    const struct json *v = take(o, name);

    if (!v || json_as_int64(v, out))
        return NULL;
    if (!json_as_str(v))
        return wrong_type(o, name, "integer");
    return parse_i64(json_as_str(v), out) ? NULL : bad_value(o, name, "integer");
}

struct err *opts_size_opt(struct opts *o, const char *name, uint64_t *out)
{
    const struct json *v = take(o, name);
    struct err *err;

    if (!v || json_as_uint64(v, out))
        return NULL;
    if (!json_as_str(v))
        return wrong_type(o, name, "integer");
    err = parse_size(json_as_str(v), out);
    if (!err)
        return NULL;
    if (err_errnum(err) == ERANGE) {
        err_free(err);
        return err_new("Value '%s' is out of range for parameter '%s%s'", json_as_str(v), o->prefix,
                       name);
    }
    err_free(err);
    err = bad_value(o, name, "a non-negative number below 2^64");
    err_hint_append(err,
                    "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                    "and exabytes, respectively.\n");
    return err;
}

struct err *opts_enum_opt(struct opts *o, const char *name, const char *const *names, size_t n,
                          int *out)
{
    const struct json *v = take(o, name);
    int index;

    if (!v)
        return NULL;
    if (!json_as_str(v))
        return wrong_type(o, name, "string");
    index = str_index(json_as_str(v), names, n);
    if (index < 0)
        return err_new("Parameter '%s%s' does not accept value '%s'", o->prefix, name,
                       json_as_str(v));
    *out = index;
    return NULL;
}

struct err *opts_child_opt(struct opts *o, const char *name, const struct json **out)
{
    const struct json *v = take(o, name);

    if (v)
        *out = v;
    return NULL;
}

struct err *opts_object_opt(struct opts *o, const char *name, const struct json **out)
{
    const struct json *v = take(o, name);

    if (v && json_type_of(v) != JSON_OBJECT)
        return wrong_type(o, name, "object");
    if (v)
        *out = v;
    return NULL;
}

struct err *opts_array_opt(struct opts *o, const char *name, const struct json **out)
{
    const struct json *v = take(o, name);

    if (v && json_type_of(v) != JSON_ARRAY)
        return wrong_type(o, name, "array");
    if (v)
        *out = v;
    return NULL;
}

/* The readers of what must be there. */
#define REQUIRED(o, name)                                                                          \
    do {                                                                                           \
        if (!opts_has((o), (name)))                                                                \
            return missing((o), (name));                                                           \
    } while (0)

struct err *opts_str(struct opts *o, const char *name, const char **out)
{
    REQUIRED(o, name);
    return opts_str_opt(o, name, out);
}

struct err *opts_bool(struct opts *o, const char *name, bool *out)
{
    REQUIRED(o, name);
    return opts_bool_opt(o, name, out);
}

struct err *opts_u64(struct opts *o, const char *name, uint64_t *out)
{
    REQUIRED(o, name);
    return opts_u64_opt(o, name, out);
}

struct err *opts_i64(struct opts *o, const char *name, int64_t *out)
{
    REQUIRED(o, name);
    return opts_i64_opt(o, name, out);
}

struct err *opts_size(struct opts *o, const char *name, uint64_t *out)
{
    REQUIRED(o, name);
    return opts_size_opt(o, name, out);
}

struct err *opts_enum(struct opts *o, const char *name, const char *const *names, size_t n,
                      int *out)
{
    REQUIRED(o, name);
    return opts_enum_opt(o, name, names, n, out);
}

struct err *opts_child(struct opts *o, const char *name, const struct json **out)
{
    REQUIRED(o, name);
    return opts_child_opt(o, name, out);
}
