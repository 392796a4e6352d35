/* The common kinds of properties. Texts of errors are the reference's. */
#include "emu/machine/bus/prop.h"

#include <inttypes.h>

#include "emu/base/alloc.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"

static struct err *bad_type(const struct prop *prop, const char *expected)
{
    return err_new("Invalid parameter type for '%s', expected: %s", prop->name, expected);
}

/* ---- Booleans ---- */

static struct err *to_bool(const struct prop *prop, const struct json *value, bool *out)
{
    const char *text = json_as_str(value);

    if (json_as_bool(value, out))
        return NULL;
    if (!text)
        return bad_type(prop, "boolean");
    if (!opts_parse_bool(text, out))
        return err_new("Parameter '%s' expects 'on' or 'off'", prop->name);
    return NULL;
}

static struct err *set_bool(struct device *dev, const struct prop *prop, void *field,
                            const struct json *value)
{
    return to_bool(prop, value, field);
}

static struct json *get_bool(struct device *dev, const struct prop *prop, const void *field)
{
    return json_bool(*(const bool *)field);
}

const struct prop_kind prop_bool = { .type = "bool", .set = set_bool, .get = get_bool };

static struct err *set_bit(struct device *dev, const struct prop *prop, void *field,
                           const struct json *value)
{
    uint64_t *bits = field;
    bool on;

    TRY(to_bool(prop, value, &on));
    *bits = on ? *bits | prop->bit : *bits & ~prop->bit;
    return NULL;
}

static struct json *get_bit(struct device *dev, const struct prop *prop, const void *field)
{
    return json_bool((*(const uint64_t *)field & prop->bit) != 0);
}

const struct prop_kind prop_bit = { .type = "bool", .set = set_bit, .get = get_bit };

/* ---- Numbers ---- */

static struct err *to_u64(const struct prop *prop, const struct json *value, uint64_t max,
                          const char *type, uint64_t *out)
{
    const char *text = json_as_str(value);
    uint64_t number;
    int64_t negative;

    if (!json_as_uint64(value, &number)) {
        if (!text)
            return json_as_int64(value, &negative)
                       ? err_new("Parameter '%s' expects %s", prop->name, type)
                       : bad_type(prop, "integer");
        if (!parse_u64(text, &number))
            return err_new("Parameter '%s' expects %s", prop->name, type);
    }
    if (number > max)
        return err_new("Parameter '%s' expects %s", prop->name, type);
    *out = number;
    return NULL;
}

#define UNSIGNED(kind, c_type, max, text)                                                          \
    static struct err *set_##kind(struct device *dev, const struct prop *prop, void *field,        \
                                  const struct json *value)                                        \
    {                                                                                              \
        uint64_t number;                                                                           \
                                                                                                   \
        TRY(to_u64(prop, value, max, text, &number));                                              \
        *(c_type *)field = (c_type)number;                                                         \
        return NULL;                                                                               \
    }                                                                                              \
    static struct json *get_##kind(struct device *dev, const struct prop *prop, const void *field) \
    {                                                                                              \
        return json_uint(*(const c_type *)field);                                                  \
    }                                                                                              \
    const struct prop_kind prop_##kind = { .type = text, .set = set_##kind, .get = get_##kind }

UNSIGNED(u8, uint8_t, UINT8_MAX, "uint8");
UNSIGNED(u16, uint16_t, UINT16_MAX, "uint16");
UNSIGNED(u32, uint32_t, UINT32_MAX, "uint32");
UNSIGNED(u64, uint64_t, UINT64_MAX, "uint64");

#undef UNSIGNED

static struct err *set_i32(struct device *dev, const struct prop *prop, void *field,
                           const struct json *value)
{
    const char *text = json_as_str(value);
    int64_t number;

    if (!json_as_int64(value, &number)) {
        if (!text)
            return bad_type(prop, "integer");
        if (!parse_i64(text, &number))
            return err_new("Parameter '%s' expects int32", prop->name);
    }
    if (number < INT32_MIN || number > INT32_MAX)
        return err_new("Parameter '%s' expects int32", prop->name);
    *(int32_t *)field = (int32_t)number;
    return NULL;
}

static struct json *get_i32(struct device *dev, const struct prop *prop, const void *field)
{
    return json_int(*(const int32_t *)field);
}

const struct prop_kind prop_i32 = { .type = "int32", .set = set_i32, .get = get_i32 };

