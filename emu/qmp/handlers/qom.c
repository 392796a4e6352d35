/* See qom.h. Texts of errors are the reference's. */
#include "emu/qmp/handlers/qom.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/machine/machine.h"
#include "emu/object/object.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_qom.h" // Generated.
#include "emu/storage/node.h"

/* What a path leads to: a device, an object of the user, or a place that holds some. */
struct place {
    struct device *dev;
    struct object *object;
    const char *container; /* "/", "/machine", "/machine/peripheral", "/objects" ... */
};

static const char *const containers[] = {
    "/",
    "/machine",
    "/machine/peripheral",
    "/machine/peripheral-anon",
    "/machine/unattached",
    "/objects",
};

/* Also parts of a path that name one object only, as people type them. */
static struct err *find_place(struct world *world, const char *path, struct place *out)
{
    const char *id = str_after_prefix(path, "/objects/");

    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < ARRAY_LEN(containers); i++)
        if (str_eq(containers[i], path))
            out->container = containers[i];
    if (*path && !out->container && world->machine)
        out->dev = device_find(&world->machine->board, path);
    if (!out->dev && (id || *path != '/'))
        out->object = objects_find(graph_objects(world->graph), id ? id : path);
    if (out->container || out->dev || out->object)
        return NULL;
    return err_new_class(ERR_DEVICE_NOT_FOUND, "Device '%s' not found", path);
}

/* ---- qom-list ---- */

static void add_row(struct qapi_object_property_info_list *list, const char *name, char *type)
{
    struct qapi_object_property_info *info = qapi_object_property_info_list_add(list);

    info->name = xstrdup(name);
    info->type = type;
}

static void list_device(struct device *dev, struct qapi_object_property_info_list *list)
{
    struct prop_ref ref;

    add_row(list, "type", xstrdup("string"));
    for (struct device *at = dev; at; at = at->inside)
        for (size_t i = 0; device_prop_at(at, i, &ref); i++)
            add_row(list, ref.prop->name, xstrdup(ref.prop->kind->type));
    if (dev->inside)
        add_row(list, "virtio-backend", xasprintf("child<%s>", dev->inside->class->name));
    list_for_each(bus, &dev->buses, struct bus, link)
        add_row(list, bus->name, xasprintf("child<%s>", bus->type->name));
}

static void list_type(const struct object_type *type, struct qapi_object_property_info_list *list)
{
    add_row(list, "type", xstrdup("string"));
    for (const struct object_property *prop = type->properties; prop && prop->name; prop++)
        add_row(list, prop->name, xstrdup(prop->type));
}

static void list_container(struct world *world, const char *path,
                           struct qapi_object_property_info_list *list)
{
    const char *prefix = str_eq(path, "/") ? "" : path;

    add_row(list, "type", xstrdup("string"));
    for (size_t i = 0; i < ARRAY_LEN(containers); i++) {
        const char *below = str_after_prefix(containers[i], prefix);

        if (below && below[0] == '/' && below[1] && !strchr(below + 1, '/'))
            add_row(list, below + 1, xstrdup("child<container>"));
    }
    if (str_eq(path, "/objects")) {
        list_for_each(object, objects_list(graph_objects(world->graph)), struct object, link)
            add_row(list, object->id, xasprintf("child<%s>", object->type->name));
        return;
    }
    list_for_each(dev, &world->machine->board.devices, struct device, board_link) {
        const char *below = str_after_prefix(dev->path, path);

        if (below && *below == '/' && !strchr(below + 1, '/'))
            add_row(list, below + 1, xasprintf("child<%s>", dev->class->name));
    }
}

static void qom_list(struct qmp_call *call, const struct qapi_qom_list_args *args)
{
    struct qapi_object_property_info_list list = { 0 };
    struct place place;
    struct err *err = find_place(call->world, args->path, &place);

    if (err) {
        qmp_reply(call, err);
        return;
    }
    if (place.container)
        list_container(call->world, place.container, &list);
    else if (place.dev)
        list_device(place.dev, &list);
    else
        list_type(place.object->type, &list);
    qmp_reply_qom_list(call, &list);
    qapi_object_property_info_list_fini(&list);
}

/* ---- qom-get, qom-set ---- */

static struct json *type_of(const struct place *place)
{
    if (place->dev)
        return json_str(place->dev->class->name);
    return json_str(place->object ? place->object->type->name : "container");
}

static struct err *get(struct world *world, const struct qapi_qom_get_args *args, struct json **out)
{
    struct place place;

    TRY(find_place(world, args->path, &place));
    if (str_eq(args->property, "type"))
        *out = type_of(&place);
    else if (place.dev && str_eq(args->property, "realized"))
        *out = json_bool(place.dev->realized);
    else if (place.dev)
        *out = device_get(place.dev, args->property);
    else if (place.object)
        TRY(object_get(place.object, args->property, out));
    if (*out)
        return NULL;
    return err_new("Property '%s.%s' not found",
                   place.dev      ? place.dev->class->name
                   : place.object ? place.object->type->name
                                  : "container",
                   args->property);
}

