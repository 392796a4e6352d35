/* Devices: making, properties, plugging and unplugging. See device.h. */
#include "emu/machine/bus/device.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/check.h"
#include "emu/machine/bus/board.h"

/* ---- Properties ---- */

/* The i-th property of a class itself; base: where its part of the instance begins. */
static const struct prop *prop_at(const struct device_class *class, size_t i, size_t *base)
{
    for (const struct prop_group *group = class->props; group && group->props; group++) {
        for (const struct prop *prop = group->props; prop->name; prop++) {
            *base = group->base;
            if (i-- == 0)
                return prop;
        }
    }
    return NULL;
}

const struct prop *class_prop_at(const struct device_class *class, size_t i)
{
    size_t own = 0, base;
    const struct prop *prop = prop_at(class, i, &base);

    if (prop || !class->inside)
        return prop;
    while (prop_at(class, own, &base))
        own++;
    return class_prop_at(class->inside, i - own);
}

bool device_prop_at(struct device *dev, size_t i, struct prop_ref *out)
{
    size_t base = 0;

    out->prop = prop_at(dev->class, i, &base);
    if (!out->prop)
        return false;
    out->dev = dev;
    out->field = (char *)dev + base + out->prop->offset;
    return true;
}

bool device_prop(struct device *dev, const char *name, struct prop_ref *out)
{
    for (; dev; dev = dev->inside) {
        for (size_t i = 0; device_prop_at(dev, i, out); i++)
            if (str_eq(out->prop->name, name))
                return true;
    }
    return false;
}

static struct err *set_ref(const struct prop_ref *ref, const struct json *value)
{
    return ref->prop->kind->set(ref->dev, ref->prop, ref->field, value);
}

static struct json *default_value(const struct prop *prop)
{
    if (prop->text)
        return json_str(prop->text);
    if (prop->kind == &prop_enum)
        return json_str(prop->names[prop->number]);
    if (prop->kind == &prop_bool || prop->kind == &prop_bit)
        return json_bool(prop->number != 0);
    return prop->number ? json_int(prop->number) : NULL;
}

static void set_default(const struct prop_ref *ref)
{
    CLEANUP(json_free) struct json *value = default_value(ref->prop);

    if (value)
        err_ignore(set_ref(ref, value));
}

struct err *device_set(struct device *dev, const char *name, const struct json *value)
{
    struct prop_ref ref;

    if (!device_prop(dev, name, &ref))
        return err_new("Property '%s.%s' not found", dev->class->name, name);
    TRY(set_ref(&ref, value));
    map_put(&ref.dev->props_set, name, ref.dev);
    return NULL;
}

void device_set_known(struct device *dev, const char *name, struct json *value)
{
    struct err *err = device_set(dev, name, value);

    check(!err);
    json_free(value);
}

bool device_was_set(const struct device *dev, const char *name)
{
    return map_has(&dev->props_set, name);
}

struct json *device_get(struct device *dev, const char *name)
{
    struct prop_ref ref;

    return device_prop(dev, name, &ref) ? ref.prop->kind->get(ref.dev, ref.prop, ref.field) : NULL;
}

void device_print_prop(const struct prop_ref *ref, struct str *out)
{
    CLEANUP(json_free) struct json *value = NULL;

    if (ref->prop->kind->print) {
        ref->prop->kind->print(ref->dev, ref->prop, ref->field, out);
        return;
    }
    value = ref->prop->kind->get(ref->dev, ref->prop, ref->field);
    switch (json_type_of(value)) {
    case JSON_STRING: str_addf(out, "\"%s\"", json_get_str(value)); break;
    case JSON_BOOL: str_add(out, json_get_bool(value) ? "true" : "false"); break;
    case JSON_INT:
        str_addf(out, "%jd (0x%jx)", (intmax_t)json_get_int(value), (uintmax_t)json_get_int(value));
        break;
    case JSON_UINT:
        str_addf(out, "%ju (0x%jx)", (uintmax_t)json_get_uint(value),
                 (uintmax_t)json_get_uint(value));
        break;
    default: break;
    }
}

/* ---- Making ---- */

/* "-global driver.property=value" holds for all devices of a class and of those derived from it. */
static void set_globals(struct device *dev, const char *type)
{
    const struct json *all = dev->board->globals, *own;
    struct json *value;
    const char *name;

    own = all ? json_object_get(all, type) : NULL;
    if (!own)
        return;
    json_object_for_each(own, i, name, value) {
        struct prop_ref ref;

        if (device_prop(dev, name, &ref))
            err_keep_first(&dev->init_err,
                           err_prefix(set_ref(&ref, value), "can't apply global %s.%s=%s: ", type,
                                      name, json_get_str(value)));
    }
}

struct device *device_new(struct board *board, const struct device_class *class)
{
    struct device *dev = xcalloc(1, class->size);
    struct prop_ref ref;

