#ifndef EMU_CMD_SYSTEM_OPTIONS_H
#define EMU_CMD_SYSTEM_OPTIONS_H

/*
 * The command line of emu-system-x86_64: what was asked for, before anything is made.
 *
 * Options begin with one dash or two. Those that may come several times are kept in order; main.c
 * carries them out in the order in which they depend on each other.
 */

#include <stdbool.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/uuid.h"
#include "emu/base/vec.h"
#include "emu/storage/drive.h"

/* An option with its text. */
struct option_text {
    const char *name; /* "hda" */
    const char *text;
};

typedef VEC(struct option_text) option_list;

struct system_options {
    const char *machine;      /* Name or alias; NULL: the default. */
    struct json *machine_props;
    struct json *globals;     /* {"driver": {"property": "text"}} */
    bool no_defaults, paused, daemonize, no_shutdown, no_reboot, snapshot, nographic;
    const char *pidfile;
    char *name; /* Owned. */
    struct uuid uuid;
    uint64_t ram_bytes;
    unsigned cpus;
    bool serial_given, monitor_given;
    option_list objects, chardevs, blockdevs, drives, devices, monitors, serials, qtest, fds;
};

/* Parses; prints help and version itself and exits then. Errors are ready for the user. */
struct err *system_options_parse(struct system_options *o, int argc, char **argv) MUST_USE;
void system_options_fini(struct system_options *o);

#endif
