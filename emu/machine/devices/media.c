/* See media.h. */
#include "emu/machine/devices/media.h"

void media_init(struct media *media, struct device *dev, struct block_conf *conf)
{
    media->dev = dev;
    media->conf = conf;
}

static struct err *changed(void *device, bool inserted)
{
    struct media *media = device;

    media->changed = true;
    media->eject_requested = false;
    media->tray_open = !inserted;
    return NULL;
}

static void eject_request(void *device, bool force)
{
    struct media *media = device;

    media->eject_requested = true;
    if (force)
        media->locked = false;
}

static bool tray_is_open(void *device) { return ((struct media *)device)->tray_open; }

static bool is_locked(void *device) { return ((struct media *)device)->locked; }

const struct backend_device_ops media_ops = {
    .removable = true,
    .has_tray = true,
    .keeps_io_status = true,
    .changed = changed,
    .eject_request = eject_request,
    .tray_is_open = tray_is_open,
    .is_locked = is_locked,
};

/* What is needed of the disk follows from the disk: one that cannot be written to is only read. */
static struct err *trayless_changed(void *device, bool inserted)
{
    struct media *media = device;

    if (inserted)
        TRY(block_take_medium(media->conf));
    else
        block_leave_medium(media->conf);
    media->changed = true;
    return NULL;
}

const struct backend_device_ops trayless_ops = { .removable = true, .changed = trayless_changed };
