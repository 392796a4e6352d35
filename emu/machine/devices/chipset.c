/*
 * The chips every PC comes with, as far as other devices sit on them: host bridges, the bridges to
 * ISA, and the disk controllers. The machine makes them.
 */
#include "emu/machine/bus/ide.h"
#include "emu/machine/bus/isa.h"
#include "emu/machine/bus/pci.h"
#include "emu/machine/devices/table.h"

enum { INTEL = 0x8086, SUBSYSTEM_VENDOR = 0x1af4, SUBSYSTEM = 0x1100, AHCI_PORTS = 6 };

/* ---- What the processor sees of PCI ---- */

static struct err *i440fx_host_realize(struct device *dev)
{
    (void)bus_new(dev->board, &pci_bus_type, dev, "pci.0");
    return NULL;
}

const struct device_class i440fx_host_class = {
    .name = "i440FX-pcihost",
    .category = CATEGORY_BRIDGE,
    .bus = &system_bus_type,
    .size = sizeof(struct device),
    .internal = true,
    .realize = i440fx_host_realize,
};

static struct err *q35_host_realize(struct device *dev)
{
    bus_new(dev->board, &pcie_bus_type, dev, "pcie.0")->hotplug = false;
    return NULL;
}

const struct device_class q35_host_class = {
    .name = "q35-pcihost",
    .category = CATEGORY_BRIDGE,
    .bus = &system_bus_type,
    .size = sizeof(struct device),
    .internal = true,
    .realize = q35_host_realize,
};

/* ---- Functions on the bus ---- */

static void identify(struct device *dev)
{
    struct pci_device *pci = pci_of(dev);

    pci->ids = *(const struct pci_ids *)dev->class->family;
    pci->ids.vendor = INTEL;
    pci->ids.subsystem_vendor = SUBSYSTEM_VENDOR;
    pci->ids.subsystem = SUBSYSTEM;
    pci_init_config(pci);
}

static struct err *plain_realize(struct device *dev)
{
    identify(dev);
    return NULL;
}

static struct err *isa_bridge_realize(struct device *dev)
{
    identify(dev);
    (void)bus_new(dev->board, &isa_bus_type, dev, "isa.0");
    return NULL;
}

static struct err *ide_realize(struct device *dev)
{
    identify(dev);
    (void)bus_new(dev->board, &ide_bus_type, dev, NULL);
    (void)bus_new(dev->board, &ide_bus_type, dev, NULL);
    return NULL;
}

static struct err *ahci_realize(struct device *dev)
{
    identify(dev);
    for (int i = 0; i < AHCI_PORTS; i++)
        (void)bus_new(dev->board, &ahci_bus_type, dev, NULL);
    return NULL;
}

static const struct prop_group props[] = { { pci_props, 0 }, PROP_GROUPS_END };
static const char *const parents[] = { "pci-device", NULL };

#define FUNCTION(symbol, type_name, realize_fn, ...)                                               \
    static const struct pci_ids symbol##_ids = { __VA_ARGS__ };                                    \
    const struct device_class symbol##_class = {                                                   \
        .name = type_name,                                                                         \
        .parents = parents,                                                                        \
        .category = CATEGORY_BRIDGE,                                                               \
        .bus = &pci_bus_type,                                                                      \
        .size = sizeof(struct pci_device),                                                         \
        .props = props,                                                                            \
        .family = &symbol##_ids,                                                                   \
        .internal = true,                                                                          \
        .realize = realize_fn,                                                                     \
    }

FUNCTION(i440fx, "i440FX", plain_realize, .device = 0x1237, .class = 0x0600, .revision = 2);
FUNCTION(piix3, "PIIX3", isa_bridge_realize, .device = 0x7000, .class = 0x0601);
FUNCTION(piix3_ide, "piix3-ide", ide_realize, .device = 0x7010, .class = 0x0101, .prog_if = 0x80);
FUNCTION(mch, "mch", plain_realize, .device = 0x29c0, .class = 0x0600);
FUNCTION(ich9_lpc, "ICH9-LPC", isa_bridge_realize, .device = 0x2918, .class = 0x0601,
         .revision = 2);
FUNCTION(ich9_ahci, "ich9-ahci", ahci_realize, .device = 0x2922, .class = 0x0106, .prog_if = 1,
         .revision = 2);

#undef FUNCTION
