/* device_add and device_del: which bus, which properties, and what goes wrong. */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/base/str.h"
#include "emu/machine/machine.h"

static struct err *find_class(struct machine *machine, const char *driver, bool by_user,
                              const struct device_class **out)
{
    *out = class_find(&machine->board, driver);
    if (!*out)
        return err_new("'%s' is not a valid device model name", driver);
    if ((*out)->internal && by_user)
        return err_new("Parameter 'driver' expects a pluggable device type");
    if (machine->board.ready && (*out)->no_hotplug)
        return err_new("Device '%s' does not support hotplugging", driver);
    return NULL;
}

/* "name", or "ID" of a device with one bus, or "ID/name". */
static struct err *find_named_bus(struct machine *machine, const char *name, struct bus **out)
{
    const char *slash = strrchr(name, '/');
    struct device *dev;

    *out = bus_find(&machine->board, slash ? slash + 1 : name);
    if (*out)
        return NULL;
    dev = device_find(&machine->board, name);
    if (!dev)
        return err_new("Bus '%s' not found", name);
    if (list_empty(&dev->buses))
        return err_new("Device '%s' has no child bus", name);
    *out = list_first(&dev->buses, struct bus, link);
    return NULL;
}

static struct err *find_bus(struct machine *machine, const char *name,
                            const struct device_class *class, struct bus **out)
{
    struct bus *full = NULL;

    *out = NULL;
    if (!class->bus)
        return name ? err_new("Bus '%s' not found", name) : NULL;
    if (name) {
        TRY(find_named_bus(machine, name, out));
        if (!bus_takes(*out, class))
            return err_new("Device '%s' can't go on %s bus", class->name, (*out)->type->name);
        if (bus_is_full(*out))
            return err_new("Bus '%s' is full", name);
    } else {
        *out = bus_for(&machine->board, class, &full);
        if (!*out && full)
            return err_new("Bus '%s' is full", full->name);
        if (!*out)
            return err_new("No '%s' bus found for device '%s'", class->bus->name, class->name);
    }
    if (machine->board.ready && !(*out)->hotplug)
        return err_new("Bus '%s' does not support hotplugging", (*out)->name);
    return NULL;
}

static struct err *check_id(struct machine *machine, const char *id)
{
    if (!id)
        return NULL;
    list_for_each(dev, &machine->board.devices, struct device, board_link)
        if (str_eq(dev->id, id))
            return err_new("Duplicate device ID '%s'", id);
    return NULL;
}

static struct err *set_properties(struct device *dev, const struct json *options)
{
    struct json *value;
    const char *name;

    json_object_for_each(options, i, name, value) {
        if (str_eq(name, "driver") || str_eq(name, "bus") || str_eq(name, "id"))
            continue;
        TRY(device_set(dev, name, value));
    }
    return NULL;
}

static struct err *prepare(struct machine *machine, const struct json *options, bool by_user,
                           struct device **out, struct bus **bus)
{
    const char *driver = json_object_get_str(options, "driver");
    const char *id = json_object_get_str(options, "id");
    const struct device_class *class;
    struct err *err;

    if (!driver)
        return err_new("Parameter 'driver' is missing");
    TRY(find_class(machine, driver, by_user, &class));
    TRY(find_bus(machine, json_object_get_str(options, "bus"), class, bus));
    TRY(check_id(machine, id));
    *out = device_new(&machine->board, class);
    if ((*out)->init_err) {
        err = (*out)->init_err;
        (*out)->init_err = NULL;
        device_unref(*out);
        *out = NULL;
        return err;
    }
    (*out)->id = id ? xstrdup(id) : NULL;
    (*out)->by_user = by_user;
    err = set_properties(*out, options);
    if (err) {
        device_unref(*out);
        *out = NULL;
    }
    return err;
}

struct err *device_options_parse(const char *text, struct json **out)
{
    if (*text == '{')
        return json_parse_text(text, out);
    return keyval_parse_flags(text, "driver", KEYVAL_LEGACY_BOOL | KEYVAL_FLAT, NULL, out);
}

struct adding {
    struct device *dev; /* Holds a reference. */
    device_done_fn *done;
    void *arg;
};

static void plugged(void *arg, struct err *err)
{
    struct adding *a = arg;
    device_done_fn *done = a->done;
    void *done_arg = a->arg;

    device_unref(a->dev);
    xfree(a);
    done(done_arg, err);
}

static void add(struct machine *machine, const struct json *options, bool by_user,
                device_done_fn *done, void *arg)
{
    struct device *dev = NULL;
    struct bus *bus = NULL;
    struct err *err = prepare(machine, options, by_user, &dev, &bus);
    struct adding *a;

    if (err) {
        done(arg, err);
        return;
    }
    a = NEW(struct adding);
    *a = (struct adding){ dev, done, arg };
    device_plug(dev, bus, plugged, a);
}

void machine_add_device(struct machine *machine, const struct json *options, device_done_fn *done,
                        void *arg)
{
    add(machine, options, true, done, arg);
}

void machine_add_own_device(struct machine *machine, const struct json *options,
                            device_done_fn *done, void *arg)
{
    add(machine, options, false, done, arg);
}

struct err *machine_del_device(struct machine *machine, const char *id)
{
    struct device *dev = device_find(&machine->board, id);

    if (!dev || !dev->id)
        return err_new_class(ERR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
    if (dev->unplugging)
        return err_new("Device %s is already in the process of unplug", id);
    if (dev->bus && !dev->bus->hotplug)
        return err_new("Bus '%s' does not support hotplugging", dev->bus->name);
    if (dev->class->no_hotplug)
        return err_new("Device '%s' does not support hotplugging", dev->class->name);
    if (dev->class->needs_guest)
        dev->unplugging = true;
    else
        device_unplug(dev);
    return NULL;
}
