/*
 * Types of the schema at run time: descriptors, and the functions that work on any value by its
 * descriptor. tools/qapi_gen.py makes the C types and their descriptors from *.json.
 *
 * A value of schema type T is stored as
 *   str              char *, owned
 *   int, uint8, ...  int64_t, uint8_t, ...; size is uint64_t
 *   number           double
 *   bool             bool
 *   any              struct json *, owned
 *   an enum          enum qapi_<name>
 *   struct or union  struct qapi_<name>; as a member a pointer to it, owned
 *   alternate        the same: a kind and a union u
 *   [T]              struct qapi_<name>_list { items, len }, items owned; objects lie in it by
 * value Optional members are OPT(type) for numbers, bools, enums and lists; for what is a pointer
 * anyway, NULL means absent.
 *
 * Nothing here has state. Values belong to the caller and are freed with qapi_free().
 */
#ifndef EMU_QMP_SCHEMA_QAPI_H
#define EMU_QMP_SCHEMA_QAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/json.h"

enum qapi_kind {
    QAPI_STR,
    QAPI_INT, /* Signed; the width is the descriptor's size. */
    QAPI_UINT,
    QAPI_NUMBER,
    QAPI_BOOL,
    QAPI_NULL,
    QAPI_ANY,
    QAPI_ENUM,
    QAPI_OBJECT, /* struct or union */
    QAPI_ALTERNATE,
    QAPI_LIST,
};

/* How the absence of a member shows. */
enum qapi_presence { QAPI_REQUIRED, QAPI_OPTIONAL, QAPI_OPTIONAL_PTR };

/* A member of an object, or an alternative of an alternate. */
struct qapi_member {
    const char *name; /* On the wire. */
    const struct qapi_type *type;
    uint32_t offset;     /* Of the value in its struct. */
    uint32_t set_offset; /* QAPI_OPTIONAL: of the `set` of its OPT. */
    enum qapi_presence presence;
    const char *const *features; /* NULL, or ended by NULL. */
};

/* A value of an enum. */
struct qapi_value {
    const char *name;
    const char *const *features;
};

/* A branch of a union, in schema order. */
struct qapi_branch {
    int value; /* Of the tag. */
    const struct qapi_type *type;
};

struct qapi_type {
    const char *name; /* In the schema. */
    enum qapi_kind kind;
    uint32_t size;                      /* Bytes of a value. */
    uint32_t count;                     /* Members, alternatives or values. */
    const struct qapi_member *members;  /* Object: with those of the base; alternate. */
    const struct qapi_value *values;    /* Enum. */
    const struct qapi_type *element;    /* List. */
    const struct qapi_member *tag;      /* Union, else NULL. */
    const struct qapi_branch *branches; /* Union: ended by a NULL type. */
    uint32_t union_offset;              /* Union, alternate: of `u`. */
    const char *const *features;
};

/* Where the input of a decoder comes from. */
enum qapi_input {
    QAPI_STRICT, /* JSON: every value has its JSON type. */
    QAPI_KEYVAL, /* keyval_parse: scalars are strings, "on" is true. */
};

/*
 * Checks in against the type and returns a new value in *out (free with qapi_free). The error names
 * the parameter. in is borrowed. A union takes only the members of its base and its branch; nothing
 * that is not a member is accepted.
 */
MUST_USE struct err *qapi_decode(const struct qapi_type *type, const struct json *in,
                                 enum qapi_input input, void **out);

/* Returns new JSON for the value at `value`: never keyval, absent members left out. A missing str
 * that is required is "". */
MUST_USE struct json *qapi_encode(const struct qapi_type *type, const void *value);

/* Returns a new deep copy. */
MUST_USE void *qapi_clone(const struct qapi_type *type, const void *value);

/* Frees what qapi_decode made, or any value on the heap with all it holds. NULL is fine. */
void qapi_free(const struct qapi_type *type, void *value);

/* Frees what a value holds and zeroes it. */
void qapi_fini(const struct qapi_type *type, void *value);

/* Name of an enum value; NULL when out of range. */
const char *qapi_enum_name(const struct qapi_type *type, int value);
/* Value of a name, or -1. */
int qapi_enum_value(const struct qapi_type *type, const char *name);

/* The type of the branch that the tag selects; NULL when that branch is empty. */
const struct qapi_type *qapi_branch_type(const struct qapi_type *type, int tag);

/* Whether a NULL-ended list of features (or NULL) has one. */
bool qapi_has_feature(const char *const *features, const char *feature);

/* Builtin types. */
extern const struct qapi_type qapi_type_str, qapi_type_int, qapi_type_number, qapi_type_bool,
    qapi_type_null, qapi_type_any, qapi_type_size, qapi_type_int8, qapi_type_int16, qapi_type_int32,
    qapi_type_int64, qapi_type_uint8, qapi_type_uint16, qapi_type_uint32, qapi_type_uint64,
    qapi_type_empty;

/* Lists of builtin types; generated code refers to these when the element is builtin. */
struct qapi_str_list {
    char **items;
    size_t len;
};
struct qapi_int_list {
    int64_t *items;
    size_t len;
};
struct qapi_uint64_list {
    uint64_t *items;
    size_t len;
};
struct qapi_any_list {
    struct json **items;
    size_t len;
};
extern const struct qapi_type qapi_type_str_list, qapi_type_int_list, qapi_type_uint64_list,
    qapi_type_any_list;

/* Appends one zeroed element to a list of elem_size elements and returns it. For the generated
 * qapi_<name>_list_add(). */
void *qapi_list_grow(void *items, size_t *len, size_t elem_size);

#endif
