#ifndef EMU_MACHINE_BUS_VIRTIO_PCI_H
#define EMU_MACHINE_BUS_VIRTIO_PCI_H

/* Virtio over PCI (Virtual I/O Device 1.2, 4.1): the transport around a virtio device. */

#include "emu/machine/bus/pci.h"
#include "emu/machine/bus/virtio.h"

/* Of a transport's class, as class->family. */
struct virtio_pci_family {
    uint16_t legacy_id;  /* PCI device ID of a transitional device. */
    uint16_t pci_class;
};

struct virtio_pci {
    struct pci_device pci;
    struct bus *bus; /* Where the device inside sits. */
    int disable_legacy; /* enum on_off_auto */
    bool disable_modern;
    uint32_t vectors; /* Of MSI-X; UINT32_MAX: as many as queues, and one. */
    bool ioeventfd;
};

extern const struct prop_group virtio_pci_props[];
struct err *virtio_pci_realize(struct device *dev) MUST_USE;
void virtio_pci_unrealize(struct device *dev);

#define VIRTIO_PCI_CLASS(n, alias_name, category_value, inside_class, fam)                         \
    {                                                                                              \
        .name = (n), .alias = (alias_name), .parents = virtio_pci_parents,                         \
        .category = (category_value), .bus = &pci_bus_type, .size = sizeof(struct virtio_pci),     \
        .props = virtio_pci_props, .inside = (inside_class), .family = (fam), .needs_guest = true, \
        .realize = virtio_pci_realize, .unrealize = virtio_pci_unrealize                           \
    }
extern const char *const virtio_pci_parents[];

#endif
