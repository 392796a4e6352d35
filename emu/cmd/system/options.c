/* See options.h. */
#include "emu/cmd/system/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/keyval.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"
#include "emu/cmd/common/version.h"
#include "emu/cmd/system/help.h"

enum argument { NOTHING, TEXT };

struct option {
    const char *name;
    enum argument argument;
    struct err *(*take)(struct system_options *o, const struct option *option, const char *text);
    size_t offset;      /* Of the field, for the common takers. */
    const char *help;   /* Rest of the line in -help, or NULL: not shown. */
};

/* ---- Takers that several options share ---- */

static void *field(struct system_options *o, const struct option *option)
{
    return (char *)o + option->offset;
}

static struct err *take_flag(struct system_options *o, const struct option *option,
                             const char *text)
{
    *(bool *)field(o, option) = true;
    return NULL;
}

static struct err *take_text(struct system_options *o, const struct option *option,
                             const char *text)
{
    *(const char **)field(o, option) = text;
    return NULL;
}

static struct err *take_list(struct system_options *o, const struct option *option,
                             const char *text)
{
    option_list *list = field(o, option);

    vec_push(list, (struct option_text){ option->name, text });
    return NULL;
}

static struct err *take_monitor(struct system_options *o, const struct option *option,
                                const char *text)
{
    o->monitor_given = true;
    return take_list(o, option, text);
}

static struct err *take_serial(struct system_options *o, const struct option *option,
                               const char *text)
{
    o->serial_given = true;
    return take_list(o, option, text);
}

/* Accepted, without an effect on a machine without a display, a network or a processor. */
static struct err *ignore(struct system_options *o, const struct option *option, const char *text)
{
    return NULL;
}

/* Known, but what it asks for is not there: better said than done otherwise. */
static struct err *refuse(struct system_options *o, const struct option *option, const char *text)
{
    return err_new("not supported");
}

/* ---- Takers of one option ---- */

static struct err *take_version(struct system_options *o, const struct option *option,
                                const char *text)
{
    printf("QEMU emulator version %d.%d.%d (emu %s)\n", EMU_COMPAT_MAJOR, EMU_COMPAT_MINOR,
           EMU_COMPAT_MICRO, EMU_VERSION);
    exit(0);
}

static struct err *take_help(struct system_options *o, const struct option *option,
                             const char *text);

static struct err *take_machine(struct system_options *o, const struct option *option,
                                const char *text)
{
    struct json *given = NULL, *value;
    bool help = false;
    const char *key;

    TRY(keyval_parse_flags(text, "type", KEYVAL_LEGACY_BOOL, &help, &given));
    if (help) {
        help_machines();
        exit(0);
    }
    if (!o->machine_props)
        o->machine_props = json_object();
    json_object_for_each(given, i, key, value)
        json_object_set(o->machine_props, key, json_ref(value));
    json_free(given);
    if (json_object_get_str(o->machine_props, "type"))
        o->machine = json_object_get_str(o->machine_props, "type");
    return NULL;
}

static struct err *take_accel(struct system_options *o, const struct option *option,
                              const char *text)
{
    CLEANUP(json_free) struct json *given = NULL;
    bool help = false;

    TRY(keyval_parse_flags(text, "accel", KEYVAL_LEGACY_BOOL, &help, &given));
    if (help) {
        help_accelerators();
        exit(0);
    }
    return NULL;
}

static struct err *take_name(struct system_options *o, const struct option *option,
                             const char *text)
{
    CLEANUP(json_free) struct json *given = NULL;

    TRY(keyval_parse_flags(text, "guest", KEYVAL_LEGACY_BOOL | KEYVAL_FLAT, NULL, &given));
    if (!json_object_get_str(given, "guest"))
        return NULL;
    xfree(o->name);
    o->name = xstrdup(json_object_get_str(given, "guest"));
    return NULL;
}

static struct err *take_uuid(struct system_options *o, const struct option *option,
                             const char *text)
{
    return uuid_parse(text, &o->uuid) ? NULL : err_new("Failed to parse UUID string: wrong format");
}

static struct err *take_memory(struct system_options *o, const struct option *option,
                               const char *text)
{
    CLEANUP(json_free) struct json *given = NULL;
    const char *size;

    TRY(keyval_parse_flags(text, "size", KEYVAL_FLAT, NULL, &given));
    size = json_object_get_str(given, "size");
    if (size && parse_size_unit(size, UINT64_C(1) << 20, &o->ram_bytes))
        return err_new("Parameter 'size' expects a non-negative number below 2^64");
    return NULL;
}

