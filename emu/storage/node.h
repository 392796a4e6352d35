#ifndef EMU_STORAGE_NODE_H
#define EMU_STORAGE_NODE_H

/*
 * The block graph: nodes (a driver with its options and state) joined by edges (a parent's use of a child).
 *
 * A node lives while it has references: the monitor's (a node made by blockdev-add), each parent edge,
 * and each request in flight. The last one gone, the node closes itself (asynchronously: metadata is
 * written back) and is freed. Everything that does I/O does it through an edge of its own: devices,
 * exports and jobs are parents without a node. All of a graph lives on one home reactor.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/list.h"
#include "emu/base/map.h"
#include "emu/base/notify.h"
#include "emu/base/opts.h"
#include "emu/reactor/reactor.h"
#include "emu/storage/req.h"

struct driver;
struct bitmap;
struct graph;

/* ---- Permissions (specs: section 4) ---- */
enum perm {
    PERM_CONSISTENT_READ = 1,
    PERM_WRITE = 2,
    PERM_WRITE_UNCHANGED = 4,
    PERM_RESIZE = 8,
    PERM_ALL = 15,
};

/* What a parent uses a child for. */
enum edge_role {
    ROLE_DATA = 1,     /* Guest data lies there. */
    ROLE_METADATA = 2, /* The format's own data lies there. */
    ROLE_FILTERED = 4, /* The parent passes everything through to it. */
    ROLE_COW = 8,      /* Backing file. */
    ROLE_PRIMARY = 16,
};

/* Callbacks to a parent that is no node (device, export, job); all optional. */
struct edge_parent_ops {
    const char *what; /* "block job", "block export", ... for error texts. */
    /* Text that names the parent in "Node 'x' is busy: ..." errors; returns new. */
    char *(*describe)(struct edge *edge);
    void (*drained_begin)(struct edge *edge); /* A drain began: start no new requests. */
    void (*drained_end)(struct edge *edge);
    void (*resized)(struct edge *edge);  /* The child has a new size. */
    void (*replaced)(struct edge *edge); /* edge->node was exchanged. */
    /* What uses the node in its own right is another node of the same owner (its filter). */
    bool hidden;
    bool stays; /* It keeps to its node when the others move to another one (jobs). */
    /* Names the parent in permission conflicts, "block job 'j0'"; default: what. Returns new. */
    char *(*identify)(struct edge *edge);
};

struct edge {
    struct node *node;   /* The child; never NULL while attached. Holds a reference. */
    struct node *parent; /* The parent node, or NULL when ops/owner is the parent. */
    const struct edge_parent_ops *ops;
    void *owner;
    char name[32]; /* "file", "backing", "root", ... */
    uint32_t role;
    uint32_t perm, shared;
    bool frozen;             /* A job relies on it: it cannot be changed or removed. */
    bool inherits;           /* The parent opened the child, which follows its options. */
    bool quiesced;           /* Core: the parent was told of a drain. */
    struct list parent_link; /* In node->parents. */
    struct list child_link;  /* In parent->children. */
};

struct node_limits {
    uint32_t request_alignment; /* Offsets and lengths of driver requests; power of two, >= 1. */
    uint32_t memory_alignment;  /* Of buffers; >= 1. */
    uint32_t max_transfer;      /* Bytes; 0: none. Also the most for one driver request. */
    uint32_t max_iov;
    uint64_t max_zero, max_discard;             /* Bytes; 0: none. */
    uint32_t zero_alignment, discard_alignment; /* Preferred; 0: request_alignment. */
    uint32_t opt_transfer;
};

/* What on_write listeners get, before the request is acknowledged. */
struct node_write_note {
    struct node *node;
    enum req_kind kind; /* WRITE, ZERO, DISCARD */
    uint64_t offset, len;
    int result;
};

/* Why and how a node was opened. */
struct node_options {
    bool read_only, auto_read_only, force_share;
    bool cache_direct, cache_no_flush;
    bool discard_unmap;
    enum { DETECT_ZEROES_OFF, DETECT_ZEROES_ON, DETECT_ZEROES_UNMAP } detect_zeroes;
};

