/* See virtio_pci.h. */
#include "emu/machine/bus/virtio_pci.h"

#include "emu/machine/bus/board.h"

enum {
    VIRTIO_VENDOR = 0x1af4,
    VIRTIO_SUBSYSTEM_VENDOR = 0x1af4,
};

const char *const virtio_pci_parents[] = { "virtio-pci", "pci-device", NULL };

static const struct prop own_props[] = {
    PROP("disable-legacy", on_off_auto, struct virtio_pci, disable_legacy, ON_OFF_AUTO_AUTO),
    PROP("disable-modern", bool, struct virtio_pci, disable_modern, false),
    PROP("ioeventfd", bool, struct virtio_pci, ioeventfd, true),
    PROP("vectors", u32, struct virtio_pci, vectors, UINT32_MAX),
    PROP_END,
};

const struct prop_group virtio_pci_props[] = {
    { own_props, 0 },
    { pci_props, offsetof(struct virtio_pci, pci) },
    PROP_GROUPS_END,
};

static struct virtio_pci *virtio_pci_of(struct device *dev)
{
    return container_of(dev, struct virtio_pci, pci.dev);
}

struct err *virtio_pci_realize(struct device *dev)
{
    struct virtio_pci *proxy = virtio_pci_of(dev);
    const struct virtio_pci_family *family = dev->class->family;
    const struct virtio_ops *ops = dev->inside->class->family;
    struct err *err;

    proxy->pci.ids = (struct pci_ids){
        .vendor = VIRTIO_VENDOR,
        .device = family->legacy_id,
        .subsystem_vendor = VIRTIO_SUBSYSTEM_VENDOR,
        .subsystem = ops->id,
        .class = family->pci_class,
    };
    pci_init_config(&proxy->pci);
    proxy->bus = bus_new(dev->board, &virtio_bus_type, dev, "virtio-bus");
    err = device_realize_inside(dev, proxy->bus);
    if (err)
        bus_free(proxy->bus);
    return err;
}

void virtio_pci_unrealize(struct device *dev) {}
