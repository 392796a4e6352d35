/*
 * Carries out the command line: character devices, objects, nodes and drives, monitors, the machine
 * and its devices, in this order, for each depends on those before.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"
#include "emu/chardev/chardev.h"
#include "emu/chardev/cmdline.h"
#include "emu/cmd/common/loop.h"
#include "emu/cmd/system/help.h"
#include "emu/cmd/system/system.h"
#include "emu/machine/devices/table.h"
#include "emu/object/object.h"
#include "emu/qmp/monitor.h"
#include "emu/qmp/server.h"
#include "emu/reactor/clock.h"
#include "emu/storage/fdset.h"

/* Runs take on each option of a list; the error starts with the option as it was given. */
static struct err *for_each(struct system *s, option_list *list,
                            struct err *(*take)(struct system *s, const struct option_text *o))
{
    for (size_t i = 0; i < vec_len(list); i++) {
        const struct option_text o = vec_at(list, i);

        TRY(err_prefix(take(s, &o), "-%s %s: ", o.name, o.text));
    }
    return NULL;
}

static struct err *add_plain(struct system *s, const struct option_text *o)
{
    return front_end_option(&s->fe, o->name, o->text);
}

/* ---- Descriptors that were inherited ---- */

/* Those of the process itself are all closed on exec. */
static bool is_inherited(int64_t fd)
{
    int flags = fd <= INT_MAX ? fcntl((int)fd, F_GETFD) : -1;

    return flags >= 0 && !(flags & FD_CLOEXEC);
}

static struct err *add_fd(struct system *s, const struct option_text *o)
{
    CLEANUP(json_free) struct json *given = NULL;
    CLEANUP(opts_fini) struct opts opts = { 0 };
    int64_t fd = -1, set = -1;
    const char *opaque = NULL;
    int copy;

    TRY(keyval_parse_flags(o->text, NULL, KEYVAL_LEGACY_BOOL | KEYVAL_FLAT, NULL, &given));
    opts_init(&opts, given);
    TRY(opts_i64_opt(&opts, "fd", &fd));
    TRY(opts_i64_opt(&opts, "set", &set));
    TRY(opts_str_opt(&opts, "opaque", &opaque));
    TRY(opts_check_unused(&opts));
    if (fd < 0)
        return err_new("fd option is required and must be non-negative");
    if (fd <= STDERR_FILENO)
        return err_new("fd cannot be a standard I/O stream");
    if (!is_inherited(fd))
        return err_new("fd is not valid or already in use");
    if (set < 0)
        return err_new("set option is required and must be non-negative");
    copy = fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return err_new_errno(errno, "error duplicating fd");
    fdset_add(s->fe.world.graph, &set, copy, opaque);
    return NULL;
}

/* ---- Character devices of options that name none ---- */

/* "chardev:ID" names one; anything else makes one called id. *out NULL: none is wanted. */
static struct err *chardev_of(struct system *s, const char *text, const char *id,
                              struct chardev **out)
{
    CLEANUP(qapi_free_chardev_add_args) struct qapi_chardev_add_args *args = NULL;
    const char *name = str_after_prefix(text, "chardev:");

    *out = NULL;
    if (str_eq(text, "none"))
        return NULL;
    if (name) {
        *out = chardev_find(s->fe.world.chardevs, name);
        return *out ? NULL : err_new("Chardev '%s' not found", name);
    }
    TRY(chardev_parse_compat(text, id, &args));
    return front_end_add_chardev(&s->fe, args, out);
}

/* ---- Monitors ---- */

static struct err *add_compat_monitor(struct system *s, const char *text, bool control, bool pretty)
{
    CLEANUP(xfree) char *id = NULL;
    struct chardev *chr;

    id = xasprintf("compat_monitor%u", s->monitors++);
    TRY(chardev_of(s, text, id, &chr));
    if (!chr)
        return NULL;
    return control ? monitor_add(s->fe.world.server, chr, pretty)
                   : monitor_add_readline(s->fe.world.server, chr);
}

static struct err *add_monitor(struct system *s, const struct option_text *o)
{
    if (str_eq(o->name, "mon"))
        return front_end_option(&s->fe, "monitor", o->text);
    return add_compat_monitor(s, o->text, !str_eq(o->name, "monitor"),
                              str_eq(o->name, "qmp-pretty"));
}

