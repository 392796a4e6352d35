/*
 * Beginning and end of the daemon's roots.
 *
 * The order of the end is what clients see: exports go, jobs are cancelled, the reply to quit is written, then
 * monitors and nodes are closed. Each step has a time limit of its own below it, so a frozen peer
 * cannot keep the process.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/log.h"
#include "emu/chardev/chardev.h"
#include "emu/cmd/common/version.h"
#include "emu/cmd/daemon/daemon.h"
#include "emu/qmp/handlers/bitmap.h"
#include "emu/qmp/handlers/block_jobs.h"
#include "emu/qmp/handlers/chardev.h"
#include "emu/qmp/handlers/control.h"
#include "emu/qmp/handlers/jobs.h"
#include "emu/qmp/handlers/nbd.h"
#include "emu/qmp/handlers/node_add.h"
#include "emu/qmp/handlers/node_query.h"
#include "emu/qmp/handlers/transaction.h"
#include "emu/qmp/handlers/yank.h"
#include "emu/qmp/server.h"
#include "emu/storage/driver.h"
#include "emu/yank/yank.h"

static const struct qmp_command_set *const command_sets[] = {
    &control_commands,     &chardev_commands, &yank_commands, &node_add_commands,
    &node_query_commands,  &bitmap_commands,  &job_commands,  &block_job_commands,
    &transaction_commands, &export_commands,  &nbd_commands,  NULL,
};

void daemon_init(struct daemon *d, const char *argv0)
{
    const char *slash = strrchr(argv0, '/');
    struct world *w = &d->world;
    struct err *err;

    memset(d, 0, sizeof(*d));
    d->program = slash ? slash + 1 : argv0;
    d->ready_fd = -1;
    log_set_prefix(d->program);
    err = reactor_new(REACTOR_AUTO, &d->reactor);
    if (err) {
        log_err(NULL, err);
        exit(1);
    }
    w->reactor = d->reactor;
    w->yank = yank_new();
    w->graph = graph_new(d->reactor, all_drivers);
    graph_set_yank(w->graph, w->yank);
    jobs_init(&d->jobs, d->reactor);
    w->jobs = &d->jobs;
    w->exports = exports_new(w->graph);
    w->events = qmp_events_new(d->reactor);
    w->chardevs = chardevs_new(d->reactor, w->yank);
    w->quit = daemon_quit;
    w->front_end = d;
    w->server = qmp_server_new(&(struct qmp_server_config){
        .reactor = d->reactor,
        .events = w->events,
        .sets = command_sets,
        .world = w,
        .package = "emu " EMU_VERSION,
    });
    job_events_init(&d->job_events, &d->jobs, w->events);
    export_events_init(&d->export_events, w->exports, w->events);
}

static void nodes_closed(void *arg, struct err *err)
{
    struct daemon *d = arg;

    if (err)
        log_err(NULL, err);
    d->ended = true;
    reactor_stop(d->reactor);
}

static void monitors_closed(void *arg)
{
    struct daemon *d = arg;

    graph_close_all(d->world.graph, nodes_closed, d);
}

static void jobs_gone(void *arg)
{
    struct daemon *d = arg;

    for (size_t i = 0; i < vec_len(&d->quitters); i++) {
        struct quitter quitter = vec_at(&d->quitters, i);

        quitter.done(quitter.arg);
    }
    vec_fini(&d->quitters);
    qmp_server_shutdown(d->world.server, monitors_closed, d);
}

static void exports_gone(void *arg, struct err *err)
{
    struct daemon *d = arg;

    err_ignore(err); /* Exports that a stuck request holds end with the process. */
    jobs_cancel_all(&d->jobs, jobs_gone, d);
}

void daemon_quit(struct world *world, void (*done)(void *arg), void *arg)
{
    struct daemon *d = world->front_end;
    struct quitter quitter = { done, arg };

    if (done)
        vec_push(&d->quitters, quitter);
    if (d->quitting)
        return;
    d->quitting = true;
    exports_close_all(world->exports, exports_gone, d);
}

void daemon_fini(struct daemon *d)
{
    struct world *w = &d->world;

    job_events_fini(&d->job_events);
    export_events_fini(&d->export_events);
    qmp_server_free(w->server);
    qmp_events_free(w->events);
    exports_free(w->exports);
    jobs_fini(&d->jobs);
    chardevs_free(w->chardevs);
    while (reactor_ops_pending(d->reactor) && reactor_run_once(d->reactor, INT64_C(100000000)))
        ;
}
