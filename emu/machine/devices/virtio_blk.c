/* virtio-blk: a disk as a virtio device (Virtual I/O Device 1.2, 5.2). */
#include "emu/machine/bus/virtio_pci.h"
#include "emu/machine/devices/block.h"
#include "emu/machine/devices/iothread.h"
#include "emu/machine/devices/table.h"

struct virtio_blk {
    struct virtio_device virtio;
    struct block_conf conf;
    char *serial;
    char *iothread_id; /* Property. */
    struct object *iothread; /* Holds a reference; NULL: the main loop. */
    uint16_t num_queues; /* UINT16_MAX: as many as processors. */
    uint16_t queue_size;
    bool config_wce, request_merging;
};

static struct virtio_blk *blk_of(struct device *dev)
{
    return container_of(dev, struct virtio_blk, virtio.dev);
}

static const struct backend_device_ops blk_ops = { .keeps_io_status = true };

static struct err *realize(struct device *dev)
{
    struct virtio_blk *blk = blk_of(dev);
    struct node *node =
        blk->conf.backend && blk->conf.backend->root ? blk->conf.backend->root->node : NULL;
    struct err *err;

    if (!blk->num_queues)
        return err_new("num-queues property must be larger than 0");
    if (blk->queue_size <= 2)
        return err_new("invalid queue-size property (%u), must be > 2", blk->queue_size);
    TRY(iothread_take(dev->board, blk->iothread_id, &blk->iothread));
    err = block_attach(&blk->conf, &(struct block_need){ .dev = dev,
                                                         .ops = &blk_ops,
                                                         .owner = blk,
                                                         .read_only = node && node->read_only,
                                                         .resizable = true });
    if (err)
        iothread_drop(&blk->iothread);
    return err;
}

static void settle(struct device *dev, device_done_fn *done, void *arg)
{
    block_settle(&blk_of(dev)->conf, done, arg);
}

static void unrealize(struct device *dev)
{
    struct virtio_blk *blk = blk_of(dev);

    block_detach(&blk->conf);
    iothread_drop(&blk->iothread);
}

static const struct prop own_props[] = {
    PROP_TEXT("serial", str, struct virtio_blk, serial),
    PROP_TEXT("iothread", link, struct virtio_blk, iothread_id),
    PROP("config-wce", bool, struct virtio_blk, config_wce, true),
    PROP("request-merging", bool, struct virtio_blk, request_merging, true),
    PROP("num-queues", u16, struct virtio_blk, num_queues, UINT16_MAX),
    PROP("queue-size", u16, struct virtio_blk, queue_size, 256),
    PROP_END,
};

static const struct prop_group props[] = {
    { block_drive_props, offsetof(struct virtio_blk, conf) },
    { block_size_props, offsetof(struct virtio_blk, conf) },
    { block_error_props, offsetof(struct virtio_blk, conf) },
    { own_props, 0 },
    PROP_GROUPS_END,
};

static const char *const parents[] = { "virtio-device", NULL };
static const struct virtio_ops ops = { .id = VIRTIO_ID_BLOCK };

const struct device_class virtio_blk_device_class = {
    .name = "virtio-blk-device",
    .parents = parents,
    .category = CATEGORY_STORAGE,
    .bus = &virtio_bus_type,
    .size = sizeof(struct virtio_blk),
    .props = props,
    .family = &ops,
    .realize = realize,
    .settle = settle,
    .unrealize = unrealize,
};

static const struct virtio_pci_family family = { .legacy_id = 0x1001, .pci_class = 0x0100 };

const struct device_class virtio_blk_pci_class = VIRTIO_PCI_CLASS(
    "virtio-blk-pci", "virtio-blk", CATEGORY_STORAGE, &virtio_blk_device_class, &family);
