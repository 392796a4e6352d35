/* The machines. What is on their boards is in the file of each. */
#include "emu/base/str.h"
#include "emu/machine/bus/pci.h"
#include "emu/machine/machine.h"

/* A chip of the board, and where it sits. */
struct chip {
    const char *class, *bus;
    int devfn; /* On PCI; -1: not there. */
    bool multifunction;
};

static void plugged(void *arg, struct err *err) { *(struct err **)arg = err; }

static struct err *add_chips(struct machine *machine, const struct chip *chips, size_t n)
{
    struct err *err = NULL;

    for (size_t i = 0; i < n && !err; i++) {
        const struct device_class *class = class_find(&machine->board, chips[i].class);
        struct device *dev;

        if (!class)
            return err_new("this program has no device '%s'", chips[i].class);
        dev = device_new(&machine->board, class);
        if (chips[i].devfn >= 0)
            device_set_known(dev, "addr", json_int(chips[i].devfn));
        if (chips[i].multifunction)
            device_set_known(dev, "multifunction", json_bool(true));
        /* Nothing of a chip takes time. */
        device_plug(dev, bus_find(&machine->board, chips[i].bus), plugged, &err);
        device_unref(dev);
    }
    return err;
}

#define SLOT(slot, function) ((slot)*PCI_FUNCTIONS + (function))

static struct err *build_pc(struct machine *machine)
{
    static const struct chip chips[] = {
        { "i440FX-pcihost", "main-system-bus", -1, false },
        { "i440FX", "pci.0", SLOT(0, 0), false },
        { "PIIX3", "pci.0", SLOT(1, 0), true },
        { "isa-fdc", "isa.0", -1, false },
        { "piix3-ide", "pci.0", SLOT(1, 1), false },
    };

    return add_chips(machine, chips, ARRAY_LEN(chips));
}

static struct err *build_q35(struct machine *machine)
{
    static const struct chip chips[] = {
        { "q35-pcihost", "main-system-bus", -1, false },
        { "mch", "pcie.0", SLOT(0, 0), false },
        { "ICH9-LPC", "pcie.0", SLOT(31, 0), true },
        { "ich9-ahci", "pcie.0", SLOT(31, 2), false },
    };

    return add_chips(machine, chips, ARRAY_LEN(chips));
}

#undef SLOT

static const struct machine_class none = { .name = "none", .desc = "empty machine", .cpus_max = 1 };

static const struct machine_class pc = {
    .name = "pc-i440fx-10.0",
    .alias = "pc",
    .desc = "Standard PC (i440FX + PIIX, 1996)",
    .is_default = true,
    .has_floppy = true,
    .has_disks = true,
    .ide_units = 2,
    .cpus_max = 255,
    .default_ram_id = "pc.ram",
    .build = build_pc,
};

static const struct machine_class q35 = {
    .name = "pc-q35-10.0",
    .alias = "q35",
    .desc = "Standard PC (Q35 + ICH9, 2009)",
    .has_disks = true,
    .ide_units = 1,
    .cpus_max = 4096,
    .default_ram_id = "pc.ram",
    .build = build_q35,
};

const struct machine_class *const all_machine_classes[] = { &pc, &q35, &none, NULL };

const struct machine_class *machine_class_find(const char *name)
{
    for (size_t i = 0; all_machine_classes[i]; i++)
        if (str_eq(all_machine_classes[i]->name, name) ||
            str_eq(all_machine_classes[i]->alias, name))
            return all_machine_classes[i];
    return NULL;
}
