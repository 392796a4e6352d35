#ifndef EMU_STORAGE_DRIVER_H
#define EMU_STORAGE_DRIVER_H

/*
 * What a block driver provides. A driver is const data listed in emu/storage/drivers/table.c; its state is
 * node->state. All callbacks run on the graph's reactor and none waits: open, close, truncate,
 * create finish through the callback they are given; submit finishes through req_complete().
 */

#include "emu/storage/node.h"
#include "emu/storage/snapshot.h"

struct driver_child {
    const char *name; /* Option name and edge name. */
    uint32_t role;
    bool required;
};

/* Facts for queries (query-named-block-nodes, emu-img info). Zeroed before the call. */
struct image_facts {
    uint64_t virtual_size, actual_size;
    bool have_actual_size;
    uint32_t cluster_size;
    uint64_t
        vm_state_offset; /* Where the state of a machine begins behind the disk; 0: it has no place. */
    bool dirty_flag, encrypted, compressed;
    char *backing_filename, *full_backing_filename, *backing_format; /* Owned, NULL when absent. */
    struct json *format_specific; /* {"type": "qcow2", "data": {...}}; owned, NULL when absent. */
    struct json *snapshots;       /* Array of SnapshotInfo; owned, NULL when absent. */
};
void image_facts_fini(struct image_facts *facts);

struct check_result {
    uint64_t image_end_offset, total_clusters, allocated_clusters, fragmented_clusters,
        compressed_clusters;
    uint64_t check_errors, corruptions, leaks, corruptions_fixed, leaks_fixed;
    char *report; /* Lines for people, one finding each; owned. */
};
enum check_fix { CHECK_FIX_LEAKS = 1, CHECK_FIX_ERRORS = 2 };

/* What an image would take (emu-img measure). */
struct measure_result {
    uint64_t required;        /* Bytes of the image file with the content of the source. */
    uint64_t fully_allocated; /* Bytes once every part has been written. */
    uint64_t bitmaps; /* Bytes for the persistent bitmaps of the source, with have_bitmaps. */
    bool have_bitmaps;
};

enum amend_flags { AMEND_FORCE = 1 };
typedef void amend_progress_fn(void *arg, uint64_t done, uint64_t total);

typedef void driver_done_fn(void *arg, struct err *err /* takes */);

/*
 * Persistent dirty bitmaps: how an image keeps them. The driver's open makes those it finds bitmaps of the node, and
 * its close stores them. The core calls these one at a time or not; a driver does one after the other.
 */
struct bitmap_ops {
    /* Whether the image can keep one more, of that name; granularity in bytes. */
    struct err *(*can_store)(struct node *node, const char *name, uint32_t granularity);
    /* Takes one out of the image; NULL as well when the image has none of that name. */
    void (*remove)(struct node *node, const char *name, driver_done_fn *done, void *arg);
    /* Writes the persistent ones into the image, which is about to become read-only. */
    void (*store)(struct node *node, driver_done_fn *done, void *arg);
    /* The image has become writable: what it stores is too old from now on. */
    void (*begin_use)(struct node *node, driver_done_fn *done, void *arg);
};

/* Breakpoints: a request that comes by a named event stops there, with a tag to name it by. 0 or -errno. */
struct debug_ops {
    int (*set)(struct node *node, const char *event, const char *tag);
    int (*remove)(struct node *node, const char *tag); /* Requests that it stopped go on. */
    int (*resume)(struct node *node, const char *tag);
    /* Calls done(arg) when a request is stopped with that tag, at once if there is one. */
    void (*wait)(struct node *node, const char *tag, void (*done)(void *arg), void *arg);
    /* A driver above came by the event (debug_event()). */
    void (*event)(struct node *node, const char *event);
};

struct driver {
    const char *name;
    bool is_format, is_filter, is_protocol;
    bool supports_backing;
    bool can_compress;      /* Takes writes with REQ_COMPRESSED. */
    bool has_variable_size; /* The size is asked anew when the file may have changed. */
    bool can_grow;          /* Writes past the end are passed to submit and grow the node. */
    size_t state_size;
    size_t req_size; /* Memory per request in flight (req->ctx); it embeds the child requests. */
    const struct driver_child *children; /* Ends with name NULL; opened by the core before open. */

