/*
 * Extents: the answers of BLOCK_STATUS, and the short memory that lets one answer serve many
 * requests of a walk. Any write through this node, and one second, end what is remembered.
 */
#include "emu/base/arith.h"
#include "emu/base/nstime.h"
#include "emu/storage/drivers/nbd/client.h"

#define CACHE_NS (1 * NS_PER_SEC)
#define ASK_BYTES                                                                                  \
    (UINT64_C(1) << 30) /* Asked at a time: the server says as much as it knows cheaply. */

static void fill(const struct nbd_client *c, struct req *req, uint64_t end, uint32_t flags)
{
    struct req_status *status = &req->status;

    status->len = MIN(end - req->offset, req->len);
    status->depth = 0;
    status->file = c->node;
    status->host_offset = req->offset;
    status->flags = STATUS_OFFSET_VALID;
    if (c->dirty_context) /* Bit 0 is "dirty" then, shown as not allocated (as the reference does). */
        status->flags |= flags & NBD_STATE_HOLE ? 0 : STATUS_DATA;
    else if (!(flags & NBD_STATE_ZERO))
        status->flags |= STATUS_DATA; /* A hole whose content is unknown must be read. */
    else
        status->flags |= STATUS_ZERO | (flags & NBD_STATE_HOLE ? 0 : STATUS_DATA);
}

void nbd_status_forget(struct nbd_client *c)
{
    c->cache.gen++;
    c->cache.count = 0;
}

bool nbd_status_cached(struct nbd_client *c, struct req *req)
{
    const struct nbd_status_cache *cache = &c->cache;
    unsigned low = 0, high = cache->count;

    if (!cache->count || req->offset < cache->start ||
        req->offset >= cache->extents[high - 1].end || reactor_now(c->reactor) >= cache->expires_ns)
        return false;
    while (low < high) { /* The first extent that ends behind the offset. */
        unsigned mid = low + (high - low) / 2;

        if (cache->extents[mid].end <= req->offset)
            low = mid + 1;
        else
            high = mid;
    }
    fill(c, req, cache->extents[low].end, cache->extents[low].flags);
    return true;
}

void nbd_status_begin(struct nbd_client *c, struct nbd_req *r)
{
    uint32_t align = MAX(c->info.min_block, 1u);
    uint64_t rest = c->info.size - r->req->offset;

    r->type = NBD_CMD_BLOCK_STATUS;
    r->wire_len = MIN(rest, MAX(MIN(r->req->len, (uint64_t)INT32_MAX), ASK_BYTES));
    if (r->wire_len < rest)
        r->wire_len = align_down_u64(r->wire_len, align);
    r->cache_gen = c->cache.gen;
}

/* The next extent of the reply, from *pos on. False: the server broke the rules. */
bool nbd_status_extent(struct nbd_client *c, struct nbd_req *r, uint64_t *pos, uint32_t len,
                       uint32_t flags)
{
    struct nbd_status_cache *cache = &c->cache;
    uint64_t asked_end = r->req->offset + r->wire_len;
    uint64_t end = *pos + len;

    if (len == 0 || *pos >= asked_end)
        return false;
    end = MIN(end, c->info.size); /* The last one may go on behind what was asked. */
    if (!r->got_status)
        fill(c, r->req, end, flags);
    if (r->cache_gen == cache->gen) {
        if (!r->got_status) {
            cache->count = 0;
            cache->start = *pos;
            cache->expires_ns = nstime_add(reactor_now(c->reactor), CACHE_NS);
        }
        if (cache->count < NBD_CACHED_EXTENTS &&
            (cache->count == 0 ? cache->start == *pos
                               : cache->extents[cache->count - 1].end == *pos)) {
            cache->extents[cache->count].end = end;
            cache->extents[cache->count++].flags = flags;
        }
    }
    r->got_status = true;
    *pos = end;
    return true;
}