static struct err *set_size(struct device *dev, const struct prop *prop, void *field,
                            const struct json *value)
{
    const char *text = json_as_str(value);

    if (json_as_uint64(value, field))
        return NULL;
    if (!text)
        return bad_type(prop, "size");
    if (parse_size(text, field))
        return err_new("Parameter '%s' expects a non-negative number below 2^64", prop->name);
    return NULL;
}

const struct prop_kind prop_size = { .type = "size", .set = set_size, .get = get_u64 };

static struct err *set_size32(struct device *dev, const struct prop *prop, void *field,
                              const struct json *value)
{
    uint64_t size;

    TRY(set_size(dev, prop, &size, value));
    if (size > UINT32_MAX)
        return err_new("Property %s doesn't take value %" PRIu64 " (maximum: %" PRIu32 ")",
                       prop->name, size, UINT32_MAX);
    *(uint32_t *)field = (uint32_t)size;
    return NULL;
}

static void print_size32(struct device *dev, const struct prop *prop, const void *field,
                         struct str *out)
{
    uint32_t size = *(const uint32_t *)field;
    char human[SIZE_HUMAN_MAX];

    str_addf(out, "%" PRIu32 " (%s)", size, size_human(size, human, sizeof(human)));
}

const struct prop_kind prop_size32 = {
    .type = "size", .set = set_size32, .get = get_u32, .print = print_size32
};

/* A block size: 0 (not set) or a power of two. */
#define BLOCKSIZE_MIN 512
#define BLOCKSIZE_MAX (2u << 20)

static struct err *set_blocksize(struct device *dev, const struct prop *prop, void *field,
                                 const struct json *value)
{
    uint64_t size;

    TRY(set_size(dev, prop, &size, value));
    if (size && (size < BLOCKSIZE_MIN || size > BLOCKSIZE_MAX))
        return err_new(
            "parameter %s must be greater than or equal to %d and less than or equal to %u",
            prop->name, BLOCKSIZE_MIN, BLOCKSIZE_MAX);
    if (size & (size - 1))
        return err_new("parameter %s must be a power of 2", prop->name);
    *(uint32_t *)field = (uint32_t)size;
    return NULL;
}

const struct prop_kind prop_blocksize = {
    .type = "size", .set = set_blocksize, .get = get_u32, .print = print_size32
};

/* ---- Text ---- */

static struct err *set_str(struct device *dev, const struct prop *prop, void *field,
                           const struct json *value)
{
    const char *text = json_as_str(value);
    char **at = field;

    if (!text)
        return bad_type(prop, "string");
    xfree(*at);
    *at = xstrdup(text);
    return NULL;
}

static struct json *get_str(struct device *dev, const struct prop *prop, const void *field)
{
    const char *text = *(char *const *)field;

    return json_str(text ? text : "");
}

static void fini_str(void *field)
{
    char **at = field;

    xfree(*at);
    *at = NULL;
}

const struct prop_kind prop_str = {
    .type = "str", .set = set_str, .get = get_str, .fini = fini_str
};

/* The id of a user's object; the device looks for it. */
const struct prop_kind prop_link = {
    .type = "link<iothread>", .set = set_str, .get = get_str, .fini = fini_str
};

/* ---- Choices ---- */

static struct err *set_enum(struct device *dev, const struct prop *prop, void *field,
                            const struct json *value)
{
    const char *text = json_as_str(value);
    int i = 0;

    if (!text)
        return bad_type(prop, "string");
    while (prop->names[i] && !str_eq(prop->names[i], text))
        i++;
    if (!prop->names[i])
        return err_new("Parameter '%s' does not accept value '%s'", prop->name, text);
    *(int *)field = i;
    return NULL;
}

static struct json *get_enum(struct device *dev, const struct prop *prop, const void *field)
{
    return json_str(prop->names[*(const int *)field]);
}

const struct prop_kind prop_enum = { .type = "str", .set = set_enum, .get = get_enum };

static const char *const on_off_auto_names[] = { "auto", "on", "off", NULL };

static struct err *set_on_off_auto(struct device *dev, const struct prop *prop, void *field,
                                   const struct json *value)
{
    struct prop named = *prop;
    bool on;

    if (json_as_bool(value, &on)) {
        *(int *)field = on ? ON_OFF_AUTO_ON : ON_OFF_AUTO_OFF;
        return NULL;
    }
    named.names = on_off_auto_names;
    return set_enum(dev, &named, field, value);
}

static struct json *get_on_off_auto(struct device *dev, const struct prop *prop, const void *field)
{
    return json_str(on_off_auto_names[*(const int *)field]);
}

const struct prop_kind prop_on_off_auto = { .type = "OnOffAuto",
                                            .set = set_on_off_auto,
                                            .get = get_on_off_auto };
