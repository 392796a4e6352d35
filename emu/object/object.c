/* The registry of user-creatable objects. */
#include "emu/object/object.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/map.h"
#include "emu/base/str.h"
#include "emu/reactor/clock.h"

struct objects {
    struct reactor *reactor;
    struct clock clock;
    const struct object_type *const *types;
    struct list list;
    struct map ids;
};

struct objects *objects_new(struct reactor *reactor, const struct object_type *const *types)
{
    struct objects *objects = NEW(struct objects);

    objects->reactor = reactor;
    clock_init(&objects->clock, reactor);
    objects->types = types;
    list_init(&objects->list);
    map_init(&objects->ids);
    return objects;
}

/* Takes it out of the registry and drops the registry's reference. */
static void unlist(struct object *object)
{
    map_remove(&object->registry->ids, object->id);
    list_del(&object->link);
    object->listed = false;
    object->registry = NULL;
    object_unref(object);
}

void objects_free(struct objects *objects)
{
    if (!objects)
        return;
    /* Later ones may use earlier ones. */
    while (!list_empty(&objects->list))
        unlist(container_of(objects->list.prev, struct object, link));
    map_fini(&objects->ids);
    xfree(objects);
}

struct reactor *objects_reactor(struct objects *objects) { return objects->reactor; }
struct clock *objects_clock(struct objects *objects) { return &objects->clock; }
const struct object_type *const *objects_types(const struct objects *objects)
{
    return objects->types;
}
struct list *objects_list(struct objects *objects) { return &objects->list; }

static bool id_is_well_formed(const char *id)
{
    const char *rest;

    if (!((*id >= 'a' && *id <= 'z') || (*id >= 'A' && *id <= 'Z')))
        return false;
    for (rest = id + 1; *rest; rest++)
        if (!((*rest >= 'a' && *rest <= 'z') || (*rest >= 'A' && *rest <= 'Z') ||
              (*rest >= '0' && *rest <= '9') || *rest == '-' || *rest == '.' || *rest == '_'))
            return false;
    return true;
}

static const struct object_type *find_type(const struct objects *objects, const char *name)
{
    for (const struct object_type *const *type = objects->types; *type; type++)
        if (str_eq((*type)->name, name))
            return *type;
    return NULL;
}

static void destroy(struct object *object)
{
    if (object->type->finalize)
        object->type->finalize(object);
    xfree(object->id);
    json_free(object->props);
    xfree(object);
}

static struct err *complete(struct object *object)
{
    CLEANUP(opts_fini) struct opts props = { 0 };

    opts_init(&props, object->props);
    TRY(object->type->complete(object, &props));
    return opts_check_unused(&props);
}

struct err *objects_add(struct objects *objects, const struct json *options)
{
    const char *id = NULL, *type_name = NULL;
    const struct object_type *type;
    struct object *object;
    struct err *err;
    CLEANUP(opts_fini) struct opts opts = { 0 };

    opts_init(&opts, options);
    TRY(opts_str(&opts, "qom-type", &type_name));
    TRY(opts_str(&opts, "id", &id));
    type = find_type(objects, type_name);
    if (!type)
        return err_new("Parameter 'qom-type' does not accept value '%s'", type_name);
    if (!id_is_well_formed(id)) {
        err = err_new("Parameter 'id' expects an identifier");
        err_hint_append(err, "Identifiers consist of letters, digits, '-', '.', '_', "
                             "starting with a letter.\n");
        return err;
    }
    if (map_has(&objects->ids, id))
        return err_new("attempt to add duplicate property '%s' to object (type 'container')", id);
    object = xcalloc(1, type->size);
    object->type = type;
    object->registry = objects;
    object->id = xstrdup(id);
    object->props = json_copy(options);
    json_object_del(object->props, "id");
    json_object_del(object->props, "qom-type");
    object->refs = 1;
    err = complete(object);
    if (err) {
        destroy(object);
        return err;
    }
    map_put(&objects->ids, id, object);
    list_add_tail(&objects->list, &object->link);
    object->listed = true;
    return NULL;
}

struct err *objects_del(struct objects *objects, const char *id)
{
    struct object *object = objects_find(objects, id);

    if (!object)
        return err_new("object '%s' not found", id);
    if (object->refs > 1)
        return err_new("object '%s' is in use, can not be deleted", id);
    unlist(object);
    return NULL;
}

struct object *objects_find(struct objects *objects, const char *id)
{
    return objects ? map_get(&objects->ids, id) : NULL;
}

struct object *objects_ref(struct objects *objects, const char *id, const char *type)
{
    struct object *object = objects_find(objects, id);

    return object && str_eq(object->type->name, type) ? object_ref(object) : NULL;
}

struct object *object_ref(struct object *object)
{
    object->refs++;
    return object;
}

void object_unref(struct object *object)
{
    if (!object)
        return;
    check(object->refs > 0);
    if (--object->refs == 0)
        destroy(object);
}

struct err *object_get(struct object *object, const char *name, struct json **out)
{
    *out = NULL;
    if (str_eq(name, "type"))
        *out = json_str(object->type->name);
    else if (object->type->get)
        TRY(object->type->get(object, name, out));
    if (!*out)
        *out = json_ref(json_object_get(object->props, name));
    return *out ? NULL : err_new("Property '%s.%s' not found", object->type->name, name);
}

struct err *object_set(struct object *object, const char *name, const struct json *value)
{
    if (!object->type->set)
        return err_new("Property '%s.%s' not found", object->type->name, name);
    return object->type->set(object, name, value);
}
