#ifndef EMU_MACHINE_BUS_IDE_H
#define EMU_MACHINE_BUS_IDE_H

/* IDE buses: two units on a channel of IDE, one on a port of AHCI. */

#include "emu/machine/bus/device.h"

extern const struct bus_type ide_bus_type, ahci_bus_type;

struct ide_unit {
    struct device dev;
    uint32_t unit; /* Property; UINT32_MAX: the first free one. */
};

static inline struct ide_unit *ide_of(struct device *dev)
{
    return container_of(dev, struct ide_unit, dev);
}

extern const struct prop ide_props[];

#endif
