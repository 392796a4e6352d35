#ifndef EMU_MACHINE_DEVICES_MEDIA_H
#define EMU_MACHINE_DEVICES_MEDIA_H

/* Drives with removable media: the tray, and the lock that the guest holds it with. */

#include "emu/machine/devices/block.h"

struct media {
    struct device *dev;      /* Borrowed. */
    struct block_conf *conf; /* Borrowed. */
    bool tray_open, locked;
    bool eject_requested; /* The guest was asked. */
    bool changed;         /* The guest has not been told yet. */
};

/* Of a drive with a tray; the owner is its struct media. */
extern const struct backend_device_ops media_ops;
/* Of one without: media just come and go. */
extern const struct backend_device_ops trayless_ops;

void media_init(struct media *media, struct device *dev, struct block_conf *conf);

#endif
