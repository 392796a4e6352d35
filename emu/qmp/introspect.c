/* See introspect.h. */
#include "emu/qmp/introspect.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"
#include "emu/base/vec.h"

struct walk {
    struct json *out;                      /* The answer. */
    VEC(const struct qapi_type *) used;    /* In order of first use; grows while it is walked. */
    VEC(const struct qapi_type *) masked;  /* The index is the name. */
};

/* All widths look the same on the wire. */
static const struct qapi_type *canonical(const struct qapi_type *type)
{
    if (type->kind == QAPI_INT || type->kind == QAPI_UINT)
        return &qapi_type_int;
    if (type->kind == QAPI_LIST &&
        (type->element->kind == QAPI_INT || type->element->kind == QAPI_UINT))
        return &qapi_type_int_list;
    return type;
}

static bool is_builtin(const struct qapi_type *type)
{
    return type->kind != QAPI_ENUM && type->kind != QAPI_OBJECT && type->kind != QAPI_ALTERNATE &&
           type->kind != QAPI_LIST;
}

static size_t mask(struct walk *w, const struct qapi_type *type)
{
    for (size_t i = 0; i < w->masked.len; i++)
        if (w->masked.items[i] == type)
            return i;
    vec_push(&w->masked, type);
    return w->masked.len - 1;
}

/* Notes that a type is used; returns its name, a new JSON string. */
static struct json *use(struct walk *w, const struct qapi_type *type)
{
    bool known = false;

    type = canonical(type ? type : &qapi_type_empty);
    vec_for_each(old, &w->used)
        known |= *old == type;
    if (!known)
        vec_push(&w->used, type);
    if (type->kind == QAPI_LIST) {
        CLEANUP(json_free) struct json *element = use(w, type->element);

        return json_strf("[%s]", json_get_str(element));
    }
    return is_builtin(type) ? json_str(type->name) : json_strf("%zu", mask(w, type));
}

static void add_features(struct json *entity, const char *const *features)
{
    struct json *list;

    if (!features)
        return;
    list = json_array();
    for (; *features; features++)
        json_array_add_str(list, *features);
    json_object_set(entity, "features", list);
}

/* Adds an entity to the answer; takes name, returns it borrowed. */
static struct json *add(struct walk *w, struct json *name, const char *meta)
{
    struct json *entity = json_object();

    json_object_set(entity, "name", name);
    json_object_set_str(entity, "meta-type", meta);
    json_array_add(w->out, entity);
    return entity;
}

static void add_commands(struct walk *w, const struct qmp_command_spec *spec)
{
    struct json *entity = add(w, json_str(spec->name), "command");

    json_object_set(entity, "arg-type", use(w, spec->args));
    json_object_set(entity, "ret-type", use(w, spec->ret));
    if (spec->flags & QMP_OOB)
        json_object_set_bool(entity, "allow-oob", true);
    add_features(entity, spec->features);
}

static void add_event(struct walk *w, const struct qmp_event_spec *spec)
{
    struct json *entity = add(w, json_str(spec->name), "event");

    json_object_set(entity, "arg-type", use(w, spec->data));
    add_features(entity, spec->features);
}

static void add_builtin(struct walk *w, const struct qapi_type *type)
{
    static const char *const json_types[] = {
        [QAPI_STR] = "string", [QAPI_INT] = "int",   [QAPI_NUMBER] = "number",
        [QAPI_BOOL] = "boolean", [QAPI_NULL] = "null", [QAPI_ANY] = "value",
    };

    json_object_set_str(add(w, json_str(type->name), "builtin"), "json-type",
                        json_types[type->kind]);
}

static void add_enum(struct walk *w, struct json *entity, const struct qapi_type *type)
{
    struct json *members = json_array(), *values = json_array();

    (void)w;
    for (uint32_t i = 0; i < type->count; i++) {
        struct json *member = json_object();

        json_object_set_str(member, "name", type->values[i].name);
        add_features(member, type->values[i].features);
        json_array_add(members, member);
        json_array_add_str(values, type->values[i].name);
    }
    json_object_set(entity, "members", members);
    json_object_set(entity, "values", values);
}

/* The branches as the schema lists them, and then all other values of the tag. */
static struct json *variants(struct walk *w, const struct qapi_type *type)
{
    const struct qapi_type *tag = type->tag->type;
    struct json *out = json_array();

    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < tag->count; i++) {
            const struct qapi_type *branch = qapi_branch_type(type, (int)i);
            struct json *variant;

            if (!branch == !pass)
                continue;
            variant = json_object();
            json_object_set_str(variant, "case", tag->values[i].name);
            json_object_set(variant, "type", use(w, branch));
            json_array_add(out, variant);
        }
    return out;
}

static void add_object(struct walk *w, struct json *entity, const struct qapi_type *type)
{
    struct json *members = json_array();

    for (uint32_t i = 0; i < type->count; i++) {
        const struct qapi_member *m = &type->members[i];
        struct json *member = json_object();

        json_object_set_str(member, "name", m->name);
        json_object_set(member, "type", use(w, m->type));
        if (m->presence != QAPI_REQUIRED)
            json_object_set(member, "default", json_null());
        add_features(member, m->features);
        json_array_add(members, member);
    }
    json_object_set(entity, "members", members);
    if (type->tag) {
        json_object_set_str(entity, "tag", type->tag->name);
        json_object_set(entity, "variants", variants(w, type));
    }
}

static void add_alternate(struct walk *w, struct json *entity, const struct qapi_type *type)
{
    struct json *members = json_array();

    for (uint32_t i = 0; i < type->count; i++) {
        struct json *member = json_object();

        json_object_set(member, "type", use(w, type->members[i].type));
        json_array_add(members, member);
    }
    json_object_set(entity, "members", members);
}

static void add_type(struct walk *w, const struct qapi_type *type)
{
    struct json *entity = NULL;

    switch (type->kind) {
    case QAPI_ENUM:
        entity = add(w, use(w, type), "enum");
        add_enum(w, entity, type);
        break;
    case QAPI_OBJECT:
        entity = add(w, use(w, type), "object");
        add_object(w, entity, type);
        break;
    case QAPI_ALTERNATE:
        entity = add(w, use(w, type), "alternate");
        add_alternate(w, entity, type);
        break;
    case QAPI_LIST:
        entity = add(w, use(w, type), "array");
        json_object_set(entity, "element-type", use(w, type->element));
        break;
    case QAPI_STR:
    case QAPI_INT:
    case QAPI_UINT:
    case QAPI_NUMBER:
    case QAPI_BOOL:
    case QAPI_NULL:
    case QAPI_ANY: add_builtin(w, type); return;
    }
    add_features(entity, type->features);
}

struct json *qmp_introspect(const struct qmp_registry *reg)
{
    struct walk w = { .out = json_array() };
    const struct qmp_command *const *commands;
    const struct qmp_event_spec *const *events;
    size_t ncommands = qmp_registry_commands(reg, &commands);
    size_t nevents = qmp_registry_events(reg, &events);

    for (size_t c = 0, e = 0; c < ncommands || e < nevents;) {
        if (e == nevents || (c < ncommands && commands[c]->spec->order < events[e]->order))
            add_commands(&w, commands[c++]->spec);
        else
            add_event(&w, events[e++]);
    }
    for (size_t i = 0; i < w.used.len; i++)
        add_type(&w, w.used.items[i]);
    vec_fini(&w.used);
    vec_fini(&w.masked);
    return w.out;
}
