/* Freeing and looking at typed values; the builtin types. */
#include "emu/qmp/schema/qapi.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

#define BUILTIN(c, wire, k, type)                                                                  \
    const struct qapi_type qapi_type_##c = { .name = wire, .kind = k, .size = sizeof(type) }
BUILTIN(str, "str", QAPI_STR, char *);
BUILTIN(int, "int", QAPI_INT, int64_t);
BUILTIN(number, "number", QAPI_NUMBER, double);
BUILTIN(bool, "bool", QAPI_BOOL, bool);
BUILTIN(null, "null", QAPI_NULL, char);
BUILTIN(any, "any", QAPI_ANY, struct json *);
BUILTIN(size, "size", QAPI_UINT, uint64_t);
BUILTIN(int8, "int8", QAPI_INT, int8_t);
BUILTIN(int16, "int16", QAPI_INT, int16_t);
BUILTIN(int32, "int32", QAPI_INT, int32_t);
BUILTIN(int64, "int64", QAPI_INT, int64_t);
BUILTIN(uint8, "uint8", QAPI_UINT, uint8_t);
BUILTIN(uint16, "uint16", QAPI_UINT, uint16_t);
BUILTIN(uint32, "uint32", QAPI_UINT, uint32_t);
BUILTIN(uint64, "uint64", QAPI_UINT, uint64_t);
#undef BUILTIN

/* Arguments of a command that has none, results of one that returns nothing. */
const struct qapi_type qapi_type_empty = { .name = "q_empty", .kind = QAPI_OBJECT, .size = 0 };

#define BUILTIN_LIST(c)                                                                            \
    const struct qapi_type qapi_type_##c##_list = { .name = #c "List",                             \
                                                    .kind = QAPI_LIST,                             \
                                                    .size = sizeof(struct qapi_##c##_list),        \
                                                    .element = &qapi_type_##c }
BUILTIN_LIST(str);
BUILTIN_LIST(int);
BUILTIN_LIST(uint64);
BUILTIN_LIST(any);
#undef BUILTIN_LIST

static void fini_slot(const struct qapi_type *type, void *slot)
{
    if (type->kind == QAPI_OBJECT || type->kind == QAPI_ALTERNATE) {
        qapi_free(type, *(void **)slot);
        *(void **)slot = NULL;
    } else {
        qapi_fini(type, slot);
    }
}

static void fini_members(const struct qapi_type *type, char *base)
{
    for (uint32_t i = 0; i < type->count; i++)
        fini_slot(type->members[i].type, base + type->members[i].offset);
}

static void fini_list(const struct qapi_type *type, void *value)
{
    struct {
        char *items;
        size_t len;
    } *list = value;

    for (size_t i = 0; i < list->len; i++)
        qapi_fini(type->element, list->items + i * type->element->size);
    xfree(list->items);
}

void qapi_fini(const struct qapi_type *type, void *value)
{
    const struct qapi_type *branch = NULL;
    char *base = value;

    if (type->tag)
        branch = qapi_branch_type(type, *(int *)(base + type->tag->offset));
    switch (type->kind) {
    case QAPI_STR: xfree(*(char **)value); break;
    case QAPI_ANY: json_free(*(struct json **)value); break;
    case QAPI_LIST: fini_list(type, value); break;
    case QAPI_OBJECT:
        if (branch)
            fini_members(branch, base + type->union_offset);
        fini_members(type, base);
        break;
    case QAPI_ALTERNATE:
        fini_slot(type->members[*(int *)value].type, base + type->union_offset);
        break;
    case QAPI_INT:
    case QAPI_UINT:
    case QAPI_NUMBER:
    case QAPI_BOOL:
    case QAPI_NULL:
    case QAPI_ENUM: break;
    }
    memset(value, 0, type->size);
}

void qapi_free(const struct qapi_type *type, void *value)
{
    if (!value)
        return;
    qapi_fini(type, value);
    xfree(value);
}

const char *qapi_enum_name(const struct qapi_type *type, int value)
{
    check(type->kind == QAPI_ENUM);
    return value >= 0 && (uint32_t)value < type->count ? type->values[value].name : NULL;
}

int qapi_enum_value(const struct qapi_type *type, const char *name)
{
    check(type->kind == QAPI_ENUM);
    for (uint32_t i = 0; i < type->count; i++)
        if (!strcmp(type->values[i].name, name))
            return (int)i;
    return -1;
}

const struct qapi_type *qapi_branch_type(const struct qapi_type *type, int tag)
{
    for (const struct qapi_branch *b = type->branches; b && b->type; b++)
        if (b->value == tag)
            return b->type;
    return NULL;
}

bool qapi_has_feature(const char *const *features, const char *feature)
{
    for (; features && *features; features++)
        if (!strcmp(*features, feature))
            return true;
    return false;
}

void *qapi_list_grow(void *items, size_t *len, size_t elem_size)
{
    size_t n = *len;

    /* The capacity is the next power of two, so it need not be stored. */
    if ((n & (n - 1)) == 0)
        items = xrealloc_array(items, n ? n * 2 : 1, elem_size);
    memset((char *)items + n * elem_size, 0, elem_size);
    *len = n + 1;
    return items;
}
