#ifndef EMU_MACHINE_MACHINE_H
#define EMU_MACHINE_MACHINE_H

/*
 * A machine: its class (none, pc, q35), its board with all devices, and its run state.
 *
 *     machine = machine_new(reactor, class);     board.graph and the like are filled in by the caller
 *     TRY(machine_build(machine));               the class's own buses and devices
 *     machine_add_device(...)                    -device, device_add
 *     machine_ready(machine);                    what comes now is hot-plugged
 *
 * Home: the main reactor.
 */

#include <stdbool.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/notify.h"
#include "emu/base/uuid.h"
#include "emu/machine/bus/board.h"
#include "emu/machine/runstate.h"

struct machine;

struct machine_class {
    const char *name; /* "pc-q35-10.0" */
    const char *alias;
    const char *desc;
    bool is_default;
    bool acpi;
    bool has_disks;     /* A CD-ROM drive, unless the user has other plans. */
    bool has_floppy;    /* And a floppy drive. */
    unsigned ide_units; /* On each of its IDE buses. */
    unsigned cpus_max;
    const char *default_ram_id; /* Or NULL. */
    /* Makes buses and devices. */
    struct err *(*build)(struct machine *machine);
};

extern const struct machine_class *const all_machine_classes[]; /* Ends with NULL. */
/* By name or alias; NULL: none. */
const struct machine_class *machine_class_find(const char *name);

/* What the guest or user did to the machine as a whole. */
enum machine_event_kind { MACHINE_POWERDOWN, MACHINE_RESET };
struct machine_event {
    enum machine_event_kind kind;
    bool guest;
    enum qapi_shutdown_cause cause;
};

struct machine {
    const struct machine_class *class;
    struct board board;
    struct runstate run;
    struct uuid uuid;
    char *name; /* -name, or NULL. Owned. */
    struct notifier_list on_event;    /* struct machine_event */
    struct notifier_list on_deleted;  /* struct machine_deleted */
};

/* A device is gone. */
struct machine_deleted {
    const char *id; /* Or NULL. */
    const char *path;
};

struct machine *machine_new(struct reactor *reactor, const struct machine_class *class);
/* Unplugs and frees all. NULL is fine. */
void machine_free(struct machine *machine);
struct err *machine_build(struct machine *machine) MUST_USE;
void machine_ready(struct machine *machine);

/*
 * Makes a device from {"driver": D, "id": I, "bus": B, properties...} and plugs it in. done is called once, from
 * within or later. Texts of errors are the reference's.
 */
void machine_add_device(struct machine *machine, const struct json *options, device_done_fn *done,
                        void *arg);
/* The same for a device that the machine has of itself. */
void machine_add_own_device(struct machine *machine, const struct json *options,
                            device_done_fn *done, void *arg);
/* The text of -device as those options: "driver,id=I,prop=value" or JSON. *out is new. */
struct err *device_options_parse(const char *text, struct json **out) MUST_USE;
/* device_del: at once, or when the guest has agreed. */
struct err *machine_del_device(struct machine *machine, const char *id) MUST_USE;

/* Stops the machine for a reason, or lets it run. What already is so stays. */
void machine_stop(struct machine *machine, enum qapi_run_state why);
void machine_start(struct machine *machine);

/* Resets all devices; unplugging that waited for the guest is carried out. */
void machine_reset(struct machine *machine, enum qapi_shutdown_cause cause);
void machine_powerdown(struct machine *machine);

#endif