static void qom_get(struct qmp_call *call, const struct qapi_qom_get_args *args)
{
    struct json *value = NULL;
    struct err *err = get(call->world, args, &value);

    if (err)
        qmp_reply(call, err);
    else
        qmp_reply_json(call, value);
}

static struct err *set(struct world *world, const struct qapi_qom_set_args *args)
{
    struct place place;
    struct prop_ref ref;

    TRY(find_place(world, args->path, &place));
    if (place.object)
        return object_set(place.object, args->property, args->value);
    if (!place.dev || !device_prop(place.dev, args->property, &ref))
        return err_new("Property '%s.%s' not found",
                       place.dev ? place.dev->class->name : "container", args->property);
    if (!ref.prop->kind->set_live)
        return err_new("Attempt to set property '%s' on device '%s' (type '%s') after it was "
                       "realized",
                       args->property, place.dev->id ? place.dev->id : "anonymous",
                       ref.dev->class->name);
    return ref.prop->kind->set_live(ref.dev, ref.prop, ref.field, args->value);
}

static void qom_set(struct qmp_call *call, const struct qapi_qom_set_args *args)
{
    qmp_reply(call, set(call->world, args));
}

/* ---- qom-list-types ---- */

static bool implements(const struct device_class *class, const char *type)
{
    if (!type || str_eq(type, "device") || str_eq(type, "object") || str_eq(type, class->name))
        return true;
    for (const char *const *parent = class->parents; parent && *parent; parent++)
        if (str_eq(*parent, type))
            return true;
    return false;
}

static void add_type(struct qapi_object_type_info_list *list, const char *name, const char *parent)
{
    struct qapi_object_type_info *info = qapi_object_type_info_list_add(list);

    info->name = xstrdup(name);
    info->parent = xstrdup(parent);
}

static void qom_list_types(struct qmp_call *call, const struct qapi_qom_list_types_args *args)
{
    const struct board *board = &call->world->machine->board;
    const struct object_type *const *types = objects_types(graph_objects(call->world->graph));
    struct qapi_object_type_info_list list = { 0 };
    const char *type = args->implements;

    for (size_t i = 0; board->classes[i]; i++) {
        const struct device_class *class = board->classes[i];

        if (implements(class, type))
            add_type(&list, class->name, class->parents ? class->parents[0] : "device");
    }
    if (!type || str_eq(type, "object") || str_eq(type, "user-creatable")) {
        for (size_t i = 0; types[i]; i++)
            add_type(&list, types[i]->name, "object");
    }
    if (!type || str_eq(type, "object") || str_eq(type, "machine")) {
        for (size_t i = 0; all_machine_classes[i]; i++) {
            char *name = xasprintf("%s-machine", all_machine_classes[i]->name);

            add_type(&list, name, "machine");
            xfree(name);
        }
    }
    qmp_reply_qom_list_types(call, &list);
    qapi_object_type_info_list_fini(&list);
}

/* ---- qom-list-properties ---- */

static void list_class(const struct device_class *class,
                       struct qapi_object_property_info_list *list)
{
    const struct prop *prop;

    add_row(list, "type", xstrdup("string"));
    for (size_t i = 0; (prop = class_prop_at(class, i)); i++) {
        add_row(list, prop->name, xstrdup(prop->kind->type));
        list->items[list->len - 1].description = prop->desc ? xstrdup(prop->desc) : NULL;
    }
}

static const struct object_type *object_type_find(struct graph *graph, const char *name)
{
    const struct object_type *const *types = objects_types(graph_objects(graph));

    for (size_t i = 0; types[i]; i++)
        if (str_eq(types[i]->name, name))
            return types[i];
    return NULL;
}

static void qom_list_properties(struct qmp_call *call,
                                const struct qapi_qom_list_properties_args *args)
{
    const struct device_class *class = class_find(&call->world->machine->board, args->typename);
    const struct object_type *type = object_type_find(call->world->graph, args->typename);
    struct qapi_object_property_info_list list = { 0 };

    if (class) {
        list_class(class, &list);
    } else if (type) {
        list_type(type, &list);
    } else {
        qmp_reply(call,
                  err_new_class(ERR_DEVICE_NOT_FOUND, "Class '%s' not found", args->typename));
        return;
    }
    qmp_reply_qom_list_properties(call, &list);
    qapi_object_property_info_list_fini(&list);
}

const struct qmp_command_set qom_commands = {
    .commands = {
        QMP_COMMAND(qom_list, qom_list),
        QMP_COMMAND(qom_get, qom_get),
        QMP_COMMAND(qom_set, qom_set),
        QMP_COMMAND(qom_list_types, qom_list_types),
        QMP_COMMAND(qom_list_properties, qom_list_properties),
        QMP_COMMAND_END,
    },
};
