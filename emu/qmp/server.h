/*
 * The QMP side of a program: its command table, its monitors and its events.
 *
 *     server = qmp_server_new(&(struct qmp_server_config){ .reactor = r, .sets = sets, ... });
 *     TRY(monitor_add(server, &(struct monitor_config){ .chardev = chr, ... }));    (monitor.h)
 *     ... the loop runs ...
 *     qmp_server_shutdown(server, done, arg);     flushes the last replies
 *     qmp_server_free(server);                    once done was called
 *
 * Home: the main reactor.
 */
#ifndef EMU_QMP_SERVER_H
#define EMU_QMP_SERVER_H

#include <stdbool.h>

#include "emu/base/attrs.h"
#include "emu/qmp/events.h"
#include "emu/qmp/registry.h"
#include "emu/reactor/reactor.h"

struct hmp;
struct hmp_config;
struct qmp_env;
struct qmp_server;
struct world;

struct qmp_server_config {
    struct reactor *reactor;                   /* borrowed, as all below */
    struct qmp_events *events;
    const struct qmp_command_set *const *sets; /* Ended by NULL. */
    struct world *world;                       /* Handed to handlers. */
    const char *package;                       /* "emu 0.1": the program's name and version. */
    /* Tables of commands for people; NULL: there are no such monitors. The rest is filled in. */
    const struct hmp_config *hmp;
};

struct qmp_server *qmp_server_new(const struct qmp_server_config *config);

/*
 * Takes no more requests, waits until what was replied is written, though not for long when clients
 * do not read, and ends all sessions. done(arg) is called once from the loop.
 */
void qmp_server_shutdown(struct qmp_server *server, void (*done)(void *arg), void *arg);

/* After done was called, or when no session ever was. NULL is fine. */
void qmp_server_free(struct qmp_server *server);

/* While held, monitors greet their clients but do nothing: the program is not complete. */
void qmp_server_hold(struct qmp_server *server, bool hold);

/* For handlers. */
/* Borrowed; NULL: none. */
struct hmp *qmp_server_hmp(const struct qmp_server *server);
const struct qmp_registry *qmp_server_registry(const struct qmp_server *server);
const char *qmp_server_package(const struct qmp_server *server);
/* What query-qmp-schema returns; borrowed. */
const struct json *qmp_server_schema(struct qmp_server *server);

/* For monitor.c. */
bool qmp_server_is_ending(const struct qmp_server *server);
const struct qmp_env *qmp_server_env(const struct qmp_server *server);
struct list *qmp_server_monitors(struct qmp_server *server);

#endif
