#ifndef EMU_MACHINE_BUS_DEVICE_H
#define EMU_MACHINE_BUS_DEVICE_H

/*
 * Devices, the buses they sit on, and the tree of both.
 *
 * A device class is const data listed in emu/machine/devices/table.c. An instance is zeroed memory of
 * class->size that begins with a struct device. Its life: device_new(), properties are set, then
 * device_plug() puts it on its bus and realizes it: from then on it is visible and works. Unplugging
 * goes the other way; the last reference frees it.
 *
 * A device may have buses for others, and one child device that it is the plug of (virtio-blk-pci
 * holds a virtio-blk-device on its virtio-bus); the child's properties are set through it.
 *
 * Home: the main reactor.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/list.h"
#include "emu/base/map.h"
#include "emu/base/str.h"
#include "emu/machine/bus/prop.h"

struct board;
struct bus;
struct device;

/* A kind of bus. */
struct bus_type {
    const char *name; /* "PCI", "SCSI", "virtio-bus": as help and errors show it. */
    const char *qom;  /* Its type name, when it differs; NULL: name. */
    const struct bus_type *parent; /* A bus of this type also takes the devices of parent. */
    unsigned max_devices;          /* 0: as many as there are addresses. */
    /* Chooses or checks the device's address on the bus, before realize. May be NULL. */
    struct err *(*claim)(struct bus *bus, struct device *dev);
    /* Appends the address lines of `info qtree`. May be NULL. */
    void (*print)(struct device *dev, int indent, struct str *out);
};

typedef void device_done_fn(void *arg, struct err *err /* takes */);

enum device_category {
    CATEGORY_BRIDGE,
    CATEGORY_USB,
    CATEGORY_STORAGE,
    CATEGORY_NETWORK,
    CATEGORY_INPUT,
    CATEGORY_DISPLAY,
    CATEGORY_SOUND,
    CATEGORY_MISC,
    CATEGORY_CPU,
    CATEGORY_WATCHDOG,
    CATEGORY_COUNT,
};

struct device_class {
    const char *name;  /* "virtio-blk-pci" */
    const char *alias; /* "virtio-blk", or NULL. */
    const char *desc;  /* For help, or NULL. */
    /* Types it is one of, nearest first, without "device" and "object"; ends with NULL. */
    const char *const *parents;
    enum device_category category;
    const struct bus_type *bus; /* It plugs into; NULL: none. */
    size_t size;
    const struct prop_group *props; /* Ends with PROP_GROUPS_END; NULL: none. */
    /* Of the child device, whose properties are set here; or NULL. */
    const struct device_class *inside;
    /* What its family of devices wants to know: struct virtio_ops, struct virtio_pci_family ... */
    const void *family;
    bool internal;       /* Users cannot make one. */
    bool no_hotplug;     /* Only before the machine runs. */
    bool needs_guest;    /* Unplugging waits for the guest's word. */
    /*
     * Checks properties and starts the device: address ranges, buses, backends. It undoes what it did
     * when it fails.
     */
    struct err *(*realize)(struct device *dev);
    /* What of realize takes time (locks of images); done is called once. May be NULL. */
    void (*settle)(struct device *dev, device_done_fn *done, void *arg);
    void (*unrealize)(struct device *dev); /* May be NULL. */
    void (*reset)(struct device *dev);     /* May be NULL. */
};

struct device {
    const struct device_class *class;
    struct board *board;    /* Borrowed. */
    struct device *owner;   /* Of a child: the device it is inside of. */
    struct device *inside;  /* Owned, or NULL. */
    struct bus *bus;        /* It sits on; NULL: not plugged, or none. */
    char *id;               /* Of the user, or NULL. Owned. */
    char *path;             /* "/machine/peripheral/ID" ... Owned; NULL until plugged. */
    struct list link;       /* In bus->devices. */
    struct list board_link; /* In board->devices, in order of creation. */
    struct list buses;      /* struct bus, owned. */
    bool realized;
    bool unplugging;  /* The guest was asked to let go. */
    bool by_user;     /* Made by -device or device_add, not by the machine. */
    bool hotplugged;  /* Plugged while the machine was there. */
    unsigned refs;
    struct err *init_err; /* Of a -global that does not fit; NULL: none. Owned. */
    struct map props_set; /* Names of the properties that users set. */
};

struct bus {
    const struct bus_type *type;
    char *name;            /* "pci.0" Owned. */
    struct device *parent; /* NULL: the machine. */
    struct board *board;
    struct list devices; /* struct device, in order of plugging. */
    struct list link;    /* In parent->buses. */
    bool hotplug;        /* Devices may come and go while the machine runs. */
    unsigned count;
    const void *limits; /* Of its type; borrowed. */
    void *iothread; /* Where its devices' requests run (an object of the user); NULL: anywhere. */
};

/* ---- Making ---- */

/* A device that is not plugged, with one reference for the caller. */
struct device *device_new(struct board *board, const struct device_class *class);
struct device *device_ref(struct device *dev);
void device_unref(struct device *dev); /* NULL is fine. */

/* value: text or JSON, as users give it. A later one replaces an earlier one. */
struct err *device_set(struct device *dev, const char *name, const struct json *value) MUST_USE;
bool device_was_set(const struct device *dev, const char *name);
/* The value, new; NULL when there is no such property. */
struct json *device_get(struct device *dev, const char *name);
/* A property of a device, or of the one inside of it. */
struct prop_ref {
    const struct prop *prop;
    struct device *dev; /* Whose. */
    void *field;
};
/* False when there is none of that name. */
bool device_prop(struct device *dev, const char *name, struct prop_ref *out);

/* As `info qtree` shows a value. */
void device_print_prop(const struct prop_ref *ref, struct str *out);
/* The i-th property of dev, without what is inside; false after the last. */
bool device_prop_at(struct device *dev, size_t i, struct prop_ref *out);
/* The i-th property of a class and of what is inside; NULL after the last. */
const struct prop *class_prop_at(const struct device_class *class, size_t i);

/* Shorthand for machines: a property of a known name and a good value. */
void device_set_known(struct device *dev, const char *name, struct json *value /* takes */);

/*
 * Puts dev on bus (NULL: it needs none) and realizes it. done(arg, err) is called once, later or from within. On an
 * error dev is as before.
 */
void device_plug(struct device *dev, struct bus *bus, device_done_fn *done, void *arg);
/* For the realize of a device with another inside: realizes that on its bus. */
struct err *device_realize_inside(struct device *dev, struct bus *bus) MUST_USE;
/* Takes it and all on its buses away at once and drops the tree's references. */
void device_unplug(struct device *dev);
void device_reset_tree(struct device *dev);

/* ---- Buses ---- */

/* A bus below parent (or of the board itself, NULL). name NULL: "ID.N", or "type.N" when parent has no id. */
struct bus *bus_new(struct board *board, const struct bus_type *type, struct device *parent,
                    const char *name);
void bus_free(struct bus *bus); /* No device may be on it. */
bool bus_takes(const struct bus *bus, const struct device_class *class);
bool bus_is_full(const struct bus *bus);

/* ---- Finding ---- */

/* By id, or QOM path. NULL: none. */
struct device *device_find(struct board *board, const char *id);
/* By name ("pci.0", "ID.0"), anywhere. */
struct bus *bus_find(struct board *board, const char *name);
/* The first bus with room that takes class; *full says that there was one without room. */
struct bus *bus_for(struct board *board, const struct device_class *class, struct bus **full);

#endif