static struct err *add_monitors(struct system *s)
{
    TRY(for_each(s, &s->options.monitors, add_monitor));
    if (!s->options.monitor_given && s->options.nographic && !s->options.serial_given &&
        !s->options.no_defaults)
        TRY(add_compat_monitor(s, "stdio", false, false));
    return NULL;
}

/* ---- Drives ---- */

/* What the options of their own mean, and where the machine has them. */
static const struct {
    const char *name, *implied;
} disk_options[] = {
    { "hda", "index=0,media=disk" },     { "hdb", "index=1,media=disk" },
    { "hdc", "index=2,media=disk" },     { "hdd", "index=3,media=disk" },
    { "fda", "index=0,if=floppy" },      { "fdb", "index=1,if=floppy" },
    { "cdrom", "index=2,media=cdrom" },
};

static bool asks_for_formats(const char *text)
{
    CLEANUP(json_free) struct json *flat = NULL;
    const char *format;

    err_ignore(keyval_parse_flags(text, NULL, KEYVAL_LEGACY_BOOL | KEYVAL_FLAT, NULL, &flat));
    format = flat ? json_object_get_str(flat, "format") : NULL;
    return str_eq(format, "help") || str_eq(format, "?");
}

static struct err *add_drive(struct system *s, const struct option_text *o)
{
    const struct drive_defaults defaults = { .interface = DRIVE_IDE,
                                             .ide_units = s->machine->class->ide_units,
                                             .snapshot = s->options.snapshot };
    const char *implied = NULL;
    struct waiter waiter = { 0 };
    struct drive *drive;

    for (size_t i = 0; i < ARRAY_LEN(disk_options); i++)
        if (str_eq(disk_options[i].name, o->name))
            implied = disk_options[i].implied;
    if (!implied && asks_for_formats(o->text)) {
        help_formats();
        exit(0);
    }
    if (implied)
        TRY(drive_parse("", o->text, implied, &defaults, &s->drives, &drive));
    else
        TRY(drive_parse(o->text, NULL, NULL, &defaults, &s->drives, &drive));
    drive_open(s->fe.world.graph, drive, wait_done, &waiter);
    return wait_for(s->fe.reactor, &waiter);
}

/* ---- Drives the machine has of itself ---- */

/* Whether a -device is of one of the kinds; then the machine adds none of it. */
static bool has_device(struct system *s, const char *const *kinds)
{
    for (size_t i = 0; i < vec_len(&s->options.devices); i++) {
        CLEANUP(json_free) struct json *options = NULL;

        err_ignore(device_options_parse(vec_at(&s->options.devices, i).text, &options));
        for (const char *const *kind = kinds; *kind && options; kind++)
            if (str_eq(json_object_get_str(options, "driver"), *kind))
                return true;
    }
    return false;
}

static struct err *add_default_drive(struct system *s, enum drive_interface interface,
                                     unsigned index, const char *text)
{
    const struct drive_defaults defaults = { .interface = interface,
                                             .ide_units = s->machine->class->ide_units };
    unsigned units = interface == DRIVE_IDE ? defaults.ide_units : UINT_MAX;
    struct waiter waiter = { 0 };
    struct drive *drive;

    if (drive_at(&s->drives, interface, index / units, index % units))
        return NULL;
    TRY(drive_parse(text, NULL, NULL, &defaults, &s->drives, &drive));
    drive->automatic = true;
    drive_open(s->fe.world.graph, drive, wait_done, &waiter);
    return wait_for(s->fe.reactor, &waiter);
}

static struct err *add_default_drives(struct system *s)
{
    static const char *const disks[] = { "ide-cd", "ide-hd", "scsi-cd", "scsi-hd", NULL };
    static const char *const floppies[] = { "isa-fdc", "floppy", NULL };

    if (s->options.no_defaults)
        return NULL;
    if (s->machine->class->has_disks && !has_device(s, disks))
        TRY(add_default_drive(s, DRIVE_IDE, 2, "index=2,media=cdrom"));
    if (s->machine->class->has_floppy && !has_device(s, floppies))
        TRY(add_default_drive(s, DRIVE_FLOPPY, 0, "index=0,if=floppy"));
    return NULL;
}

/* The device of a drive that names an interface; NULL options: the machine has no place for it. */
static struct json *device_of_drive(const struct drive *drive)
{
    struct json *options = json_object();

