/* Buses and the board: where devices sit, and how they are found. See device.h and board.h. */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/machine/bus/board.h"
#include "emu/machine/bus/device.h"

/* ---- Buses ---- */

/* "ID.N" counts the device's buses; "type.N" those of the type in the machine. */
static char *automatic_name(struct board *board, const struct bus_type *type, struct device *parent)
{
    struct device *named = parent;
    unsigned n = 0;
    char *name;

    while (named && !named->id && named->owner)
        named = named->owner;
    if (named && named->id) {
        list_for_each(bus, &parent->buses, struct bus, link)
            n++;
        return xasprintf("%s.%u", named->id, n);
    }
    for (;; n++) {
        name = xasprintf("%s.%u", type->name, n);
        for (char *c = name; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        if (!bus_find(board, name))
            return name;
        xfree(name);
    }
}

struct bus *bus_new(struct board *board, const struct bus_type *type, struct device *parent,
                    const char *name)
{
    struct bus *bus = NEW(struct bus);

    bus->board = board;
    bus->type = type;
    bus->parent = parent;
    bus->name = name ? xstrdup(name) : automatic_name(board, type, parent);
    bus->hotplug = true;
    list_init(&bus->devices);
    list_add_tail(parent ? &parent->buses : &board->buses, &bus->link);
    return bus;
}

void bus_free(struct bus *bus)
{
    check(list_empty(&bus->devices));
    list_del(&bus->link);
    xfree(bus->name);
    xfree(bus);
}

bool bus_takes(const struct bus *bus, const struct device_class *class)
{
    for (const struct bus_type *type = bus->type; type; type = type->parent)
        if (type == class->bus)
            return true;
    return false;
}

bool bus_is_full(const struct bus *bus)
{
    return bus->type->max_devices && bus->count >= bus->type->max_devices;
}

/* ---- Finding ---- */

struct device *device_find(struct board *board, const char *id)
{
    list_for_each(dev, &board->devices, struct device, board_link)
        if (str_eq(dev->id, id) || str_eq(dev->path, id))
            return dev;
    return NULL;
}

/* A walk over all buses, parents first. */
struct walk {
    bool (*stop)(struct walk *walk, struct bus *bus);
    const char *name;
    const struct device_class *class;
    struct bus *full;
};

static struct bus *walk_buses(struct list *buses, struct walk *walk)
{
    list_for_each(bus, buses, struct bus, link) {
        if (walk->stop(walk, bus))
            return bus;
        list_for_each(dev, &bus->devices, struct device, link) {
            struct bus *found = walk_buses(&dev->buses, walk);

            if (found)
                return found;
        }
    }
    return NULL;
}

static bool has_name(struct walk *walk, struct bus *bus) { return str_eq(bus->name, walk->name); }

struct bus *bus_find(struct board *board, const char *name)
{
    struct walk walk = { .stop = has_name, .name = name };

    return walk_buses(&board->buses, &walk);
}

static bool has_room(struct walk *walk, struct bus *bus)
{
    if (!bus_takes(bus, walk->class))
        return false;
    if (!bus_is_full(bus))
        return true;
    walk->full = bus;
    return false;
}

struct bus *bus_for(struct board *board, const struct device_class *class, struct bus **full)
{
    struct walk walk = { .stop = has_room, .class = class };
    struct bus *bus = walk_buses(&board->buses, &walk);

    *full = walk.full;
    return bus;
}

/* ---- The board ---- */

void board_init(struct board *board, struct reactor *reactor)
{
    board->reactor = reactor;
    list_init(&board->devices);
    list_init(&board->buses);
}

void board_unplug_all(struct board *board)
{
    list_for_each(bus, &board->buses, struct bus, link) {
        list_for_each_safe(dev, &bus->devices, struct device, link)
            device_unplug(dev);
    }
    while (!list_empty(&board->devices))
        device_unplug(list_first(&board->devices, struct device, board_link));
}

void board_fini(struct board *board)
{
    board->deleted = NULL;
    board_unplug_all(board);
    list_for_each_safe(bus, &board->buses, struct bus, link)
        bus_free(bus);
}

const struct device_class *class_find(const struct board *board, const char *name)
{
    for (size_t i = 0; board->classes[i]; i++)
        if (str_eq(board->classes[i]->name, name) || str_eq(board->classes[i]->alias, name))
            return board->classes[i];
    return NULL;
}