static struct err *take_smp(struct system_options *o, const struct option *option, const char *text)
{
    CLEANUP(json_free) struct json *given = NULL;
    uint64_t cpus = 1;

    TRY(keyval_parse_flags(text, "cpus", KEYVAL_FLAT, NULL, &given));
    if (json_object_get_str(given, "cpus") &&
        (!parse_u64(json_object_get_str(given, "cpus"), &cpus) || !cpus || cpus > 4096))
        return err_new("Invalid CPU topology: CPU count must be a number from 1 to 4096");
    o->cpus = (unsigned)cpus;
    return NULL;
}

/* "driver.property=value", or "driver=D,property=P,value=V". */
static struct err *take_global(struct system_options *o, const struct option *option,
                               const char *text)
{
    const char *dot = strchr(text, '.'), *equals = strchr(text, '=');
    CLEANUP(json_free) struct json *given = NULL;
    struct json *of;

    if (dot && equals && dot < equals) {
        given = json_object();
        json_object_set(given, "driver", json_strn(text, (size_t)(dot - text)));
        json_object_set(given, "property", json_strn(dot + 1, (size_t)(equals - dot - 1)));
        json_object_set_str(given, "value", equals + 1);
    } else {
        TRY(keyval_parse_flags(text, NULL, KEYVAL_FLAT, NULL, &given));
    }
    if (!json_object_get_str(given, "driver") || !json_object_get_str(given, "property") ||
        !json_object_get_str(given, "value"))
        return err_new("Invalid 'global' option");
    if (!o->globals)
        o->globals = json_object();
    of = json_object_get(o->globals, json_object_get_str(given, "driver"));
    if (!of) {
        of = json_object();
        json_object_set(o->globals, json_object_get_str(given, "driver"), of);
    }
    json_object_set_str(of, json_object_get_str(given, "property"),
                        json_object_get_str(given, "value"));
    return NULL;
}

/* ---- The table ---- */

