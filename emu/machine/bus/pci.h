#ifndef EMU_MACHINE_BUS_PCI_H
#define EMU_MACHINE_BUS_PCI_H

/*
 * PCI buses and what all PCI devices have: an address on the bus and a configuration space.
 * (PCI Local Bus Specification 3.0, chapter 6.)
 */

#include "emu/machine/bus/device.h"

enum {
    PCI_SLOTS = 32,
    PCI_FUNCTIONS = 8,
    PCI_DEVFN_MAX = PCI_SLOTS * PCI_FUNCTIONS,
    PCI_CONFIG_BYTES = 256,
};

extern const struct bus_type pci_bus_type, pcie_bus_type;

/* Identity of a PCI device; part of its class. */
struct pci_ids {
    uint16_t vendor, device;
    uint16_t subsystem_vendor, subsystem;
    uint16_t class; /* Base class and sub-class. */
    uint8_t prog_if, revision;
};

struct pci_device {
    struct device dev;
    int32_t devfn;     /* Property addr; -1: any free slot. */
    bool multifunction;
    struct pci_ids ids;
    uint8_t config[PCI_CONFIG_BYTES];
};

static inline struct pci_device *pci_of(struct device *dev)
{
    return container_of(dev, struct pci_device, dev);
}

extern const struct prop_kind prop_devfn;
extern const struct prop pci_props[]; /* "addr" ...: for class->more_props. */

/* Writes the header of the configuration space from pci->ids. For realize. */
void pci_init_config(struct pci_device *pci);

/* Configuration access of 1, 2 or 4 bytes, naturally aligned. */
uint32_t pci_config_read(struct pci_device *pci, unsigned offset, unsigned len);
void pci_config_write(struct pci_device *pci, unsigned offset, unsigned len, uint32_t value);

/* The device at an address of a bus; NULL: none. */
struct pci_device *pci_at(struct bus *bus, unsigned devfn);

#endif
