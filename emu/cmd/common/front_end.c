/* See front_end.h. */
#include "emu/cmd/common/front_end.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/log.h"
#include "emu/chardev/chardev.h"
#include "emu/cmd/common/loop.h"
#include "emu/cmd/common/object_types.h"
#include "emu/cmd/common/version.h"
#include "emu/qmp/server.h"
#include "emu/storage/driver.h"
#include "emu/yank/yank.h"

static void quit(struct world *world, void (*done)(void *arg), void *arg);

void front_end_init(struct front_end *fe, const struct front_end_config *config)
{
    const char *slash = strrchr(config->argv0, '/');
    struct world *w = &fe->world;
    struct err *err;

    memset(fe, 0, sizeof(*fe));
    signal(SIGPIPE, SIG_IGN);
    fe->config = *config;
    fe->name = slash ? slash + 1 : config->argv0;
    log_set_prefix(fe->name);
    err = reactor_new(REACTOR_AUTO, &fe->reactor);
    if (err) {
        log_err(NULL, err);
        exit(1);
    }
    w->reactor = fe->reactor;
    w->yank = yank_new();
    w->graph = graph_new(fe->reactor, all_drivers);
    graph_set_yank(w->graph, w->yank);
    fe->objects = objects_new(fe->reactor, all_object_types);
    graph_set_objects(w->graph, fe->objects);
    jobs_init(&fe->jobs, fe->reactor);
    w->jobs = &fe->jobs;
    w->exports = exports_new(w->graph);
    w->events = qmp_events_new(fe->reactor);
    w->chardevs = chardevs_new(fe->reactor, w->yank);
    w->quit = quit;
    w->front_end = fe;
    w->server = qmp_server_new(&(struct qmp_server_config){
        .reactor = fe->reactor,
        .events = w->events,
        .sets = config->sets,
        .world = w,
        .package = "emu " EMU_VERSION,
        .hmp = config->hmp,
    });
    job_events_init(&fe->job_events, &fe->jobs, w->events);
    export_events_init(&fe->export_events, w->exports, w->events);
    storage_events_init(&fe->storage_events, w->graph, w->events);
}

/* ---- The end, step by step ---- */

static void nodes_closed(void *arg, struct err *err)
{
    struct front_end *fe = arg;

    if (err)
        log_err(NULL, err);
    fe->ended = true;
    reactor_stop(fe->reactor);
}

static void monitors_closed(void *arg)
{
    struct front_end *fe = arg;

    if (fe->config.release)
        fe->config.release(fe->config.program);
    graph_close_all(fe->world.graph, nodes_closed, fe);
}

static void jobs_gone(void *arg)
{
    struct front_end *fe = arg;

    for (size_t i = 0; i < vec_len(&fe->quitters); i++) {
        struct quitter quitter = vec_at(&fe->quitters, i);

        quitter.done(quitter.arg);
    }
    vec_fini(&fe->quitters);
    qmp_server_shutdown(fe->world.server, monitors_closed, fe);
}

static void exports_gone(void *arg, struct err *err)
{
    struct front_end *fe = arg;

    err_ignore(err); /* Exports that a stuck request holds end with the process. */
    jobs_cancel_all(&fe->jobs, jobs_gone, fe);
}

static void quit(struct world *world, void (*done)(void *arg), void *arg)
{
    struct front_end *fe = world->front_end;
    struct quitter quitter = { done, arg };

    if (done)
        vec_push(&fe->quitters, quitter);
    if (fe->quitting)
        return;
    fe->quitting = true;
    if (fe->config.ending)
        fe->config.ending(fe->config.program);
    exports_close_all(fe->world.exports, exports_gone, fe);
}

static void on_signal(void *arg, int signo)
{
    struct front_end *fe = arg;

    if (fe->config.signalled)
        fe->config.signalled(fe->config.program, signo);
    else
        quit(&fe->world, NULL, NULL);
}

struct err *front_end_on_signals(struct front_end *fe)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP, 0 };

    return reactor_on_signals(fe->reactor, signals, on_signal, fe);
}

void front_end_abandon(struct front_end *fe)
{
    struct waiter waiter = { 0 };

    exports_close_all(fe->world.exports, wait_done, &waiter);
    err_ignore(wait_for(fe->reactor, &waiter));
}

void front_end_run(struct front_end *fe)
{
    while (!fe->ended)
        reactor_run(fe->reactor);
}

void front_end_fini(struct front_end *fe)
{
    struct world *w = &fe->world;

    job_events_fini(&fe->job_events);
    export_events_fini(&fe->export_events);
    storage_events_fini(&fe->storage_events);
    qmp_server_free(w->server);
    qmp_events_free(w->events);
    exports_free(w->exports);
    jobs_fini(&fe->jobs);
    chardevs_free(w->chardevs);
    while (reactor_ops_pending(fe->reactor) && reactor_run_once(fe->reactor, INT64_C(100000000)))
        ;
    objects_free(fe->objects);
}
