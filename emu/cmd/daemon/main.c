/* emu-storage-daemon: the command line and the life of the process. */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/log.h"
#include "emu/cmd/common/background.h"
#include "emu/cmd/common/front_end.h"
#include "emu/cmd/common/version.h"
#include "emu/qmp/handlers/bitmap.h"
#include "emu/qmp/handlers/block_jobs.h"
#include "emu/qmp/handlers/chain_jobs.h"
#include "emu/qmp/handlers/chardev.h"
#include "emu/qmp/handlers/control.h"
#include "emu/qmp/handlers/graph_change.h"
#include "emu/qmp/handlers/jobs.h"
#include "emu/qmp/handlers/nbd.h"
#include "emu/qmp/handlers/node_add.h"
#include "emu/qmp/handlers/node_query.h"
#include "emu/qmp/handlers/object.h"
#include "emu/qmp/handlers/storage_events.h"
#include "emu/qmp/handlers/transaction.h"
#include "emu/qmp/handlers/yank.h"

static const char help[] =
    "Usage: %s [options]\n"
    "emu storage daemon\n\n"
    "  -h, --help             display this help and exit\n"
    "  -V, --version          output version information and exit\n\n"
    "  --blockdev [driver=]<driver>[,node-name=<N>][,discard=ignore|unmap]\n"
    "             [,cache.direct=on|off][,cache.no-flush=on|off]\n"
    "             [,read-only=on|off][,auto-read-only=on|off]\n"
    "             [,force-share=on|off][,detect-zeroes=on|off|unmap]\n"
    "             [,driver specific parameters...]\n"
    "                         configure a block node\n\n"
    "  --chardev <options>    configure a character device:\n"
    "             socket,id=<id>,path=<path>|host=<host>,port=<port>|fd=<N>\n"
    "                   [,server=on][,wait=off][,reconnect-ms=<N>]\n"
    "             stdio,id=<id> | file,id=<id>,path=<path> | null,id=<id>\n\n"
    "  --daemonize            run in the background; the parent exits when startup is complete\n\n"
    "  --export [type=]nbd,id=<id>,node-name=<node-name>[,name=<export-name>]\n"
    "           [,writable=on|off]\n"
    "                         export a node over NBD (needs --nbd-server)\n\n"
    "  --export [type=]fuse,id=<id>,node-name=<node-name>,mountpoint=<file>\n"
    "           [,growable=on|off][,writable=on|off][,allow-other=on|off|auto]\n"
    "                         export a node as a file, over FUSE\n\n"
    "  --monitor [chardev=]name[,mode=control][,pretty[=on|off]]\n"
    "                         configure a QMP monitor\n\n"
    "  --nbd-server addr.type=inet,addr.host=<host>,addr.port=<port>[,max-connections=<n>]\n"
    "  --nbd-server addr.type=unix,addr.path=<path>[,max-connections=<n>]\n"
    "                         start an NBD server\n\n"
    "  --object [qom-type=]<type>,id=<id>[,<properties>...]\n"
    "                         make an object; --object help lists the types\n\n"
    "  --pidfile <path>       write the process ID to a file after startup\n\n"
    "Options are carried out in the order given; most also take a JSON object.\n";

enum { OPT_DAEMONIZE = 256, OPT_PIDFILE, OPT_MAKE };

static const struct option long_options[] = {
    { "blockdev", required_argument, NULL, OPT_MAKE },
    { "chardev", required_argument, NULL, OPT_MAKE },
    { "daemonize", no_argument, NULL, OPT_DAEMONIZE },
    { "export", required_argument, NULL, OPT_MAKE },
    { "help", no_argument, NULL, 'h' },
    { "monitor", required_argument, NULL, OPT_MAKE },
    { "nbd-server", required_argument, NULL, OPT_MAKE },
    { "object", required_argument, NULL, OPT_MAKE },
    { "pidfile", required_argument, NULL, OPT_PIDFILE },
    { "version", no_argument, NULL, 'V' },
    { 0 },
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* What must be known before anything is made: help, version, and whether to go to the background. */
static void first_pass(int argc, char **argv, bool *daemonize)
{
    int c;

    *daemonize = false;
    while ((c = getopt_long(argc, argv, "-hV", long_options, NULL)) != -1) {
        switch (c) {
        case 'h': printf(help, base_name(argv[0])); exit(0);
        case 'V': version_print(base_name(argv[0])); exit(0);
        case OPT_DAEMONIZE: *daemonize = true; break;
        case '?': exit(1);
        case 1:
            fprintf(stderr, "%s: Unexpected argument '%s'\n", base_name(argv[0]), optarg);
            exit(1);
        }
    }
    optind = 0;
}

static struct err *make(struct front_end *fe, const char *name, const char *value)
{
    return err_prefix(front_end_option(fe, name, value), "--%s %s: ", name, value);
}

/* Monitors come last, so that no client is answered before all that it may ask for is there. */
static struct err *second_pass(struct front_end *fe, struct background *bg, int argc, char **argv)
{
    const char **monitors = xcalloc((size_t)argc, sizeof(*monitors));
    const char *pidfile = NULL;
    struct err *err = NULL;
    int c, index, count = 0;

    while (!err && (c = getopt_long(argc, argv, "-hV", long_options, &index)) != -1) {
        if (c == OPT_PIDFILE)
            pidfile = optarg;
        else if (c == OPT_MAKE && strcmp(long_options[index].name, "monitor") == 0)
            monitors[count++] = optarg;
        else if (c == OPT_MAKE)
            err = make(fe, long_options[index].name, optarg);
    }
    for (int i = 0; i < count && !err; i++)
        err = make(fe, "monitor", monitors[i]);
    xfree(monitors);
    if (err || !pidfile)
        return err;
    return background_write_pidfile(bg, pidfile);
}

static const struct qmp_command_set *const command_sets[] = {
    &control_commands,    &chardev_commands,      &yank_commands,        &node_add_commands,
    &node_query_commands, &bitmap_commands,       &job_commands,         &block_job_commands,
    &chain_job_commands,  &graph_change_commands, &transaction_commands, &export_commands,
    &nbd_commands,        &object_commands,       &storage_event_set,    NULL,
};

int main(int argc, char **argv)
{
    struct background bg = { .ready_fd = -1 };
    struct front_end fe;
    struct err *err;
    bool daemonize;

    first_pass(argc, argv, &daemonize);
    if (daemonize)
        background_fork(&bg, base_name(argv[0]));
    front_end_init(&fe, &(struct front_end_config){ .argv0 = argv[0], .sets = command_sets });
    err = front_end_on_signals(&fe);
    if (!err)
        err = second_pass(&fe, &bg, argc, argv);
    if (err) {
        log_err(NULL, err);
        front_end_abandon(&fe);
        exit(1);
    }
    background_ready(&bg);
    front_end_run(&fe);
    background_end(&bg);
    front_end_fini(&fe);
    return 0;
}
