#ifndef EMU_MACHINE_BUS_SCSI_H
#define EMU_MACHINE_BUS_SCSI_H

/* SCSI buses and what all devices on them have: channel, target and logical unit. */

#include "emu/machine/bus/device.h"

extern const struct bus_type scsi_bus_type;

/* What a controller can address. A bus of that type is made by scsi_bus_new(). */
struct scsi_limits {
    uint32_t channel_max, target_max, lun_max;
};

struct scsi_device {
    struct device dev;
    uint32_t channel, id, lun; /* id and lun: UINT32_MAX until the bus has chosen. */
};

static inline struct scsi_device *scsi_of(struct device *dev)
{
    return container_of(dev, struct scsi_device, dev);
}

extern const struct prop scsi_props[];

/* A bus below a controller; limits is borrowed for the life of the bus. */
struct bus *scsi_bus_new(struct device *controller, const struct scsi_limits *limits);

/* The unit at an address; NULL: none. */
struct scsi_device *scsi_at(struct bus *bus, uint32_t channel, uint32_t id, uint32_t lun);

#endif
