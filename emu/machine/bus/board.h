#ifndef EMU_MACHINE_BUS_BOARD_H
#define EMU_MACHINE_BUS_BOARD_H

/*
 * What a machine gives its devices, and the roots of the device tree. Embedded in the machine.
 */

#include <stdbool.h>

#include "emu/base/list.h"
#include "emu/machine/bus/device.h"
#include "emu/reactor/reactor.h"

struct graph;
struct objects;

struct board {
    struct reactor *reactor; /* All borrowed. */
    struct graph *graph;
    struct objects *objects;
    const struct device_class *const *classes; /* Ends with NULL. */
    const struct json *globals;                /* {"driver": {"property": "text"}}; NULL: none. */
    struct list devices;                       /* All plugged ones, by board_link. */
    struct list buses;                         /* Of the board itself. */
    bool ready;          /* The machine is complete: what comes is hot-plugged. */
    unsigned unattached; /* Devices without an id so far, below each container. */
    unsigned anonymous;
    /* A device with an id, or not, is gone: DEVICE_DELETED. May be NULL. */
    void (*deleted)(struct board *board, const char *id, const char *path);
};

void board_init(struct board *board, struct reactor *reactor);
/* Frees all; devices that are left are unplugged silently. */
void board_fini(struct board *board);
/* Unplugs all devices, last made first within a bus. */
void board_unplug_all(struct board *board);

/* The class of that name or alias; NULL: none. */
const struct device_class *class_find(const struct board *board, const char *name);

#endif
