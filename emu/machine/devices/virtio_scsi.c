/* virtio-scsi: a SCSI controller as a virtio device (Virtual I/O Device 1.2, 5.6). */
#include "emu/machine/bus/scsi.h"
#include "emu/machine/bus/virtio_pci.h"
#include "emu/machine/devices/iothread.h"
#include "emu/machine/devices/table.h"

struct virtio_scsi {
    struct virtio_device virtio;
    struct bus *bus;
    char *iothread_id;       /* Property. */
    struct object *iothread; /* Holds a reference; NULL: the main loop. */
    uint32_t num_queues;     /* UINT32_MAX: as many as processors. */
    uint32_t queue_size, max_sectors, cmd_per_lun;
    bool hotplug, param_change;
};

static const struct scsi_limits limits = { .channel_max = 0, .target_max = 255, .lun_max = 16383 };

static struct virtio_scsi *scsi_controller_of(struct device *dev)
{
    return container_of(dev, struct virtio_scsi, virtio.dev);
}

static struct err *realize(struct device *dev)
{
    struct virtio_scsi *s = scsi_controller_of(dev);

    if (!s->num_queues)
        return err_new(
            "Invalid number of queues (= 0), must be a positive integer less than 1022.");
    if (s->queue_size <= 2)
        return err_new("invalid queue-size property (%u), must be > 2", s->queue_size);
    TRY(iothread_take(dev->board, s->iothread_id, &s->iothread));
    s->bus = scsi_bus_new(dev, &limits);
    s->bus->iothread = s->iothread;
    return NULL;
}

static void unrealize(struct device *dev) { iothread_drop(&scsi_controller_of(dev)->iothread); }

static const struct prop own_props[] = {
    PROP("num_queues", u32, struct virtio_scsi, num_queues, UINT32_MAX),
    PROP("virtqueue_size", u32, struct virtio_scsi, queue_size, 256),
    PROP("max_sectors", u32, struct virtio_scsi, max_sectors, 0xffff),
    PROP("cmd_per_lun", u32, struct virtio_scsi, cmd_per_lun, 128),
    PROP("hotplug", bool, struct virtio_scsi, hotplug, true),
    PROP("param_change", bool, struct virtio_scsi, param_change, true),
    PROP_TEXT("iothread", link, struct virtio_scsi, iothread_id),
    PROP_END,
};

static const struct prop_group props[] = { { own_props, 0 }, PROP_GROUPS_END };

static const char *const parents[] = { "virtio-scsi-common", "virtio-device", NULL };
static const struct virtio_ops ops = { .id = VIRTIO_ID_SCSI };

const struct device_class virtio_scsi_device_class = {
    .name = "virtio-scsi-device",
    .parents = parents,
    .category = CATEGORY_STORAGE,
    .bus = &virtio_bus_type,
    .size = sizeof(struct virtio_scsi),
    .props = props,
    .family = &ops,
    .realize = realize,
    .unrealize = unrealize,
};

static const struct virtio_pci_family family = { .legacy_id = 0x1004, .pci_class = 0x0100 };

const struct device_class virtio_scsi_pci_class = VIRTIO_PCI_CLASS(
    "virtio-scsi-pci", "virtio-scsi", CATEGORY_STORAGE, &virtio_scsi_device_class, &family);
