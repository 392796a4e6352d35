/* See help.h. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/attrs.h"
#include "emu/base/str.h"
#include "emu/cmd/system/help.h"
#include "emu/machine/devices/table.h"
#include "emu/machine/machine.h"
#include "emu/storage/driver.h"

void help_machines(void)
{
    printf("Supported machines are:\n");
    for (size_t i = 0; all_machine_classes[i]; i++) {
        const struct machine_class *class = all_machine_classes[i];

        if (class->alias)
            printf("%-20s %s (alias of %s)\n", class->alias, class->desc, class->name);
        printf("%-20s %s%s\n", class->name, class->desc, class->is_default ? " (default)" : "");
    }
}

void help_accelerators(void) { printf("Accelerators supported in QEMU binary:\nqtest\n"); }

static const char *const category_names[CATEGORY_COUNT] = {
    [CATEGORY_BRIDGE] = "Controller/Bridge/Hub",
    [CATEGORY_USB] = "USB",
    [CATEGORY_STORAGE] = "Storage",
    [CATEGORY_NETWORK] = "Network",
    [CATEGORY_INPUT] = "Input",
    [CATEGORY_DISPLAY] = "Display",
    [CATEGORY_SOUND] = "Sound",
    [CATEGORY_MISC] = "Misc",
    [CATEGORY_CPU] = "CPU",
    [CATEGORY_WATCHDOG] = "Watchdog",
};

static void print_device(const struct device_class *class)
{
    printf("name \"%s\"", class->name);
    if (class->bus)
        printf(", bus %s", class->bus->name);
    if (class->alias)
        printf(", alias \"%s\"", class->alias);
    if (class->desc)
        printf(", desc \"%s\"", class->desc);
    printf("\n");
}

void help_devices(void)
{
    bool first = true;

    for (int category = 0; category < CATEGORY_COUNT; category++) {
        bool any = false;

        for (size_t i = 0; all_device_classes[i]; i++) {
            const struct device_class *class = all_device_classes[i];

            if ((int)class->category != category || class->internal)
                continue;
            if (!any)
                printf("%s%s devices:\n", first ? "" : "\n", category_names[category]);
            any = true;
            first = false;
            print_device(class);
        }
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const struct prop *const *)a)->name, (*(const struct prop *const *)b)->name);
}

bool help_device(const char *name)
{
    const struct device_class *class = NULL;
    const struct prop *props[256];
    size_t n = 0;

    for (size_t i = 0; all_device_classes[i]; i++)
        if (str_eq(all_device_classes[i]->name, name) || str_eq(all_device_classes[i]->alias, name))
            class = all_device_classes[i];
    if (!class)
        return false;
    while (n < ARRAY_LEN(props) && (props[n] = class_prop_at(class, n)))
        n++;
    qsort(props, n, sizeof(props[0]), compare_names);
    printf("%s options:\n", class->name);
    for (size_t i = 0; i < n; i++)
        printf("  %s=<%s>%s%s\n", props[i]->name, props[i]->kind->type, props[i]->desc ? " - " : "",
               props[i]->desc ? props[i]->desc : "");
    return true;
}

static int compare_drivers(const void *a, const void *b)
{
    return strcmp((*(const struct driver *const *)a)->name,
                  (*(const struct driver *const *)b)->name);
}

/* Scripts read the two lines by number. All formats can be written to, as far as they can at all. */
void help_formats(void)
{
    const struct driver *drivers[128];
    size_t n = 0;

    while (n < ARRAY_LEN(drivers) && all_drivers[n]) {
        drivers[n] = all_drivers[n];
        n++;
    }
    qsort(drivers, n, sizeof(drivers[0]), compare_drivers);
    for (int line = 0; line < 2; line++) {
        printf(line ? "\nSupported formats (read-only):" : "Supported formats:");
        for (size_t i = 0; i < n; i++)
            printf(" %s", drivers[i]->name);
    }
    printf("\n");
}
