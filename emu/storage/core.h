/*
 * Private to the storage core: what a node and a graph hold beside their public parts, and the
 * functions the core's files use of each other.
 *
 * Invariants:
 *  (1) A request in flight is in node->core->tracked from start to end, in order of arrival, and
 *      counted in node->in_flight. It waits only for earlier ones, so that waits form no cycle.
 *  (2) node->gate is the number of drains on the node itself plus the number of its children edges
 *      that are quiesced because the child is gated.
 *  (3) A node is freed when refs, in_flight and held requests are all zero and its driver closed.
 */
#ifndef EMU_STORAGE_CORE_H
#define EMU_STORAGE_CORE_H

#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/notify.h"
#include "emu/base/pool.h"
#include "emu/base/vec.h"
#include "emu/storage/driver.h"
#include "emu/storage/node.h"

enum {
    REQUESTS_MAX = 65536,   /* In flight on one node. */
    NEST_MAX = 48,          /* Nested submits and completions before one goes through the loop. */
    OPEN_NEST_MAX = 512,    /* Images in a chain. */
    BOUNCE_BYTES = 1 << 20, /* Of one slow request. */
    ZEROES_BYTES = 1 << 20, /* Of the graph's buffer of zeroes. */
    SECTOR = 512,           /* Node sizes are multiples of this, as clients expect. */
};

enum req_core_state {
    CORE_ACTIVE = 1,    /* Counted and tracked. */
    CORE_HELD = 2,      /* Waits at a gate; link is in core->held. */
    CORE_SUB = 4,       /* A part made by the core: neither counted nor tracked. */
    CORE_IN_SUBMIT = 8, /* The driver's submit has not returned. */
    CORE_SERIAL = 16,   /* Serialising: conflicts with everything it overlaps. */
    CORE_TRACKED = 32,
};

typedef VEC(struct node *) node_vec;

/* Tells when a node and all that closes with it have closed. */
struct close_ticket {
    unsigned pending;
    graph_done_fn *done;
    void *arg;
    struct err *err;
};

struct settler {
    struct list link;
    struct node *node; /* Holds a reference. */
    graph_done_fn *done;
    void *arg;
};

struct graph {
    struct reactor *reactor;
    const struct driver *const *drivers;
    struct list nodes; /* Open nodes with names, in order of creation. */
    struct map names;
    struct yank *yank;        /* Borrowed. */
    struct objects *objects;  /* Borrowed. */
    struct list backends;     /* struct backend, in order of creation. */
    struct list fdsets;       /* See fdset.h; so is the next. */
    struct list fd_names;
    struct notifier_list on_event;
    struct list drains;       /* Drains that wait. */
    struct list settlers;     /* Waiting for permissions. */
    struct list idle_waiters; /* Waiting for no node to open or close. */
    struct task drain_task, settle_task, idle_task;
    unsigned opening, closing;
    unsigned nest;
    uint32_t mark;
    uint32_t next_auto;
    uint8_t *zeroes;       /* Owned; ZEROES_BYTES, made on first use. */
    struct err *close_err; /* Owned; first of the closes since it was last asked. */
};

struct node_core {
    struct node *node;
    struct pool ctx_pool, io_pool;
    struct list tracked;
    unsigned serialising;    /* Of the tracked ones. */
    struct list held;        /* Requests at the gate or waiting for file locks. */
    struct list flush_queue; /* struct io: one flush runs at a time; its head is it. */
    bool flush_failed;
    bool opened, closing, listed, fenced;
    bool made; /* By node_new_filter(): nobody opened it with options. */
    struct close_ticket *ticket; /* Who wants to know of the close. */
    unsigned own_drains;
    uint32_t mark;
    /* Permissions as the driver knows them; see perm_settle.c. */
    bool perm_busy, perm_again;
    uint32_t perm_taken, perm_shared;
    struct err *perm_err; /* Owned. */
    struct task close_task;
    uint64_t write_threshold; /* Bytes; 0: none. */
    struct notifier threshold_notifier;
    uint64_t written_end; /* Highest byte written, for statistics. */
};

static inline struct node_core *core_of(const struct node *node) { return node->core; }

/* graph.c */
uint8_t *graph_zeroes(struct graph *graph); /* NULL when out of memory. */
/* Nodes from start upwards (parents) or downwards (children), start included; each once. */
void graph_ancestors(struct node *start, node_vec *out);
void graph_descendants(struct node *start, node_vec *out);
MUST_USE struct err *graph_check_name(struct graph *graph, const char *name);
void graph_auto_name(struct graph *graph, char out[32]);
void graph_list(struct node *node); /* Makes it findable. */
void graph_unlist(struct node *node);
void graph_idle_check(struct graph *graph); /* A count of opening or closing nodes fell. */

