/* scsi-hd and scsi-cd: disks on a SCSI bus. */
#include "emu/machine/bus/scsi.h"
#include "emu/machine/devices/block.h"
#include "emu/machine/devices/media.h"
#include "emu/machine/devices/table.h"

struct scsi_disk {
    struct scsi_device scsi;
    struct block_conf conf;
    struct media media; /* Of scsi-cd. */
    char *version, *serial, *vendor, *product, *device_id;
    uint64_t wwn, port_wwn;
    uint16_t port_index, rotation_rate;
    bool removable, dpofua;
    uint64_t max_unmap_size, max_io_size;
    int32_t scsi_version;
};

static struct scsi_disk *disk_of(struct device *dev)
{
    return container_of(dev, struct scsi_disk, scsi.dev);
}

static const struct backend_device_ops hd_ops = { .keeps_io_status = true };
static const struct backend_device_ops removable_hd_ops = { .removable = true,
                                                            .keeps_io_status = true };

static struct err *hd_realize(struct device *dev)
{
    struct scsi_disk *disk = disk_of(dev);

    return block_attach(&disk->conf,
                        &(struct block_need){ .dev = dev,
                                              .ops = disk->removable ? &removable_hd_ops : &hd_ops,
                                              .owner = disk,
                                              .iothread = dev->bus->iothread,
                                              .any_thread = true,
                                              .resizable = true });
}

static struct err *cd_realize(struct device *dev)
{
    struct scsi_disk *disk = disk_of(dev);

    media_init(&disk->media, dev, &disk->conf);
    return block_attach(&disk->conf, &(struct block_need){ .dev = dev,
                                                           .ops = &media_ops,
                                                           .owner = &disk->media,
                                                           .iothread = dev->bus->iothread,
                                                           .any_thread = true,
                                                           .read_only = true,
                                                           .resizable = true,
                                                           .removable = true,
                                                           .makes_backend = true });
}

static void settle(struct device *dev, device_done_fn *done, void *arg)
{
    block_settle(&disk_of(dev)->conf, done, arg);
}

static void unrealize(struct device *dev) { block_detach(&disk_of(dev)->conf); }

static const struct prop common_props[] = {
    PROP_TEXT("ver", str, struct scsi_disk, version),
    PROP_TEXT("serial", str, struct scsi_disk, serial),
    PROP_TEXT("vendor", str, struct scsi_disk, vendor),
    PROP_TEXT("product", str, struct scsi_disk, product),
    PROP_TEXT("device_id", str, struct scsi_disk, device_id),
    PROP("wwn", u64, struct scsi_disk, wwn, 0),
    PROP("port_wwn", u64, struct scsi_disk, port_wwn, 0),
    PROP("port_index", u16, struct scsi_disk, port_index, 0),
    PROP("max_io_size", u64, struct scsi_disk, max_io_size, 2147483647),
    PROP("scsi_version", i32, struct scsi_disk, scsi_version, 5),
    PROP_END,
};

static const struct prop hd_only_props[] = {
    PROP("removable", bool, struct scsi_disk, removable, false),
    PROP("dpofua", bool, struct scsi_disk, dpofua, false),
    PROP("max_unmap_size", u64, struct scsi_disk, max_unmap_size, 1u << 30),
    PROP("rotation_rate", u16, struct scsi_disk, rotation_rate, 0),
    PROP_END,
};

static const struct prop_group cd_props[] = {
    { block_drive_props, offsetof(struct scsi_disk, conf) },
    { block_size_props, offsetof(struct scsi_disk, conf) },
    { block_error_props, offsetof(struct scsi_disk, conf) },
    { common_props, 0 },
    { scsi_props, offsetof(struct scsi_disk, scsi) },
    PROP_GROUPS_END,
};

static const struct prop_group hd_props[] = {
    { block_drive_props, offsetof(struct scsi_disk, conf) },
    { block_size_props, offsetof(struct scsi_disk, conf) },
    { block_error_props, offsetof(struct scsi_disk, conf) },
    { common_props, 0 },
    { hd_only_props, 0 },
    { scsi_props, offsetof(struct scsi_disk, scsi) },
    PROP_GROUPS_END,
};

static const char *const parents[] = { "scsi-disk-base", "scsi-device", NULL };

const struct device_class scsi_hd_class = {
    .name = "scsi-hd",
    .desc = "virtual SCSI disk",
    .parents = parents,
    .category = CATEGORY_STORAGE,
    .bus = &scsi_bus_type,
    .size = sizeof(struct scsi_disk),
    .props = hd_props,
    .realize = hd_realize,
    .settle = settle,
    .unrealize = unrealize,
};

const struct device_class scsi_cd_class = {
    .name = "scsi-cd",
    .desc = "virtual SCSI CD-ROM",
    .parents = parents,
    .category = CATEGORY_STORAGE,
    .bus = &scsi_bus_type,
    .size = sizeof(struct scsi_disk),
    .props = cd_props,
    .realize = cd_realize,
    .settle = settle,
    .unrealize = unrealize,
};
