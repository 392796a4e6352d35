/* See pci.h. */
#include "emu/machine/bus/pci.h"

#include <stdlib.h>
#include <string.h>

#include "emu/base/bytes.h"
#include "emu/base/str.h"

/* Offsets in the configuration header (6.1). */
enum {
    CONFIG_VENDOR = 0x00,
    CONFIG_DEVICE = 0x02,
    CONFIG_COMMAND = 0x04,
    CONFIG_STATUS = 0x06,
    CONFIG_REVISION = 0x08,
    CONFIG_PROG_IF = 0x09,
    CONFIG_CLASS = 0x0a,
    CONFIG_HEADER_TYPE = 0x0e,
    CONFIG_SUBSYSTEM_VENDOR = 0x2c,
    CONFIG_SUBSYSTEM = 0x2e,
    CONFIG_INTERRUPT_LINE = 0x3c,
    CONFIG_INTERRUPT_PIN = 0x3d,
    HEADER_MULTIFUNCTION = 0x80,
};

/* ---- The address property: "3", "0x3", "3.1" ---- */

static struct err *set_devfn(struct device *dev, const struct prop *prop, void *field,
                             const struct json *value)
{
    const char *text = json_as_str(value);
    unsigned long slot, function = 0;
    int64_t number;
    char *end;

    if (json_as_int64(value, &number)) {
        if (number < -1 || number >= PCI_DEVFN_MAX)
            return err_new("Property '%s.%s' doesn't take value %jd", dev->class->name, prop->name,
                           (intmax_t)number);
        *(int32_t *)field = (int32_t)number;
        return NULL;
    }
    if (!text)
        return err_new("Invalid parameter type for '%s', expected: string", prop->name);
    slot = strtoul(text, &end, 16);
    if (end != text && *end == '.')
        function = strtoul(end + 1, &end, 16);
    if (end == text || *end || slot >= PCI_SLOTS || function >= PCI_FUNCTIONS)
        return err_new("Property '%s.%s' doesn't take value '%s'", dev->class->name, prop->name,
                       text);
    *(int32_t *)field = (int32_t)(slot * PCI_FUNCTIONS + function);
    return NULL;
}

static struct json *get_devfn(struct device *dev, const struct prop *prop, const void *field)
{
    return json_int(*(const int32_t *)field);
}

static void print_devfn(struct device *dev, const struct prop *prop, const void *field,
                        struct str *out)
{
    int32_t devfn = *(const int32_t *)field;

    if (devfn < 0)
        str_add(out, "<unset>");
    else
        str_addf(out, "%02x.%x", (unsigned)devfn / PCI_FUNCTIONS, (unsigned)devfn % PCI_FUNCTIONS);
}

const struct prop_kind prop_devfn = {
    .type = "str", .set = set_devfn, .get = get_devfn, .print = print_devfn
};

const struct prop pci_props[] = {
    PROP("addr", devfn, struct pci_device, devfn, -1),
    PROP("multifunction", bool, struct pci_device, multifunction, false),
    PROP_END,
};

/* ---- Buses ---- */

struct pci_device *pci_at(struct bus *bus, unsigned devfn)
{
    list_for_each(dev, &bus->devices, struct device, link)
        if (pci_of(dev)->devfn == (int32_t)devfn)
            return pci_of(dev);
    return NULL;
}

static struct err *choose_slot(struct bus *bus, struct pci_device *pci)
{
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        bool free = true;

        for (unsigned f = 0; f < PCI_FUNCTIONS; f++)
            free &= !pci_at(bus, slot * PCI_FUNCTIONS + f);
        if (!free)
            continue;
        pci->devfn = (int32_t)(slot * PCI_FUNCTIONS);
        return NULL;
    }
    return err_new("PCI: no slot/function available for %s, all in use or reserved",
                   pci->dev.class->name);
}

static struct err *claim_address(struct bus *bus, struct device *dev)
{
    struct pci_device *pci = pci_of(dev), *other;

    if (pci->devfn < 0)
        return choose_slot(bus, pci);
    other = pci_at(bus, (unsigned)pci->devfn);
    if (other)
        return err_new("PCI: slot %d function %d not available for %s, in use by %s,id=%s",
                       pci->devfn / PCI_FUNCTIONS, pci->devfn % PCI_FUNCTIONS, dev->class->name,
                       other->dev.class->name, other->dev.id ? other->dev.id : "");
    return NULL;
}

static void print_address(struct device *dev, int indent, struct str *out)
{
    const struct pci_device *pci = pci_of(dev);

    str_add_repeat(out, ' ', (size_t)indent);
    str_addf(out, "class %04x, addr %02x:%02x.%x, pci id %04x:%04x (sub %04x:%04x)\n",
             pci->ids.class, 0u, (unsigned)pci->devfn / PCI_FUNCTIONS,
             (unsigned)pci->devfn % PCI_FUNCTIONS, pci->ids.vendor, pci->ids.device,
             pci->ids.subsystem_vendor, pci->ids.subsystem);
}

const struct bus_type pci_bus_type = { .name = "PCI",
                                       .claim = claim_address,
                                       .print = print_address };
const struct bus_type pcie_bus_type = {
    .name = "PCIE", .parent = &pci_bus_type, .claim = claim_address, .print = print_address
};

/* ---- Configuration space ---- */

void pci_init_config(struct pci_device *pci)
{
    uint8_t *c = pci->config;

    store_le16(c + CONFIG_VENDOR, pci->ids.vendor);
    store_le16(c + CONFIG_DEVICE, pci->ids.device);
    c[CONFIG_REVISION] = pci->ids.revision;
    c[CONFIG_PROG_IF] = pci->ids.prog_if;
    store_le16(c + CONFIG_CLASS, pci->ids.class);
    store_le16(c + CONFIG_SUBSYSTEM_VENDOR, pci->ids.subsystem_vendor);
    store_le16(c + CONFIG_SUBSYSTEM, pci->ids.subsystem);
    if (pci->multifunction)
        c[CONFIG_HEADER_TYPE] |= HEADER_MULTIFUNCTION;
}

uint32_t pci_config_read(struct pci_device *pci, unsigned offset, unsigned len)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < len && offset + i < PCI_CONFIG_BYTES; i++)
        value |= (uint32_t)pci->config[offset + i] << (8 * i);
    return value;
}

void pci_config_write(struct pci_device *pci, unsigned offset, unsigned len, uint32_t value)
{
    for (unsigned i = 0; i < len && offset + i < PCI_CONFIG_BYTES; i++) {
        unsigned at = offset + i;

        if (at == CONFIG_COMMAND || at == CONFIG_COMMAND + 1 || at == CONFIG_INTERRUPT_LINE)
            pci->config[at] = (uint8_t)(value >> (8 * i));
    }
}