/* node.c */
struct node *node_new(struct graph *graph, const struct driver *driver);
void node_quiet(struct node *node); /* in_flight fell to 0. */
void close_ticket_init(struct close_ticket *ticket, graph_done_fn *done, void *arg);
/* Drops a reference; ticket's done is called when the node, if this was the last one, has closed. */
void node_unref_ticket(struct node *node, struct close_ticket *ticket);

/* edge.c */
struct edge *edge_new(struct node *child, struct node *parent, const char *name, uint32_t role);
void edge_link(struct edge *edge, struct node *child); /* Takes a reference to child. */
void edge_unlink(struct edge *edge);                   /* Drops it. */
/* No permissions; both gates are closed, and what is held goes with the edge. */
void edge_move(struct edge *edge, struct node *to);
char *edge_parent_text(const struct edge *edge); /* "node 'x'", "block job 'j'"; returns new. */

/* perm.c */
struct perm_log; /* Old values, for going back. */
void node_cumulative(const struct node *node, uint32_t *perm, uint32_t *shared);
/* Recomputes what is below the given nodes after edges changed; on error everything is as before
 * except the edges the caller changed. */
MUST_USE struct err *perm_update(struct node *const *nodes, size_t n);
char *perm_names(uint32_t perm); /* "write, resize"; returns new. */
void node_default_perms(const struct node *node, const struct edge *child, uint32_t perm,
                        uint32_t shared, uint32_t *child_perm, uint32_t *child_shared);

/* perm_settle.c */
void node_perm_apply(struct node *node); /* The driver learns what was decided. */
void graph_settle_check(struct graph *graph);

/* drain.c */
/* Adds a reason to close the gate; quiesces upwards where it is the first. */
void gate_close(struct node *start);
void gate_open(struct node *start); /* Takes one away; held requests start with the last. */
void edge_quiesce(struct edge *edge);
void edge_unquiesce(struct edge *edge);
void graph_drain_check(struct graph *graph);
void node_release_held(struct node *node);

/* req.c */
void req_start(struct node *node, struct req *req);
void req_run(struct req *req);             /* Its turn has come. */
void req_end(struct req *req, int result); /* A tracked request is over. */
void req_end_later(struct req *req, int result);
void driver_start(struct node *node, struct req *req);

/* req_serial.c */
void req_track(struct req *req);
void req_untrack(struct req *req); /* Runs those that waited for it. */
bool req_must_wait(struct req *req);

/* req_split.c: requests that are not handed to the driver as they are. */
struct io {
    struct req *req;
    struct req sub;
    void (*next)(struct io *io); /* Goes on after a part, or ends. */
    uint64_t pos, end;
    uint64_t part;   /* Bytes of the request the running part covers. */
    uint8_t *bounce; /* Owned. */
    size_t bounce_size;
    struct iovec iov;
    uint64_t block, block_len; /* Of the bounced part. */
    int error;
    bool zeroing;         /* What is written is zeroes. */
    uint64_t by_hand_end; /* The driver cannot zero up to there; zeroes are written. */
    struct edge *child;
    struct list link;
    struct task task;
    uint64_t gen;
    /* Status walk. */
    struct node *at;
    unsigned depth;
};
struct io *io_new(struct req *req); /* NULL: the request was failed. */
void io_end(struct io *io, int result);
void io_fail_later(struct io *io, int result); /* io_end for places inside the submission. */
/* Gives a part to the driver; result arrives in done(&io->sub). */
void io_sub(struct io *io, enum req_kind kind, uint32_t flags, uint64_t offset, uint64_t len,
            struct iov_view data, req_done_fn *done);
bool io_bounce(struct io *io, uint64_t len); /* Makes io->bounce at least that large. */
void io_rw(struct req *req);
void io_rw_continue(struct io *io); /* Reads or writes from io->pos on. */
struct iov_view io_view(const struct io *io);
static inline struct io *io_of(struct req *sub) { return container_of(sub, struct io, sub); }
/* req_pad.c */
void io_block_part(struct io *io); /* The part at io->pos does not fill its block. */
/* req_cor.c, req_zero.c, req_flush.c, req_status.c */
void io_copy_on_read(struct req *req);
void io_zero(struct req *req);
void io_discard(struct req *req);
void io_flush(struct req *req);
void io_status(struct req *req);
void io_flush_after(struct io *io); /* FUA by flushing. */

/* bitmap.c */
void bitmaps_dirty(struct node *node, uint64_t offset, uint64_t len);
MUST_USE struct err *bitmaps_check_resize(struct node *node);
void bitmaps_resize(struct node *node, uint64_t size);

/* probe.c: the format of what is below edge; never fails (raw). */
typedef void probe_fn(void *arg, const struct driver *driver, struct err *err);
void probe_format(struct node *file, probe_fn *done, void *arg);
enum { PROBE_BYTES = 2048 };

#endif
