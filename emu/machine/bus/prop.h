#ifndef EMU_MACHINE_BUS_PROP_H
#define EMU_MACHINE_BUS_PROP_H

/*
 * Properties of devices: a field of the instance, with the text and JSON forms users see.
 *
 * A class lists them in a table; the kinds are const data and more of them can be made beside a
 * family of devices.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/str.h"

struct device;
struct prop;

struct prop_kind {
    const char *type; /* "uint32", "str", "bool": as introspection shows it. */
    /* Sets the field from text or JSON. */
    struct err *(*set)(struct device *dev, const struct prop *prop, void *field,
                       const struct json *value);
    struct json *(*get)(struct device *dev, const struct prop *prop, const void *field);
    /* Changes the property of a device that works already; NULL: that is refused. */
    struct err *(*set_live)(struct device *dev, const struct prop *prop, void *field,
                            const struct json *value);
    /* As `info qtree` prints it; NULL: from get. */
    void (*print)(struct device *dev, const struct prop *prop, const void *field, struct str *out);
    void (*fini)(void *field); /* Frees what the field owns; NULL: nothing. */
};

struct prop {
    const char *name;
    const struct prop_kind *kind;
    size_t offset;
    int64_t number;           /* Default. */
    const char *text;         /* Default of text kinds, or NULL. */
    const char *desc;         /* For help, or NULL. */
    const char *const *names; /* Of an enum: values, ends with NULL. */
    uint64_t bit;             /* Of PROP_BIT: the mask. */
    bool hidden;              /* Not in `info qtree`. */
};

/* A table of properties of a part of an instance that begins at base. */
struct prop_group {
    const struct prop *props; /* Ends with name NULL. */
    size_t base;
};
#define PROP_GROUPS_END                                                                            \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

extern const struct prop_kind prop_bool, prop_bit, prop_u8, prop_u16, prop_u32, prop_u64, prop_i32,
    prop_size, prop_str, prop_enum, prop_on_off_auto, prop_size32, prop_blocksize, prop_link;

enum on_off_auto { ON_OFF_AUTO_AUTO, ON_OFF_AUTO_ON, ON_OFF_AUTO_OFF };

#define PROP(n, k, s, f, def)                                                                      \
    {                                                                                              \
        .name = (n), .kind = &prop_##k, .offset = offsetof(s, f), .number = (def)                  \
    }
#define PROP_HIDDEN(n, k, s, f, def)                                                               \
    {                                                                                              \
        .name = (n), .kind = &prop_##k, .offset = offsetof(s, f), .number = (def), .hidden = true  \
    }
#define PROP_TEXT(n, k, s, f)                                                                      \
    {                                                                                              \
        .name = (n), .kind = &prop_##k, .offset = offsetof(s, f)                                   \
    }
#define PROP_ENUM(n, s, f, def, values)                                                            \
    {                                                                                              \
        .name = (n), .kind = &prop_enum, .offset = offsetof(s, f), .number = (def),                \
        .names = (values)                                                                          \
    }
#define PROP_BIT(n, s, f, mask, def)                                                               \
    {                                                                                              \
        .name = (n), .kind = &prop_bit, .offset = offsetof(s, f), .number = (def), .bit = (mask)   \
    }
#define PROP_END                                                                                   \
    {                                                                                              \
        .name = NULL                                                                               \
    }

#endif
