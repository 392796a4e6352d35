/* See ide.h. */
#include "emu/machine/bus/ide.h"

const struct prop ide_props[] = {
    PROP("unit", u32, struct ide_unit, unit, UINT32_MAX),
    PROP_END,
};

static struct ide_unit *unit_at(struct bus *bus, uint32_t unit)
{
    list_for_each(dev, &bus->devices, struct device, link)
        if (ide_of(dev)->unit == unit)
            return ide_of(dev);
    return NULL;
}

static struct err *claim_unit(struct bus *bus, struct device *dev)
{
    struct ide_unit *ide = ide_of(dev);
    uint32_t unit = ide->unit;

    if (unit == UINT32_MAX)
        for (unit = 0; unit_at(bus, unit); unit++)
            ;
    if (unit >= bus->type->max_devices)
        return err_new("Can't create IDE unit %u, bus supports only %u units", unit,
                       bus->type->max_devices);
    if (unit_at(bus, unit))
        return err_new("IDE unit %u is in use", unit);
    ide->unit = unit;
    return NULL;
}

const struct bus_type ide_bus_type = { .name = "IDE", .max_devices = 2, .claim = claim_unit };
const struct bus_type ahci_bus_type = {
    .name = "IDE", .max_devices = 1, .claim = claim_unit, .parent = &ide_bus_type
};