    dev->class = class;
    dev->board = board;
    dev->refs = 1;
    list_init(&dev->buses);
    map_init(&dev->props_set);
    for (size_t i = 0; device_prop_at(dev, i, &ref); i++)
        set_default(&ref);
    if (class->inside) {
        dev->inside = device_new(board, class->inside);
        dev->inside->owner = dev;
    }
    for (const char *const *parent = class->parents; parent && *parent; parent++)
        set_globals(dev, *parent);
    set_globals(dev, class->name);
    return dev;
}

struct device *device_ref(struct device *dev)
{
    dev->refs++;
    return dev;
}

void device_unref(struct device *dev)
{
    struct prop_ref ref;

    if (!dev || --dev->refs)
        return;
    check(!dev->realized && list_empty(&dev->buses));
    device_unref(dev->inside);
    for (size_t i = 0; device_prop_at(dev, i, &ref); i++)
        if (ref.prop->kind->fini)
            ref.prop->kind->fini(ref.field);
    map_fini(&dev->props_set);
    err_free(dev->init_err);
    xfree(dev->id);
    xfree(dev->path);
    xfree(dev);
}

/* ---- Plugging ---- */

static void link_in(struct device *dev, struct bus *bus)
{
    dev->bus = bus;
    if (!bus)
        return;
    list_add_tail(&bus->devices, &dev->link);
    bus->count++;
}

static void unlink_from(struct device *dev)
{
    if (!dev->bus)
        return;
    list_del(&dev->link);
    dev->bus->count--;
    dev->bus = NULL;
}

static char *new_path(struct device *dev)
{
    if (dev->owner)
        return xasprintf("%s/virtio-backend", dev->owner->path);
    if (dev->id)
        return xasprintf("/machine/peripheral/%s", dev->id);
    if (dev->by_user)
        return xasprintf("/machine/peripheral-anon/device[%u]", dev->board->anonymous++);
    return xasprintf("/machine/unattached/device[%u]", dev->board->unattached++);
}

struct plugging {
    struct device *dev;
    device_done_fn *done;
    void *arg;
};

static void end_plugging(struct plugging *p, struct err *err)
{
    device_done_fn *done = p->done;
    struct device *dev = p->dev;
    void *arg = p->arg;

    xfree(p);
    if (err && dev->realized) {
        device_ref(dev);
        device_unplug(dev);
    }
    done(arg, err);
}

static void inside_settled(void *arg, struct err *err) { end_plugging(arg, err); }

static void settled(void *arg, struct err *err)
{
    struct plugging *p = arg;
    struct device *inside = p->dev->inside;

    if (!err && inside && inside->class->settle)
        inside->class->settle(inside, inside_settled, p);
    else
        end_plugging(p, err);
}

static struct err *realize(struct device *dev, struct bus *bus)
{
    struct err *err = NULL;

    if (bus && bus->type->claim)
        TRY(bus->type->claim(bus, dev));
    link_in(dev, bus);
    dev->hotplugged = dev->board->ready;
    xfree(dev->path);
    dev->path = new_path(dev);
    if (dev->class->realize)
        err = dev->class->realize(dev);
    if (err) {
        unlink_from(dev);
        return err;
    }
    dev->realized = true;
    device_ref(dev); /* The tree's. */
    list_add_tail(&dev->board->devices, &dev->board_link);
    return NULL;
}

struct err *device_realize_inside(struct device *dev, struct bus *bus)
{
    return realize(dev->inside, bus);
}

void device_plug(struct device *dev, struct bus *bus, device_done_fn *done, void *arg)
{
    struct err *err = realize(dev, bus);
    struct plugging *p;

    if (err) {
        done(arg, err);
        return;
    }
    p = NEW(struct plugging);
    *p = (struct plugging){ dev, done, arg };
    if (dev->class->settle)
        dev->class->settle(dev, settled, p);
    else
        settled(p, NULL);
}

void device_unplug(struct device *dev)
{
    list_for_each_safe(bus, &dev->buses, struct bus, link) {
        list_for_each_safe(below, &bus->devices, struct device, link)
            device_unplug(below);
    }
    if (!dev->realized)
        return;
    if (dev->class->unrealize)
        dev->class->unrealize(dev);
    dev->realized = false;
    list_for_each_safe(bus, &dev->buses, struct bus, link)
        bus_free(bus);
    unlink_from(dev);
    list_del(&dev->board_link);
    if (dev->board->deleted)
        dev->board->deleted(dev->board, dev->id, dev->path);
    device_unref(dev);
}

void device_reset_tree(struct device *dev)
{
    list_for_each(bus, &dev->buses, struct bus, link) {
        list_for_each(below, &bus->devices, struct device, link)
            device_reset_tree(below);
    }
    if (dev->class->reset)
        dev->class->reset(dev);
}
