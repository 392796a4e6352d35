/*
 * Reference-counted aligned data buffers, and a pool that recycles buffers of one size.
 *
 * Counts are not atomic: a buffer and its pool stay on one thread, or change threads as a whole.
 */
#ifndef EMU_BASE_BUF_H
#define EMU_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"

struct buf_pool_core;

struct buf {
    uint8_t *data; /* owned */
    size_t size;   /* Bytes usable at data. */
    unsigned refs;
    struct buf_pool_core *core; /* Where the last unref returns it; NULL: freed. */
    struct buf *next_free;      /* Only while it waits in the pool. */
};

/* Returns a new buffer with one reference, contents undefined; NULL when out of memory. */
MUST_USE struct buf *buf_try_new(size_t size, size_t align);

/* Adds a reference; returns b. */
struct buf *buf_ref(struct buf *b);

/* Drops a reference; the last one frees the buffer or returns it to its pool. NULL is fine. */
void buf_unref(struct buf *b);
CLEANUP_FREE(buf_unref, struct buf);

struct buf_pool {
    struct buf_pool_core *core; /* Shared with the buffers that are out. */
};

/*
 * size and align are those of every buffer; max_free is how many idle ones are kept. Allocates no
 * buffer yet.
 */
void buf_pool_init(struct buf_pool *pool, size_t size, size_t align, unsigned max_free);

/* Frees the idle buffers. Buffers still out stay valid and are freed by their last unref. */
void buf_pool_fini(struct buf_pool *pool);
CLEANUP_FINI(buf_pool_fini, struct buf_pool);

/* Returns a buffer with one reference, contents undefined; NULL when out of memory. */
MUST_USE struct buf *buf_pool_get(struct buf_pool *pool);

/* Buffers handed out and not yet returned. */
unsigned buf_pool_out(const struct buf_pool *pool);

/* Frees the idle buffers but leaves the pool in use. */
void buf_pool_trim(struct buf_pool *pool);

#endif