    switch (drive->interface) {
    case DRIVE_IDE:
        json_object_set_str(options, "driver", drive->cdrom ? "ide-cd" : "ide-hd");
        json_object_set(options, "bus", json_strf("ide.%u", drive->bus));
        json_object_set_uint(options, "unit", drive->unit);
        break;
    case DRIVE_FLOPPY:
        json_object_set_str(options, "driver", "floppy");
        json_object_set_uint(options, "unit", drive->unit);
        break;
    case DRIVE_VIRTIO:
        json_object_set_str(options, "driver", "virtio-blk-pci");
        if (drive->address)
            json_object_set_str(options, "addr", drive->address);
        break;
    default: json_free(options); return NULL;
    }
    if (drive->serial && drive->interface != DRIVE_FLOPPY)
        json_object_set_str(options, "serial", drive->serial);
    json_object_set_str(options, "drive", drive->id);
    return options;
}

/* Those of virtio are as if the user had made them; the others belong to the machine. */
static struct err *plug_drives(struct system *s, bool virtio)
{
    list_for_each(drive, &s->drives, struct drive, link) {
        CLEANUP(json_free) struct json *options = device_of_drive(drive);
        struct waiter waiter = { 0 };
        struct err *err;

        if (!options || (drive->interface == DRIVE_VIRTIO) != virtio)
            continue;
        if (virtio)
            machine_add_device(s->machine, options, wait_done, &waiter);
        else
            machine_add_own_device(s->machine, options, wait_done, &waiter);
        err = wait_for(s->fe.reactor, &waiter);
        if (err)
            return virtio ? err_prefix(err, "-drive %s: ", drive->text) : err;
    }
    return NULL;
}

/* ---- Devices ---- */

static struct err *add_device(struct system *s, const struct option_text *o)
{
    CLEANUP(json_free) struct json *options = NULL;
    struct waiter waiter = { 0 };
    bool help = false;

    if (o->text[0] == '{')
        TRY(json_parse_text(o->text, &options));
    else
        TRY(keyval_parse_flags(o->text, "driver", KEYVAL_LEGACY_BOOL | KEYVAL_FLAT, &help,
                               &options));
    if (help && !json_object_get_str(options, "driver")) {
        help_devices();
        exit(0);
    }
    if (help && help_device(json_object_get_str(options, "driver")))
        exit(0);
    machine_add_device(s->machine, options, wait_done, &waiter);
    return wait_for(s->fe.reactor, &waiter);
}

static struct err *add_qtest(struct system *s, const struct option_text *o)
{
    struct chardev *chr;

    TRY(chardev_of(s, o->text, "qtest", &chr));
    return chr ? qtest_new(s, chr, &s->qtest) : NULL;
}

/* ---- The machine ---- */

static struct err *make_machine(struct system *s)
{
    const char *name = s->options.machine ? s->options.machine : "pc";
    const struct machine_class *class = machine_class_find(name);
    struct err *err;

    if (!class) {
        err = err_new("unsupported machine type: \"%s\"", name);
        err_hint_append(err, "Use -machine help to list supported machines\n");
        return err;
    }
    s->machine = machine_new(s->fe.reactor, class);
    s->machine->board.graph = s->fe.world.graph;
    s->machine->board.objects = graph_objects(s->fe.world.graph);
    s->machine->board.classes = all_device_classes;
    s->machine->board.globals = s->options.globals;
    s->machine->uuid = s->options.uuid;
    s->machine->name = s->options.name ? xstrdup(s->options.name) : NULL;
    s->fe.world.machine = s->machine;
    machine_events_init(&s->machine_events, s->machine, s->fe.world.events);
    return NULL;
}

struct err *system_build(struct system *s)
{
    struct system_options *o = &s->options;

    TRY(make_machine(s));
    TRY(for_each(s, &o->fds, add_fd));
    TRY(for_each(s, &o->chardevs, add_plain));
    if (vec_len(&o->qtest))
        clock_set_stepped(objects_clock(s->fe.objects));
    TRY(for_each(s, &o->objects, add_plain));
    TRY(for_each(s, &o->blockdevs, add_plain));
    TRY(for_each(s, &o->drives, add_drive));
    TRY(add_default_drives(s));
    TRY(for_each(s, &o->qtest, add_qtest));
    qmp_server_hold(s->fe.world.server, true);
    TRY(add_monitors(s));
    TRY(machine_build(s->machine));
    TRY(plug_drives(s, false));
    TRY(plug_drives(s, true));
    TRY(for_each(s, &o->devices, add_device));
    machine_ready(s->machine);
    qmp_server_hold(s->fe.world.server, false);
    return NULL;
}