struct node {
    struct graph *graph;
    const struct driver *driver;
    char name[32];        /* Node name; automatic ones are "#blockNNN". */
    char *filename;       /* For people and queries; "" when there is none. Owned. */
    struct json *options; /* Canonical options it was opened with. Owned. */
    struct node_options open;
    struct node_limits limits;
    uint64_t size;         /* Bytes, as the parents see it. */
    uint32_t cluster_size; /* Of formats that allocate; 0: none. Set by the driver's open. */
    uint32_t supported_zero_flags;  /* REQ_FUA/MAY_UNMAP/NO_FALLBACK the driver handles itself. */
    uint32_t supported_write_flags; /* REQ_FUA, REQ_COMPRESSED. */
    uint32_t supported_read_flags;  /* REQ_PREFETCH; without it a prefetch does nothing. */
    struct edge *file, *backing;    /* Convenience: the children of those names, or NULL. */
    struct list parents, children;
    struct list bitmaps; /* struct bitmap. */
    bool monitor_owned;  /* Has a reference by the monitor. */
    bool implicit;       /* A filter that queries do not show. */
    bool read_only;      /* Effective now. */
    unsigned refs;
    unsigned in_flight;
    unsigned gate; /* Nested drains; > 0: new requests queue. */
    uint64_t write_gen, flushed_gen;
    void *state; /* Driver state, driver->state_size zeroed bytes. */
    void *core;  /* Private to the storage core. */
    struct notifier_list
        on_write;     /* struct node_write_note: before acknowledging (thresholds, trackers). */
    struct list link; /* In graph->nodes. */
    /* From an image header, filled by the driver's open: the backing file to open when options have none. */
    char *backing_name, *backing_format; /* Owned. */
};

/* ---- Graph ---- */

struct graph *graph_new(struct reactor *reactor, const struct driver *const *drivers);
/* All nodes must be gone (graph_close_all). */
void graph_free(struct graph *graph);
struct reactor *graph_reactor(struct graph *graph);
struct node *graph_find(struct graph *graph, const char *node_name); /* NULL when there is none. */
/* As graph_find, with the reference's text "Cannot find device='' nor node-name='X'" . */
struct err *graph_lookup(struct graph *graph, const char *node_name, struct node **out) MUST_USE;
struct list *graph_nodes(struct graph *graph); /* All named nodes in order of creation. */
/* Calls done when no node is opening or closing any more, with the first error of the closes since the last call. */
void graph_settle(struct graph *graph, void (*done)(void *arg, struct err *err /* takes */),
                  void *arg);
/* The yank registry for drivers with peers; NULL until set. */
struct yank;
void graph_set_yank(struct graph *graph, struct yank *yank);
struct yank *graph_yank(struct graph *graph);
/* The user's objects (secrets, credentials, throttle groups) for drivers; NULL until set. Borrowed. */
struct objects;
void graph_set_objects(struct graph *graph, struct objects *objects);
struct objects *graph_objects(struct graph *graph);
/* Drops the monitor's references and calls done when every node has closed (errors are logged). */
typedef void graph_done_fn(void *arg, struct err *err /* takes */);
void graph_close_all(struct graph *graph, graph_done_fn *done, void *arg);

/* ---- Opening and closing (open.c) ---- */

/*
 * Opens a node from a canonical options object (a BlockdevOptions: driver, node-name, read-only, cache,
 * discard, detect-zeroes, driver members; children inline as objects or by node name as strings).
 * Children are opened first, then the driver, then the backing file that the image header names unless
 * the options say "backing": null. done gets the node with one reference for the caller, or an error;
 * then nothing is left open.
 */
typedef void node_open_fn(void *arg, struct node *node, struct err *err /* takes */);
enum node_open_flags {
    NODE_OPEN_MONITOR =
        1, /* The reference is the monitor's: node-name is required, blockdev-del drops it. */
    NODE_OPEN_NO_BACKING = 2,
    NODE_OPEN_NO_IO = 4,       /* Only metadata will be read (info, create). */
    NODE_OPEN_CHECK = 8,       /* For check/repair: dirty and corrupt images may be opened. */
    NODE_OPEN_PROBED_RAW = 16, /* Set by the core: nobody said that the image is raw. */
};
void node_open(struct graph *graph, const struct json *options, unsigned flags, node_open_fn *done,
               void *arg);
/*
 * Options for a file by name, as the tools see names: "nbd:...", "nbd://", "json:{...}", "fmt:proto:name" and plain
 * paths; format NULL means probe. Returns a new options object for node_open.
 */
struct err *node_options_from_filename(const char *filename, const char *format,
                                       struct json **out) MUST_USE;
/*
 * The same of a name with options given beside it, which win. A driver that is given for a level takes the name
 * itself or hands it to its "file": "a.img" with {"driver": "raw", "file": {"driver": "qcow2"}} is the file of the
 * qcow2 image below raw.
 */
struct err *node_options_from_both(const char *filename, const struct json *given,
                                   struct json **out) MUST_USE;
/* Puts the members of `from` into `into`, whose own they replace; objects in both are merged. */
void node_options_merge(struct json *into, const struct json *from);

/*
 * Makes a filter above an open node at once, without options: driver->open is not called. name
 * NULL or "": automatic, and the node is implicit. It has a child edge "file" to child, child's
 * size, limits and flags, and one reference for the caller. graph_insert_filter() puts it to use.
 */
struct err *node_new_filter(struct graph *graph, const struct driver *driver, const char *name,
                            struct node *child, struct node **out) MUST_USE;
