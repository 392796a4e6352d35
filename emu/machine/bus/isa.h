#ifndef EMU_MACHINE_BUS_ISA_H
#define EMU_MACHINE_BUS_ISA_H

/* The buses of a PC that have no addresses of their own: the board itself, and ISA. */

#include "emu/machine/bus/device.h"

extern const struct bus_type system_bus_type; /* Of the board: "main-system-bus". */
extern const struct bus_type isa_bus_type;

#endif
