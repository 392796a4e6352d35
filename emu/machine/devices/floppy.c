/* floppy and its controller isa-fdc. */
#include "emu/machine/bus/isa.h"
#include "emu/machine/devices/block.h"
#include "emu/machine/devices/media.h"
#include "emu/machine/devices/table.h"

enum { FLOPPY_UNITS = 2, FLOPPY_SECTOR = 512 };

/* ---- The drive ---- */

struct floppy {
    struct device dev;
    struct block_conf conf;
    struct media media;
    uint32_t unit; /* Property; UINT32_MAX: the first free one. */
    int type;      /* In type_names. */
};

enum floppy_type { FLOPPY_120, FLOPPY_144, FLOPPY_288, FLOPPY_NONE, FLOPPY_AUTO };
static const char *const type_names[] = { "120", "144", "288", "none", "auto", NULL };

static struct floppy *floppy_of(struct device *dev)
{
    return container_of(dev, struct floppy, dev);
}

static struct floppy *floppy_at(struct bus *bus, uint32_t unit)
{
    list_for_each(dev, &bus->devices, struct device, link)
        if (floppy_of(dev)->unit == unit)
            return floppy_of(dev);
    return NULL;
}

static struct err *claim_unit(struct bus *bus, struct device *dev)
{
    struct floppy *floppy = floppy_of(dev);
    uint32_t unit = floppy->unit;

    if (unit == UINT32_MAX)
        for (unit = 0; floppy_at(bus, unit); unit++)
            ;
    if (unit >= FLOPPY_UNITS)
        return err_new("Can't create floppy unit %u, bus supports only %d units", unit,
                       FLOPPY_UNITS);
    if (floppy_at(bus, unit))
        return err_new("Floppy unit %u is in use", unit);
    floppy->unit = unit;
    return NULL;
}

static const struct bus_type floppy_bus_type = { .name = "floppy-bus", .claim = claim_unit };

/* The kind of drive that reads the disk that is there; an empty one is for 2.88 MB. */
static enum floppy_type guess_type(const struct floppy *floppy)
{
    const struct backend *backend = floppy->conf.backend;
    uint64_t size = backend && backend->root ? backend->root->node->size : 0;

    switch (size >> 10) {
    case 0:
    case 2880: return FLOPPY_288;
    case 1200: return FLOPPY_120;
    default: return FLOPPY_144;
    }
}

static struct err *floppy_realize(struct device *dev)
{
    struct floppy *floppy = floppy_of(dev);
    struct err *err;

    media_init(&floppy->media, dev, &floppy->conf);
    err = block_attach(&floppy->conf, &(struct block_need){ .dev = dev,
                                                            .ops = &trayless_ops,
                                                            .owner = &floppy->media,
                                                            .removable = true,
                                                            .makes_backend = true });
    if (err)
        return err;
    if (floppy->conf.logical_block_size != FLOPPY_SECTOR ||
        floppy->conf.physical_block_size != FLOPPY_SECTOR) {
        block_detach(&floppy->conf);
        return err_new("Physical and logical block size must be %d for floppy", FLOPPY_SECTOR);
    }
    if (floppy->type == FLOPPY_AUTO)
        floppy->type = guess_type(floppy);
    return NULL;
}

static void settle(struct device *dev, device_done_fn *done, void *arg)
{
    block_settle(&floppy_of(dev)->conf, done, arg);
}

static void floppy_unrealize(struct device *dev) { block_detach(&floppy_of(dev)->conf); }

static const struct prop unit_props[] = {
    PROP("unit", u32, struct floppy, unit, UINT32_MAX),
    PROP_END,
};
static const struct prop type_props[] = {
    PROP_ENUM("drive-type", struct floppy, type, FLOPPY_AUTO, type_names),
    PROP_END,
};
static const struct prop_group floppy_props[] = {
    { unit_props, 0 },
    { block_drive_props, offsetof(struct floppy, conf) },
    { block_size_props, offsetof(struct floppy, conf) },
    { type_props, 0 },
    PROP_GROUPS_END,
};

const struct device_class floppy_class = {
    .name = "floppy",
    .desc = "virtual floppy drive",
    .category = CATEGORY_STORAGE,
    .bus = &floppy_bus_type,
    .size = sizeof(struct floppy),
    .props = floppy_props,
    .no_hotplug = true,
    .realize = floppy_realize,
    .settle = settle,
    .unrealize = floppy_unrealize,
};

/* ---- The controller ---- */

struct isa_fdc {
    struct device dev;
    uint32_t iobase, irq, dma;
    int type_a, type_b, fallback;
};

static struct err *fdc_realize(struct device *dev)
{
    (void)bus_new(dev->board, &floppy_bus_type, dev, NULL);
    return NULL;
}

static const struct prop fdc_own_props[] = {
    PROP("iobase", u32, struct isa_fdc, iobase, 0x3f0),
    PROP("irq", u32, struct isa_fdc, irq, 6),
    PROP("dma", u32, struct isa_fdc, dma, 2),
    PROP_ENUM("fdtypeA", struct isa_fdc, type_a, FLOPPY_AUTO, type_names),
    PROP_ENUM("fdtypeB", struct isa_fdc, type_b, FLOPPY_AUTO, type_names),
    PROP_ENUM("fallback", struct isa_fdc, fallback, FLOPPY_288, type_names),
    PROP_END,
};
static const struct prop_group fdc_props[] = { { fdc_own_props, 0 }, PROP_GROUPS_END };

const struct device_class isa_fdc_class = {
    .name = "isa-fdc",
    .desc = "virtual floppy controller",
    .category = CATEGORY_STORAGE,
    .bus = &isa_bus_type,
    .size = sizeof(struct isa_fdc),
    .props = fdc_props,
    .internal = true,
    .realize = fdc_realize,
};
