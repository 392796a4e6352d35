#ifndef EMU_MACHINE_DEVICES_IOTHREAD_H
#define EMU_MACHINE_DEVICES_IOTHREAD_H

/* The property iothread of devices: a reference to a user's object of that type. */

#include "emu/machine/bus/board.h"
#include "emu/object/object.h"

/* id NULL: *out is NULL. Otherwise the object, with a reference. */
struct err *iothread_take(struct board *board, const char *id, struct object **out) MUST_USE;
void iothread_drop(struct object **iothread);

#endif
