/* Size classes of the NBD server's buffers. */
#include "emu/storage/export/nbd_buffers.h"

#include "emu/base/check.h"

enum { PAGE_BYTES = 4096 };

/* Ascending; the last one is the largest payload. idle: how many unused ones are kept (at most 53 MiB). */
static const struct {
    size_t size;
    unsigned idle;
} classes[NBD_BUFFER_CLASSES] = {
    { 4 << 10, 256 }, { 16 << 10, 128 }, { 64 << 10, 64 }, { 256 << 10, 64 },
    { 1 << 20, 8 },   { 4 << 20, 2 },    { 16 << 20, 0 },  { 32 << 20, 0 },
};

void nbd_buffers_init(struct nbd_buffers *buffers)
{
    for (unsigned i = 0; i < NBD_BUFFER_CLASSES; i++)
        buf_pool_init(&buffers->pools[i], classes[i].size, PAGE_BYTES, classes[i].idle);
}

void nbd_buffers_fini(struct nbd_buffers *buffers)
{
    for (unsigned i = 0; i < NBD_BUFFER_CLASSES; i++)
        buf_pool_fini(&buffers->pools[i]);
}

struct buf *nbd_buffers_get(struct nbd_buffers *buffers, size_t len)
{
    for (unsigned i = 0; i < NBD_BUFFER_CLASSES; i++)
        if (len <= classes[i].size)
            return buf_pool_get(&buffers->pools[i]);
    unreachable();
}
