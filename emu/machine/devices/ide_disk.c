/* ide-hd and ide-cd: disks on an IDE or AHCI bus. */
#include "emu/machine/bus/ide.h"
#include "emu/machine/devices/block.h"
#include "emu/machine/devices/media.h"
#include "emu/machine/devices/table.h"

struct ide_disk {
    struct ide_unit ide;
    struct block_conf conf;
    struct media media; /* Of ide-cd. */
    char *version, *serial, *model;
    uint64_t wwn;
    uint32_t cylinders, heads, sectors;
    uint16_t rotation_rate;
    bool win2k_install_hack;
};

static struct ide_disk *disk_of(struct device *dev)
{
    return container_of(dev, struct ide_disk, ide.dev);
}

static const struct backend_device_ops hd_ops = { .keeps_io_status = true };

/* The protocol knows sectors of 512 bytes; larger physical blocks are only told. */
static struct err *check_sizes(const struct ide_disk *disk)
{
    if (disk->conf.logical_block_size && disk->conf.logical_block_size != 512)
        return err_new("logical_block_size must be 512 for IDE");
    if (disk->conf.discard_granularity != UINT32_MAX && disk->conf.discard_granularity != 0 &&
        disk->conf.discard_granularity != 512)
        return err_new("discard_granularity must be 512 for ide");
    return NULL;
}

static struct err *hd_realize(struct device *dev)
{
    struct ide_disk *disk = disk_of(dev);

    TRY(check_sizes(disk));
    return block_attach(
        &disk->conf,
        &(struct block_need){ .dev = dev, .ops = &hd_ops, .owner = disk, .writes = true });
}

static struct err *cd_realize(struct device *dev)
{
    struct ide_disk *disk = disk_of(dev);

    TRY(check_sizes(disk));
    media_init(&disk->media, dev, &disk->conf);
    return block_attach(&disk->conf, &(struct block_need){ .dev = dev,
                                                           .ops = &media_ops,
                                                           .owner = &disk->media,
                                                           .read_only = true,
                                                           .removable = true,
                                                           .makes_backend = true });
}

static void settle(struct device *dev, device_done_fn *done, void *arg)
{
    block_settle(&disk_of(dev)->conf, done, arg);
}

static void unrealize(struct device *dev) { block_detach(&disk_of(dev)->conf); }

static const struct prop common_props[] = {
    PROP_TEXT("ver", str, struct ide_disk, version),
    PROP("wwn", u64, struct ide_disk, wwn, 0),
    PROP_TEXT("serial", str, struct ide_disk, serial),
    PROP_TEXT("model", str, struct ide_disk, model),
    PROP("win2k-install-hack", bool, struct ide_disk, win2k_install_hack, false),
    PROP_END,
};

static const struct prop hd_only_props[] = {
    PROP("cyls", u32, struct ide_disk, cylinders, 0),
    PROP("heads", u32, struct ide_disk, heads, 0),
    PROP("secs", u32, struct ide_disk, sectors, 0),
    PROP("rotation_rate", u16, struct ide_disk, rotation_rate, 0),
    PROP_END,
};

static const struct prop_group cd_props[] = {
    { block_drive_props, offsetof(struct ide_disk, conf) },
    { block_size_props, offsetof(struct ide_disk, conf) },
    { block_error_props, offsetof(struct ide_disk, conf) },
    { common_props, 0 },
    { ide_props, offsetof(struct ide_disk, ide) },
    PROP_GROUPS_END,
};

static const struct prop_group hd_props[] = {
    { block_drive_props, offsetof(struct ide_disk, conf) },
    { block_size_props, offsetof(struct ide_disk, conf) },
    { block_error_props, offsetof(struct ide_disk, conf) },
    { common_props, 0 },
    { hd_only_props, 0 },
    { ide_props, offsetof(struct ide_disk, ide) },
    PROP_GROUPS_END,
};

static const char *const parents[] = { "ide-device", NULL };

const struct device_class ide_hd_class = {
    .name = "ide-hd",
    .desc = "virtual IDE disk",
    .parents = parents,
    .category = CATEGORY_STORAGE,
    .bus = &ide_bus_type,
    .size = sizeof(struct ide_disk),
    .props = hd_props,
    .no_hotplug = true,
    .realize = hd_realize,
    .settle = settle,
    .unrealize = unrealize,
};

const struct device_class ide_cd_class = {
    .name = "ide-cd",
    .desc = "virtual IDE CD-ROM",
    .parents = parents,
    .category = CATEGORY_STORAGE,
    .bus = &ide_bus_type,
    .size = sizeof(struct ide_disk),
    .props = cd_props,
    .no_hotplug = true,
    .realize = cd_realize,
    .settle = settle,
    .unrealize = unrealize,
};
