/* See server.h. */
#include "emu/qmp/server.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/qmp/hmp.h"
#include "emu/qmp/introspect.h"
#include "emu/qmp/monitor.h"
#include "emu/qmp/oob.h"
#include "emu/qmp/session.h"

#define FLUSH_POLL_NS (5 * NS_PER_MS)
#define FLUSH_MAX_NS NS_PER_SEC

struct qmp_server {
    struct qmp_env env;
    struct list monitors;  /* of struct monitor */
    struct list lingering; /* Sessions that monitors have let go. */
    struct json *schema;   /* owned; made when first asked for */
    struct hmp *hmp;       /* owned, or NULL */
    struct timer timer;    /* While output is being flushed. */
    int64_t flush_until;
    struct task task; /* Tells that all is over. */
    void (*done)(void *arg);
    void *done_arg;
};

struct qmp_server *qmp_server_new(const struct qmp_server_config *config)
{
    struct qmp_server *server = NEW(struct qmp_server);

    server->env = (struct qmp_env){
        .reactor = config->reactor,
        .registry = qmp_registry_new(config->sets),
        .events = config->events,
        .oob = qmp_oob_new(config->reactor),
        .lingering = &server->lingering,
        .server = server,
        .world = config->world,
        .package = config->package,
    };
    list_init(&server->monitors);
    list_init(&server->lingering);
    if (config->hmp) {
        struct hmp_config hmp = *config->hmp;

        hmp.registry = server->env.registry;
        hmp.server = server;
        hmp.world = config->world;
        server->hmp = hmp_new(&hmp);
    }
    return server;
}

void qmp_server_free(struct qmp_server *server)
{
    if (!server)
        return;
    check(list_empty(&server->monitors) && list_empty(&server->lingering));
    timer_disarm(&server->timer);
    reactor_undefer(&server->task);
    qmp_oob_free(server->env.oob);
    hmp_free(server->hmp);
    qmp_registry_free((struct qmp_registry *)server->env.registry);
    json_free(server->schema);
    xfree(server);
}

/* ---- The end ---- */

static void tell_done(struct task *task)
{
    struct qmp_server *server = container_of(task, struct qmp_server, task);

    server->done(server->done_arg);
}

static void all_gone(void *arg)
{
    struct qmp_server *server = arg;

    reactor_defer(server->env.reactor, &server->task, tell_done);
}

static void end_sessions(struct qmp_server *server)
{
    list_for_each_safe(m, &server->monitors, struct monitor, link)
        monitor_free(m);
    qmp_sessions_close_lingering(&server->env);
    if (qmp_oob_remotes(server->env.oob))
        qmp_oob_on_empty(server->env.oob, all_gone, server);
    else
        all_gone(server);
}

static bool output_pending(const struct qmp_server *server)
{
    list_for_each(m, &server->monitors, struct monitor, link)
        if (monitor_pending(m))
            return true;
    return qmp_sessions_lingering_pending(&server->env) != 0;
}

static void flush(struct timer *timer)
{
    struct qmp_server *server = container_of(timer, struct qmp_server, timer);
    int64_t now = reactor_now(server->env.reactor);

    if (output_pending(server) && now < server->flush_until)
        timer_arm(server->env.reactor, timer, now + FLUSH_POLL_NS);
    else
        end_sessions(server);
}

void qmp_server_shutdown(struct qmp_server *server, void (*done)(void *arg), void *arg)
{
    check(!server->done);
    server->done = done;
    server->done_arg = arg;
    list_for_each(m, &server->monitors, struct monitor, link)
        monitor_stop_input(m);
    server->flush_until = reactor_now(server->env.reactor) + FLUSH_MAX_NS;
    server->timer.fn = flush;
    timer_arm(server->env.reactor, &server->timer, reactor_now(server->env.reactor));
}

/* ---- For handlers and monitors ---- */

const struct qmp_registry *qmp_server_registry(const struct qmp_server *server)
{
    return server->env.registry;
}

struct hmp *qmp_server_hmp(const struct qmp_server *server) { return server->hmp; }

void qmp_server_hold(struct qmp_server *server, bool hold)
{
    server->env.held = hold;
    list_for_each(m, &server->monitors, struct monitor, link)
        monitor_held(m, hold);
}

const char *qmp_server_package(const struct qmp_server *server) { return server->env.package; }

const struct json *qmp_server_schema(struct qmp_server *server)
{
    if (!server->schema)
        server->schema = qmp_introspect(server->env.registry);
    return server->schema;
}

bool qmp_server_is_ending(const struct qmp_server *server) { return server->done != NULL; }

const struct qmp_env *qmp_server_env(const struct qmp_server *server) { return &server->env; }

struct list *qmp_server_monitors(struct qmp_server *server) { return &server->monitors; }
