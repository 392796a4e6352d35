/* The machines. What is on their boards is in the file of each. */
#include "emu/base/str.h"
#include "emu/machine/bus/pci.h"
#include "emu/machine/machine.h"

static struct err *build_pc(struct machine *machine)
{
    bus_new(&machine->board, &pci_bus_type, NULL, "pci.0");
    return NULL;
}

static struct err *build_q35(struct machine *machine)
{
    bus_new(&machine->board, &pcie_bus_type, NULL, "pcie.0")->hotplug = false;
    return NULL;
}

static const struct machine_class none = { .name = "none", .desc = "empty machine", .cpus_max = 1 };

static const struct machine_class pc = {
    .name = "pc-i440fx-10.0",
    .alias = "pc",
    .desc = "Standard PC (i440FX + PIIX, 1996)",
    .is_default = true,
    .cpus_max = 255,
    .default_ram_id = "pc.ram",
    .build = build_pc,
};

static const struct machine_class q35 = {
    .name = "pc-q35-10.0",
    .alias = "q35",
    .desc = "Standard PC (Q35 + ICH9, 2009)",
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
