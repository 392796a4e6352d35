/* emu-system-x86_64: the life of the process. See system.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/log.h"
#include "emu/cmd/system/system.h"
#include "emu/qmp/handlers/bitmap.h"
#include "emu/qmp/handlers/block_jobs.h"
#include "emu/qmp/handlers/chain_jobs.h"
#include "emu/qmp/handlers/chardev.h"
#include "emu/qmp/handlers/control.h"
#include "emu/qmp/handlers/device.h"
#include "emu/qmp/handlers/fd.h"
#include "emu/qmp/handlers/graph_change.h"
#include "emu/qmp/handlers/hmp.h"
#include "emu/qmp/handlers/jobs.h"
#include "emu/qmp/handlers/machine_query.h"
#include "emu/qmp/handlers/media.h"
#include "emu/qmp/handlers/nbd.h"
#include "emu/qmp/handlers/node_add.h"
#include "emu/qmp/handlers/node_query.h"
#include "emu/qmp/handlers/object.h"
#include "emu/qmp/handlers/qom.h"
#include "emu/qmp/handlers/storage_events.h"
#include "emu/qmp/handlers/transaction.h"
#include "emu/qmp/handlers/yank.h"
#include "emu/qmp/qmp_run_state.h" // Generated.

static const struct qmp_command_set *const command_sets[] = {
    &control_commands,
    &chardev_commands,
    &yank_commands,
    &node_add_commands,
    &node_query_commands,
    &bitmap_commands,
    &job_commands,
    &block_job_commands,
    &chain_job_commands,
    &graph_change_commands,
    &transaction_commands,
    &export_commands,
    &nbd_commands,
    &runstate_commands,
    &device_commands,
    &machine_query_commands,
    &object_commands,
    &hmp_commands,
    &qom_commands,
    &storage_event_set,
    &media_commands,
    &fd_commands,
    NULL,
};

/* SHUTDOWN comes before all that ends with the program. */
static void ending(void *program)
{
    struct system *s = program;

    qapi_event_shutdown(s->fe.world.events,
                        &(struct qapi_shutdown_event){ .guest = false, .reason = s->cause });
}

static void release(void *program)
{
    struct system *s = program;

    qtest_free(s->qtest);
    machine_events_fini(&s->machine_events);
    s->fe.world.machine = NULL;
    machine_free(s->machine);
    list_for_each_safe(drive, &s->drives, struct drive, link)
        drive_free(drive);
    list_for_each_safe(backend, graph_backends(s->fe.world.graph), struct backend, link)
        backend_free(backend);
}

static void signalled(void *program, int signo)
{
    struct system *s = program;

    if (!s->fe.quitting)
        s->cause = QAPI_SHUTDOWN_CAUSE_HOST_SIGNAL;
    s->fe.world.quit(&s->fe.world, NULL, NULL);
}

int main(int argc, char **argv)
{
    struct system *s = NEW(struct system);
    const char *slash = strrchr(argv[0], '/');
    struct err *err;

    log_set_prefix(slash ? slash + 1 : argv[0]);
    err = system_options_parse(&s->options, argc, argv);
    if (err) {
        log_err(NULL, err);
        return 1;
    }
    s->background.ready_fd = -1;
    if (s->options.daemonize)
        background_fork(&s->background, argv[0]);
    s->cause = QAPI_SHUTDOWN_CAUSE_HOST_QMP_QUIT;
    list_init(&s->drives);
    front_end_init(&s->fe, &(struct front_end_config){ .argv0 = argv[0],
                                                       .sets = command_sets,
                                                       .hmp = &hmp_machine_config,
                                                       .ending = ending,
                                                       .release = release,
                                                       .signalled = signalled,
                                                       .program = s });
    err = front_end_on_signals(&s->fe);
    if (!err)
        err = system_build(s);
    if (!err && s->options.pidfile)
        err = background_write_pidfile(&s->background, s->options.pidfile);
    if (err) {
        log_err(NULL, err);
        return 1;
    }
    if (!s->options.paused)
        machine_start(s->machine);
    background_ready(&s->background);
    front_end_run(&s->fe);
    background_end(&s->background);
    front_end_fini(&s->fe);
    system_options_fini(&s->options);
    xfree(s);
    return 0;
}
