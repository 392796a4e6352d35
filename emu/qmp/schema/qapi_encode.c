/* Typed values to JSON. */
#include "emu/qmp/schema/qapi.h"

#include "emu/base/check.h"

static struct json *encode_int(const struct qapi_type *type, const void *value)
{
    switch (type->size) {
    case 1: return json_int(*(const int8_t *)value);
    case 2: return json_int(*(const int16_t *)value);
    case 4: return json_int(*(const int32_t *)value);
    default: return json_int(*(const int64_t *)value);
    }
}

static struct json *encode_uint(const struct qapi_type *type, const void *value)
{
    uint64_t u;

    switch (type->size) {
    case 1: u = *(const uint8_t *)value; break;
    case 2: u = *(const uint16_t *)value; break;
    case 4: u = *(const uint32_t *)value; break;
    default: u = *(const uint64_t *)value; break;
    }
    return u <= INT64_MAX ? json_int((int64_t)u) : json_uint(u);
}

/* What a member's slot holds: objects and alternates are behind a pointer. */
static struct json *encode_slot(const struct qapi_type *type, const void *slot)
{
    if (type->kind == QAPI_OBJECT || type->kind == QAPI_ALTERNATE) {
        const void *value = *(const void *const *)slot;

        return value ? qapi_encode(type, value) : json_object();
    }
    return qapi_encode(type, slot);
}

static void encode_members(const struct qapi_type *type, const char *base, struct json *out)
{
    for (uint32_t i = 0; i < type->count; i++) {
        const struct qapi_member *m = &type->members[i];

        if (m->presence == QAPI_OPTIONAL && !*(const bool *)(base + m->set_offset))
            continue;
        if (m->presence == QAPI_OPTIONAL_PTR && !*(const void *const *)(base + m->offset))
            continue;
        json_object_set(out, m->name, encode_slot(m->type, base + m->offset));
    }
}

static struct json *encode_object(const struct qapi_type *type, const char *value)
{
    struct json *out = json_object();
    const struct qapi_type *branch;

    encode_members(type, value, out);
    if (type->tag) {
        branch = qapi_branch_type(type, *(const int *)(value + type->tag->offset));
        if (branch)
            encode_members(branch, value + type->union_offset, out);
    }
    return out;
}

static struct json *encode_list(const struct qapi_type *type, const void *value)
{
    const struct {
        const char *items;
        size_t len;
    } *list = value;
    struct json *out = json_array();

    for (size_t i = 0; i < list->len; i++)
        json_array_add(out, qapi_encode(type->element, list->items + i * type->element->size));
    return out;
}

static struct json *encode_alternate(const struct qapi_type *type, const char *value)
{
    int kind = *(const int *)value;

    check(kind >= 0 && (uint32_t)kind < type->count);
    return encode_slot(type->members[kind].type, value + type->union_offset);
}

struct json *qapi_encode(const struct qapi_type *type, const void *value)
{
    const char *text;

    switch (type->kind) {
    case QAPI_STR: text = *(char *const *)value; return json_str(text ? text : "");
    case QAPI_INT: return encode_int(type, value);
    case QAPI_UINT: return encode_uint(type, value);
    case QAPI_NUMBER: return json_double(*(const double *)value);
    case QAPI_BOOL: return json_bool(*(const bool *)value);
    case QAPI_NULL: return json_null();
    case QAPI_ANY:
        return *(struct json *const *)value ? json_ref(*(struct json *const *)value) : json_null();
    case QAPI_ENUM:
        text = qapi_enum_name(type, *(const int *)value);
        check(text != NULL);
        return json_str(text);
    case QAPI_OBJECT: return encode_object(type, value);
    case QAPI_ALTERNATE: return encode_alternate(type, value);
    case QAPI_LIST: return encode_list(type, value);
    }
    unreachable();
}