#define FIELD(f) offsetof(struct system_options, f)
static const struct option options[] = {
    { "h", NOTHING, take_help, 0, "" },
    { "help", NOTHING, take_help, 0, "" },
    { "version", NOTHING, take_version, 0, "display version information and exit" },
    { "machine", TEXT, take_machine, 0, "[type=]name[,prop=value]  select the machine" },
    { "M", TEXT, take_machine, 0, NULL },
    { "accel", TEXT, take_accel, 0, "[accel=]name  select the accelerator" },
    { "cpu", TEXT, ignore, 0, NULL },
    { "smp", TEXT, take_smp, 0, "[cpus=]n  number of processors" },
    { "m", TEXT, take_memory, 0, "[size=]megs  amount of memory" },
    { "name", TEXT, take_name, 0, "string  name of the guest" },
    { "uuid", TEXT, take_uuid, 0, "uuid  UUID of the machine" },
    { "nodefaults", NOTHING, take_flag, FIELD(no_defaults), "do not make default devices" },
    { "no-user-config", NOTHING, ignore, 0, "do not read configuration files of the user" },
    { "object", TEXT, take_list, FIELD(objects), "type,id=id[,prop=value]  make an object" },
    { "chardev", TEXT, take_list, FIELD(chardevs), "backend,id=id[,...]  character device" },
    { "blockdev", TEXT, take_list, FIELD(blockdevs),
      "[driver=]driver[,node-name=N][,...]  block node" },
    { "drive", TEXT, take_list, FIELD(drives), "[file=file][,if=type][,id=id][,...]  drive" },
    { "hda", TEXT, take_list, FIELD(drives), "file  first hard disk" },
    { "hdb", TEXT, take_list, FIELD(drives), NULL },
    { "hdc", TEXT, take_list, FIELD(drives), NULL },
    { "hdd", TEXT, take_list, FIELD(drives), NULL },
    { "fda", TEXT, take_list, FIELD(drives), "file  first floppy disk" },
    { "fdb", TEXT, take_list, FIELD(drives), NULL },
    { "cdrom", TEXT, take_list, FIELD(drives), "file  CD-ROM" },
    { "snapshot", NOTHING, take_flag, FIELD(snapshot), "write to temporary files" },
    { "device", TEXT, take_list, FIELD(devices), "driver[,prop=value]  make a device" },
    { "global", TEXT, take_global, 0, "driver.prop=value  default of a device's property" },
    { "mon", TEXT, take_monitor, FIELD(monitors), "[chardev=]id[,mode=readline|control]  monitor" },
    { "qmp", TEXT, take_monitor, FIELD(monitors), "dev  QMP monitor" },
    { "qmp-pretty", TEXT, take_monitor, FIELD(monitors), "dev  the same, over several lines" },
    { "monitor", TEXT, take_monitor, FIELD(monitors), "dev  monitor for people" },
    { "serial", TEXT, take_serial, FIELD(serials), "dev  serial port" },
    { "parallel", TEXT, ignore, 0, NULL },
    { "qtest", TEXT, take_list, FIELD(qtest), "dev  qtest protocol" },
    { "qtest-log", TEXT, ignore, 0, NULL },
    { "S", NOTHING, take_flag, FIELD(paused), "do not start the machine" },
    { "incoming", TEXT, refuse, 0, NULL },
    { "loadvm", TEXT, refuse, 0, NULL },
    { "no-shutdown", NOTHING, take_flag, FIELD(no_shutdown), "stop instead of ending" },
    { "no-reboot", NOTHING, take_flag, FIELD(no_reboot), "end instead of rebooting" },
    { "pidfile", TEXT, take_text, FIELD(pidfile), "file  write the process ID" },
    { "daemonize", NOTHING, take_flag, FIELD(daemonize), "run in the background" },
    { "add-fd", TEXT, take_list, FIELD(fds), "fd=fd,set=set[,opaque=note]  descriptor of a set" },
    { "display", TEXT, ignore, 0, "none" },
    { "nographic", NOTHING, take_flag, FIELD(nographic), "no display; monitor on stdio" },
    { "vga", TEXT, ignore, 0, NULL },
    { "nic", TEXT, ignore, 0, NULL },
    { "net", TEXT, ignore, 0, NULL },
    { "rtc", TEXT, ignore, 0, NULL },
    { "boot", TEXT, ignore, 0, NULL },
    { "msg", TEXT, ignore, 0, NULL },
    { "overcommit", TEXT, ignore, 0, NULL },
    { "sandbox", TEXT, ignore, 0, NULL },
    { "audiodev", TEXT, ignore, 0, NULL },
    { "watchdog-action", TEXT, ignore, 0, NULL },
};
#undef FIELD

static struct err *take_help(struct system_options *o, const struct option *option,
                             const char *text)
{
    printf("QEMU emulator version %d.%d.%d (emu %s)\n", EMU_COMPAT_MAJOR, EMU_COMPAT_MINOR,
           EMU_COMPAT_MICRO, EMU_VERSION);
    printf("usage: emu-system-x86_64 [options] [disk_image]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (options[i].help && *options[i].help)
            printf("-%s %s\n", options[i].name, options[i].help);
    exit(0);
}

static const struct option *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

struct err *system_options_parse(struct system_options *o, int argc, char **argv)
{
    memset(o, 0, sizeof(*o));
    o->ram_bytes = UINT64_C(128) << 20;
    o->cpus = 1;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *text = NULL;
        const struct option *option;

        if (arg[0] != '-') {
            vec_push(&o->drives, (struct option_text){ "hda", arg });
            continue;
        }
        option = find(arg[1] == '-' ? arg + 2 : arg + 1);
        if (!option)
            return err_new("%s: invalid option", arg);
        if (option->argument == TEXT) {
            if (i + 1 >= argc)
                return err_new("%s: requires an argument", arg);
            text = argv[++i];
        }
        TRY(err_prefix(option->take(o, option, text), "%s %s: ", arg, text ? text : ""));
    }
    return NULL;
}

void system_options_fini(struct system_options *o)
{
    json_free(o->machine_props);
    json_free(o->globals);
    xfree(o->name);
    vec_fini(&o->objects);
    vec_fini(&o->chardevs);
    vec_fini(&o->blockdevs);
    vec_fini(&o->drives);
    vec_fini(&o->devices);
    vec_fini(&o->monitors);
    vec_fini(&o->serials);
    vec_fini(&o->fds);
    vec_fini(&o->qtest);
}
