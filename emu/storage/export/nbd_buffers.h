/*
 * Data buffers of the NBD server, by size class, recycled so that a request in the steady state costs
 * no allocation. One set per server; buffers may outlive it.
 */
#ifndef EMU_STORAGE_EXPORT_NBD_BUFFERS_H
#define EMU_STORAGE_EXPORT_NBD_BUFFERS_H

#include <stddef.h>

#include "emu/base/attrs.h"
#include "emu/base/buf.h"

enum { NBD_BUFFER_CLASSES = 8 };

struct nbd_buffers {
    struct buf_pool pools[NBD_BUFFER_CLASSES];
};

void nbd_buffers_init(struct nbd_buffers *buffers);
void nbd_buffers_fini(struct nbd_buffers *buffers);
/* A buffer of at least len bytes, at most NBD_PAYLOAD_MAX; NULL when out of memory. */
MUST_USE struct buf *nbd_buffers_get(struct nbd_buffers *buffers, size_t len);

#endif
