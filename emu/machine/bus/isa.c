/* See isa.h. */
#include "emu/machine/bus/isa.h"

const struct bus_type system_bus_type = { .name = "System" };
const struct bus_type isa_bus_type = { .name = "ISA" };