    /*
     * Opens: options (marks what it reads), children are attached. Sets size, limits, supported
     * flags. Then calls done.
     */
    void (*open)(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                 void *arg);
    /*
     * Closes: no request is in flight; writes back what is needed, then calls done (errors are
     * logged, the node goes away).
     */
    void (*close)(struct node *node, driver_done_fn *done, void *arg);
    /*
     * Starts a request: aligned to limits, not longer than max_transfer, within [0, size) or, for reads and writes, the
     * alignment block that holds the last byte (a driver with can_grow gets writes past the end, too). Finishes
     * by req_complete(req, result), which may be called from within submit. ZERO/DISCARD/FLUSH/STATUS may be
     * answered -ENOTSUP: the core then falls back (bounce zeroes, ignore, flush the children, "all data").
     * req->ctx is not zeroed: the first use sees zeroes, later ones what was left in it. STATUS: fill req->status; with
     * neither DATA nor ZERO the extent is unallocated; the core adds ALLOCATED, EOF and the backing chain.
     */
    void (*submit)(struct node *node, struct req *req);
    /* Permissions the driver needs on a child, given what its parents take and share; NULL: the defaults by role. */
    void (*child_perm)(struct node *node, const struct edge *child, uint32_t perm, uint32_t shared,
                       uint32_t *child_perm, uint32_t *child_shared);
    /* ---- Optional ---- */
    void (*truncate)(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                     driver_done_fn *done, void *arg);
    void (*fence)(struct node *node); /* See node_fence(). */
    /* The gate of the node closed (node->gate > 0): what waits for something that may take long is to go on. */
    void (*drained_begin)(struct node *node);
    /* A child has a new size. NULL: filters follow it, others ignore it. */
    void (*child_resized)(struct node *node, struct edge *child);
    /* Fills facts; may start I/O. */
    void (*facts)(struct node *node, struct image_facts *facts, driver_done_fn *done, void *arg);
    void (*check)(struct node *node, unsigned fix, struct check_result *result,
                  driver_done_fn *done, void *arg);
    /* Rewrites the backing reference in the image header; names may be NULL. */
    void (*set_backing)(struct node *node, const char *name, const char *format,
                        driver_done_fn *done, void *arg);
    /*
     * Drops all that this layer holds, so that the backing file shows everywhere (commit). What a crash leaves is an
     * image with all, some or none of its content gone. NULL: not possible.
     */
    void (*make_empty)(struct node *node, driver_done_fn *done, void *arg);
    const struct bitmap_ops *bitmaps; /* NULL: images of this format keep none. */
    /* Permission change is about to take effect (file locks). Asynchronous: done with an error refuses. */
    void (*prepare_perm)(struct node *node, uint32_t perm, uint32_t shared, driver_done_fn *done,
                         void *arg);
    /*
     * Reopening (reopen.h). reopen_options: names of the driver's own options that can change, ends with NULL.
     * prepare looks at the new options and gets what it needs, changing nothing that requests see; ready runs when
     * the permissions of the new state are held, and is the last that may fail. Then commit with nothing in flight,
     * when node->open is new already, or abort (only after a prepare that succeeded).
     */
    const char *const *reopen_options;
    /* Of options that had been given before takes those that changes override together with others. May be NULL. */
    void (*reopen_join)(struct json *options, const struct json *changes);
    void (*reopen_prepare)(struct node *node, struct opts *opts, const struct node_options *open,
                           driver_done_fn *done, void *arg);
    void (*reopen_ready)(struct node *node, driver_done_fn *done, void *arg);
    void (*reopen_commit)(struct node *node);
    void (*reopen_abort)(struct node *node);
    /* x-blockdev-change: a child more, or one less. remove_child detaches the edge. */
    struct err *(*add_child)(struct node *node, struct node *child);
    struct err *(*remove_child)(struct node *node, struct edge *child);
    /* Score 0..100 that the first bytes of a file (at least 2048, zero-padded) are this format. */
    int (*probe)(const uint8_t *buf, size_t len, const char *filename);
    /* blockdev-create: options are the canonical BlockdevCreateOptions of this driver. */
    void (*create)(struct graph *graph, const struct json *options, driver_done_fn *done,
                   void *arg);
    /*
     * emu-img create: size, filename and -o options in the tool's spelling; the generic code turns them into create
     * options. A table for help and checking: ends with name NULL.
     */
    const struct create_option *create_options;
    /*
     * Changes options of an existing image. Options are as the tool takes them, with nested objects for dotted names
     * ("encrypt": {"state": ...}), which is also the form of x-blockdev-amend. progress may be NULL. What was
     * changed before an error stays changed; the image is consistent at every moment.
     */
    void (*amend)(struct node *node, const struct json *options, unsigned flags,
                  amend_progress_fn *progress, driver_done_fn *done, void *arg);
    const struct create_option *amend_options; /* As create_options. */
    /*
     * How large a new image with these options (the tool's) would be, for the content of source (an edge that may be
     * read) or, when source is NULL, for an empty disk of that many bytes.
     */
    void (*measure)(struct graph *graph, const struct json *options, struct edge *source,
                    uint64_t size, struct measure_result *result, driver_done_fn *done, void *arg);
    const struct snapshot_ops *snapshots; /* NULL: the format keeps none. */
    const struct debug_ops *debug;        /* NULL: no breakpoints. */
};

