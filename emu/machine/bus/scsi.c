/* See scsi.h. */
#include "emu/machine/bus/scsi.h"

#include "emu/base/str.h"

const struct prop scsi_props[] = {
    PROP("channel", u32, struct scsi_device, channel, 0),
    PROP("scsi-id", u32, struct scsi_device, id, UINT32_MAX),
    PROP("lun", u32, struct scsi_device, lun, UINT32_MAX),
    PROP_END,
};

struct scsi_device *scsi_at(struct bus *bus, uint32_t channel, uint32_t id, uint32_t lun)
{
    list_for_each(dev, &bus->devices, struct device, link) {
        struct scsi_device *scsi = scsi_of(dev);

        if (scsi->channel == channel && scsi->id == id && scsi->lun == lun)
            return scsi;
    }
    return NULL;
}

static struct err *choose_id(struct bus *bus, struct scsi_device *scsi,
                             const struct scsi_limits *limits)
{
    if (scsi->lun == UINT32_MAX)
        scsi->lun = 0;
    for (uint32_t id = 0; id < limits->target_max; id++) {
        if (scsi_at(bus, scsi->channel, id, scsi->lun))
            continue;
        scsi->id = id;
        return NULL;
    }
    return err_new("no free target");
}

static struct err *choose_lun(struct bus *bus, struct scsi_device *scsi,
                              const struct scsi_limits *limits)
{
    for (uint32_t lun = 0; lun <= limits->lun_max; lun++) {
        if (scsi_at(bus, scsi->channel, scsi->id, lun))
            continue;
        scsi->lun = lun;
        return NULL;
    }
    return err_new("no free lun");
}

static struct err *claim_address(struct bus *bus, struct device *dev)
{
    const struct scsi_limits *limits = bus->limits;
    struct scsi_device *scsi = scsi_of(dev);

    if (scsi->channel > limits->channel_max)
        return err_new("bad scsi channel id: %u", scsi->channel);
    if (scsi->id != UINT32_MAX && scsi->id > limits->target_max)
        return err_new("bad scsi device id: %u", scsi->id);
    if (scsi->lun != UINT32_MAX && scsi->lun > limits->lun_max)
        return err_new("bad scsi device lun: %u", scsi->lun);
    if (scsi->id == UINT32_MAX)
        return choose_id(bus, scsi, limits);
    if (scsi->lun == UINT32_MAX)
        return choose_lun(bus, scsi, limits);
    if (scsi_at(bus, scsi->channel, scsi->id, scsi->lun))
        return err_new("lun already used by '%s'", dev->id ? dev->id : "");
    return NULL;
}

const struct bus_type scsi_bus_type = { .name = "SCSI", .claim = claim_address };

struct bus *scsi_bus_new(struct device *controller, const struct scsi_limits *limits)
{
    struct bus *bus = bus_new(controller->board, &scsi_bus_type, controller, NULL);

    bus->limits = limits;
    return bus;
}
