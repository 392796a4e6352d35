/*
 * For tests of storage: a simulated world with a graph in it, and calls that run it until something
 * has finished. Only for tests.
 */
#ifndef EMU_STORAGE_TESTING_H
#define EMU_STORAGE_TESTING_H

#include "emu/reactor/sim.h"
#include "emu/storage/driver.h"
#include "emu/storage/node.h"

struct storage_world {
    struct sim *sim;
    struct reactor *reactor;
    struct graph *graph;
};

void storage_world_init(struct storage_world *w, uint64_t seed,
                        const struct driver *const *drivers);
/* Closes all nodes; fails the test when something is left. */
void storage_world_fini(struct storage_world *w);

/* Opens a node from JSON text (single quotes will do) with the monitor's reference when it names itself. */
struct err *storage_open(struct storage_world *w, const char *options, struct node **out) MUST_USE;
/* The same, which must succeed. */
struct node *storage_must_open(struct storage_world *w, const char *options);
struct err *storage_delete(struct storage_world *w, const char *name) MUST_USE;

/* An edge of a parent that is no node, settled; must succeed. */
struct edge *storage_edge(struct storage_world *w, struct node *node, uint32_t perm,
                          uint32_t shared);

/* One request, run to its end; returns its result. buf may be NULL. */
int storage_io(struct storage_world *w, struct edge *edge, enum req_kind kind, uint32_t flags,
               uint64_t offset, uint64_t len, void *buf);
int storage_status(struct storage_world *w, struct edge *edge, uint32_t flags, uint64_t offset,
                   uint64_t len, struct req_status *out);
struct err *storage_truncate(struct storage_world *w, struct edge *edge, uint64_t size) MUST_USE;
struct err *storage_settle(struct storage_world *w, struct edge *edge) MUST_USE;

/* Runs the world until *flag or until nothing moves; returns *flag. */
bool storage_run_until(struct storage_world *w, const bool *flag);

#endif
