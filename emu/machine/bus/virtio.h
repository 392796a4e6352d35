#ifndef EMU_MACHINE_BUS_VIRTIO_H
#define EMU_MACHINE_BUS_VIRTIO_H

/*
 * Virtio devices and the transport they are inside of. (Virtual I/O Device 1.2.)
 *
 * A virtio device (virtio-blk-device) sits alone on the virtio-bus of its transport (virtio-blk-pci), which users
 * create: properties of the device are set through the transport.
 */

#include "emu/machine/bus/device.h"

extern const struct bus_type virtio_bus_type;

/* Device types (5). */
enum { VIRTIO_ID_BLOCK = 2, VIRTIO_ID_SCSI = 8 };

/* Of a virtio device's class, as class->family. */
struct virtio_ops {
    uint16_t id; /* enum above */
};

struct virtio_device {
    struct device dev;
};

static inline struct virtio_device *virtio_of(struct device *dev)
{
    return container_of(dev, struct virtio_device, dev);
}

#endif
