#ifndef EMU_STORAGE_REQ_H
#define EMU_STORAGE_REQ_H

/*
 * A request to a node of the block graph.
 *
 * The caller embeds a struct req in its own object, fills the first part, and hands it to
 * edge_submit(). done is called exactly once, later, from the reactor loop or from the completion of a
 * lower request, never from inside edge_submit(). The request, its buffers and its iovec array are the
 * caller's and outlive done. Results are 0 or -errno; there are no short results at this level.
 *
 * A requester that must go on without waiting (cancel with a dead peer) keeps the request object alive
 * on its own until done, and ignores it then; nodes keep themselves alive while requests are in flight.
 *
 * A range that does not lie within the node fails with -EIO when the requester is no node. Nodes may read
 * past the end of a child (zeroes) and, with PERM_RESIZE, write past it where the child can grow (else -ENOSPC).
 * Zeroed memory is an idle request.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/iov.h"
#include "emu/base/list.h"
#include "emu/reactor/reactor.h"

struct node;
struct edge;
struct req;

enum req_kind {
    REQ_READ,
    REQ_WRITE,
    REQ_ZERO,    /* Make the range read as zeroes. */
    REQ_DISCARD, /* The range is no longer needed; it may read as anything afterwards. */
    REQ_FLUSH,   /* All writes completed before the start of this become stable. */
    REQ_STATUS,  /* What is known of the extent at offset (struct req_status). */
    REQ_KIND_COUNT,
};

enum req_flags {
    REQ_FUA = 1 << 0,         /* Stable when complete. */
    REQ_MAY_UNMAP = 1 << 1,   /* ZERO: may deallocate. */
    REQ_NO_FALLBACK = 1 << 2, /* ZERO: -ENOTSUP rather than writing zeroes slowly. */
    REQ_UNCHANGED =
        1 << 3, /* WRITE: the guest-visible data does not change (copy-on-read, commit). */
    REQ_SERIALISING = 1 << 4, /* Waits for overlapping requests and makes later ones wait. */
    REQ_COMPRESSED = 1 << 5,  /* WRITE: store compressed (whole clusters). */
    REQ_PREFETCH = 1 << 6,    /* READ with no buffer: only bring the data up (copy-on-read). */
    REQ_WANT_ZERO = 1 << 7,   /* STATUS: spend effort to tell zeroes from data. */
    REQ_NO_GATE = 1 << 8,     /* Passes a drain's gate (requests of whoever holds the drain). */
    REQ_STATUS_ONE = 1 << 9,  /* STATUS: this node only, do not look through the backing file. */
    /* READ: the node itself holds the range afterwards; needs PERM_WRITE_UNCHANGED. */
    REQ_COPY_ON_READ = 1 << 10,
};

enum req_status_flags {
    STATUS_DATA = 1 << 0,         /* Reading returns stored data. */
    STATUS_ZERO = 1 << 1,         /* Reading returns zeroes. */
    STATUS_OFFSET_VALID = 1 << 2, /* host_offset in file is where the data lies. */
    STATUS_ALLOCATED = 1 << 3,    /* This layer decides the content (not the backing file). */
    STATUS_EOF = 1 << 4,          /* The extent ends at the end of the node. */
    STATUS_COMPRESSED = 1 << 5,
    STATUS_RECURSE = 1 << 6, /* (driver to core) ask the child at host_offset whether it is zero. */
};

/* Answer to REQ_STATUS: the extent [offset, offset + len), 0 < len <= the length asked. */
struct req_status {
    uint32_t flags;
    uint64_t len;
    uint64_t host_offset;
    struct node *file; /* Borrowed; the node host_offset counts in, NULL if none. */
    unsigned depth;    /* 0: this node, 1: its backing file, ...: which layer decided. */
};

typedef void req_done_fn(struct req *req);

struct req {
    enum req_kind kind;
    uint32_t flags;       /* enum req_flags */
    uint64_t offset;      /* Bytes. */
    uint64_t len;         /* Bytes. Not 0 except for FLUSH. */
    struct iov_view data; /* READ, WRITE: at least len bytes. */
    req_done_fn *done;
    int result; /* In done: 0 or -errno. */
    struct req_status status;
    /* ---- Private to the storage core. ---- */
    struct list link;  /* In the node's list of requests in flight, or of held ones. */
    struct node *node; /* Pinned while in flight. */
    struct edge *edge;
    void *ctx; /* The driver's per-request memory (driver->req_size). */
    uint64_t range_offset,
        range_len;         /* What it occupies: the range rounded out to the alignment. */
    struct list waiters;   /* Requests that wait for this one to end ... */
    struct list wait_link; /* ... by this link. */
    void *core;
    uint32_t core_state; /* 0: idle. */
    struct task task;
};

/* True between edge_submit() and done. */
bool req_pending(const struct req *req);

#endif
