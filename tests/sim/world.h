#ifndef EMU_TESTS_SIM_WORLD_H
#define EMU_TESTS_SIM_WORLD_H

/*
 * One simulated program: a graph and a job list on a simulated reactor, and calls that run the
 * world until something has happened. A failed expectation is noted once and ends the scenario.
 */

#include "emu/jobs/job.h"
#include "emu/reactor/sim.h"
#include "emu/storage/driver.h"
#include "emu/storage/export/export.h"
#include "emu/storage/node.h"

enum { EVENTS_MAX = 2000000 };

struct world {
    struct sim *sim;
    struct reactor *reactor;
    struct graph *graph;
    struct jobs jobs;
    struct exports *exports; /* owned */
    struct notifier listener;
    unsigned completed, cancelled, failed, ready;
    char failure[240]; /* "" while all is well. */
};

/* Takes sim. */
void world_init(struct world *w, struct sim *sim);
/* Closes everything; notes ops that are left. Frees the simulation. */
void world_fini(struct world *w);
void world_fail(struct world *w, const char *fmt, ...) PRINTF(2, 3);
static inline bool world_ok(const struct world *w) { return !w->failure[0]; }

/* Steps until *flag; notes a failure when nothing moves any more. */
bool world_until(struct world *w, const bool *flag, const char *what);
/* JSON text with single quotes. An error is noted. */
void world_create(struct world *w, const char *fmt, ...) PRINTF(2, 3);
struct node *world_open(struct world *w, unsigned flags, const char *fmt, ...) PRINTF(3, 4);
struct edge *world_edge(struct world *w, struct node *node, uint32_t perm, uint32_t shared);
int world_io(struct world *w, struct edge *edge, enum req_kind kind, uint64_t offset, uint64_t len,
             void *buf);
/* Offers a node to NBD clients at a unix socket of that name; the export is named as the node. */
void world_serve(struct world *w, const char *node_name, const char *socket);
/* Checks the format's metadata: corruptions are noted. */
void world_check(struct world *w, struct node *node);

#endif
