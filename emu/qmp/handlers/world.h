/*
 * The roots of a program: what handlers reach through call->world. A front end builds it from what
 * it has; a root that a front end lacks is NULL, and it does not name the command sets that need
 * it.
 */
#ifndef EMU_QMP_HANDLERS_WORLD_H
#define EMU_QMP_HANDLERS_WORLD_H

struct chardevs;
struct graph;
struct exports;
struct jobs;
struct machine;
struct qmp_events;
struct qmp_server;
struct reactor;
struct yank;

struct world {
    struct reactor *reactor; /* The main one. All below are borrowed. */
    struct qmp_server *server;
    struct qmp_events *events;
    struct chardevs *chardevs;
    struct yank *yank;
    struct graph *graph;
    struct jobs *jobs;
    struct machine *machine;
    struct exports *exports;
    /* Asks for an orderly end. done(arg) is called from the loop when exports and jobs have ended, before
     * the monitors are closed. */
    void (*quit)(struct world *world, void (*done)(void *arg), void *arg);
    void *front_end;                   /* The front end's own, for quit. */
};

#endif
