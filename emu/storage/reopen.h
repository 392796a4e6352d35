#ifndef EMU_STORAGE_REOPEN_H
#define EMU_STORAGE_REOPEN_H

/*
 * Reopening: gives open nodes other options (read-only, cache, discard, driver members) and other children, all of a
 * set or none, while requests wait.
 *
 * The nodes are drained; drivers prepare; edges and permissions change and take effect (file locks); drivers get
 * ready; then, with nothing in flight, all commit at once. A failure at any step undoes those before it. A child that
 * its parent opened (edge->inherits) follows the options of the parent unless it was given its own.
 */

#include "emu/storage/node.h"

struct reopen;

struct reopen *reopen_new(struct graph *graph);
/*
 * Adds a node by its complete new options, as blockdev-reopen gives them; what they lack is reset to its default.
 * Texts of the reference: "node-name not specified", "Cannot change the option 'driver'", ...
 */
struct err *reopen_add(struct reopen *reopen, const struct json *options) MUST_USE;
/*
 * Adds a node with some of its options changed, as the shell's reopen gives them (nested objects for those of
 * children); it keeps the others. Takes nothing. Errors as reopen_add.
 */
struct err *reopen_add_changes(struct reopen *reopen, struct node *node,
                               const struct json *changes) MUST_USE;
/* Adds a change of read-only alone, with what the node opened below it. */
struct err *reopen_add_read_only(struct reopen *reopen, struct node *node, bool read_only) MUST_USE;
/* Runs and frees; done may come before the return. */
void reopen_run(struct reopen *reopen, graph_done_fn *done, void *arg);
/* Frees one that was not run. NULL is ignored. */
void reopen_free(struct reopen *reopen);

/* One node, read-only or not; nothing to do is done at once. */
void reopen_read_only(struct node *node, bool read_only, graph_done_fn *done, void *arg);

#endif
