#ifndef EMU_STORAGE_DRIVERS_SPARSE_SPARSE_H
#define EMU_STORAGE_DRIVERS_SPARSE_SPARSE_H

/*
 * Images that map blocks of the guest to places in a file by tables: what vdi, vpc, vmdk, vhdx and the like have
 * in common. A format says where a block is, where a new one goes, and how its table is changed (struct sparse_ops);
 * requests, copies from the backing file, order of writes and commits are here.
 *
 * Invariants:
 *  S1  Bytes in a new block (the guest's and the filling around them) are written before the entry changes in memory,
 *      and durable before the entry is (meta.h, DATA).
 *  S2  Entries change in one step as seen by all requests; one request at a time allocates, zeroes or unlinks blocks
 *      (sparse->changing); others that need to wait. Reads and writes in place go on, and see the old state.
 *  S3  A place that was given to a block is not given to another one while the image is open.
 *  S4  A flush completes when all that completed before it is reachable after a crash.
 *
 * A driver embeds struct sparse in its state, sets the public part, calls sparse_init() in open and sparse_close()
 * in close, and uses sparse_submit() as submit with req_size sizeof(struct sparse_op).
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/sparse/meta.h"

struct sparse;

enum { SPARSE_PACK_EXTRA = 65536, SPARSE_PARTS = 4 };

enum sparse_kind {
    SPARSE_HOLE, /* The backing file decides, or it is zero. */
    SPARSE_ZERO,
    SPARSE_DATA,
    SPARSE_COMPRESSED,
};

struct sparse_place {
    enum sparse_kind kind;
    uint64_t host; /* DATA, COMPRESSED: offset in the file. */
    uint32_t len;  /* COMPRESSED: bytes stored there. */
};

/*
 * Those with wait return 0, META_WAIT or -errno, and change nothing unless 0 is returned. Blocks are numbered from 0;
 * block < sparse_blocks().
 */
struct sparse_ops {
    /* What the table says. An entry that cannot be: -EIO. */
    int (*find)(struct sparse *s, uint64_t block, struct meta_wait *wait, struct sparse_place *out);
    /*
     * Where `count` blocks from `block` on, which have no place, will go: sets *host for the first and lowers
     * *count to how many follow each other there. Makes sure that link needs not wait (tables exist; what it
     * loads was just used). The place counts as taken only with link; until then asking again gives the same.
     */
    int (*place)(struct sparse *s, uint64_t block, uint64_t *count, struct meta_wait *wait,
                 uint64_t *host);
    /* Makes `count` blocks refer to consecutive places (DATA), or to nothing (HOLE, ZERO), or one COMPRESSED. */
    int (*link)(struct sparse *s, uint64_t block, uint64_t count, struct sparse_place place,
                struct meta_wait *wait);
    /* Unpacks len bytes as stored into out (block_size bytes). 0 or -errno. NULL: no block is compressed. */
    int (*unpack)(struct sparse *s, uint64_t block, const uint8_t *in, uint32_t len, uint8_t *out);
    /*
     * Packs a block (block_size bytes) for storing it at `host`; out has room for SPARSE_PACK_EXTRA more bytes than a
     * block; sets *len. -ENOSPC: it would not become smaller, the block is stored as data. NULL: cannot write
     * compressed blocks.
     */
    int (*pack)(struct sparse *s, uint64_t block, uint64_t host, const uint8_t *in, uint8_t *out,
                uint32_t *len);
};

struct sparse {
    /* ---- Set by the driver before sparse_init ---- */
    struct node *node;
    struct edge *file;    /* Where the blocks are; outlives this. */
    uint64_t base;        /* Guest offset of block 0 in the node (extents). */
    uint64_t size;        /* Guest bytes mapped; may change while no request is in flight. */
    uint32_t block_size;  /* Bytes, a multiple of 512; need not be a power of two. */
    const struct sparse_ops *ops;
    const struct meta_ops *meta_ops; /* Or NULL. */
    bool can_zero;        /* link takes ZERO: blocks can be made to read as zeroes. */
    bool
        explicit_zero; /* With can_zero: holes become ZERO even where nothing shows through; DATA keeps its place. */
    bool
        can_unlink; /* link takes HOLE (used for zeroes and discards where there is no backing file). */
    bool write_once;      /* A block that has a place is never written again: -EIO. */
    bool
        always_compress; /* Every write is compressed (whole blocks, the rest filled with zeroes). */
    uint64_t fresh_from;  /* From there on the file reads as zeroes: never written. */
    /* ---- From here on private, but for meta ---- */
    struct meta meta;     /* Of the same file. */
    bool changing;        /* S2 */
    struct list change_waiters;
    struct list active;   /* struct sparse_op */
    uint8_t *plain;       /* owned; the last unpacked block, or NULL. */
    uint64_t plain_block; /* Which; UINT64_MAX: none. */
    uint64_t plain_host;  /* Where it is stored. */
    struct unpacking *unpacking; /* owned */
    struct list unpack_waiters;
};

/* Number of blocks. */
static inline uint64_t sparse_blocks(const struct sparse *s)
{
    return s->size / s->block_size + (s->size % s->block_size != 0);
}

/* Prepares; fails without memory. */
MUST_USE struct err *sparse_init(struct sparse *s);
/* Sets limits, flags and cluster_size of the node from what is mapped. */
void sparse_adopt(struct sparse *s);
/* Without writing anything; no request is in flight. Zeroed memory is fine. */
void sparse_fini(struct sparse *s);
/* Commits what has changed, then fini, then done. For driver->close. */
void sparse_close(struct sparse *s, driver_done_fn *done, void *arg);
/* Commits what has changed and flushes the file. */
void sparse_flush(struct sparse *s, driver_done_fn *done, void *arg);

/* A request in flight (req->ctx). */
struct sparse_op {
    struct sparse *s;
    struct req *req;                                     /* NULL: part of a larger one. */
    void (*finished)(struct sparse_op *op, int result); /* The end of one without req. */
    enum req_kind kind;
    uint32_t flags;
    struct iov_view data;
    struct req_status *status;
    uint64_t pos, end; /* What is not yet started, in bytes from block 0. */
    uint64_t start;
    bool waiting, stepping, again;
    unsigned in_flight;
    int result;
    struct list link; /* In s->active. */
    struct meta_wait wait;
    struct sparse_part {
        struct req req;
        struct sparse_op *op;
        bool busy;
    } parts[SPARSE_PARTS];
};

/* driver->submit of a node whose state begins with a struct sparse. */
void sparse_submit(struct node *node, struct req *req);
/*
 * One operation on a mapped area, offsets counted from block 0: for drivers with several areas. STATUS fills *status.
 * finished may be called from within.
 */
void sparse_run(struct sparse_op *op, struct sparse *s, enum req_kind kind, uint32_t flags,
                uint64_t offset, uint64_t len, struct iov_view data, struct req_status *status,
                void (*finished)(struct sparse_op *op, int result));

#endif