struct create_option {
    const char *name;
    enum { CREATE_OPT_STR, CREATE_OPT_SIZE, CREATE_OPT_BOOL, CREATE_OPT_NUMBER } type;
    const char *help;
    const char *default_text; /* Or NULL. */
};

/* A driver comes by an event that breakpoints and rules of a debugging driver below know by name. */
static inline void debug_event(const struct edge *edge, const char *event)
{
    if (edge->node->driver->debug)
        edge->node->driver->debug->event(edge->node, event);
}

/* Ends a driver request: result 0 or -errno. The caller must not touch req or its ctx afterwards. */
void req_complete(struct req *req, int result);

/*
 * Fills child as part of parent (offset and length within the child, data a slice of the parent's at data_skip) and
 * submits it on edge. Of flags, only those given pass on.
 */
void req_submit_part(struct req *child, struct edge *edge, enum req_kind kind, uint32_t flags,
                     uint64_t offset, uint64_t len, struct iov_view data, req_done_fn *done);

/*
 * For open callbacks: opens a file (protocol) by name, relative to the node's own, and attaches it as child. done gets
 * an error or NULL.
 */
void open_child_file(struct node *node, const char *filename, const char *edge_name, uint32_t role,
                     driver_done_fn *done, void *arg);

/* Looks a driver up by name; NULL when unknown. */
const struct driver *driver_find(const struct graph *graph, const char *name);

/* The driver that claims a first block (at least 512 bytes) most strongly; raw when none does. */
const struct driver *probe_bytes(const struct graph *graph, const uint8_t *buf, size_t len,
                                 const char *filename);

/* emu/storage/drivers/table.c */
extern const struct driver *const all_drivers[]; /* NULL-terminated. */
extern const struct driver driver_blkdebug;
extern const struct driver driver_compress, driver_copy_on_read;
extern const struct driver driver_throttle;
extern const struct driver driver_host_device, driver_host_cdrom;
extern const struct driver driver_file, driver_raw, driver_null_co, driver_null_aio, driver_qcow2,
    driver_nbd;
extern const struct driver driver_luks;
extern const struct driver driver_qcow;
extern const struct driver driver_parallels;
extern const struct driver driver_bochs;
extern const struct driver driver_cloop;
extern const struct driver driver_dmg;
extern const struct driver driver_qed;
extern const struct driver driver_vdi;
extern const struct driver driver_vpc;
extern const struct driver driver_vmdk;
extern const struct driver driver_vhdx;

#endif