struct node *node_ref(struct node *node);
void node_unref(struct node *node); /* The last one closes the node in the background. */
/* blockdev-del: refuses while the node has parents ("Node X is in use" and the like). done after close. */
struct err *node_delete(struct graph *graph, const char *name, graph_done_fn *done,
                        void *arg) MUST_USE;

/* "Node 'x' is busy: ..." when a job or the like relies on the node. */
struct err *node_check_not_busy(struct node *node) MUST_USE;

/* ---- Edges ---- */

/*
 * Attaches a parent that is no node. Fails with the reference's text when permissions conflict. The edge is
 * allocated; edge_detach frees it (its requests must have completed or be owned by orphans).
 */
struct err *edge_attach(struct node *node, const char *name, const struct edge_parent_ops *ops,
                        void *owner, uint32_t perm, uint32_t shared, struct edge **out) MUST_USE;
/* For drivers and filters: child of a node. */
struct err *edge_attach_child(struct node *parent, struct node *child, const char *name,
                              uint32_t role, uint32_t perm, uint32_t shared,
                              struct edge **out) MUST_USE;
void edge_detach(struct edge *edge);
/* Changes what the edge takes and shares; all or nothing up and down the graph. */
struct err *edge_set_perm(struct edge *edge, uint32_t perm, uint32_t shared) MUST_USE;

/*
 * Waits until what the permissions below the edge need has taken effect (file locks are taken
 * asynchronously): done gets NULL or the conflict, "Failed to get "write" lock". Call it after
 * edge_attach and edge_set_perm before success is reported to a user. Requests may be submitted without
 * waiting: they are held meanwhile, and fail with -EACCES after a conflict. The edge is the caller's to
 * detach then. node_settle: the same from a node on down.
 */
void edge_settle(struct edge *edge, graph_done_fn *done, void *arg);
void node_settle(struct node *node, graph_done_fn *done, void *arg);

/* Starts a request (see req.h). */
void edge_submit(struct edge *edge, struct req *req);
/*
 * As edge_submit on a node itself, for drivers passing a request on and for tests. Passes gates;
 * no permission is needed.
 */
void node_submit(struct node *node, struct req *req);

/* ---- Changing the graph (graph_txn.c). Requests in flight keep the nodes they use; nothing waits. ---- */

/*
 * Puts filter, already open with a child edge to node, above node: all other parents of node (but
 * `except`) move to filter.
 */
struct err *graph_insert_filter(struct node *filter, struct node *node,
                                const struct edge *except) MUST_USE;
/*
 * Takes a filter out: its parents move to its filtered child. The filter keeps its own child
 * until its last reference goes.
 */
struct err *graph_remove_filter(struct node *filter) MUST_USE;
/* Moves all parents of `from` (but edges whose parent is `to`, and frozen ones fail) to `to`. */
struct err *graph_replace_node(struct node *from, struct node *to) MUST_USE;
struct err *node_set_backing(struct node *node, struct node *backing /* or NULL */) MUST_USE;

/* ---- Drain ---- */

/*
 * Quiesce: gates node and all its ancestors (new requests through their edges queue, parents are told), and
 * completes when none of their requests is in flight. Nests. Never polls. A drain that is still waiting
 * may be ended with drain_end, done is then not called.
 */
struct drain {
    void (*done)(struct drain *drain); /* From the loop; also when already quiet. */
    struct list link;
    struct node *node;
    bool waiting, held;
    struct task task;
    void *core;
};
void drain_begin(struct drain *drain, struct node *node, void (*done)(struct drain *drain));
void drain_end(struct drain *drain);

/*
 * Cuts a node off from its disk or peer for good: every request in flight below completes soon with -ECANCELED or
 * -EIO where the driver can (network peers are shut down), and new ones fail with -EIO until it is reopened. For
 * targets of cancelled jobs and for yank; walks down to all leaves not shared with other parents.
 */
void node_fence(struct node *node);

/* ---- Size ---- */
enum prealloc { PREALLOC_OFF, PREALLOC_METADATA, PREALLOC_FALLOC, PREALLOC_FULL };
/* Resizes; needs PERM_RESIZE on the edge. done gets an error or NULL. */
void edge_truncate(struct edge *edge, uint64_t size, bool exact, enum prealloc prealloc,
                   graph_done_fn *done, void *arg);
/* For drivers: the size changed (also by truncate of the child); tells parents and resizes bitmaps. */
void node_set_size(struct node *node, uint64_t size);

/* ---- Facts ---- */
struct node *node_skip_filters(struct node *node);
struct node *node_backing(
    struct node *node); /* The next node of the chain, filters passed over; NULL at its end. */
/* Cluster size for copying decisions, 0 when the format has none. */
uint32_t node_cluster_size(struct node *node);

#endif
