/*
 * BLOCK_STATUS: extents of all chosen contexts, gathered by walking the node with status requests.
 *
 * Per context extents follow each other from the offset asked; equal neighbours are merged. The
 * bitmaps' contexts need no I/O and are computed when the walk of the node has ended, over the range
 * that was asked.
 */
#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/export/nbd_conn.h"

enum { CONTEXT_ALLOCATION, CONTEXT_DEPTH, CONTEXT_BITMAP_FIRST };

/* The longest extent the compact form can say, kept aligned for the client's sake. */
#define COMPACT_EXTENT_MAX (UINT64_C(0xffffffff) & ~UINT64_C(0xffff))

struct nbd_status {
    uint64_t pos, end;
    VEC(struct nbd_extent) extents[2]; /* Of allocation and depth. */
    VEC(struct nbd_extent) bitmap;     /* Of one bitmap at a time. */
    VEC(uint8_t) out;                  /* The chunks of the reply. */
    unsigned contexts_left;
};

void nbd_status_free(struct nbd_status *status)
{
    if (!status)
        return;
    vec_fini(&status->extents[0]);
    vec_fini(&status->extents[1]);
    vec_fini(&status->bitmap);
    vec_fini(&status->out);
    xfree(status);
}

/* Appends or merges; false when the list is full. */
#define ADD_EXTENT(v, extent_len, extent_flags)                                                    \
    __extension__({                                                                                \
        bool added_ = true;                                                                        \
        if ((v)->len && (v)->items[(v)->len - 1].flags == (extent_flags))                          \
            (v)->items[(v)->len - 1].len += (extent_len);                                          \
        else if ((v)->len == NBD_STATUS_EXTENTS)                                                   \
            added_ = false;                                                                        \
        else                                                                                       \
            vec_push((v), (struct nbd_extent){ (extent_len), (extent_flags) });                    \
        added_;                                                                                    \
    })

/* ---- The reply ---- */

static void put_be(struct nbd_status *status, uint64_t value, unsigned bytes)
{
    while (bytes--)
        vec_push(&status->out, (uint8_t)(value >> (bytes * 8)));
}

static void put_chunk(struct nbd_slot *slot, unsigned id, const struct nbd_extent *extents,
                      size_t count)
{
    struct nbd_status *status = slot->status;
    bool extended = slot->conn->extended, one = slot->wire.flags & NBD_CMD_FLAG_REQ_ONE;
    uint64_t limit = extended ? UINT64_MAX : COMPACT_EXTENT_MAX;
    struct nbd_chunk_header h = { .cookie = slot->wire.cookie, .offset = slot->wire.offset };
    uint8_t head[NBD_REPLY_EXT_BYTES];
    size_t head_len;

    if (one)
        count = 1;
    /* What lies behind a length that cannot be said is left out. */
    for (size_t i = 0; i < count; i++)
        if (extents[i].len > limit)
            count = i + 1;
    h.flags = --status->contexts_left == 0 ? NBD_CHUNK_FLAG_DONE : 0;
    h.type = extended ? NBD_CHUNK_BLOCK_STATUS_EXT : NBD_CHUNK_BLOCK_STATUS;
    h.len = extended ? 8 + 16 * (uint64_t)count : 4 + 8 * (uint64_t)count;
    head_len = nbd_chunk_store(head, extended, &h);
    for (size_t i = 0; i < head_len; i++)
        vec_push(&status->out, head[i]);
    put_be(status, id, 4);
    if (extended)
        put_be(status, count, 4);
    for (size_t i = 0; i < count; i++) {
        put_be(status, MIN(extents[i].len, limit), extended ? 8 : 4);
        put_be(status, extents[i].flags, extended ? 8 : 4);
    }
}

static void bitmap_extents(struct nbd_slot *slot, const struct bitmap *bitmap)
{
    struct nbd_status *status = slot->status;
    uint64_t pos = slot->wire.offset, end = slot->wire.offset + slot->wire.len;
    /* The bitmap of a backing image may be shorter than the disk; nothing is dirty behind it. */
    uint64_t known = MIN(end, hbitmap_size(bitmap->map));

    vec_clear(&status->bitmap);
    while (pos < end) {
        bool dirty = pos < known && hbitmap_get(bitmap->map, pos);
        uint64_t next = end;

        if (dirty && !hbitmap_next_zero(bitmap->map, pos, known, &next))
            next = known;
        else if (!dirty && (pos >= known || !hbitmap_next_dirty(bitmap->map, pos, known, &next)))
            next = end;
        if (!ADD_EXTENT(&status->bitmap, next - pos, dirty ? 1u : 0u))
            break;
        pos = next;
    }
}

static void finish(struct nbd_slot *slot)
{
    struct nbd_status *status = slot->status;
    const struct nbd_conn *conn = slot->conn;

    for (unsigned id = 0; id < NBD_CONTEXTS; id++) {
        if (!(conn->contexts & BIT(id)))
            continue;
        if (id < CONTEXT_BITMAP_FIRST) {
            put_chunk(slot, id, status->extents[id].items, status->extents[id].len);
        } else {
            bitmap_extents(slot, conn->export->bitmaps[id - CONTEXT_BITMAP_FIRST]);
            put_chunk(slot, id, status->bitmap.items, status->bitmap.len);
        }
    }
    nbd_reply_bytes(slot, status->out.items, status->out.len);
}

/* ---- The walk ---- */

static void walk(struct nbd_slot *slot);

static uint32_t allocation_flags(const struct req_status *s)
{
    return (s->flags & STATUS_DATA ? 0 : NBD_STATE_HOLE) |
           (s->flags & STATUS_ZERO ? NBD_STATE_ZERO : 0);
}

static void walked(struct req *req)
{
    struct nbd_slot *slot = container_of(req, struct nbd_slot, req);
    struct nbd_status *status = slot->status;
    const struct req_status *s = &req->status;
    uint32_t depth = s->flags & STATUS_ALLOCATED ? s->depth + 1 : 0;
    bool full;

    slot->conn->running--;
    if (req->result < 0) {
        nbd_reply(slot, req->result, NULL);
        return;
    }
    check(s->len > 0 && s->len <= status->end - status->pos);
    full = !ADD_EXTENT(&status->extents[CONTEXT_ALLOCATION], s->len, allocation_flags(s));
    full |= !ADD_EXTENT(&status->extents[CONTEXT_DEPTH], s->len, depth);
    status->pos += s->len;
    if (full || status->pos == status->end || slot->conn->state == NBD_CONN_CLOSED ||
        (slot->wire.flags & NBD_CMD_FLAG_REQ_ONE && status->extents[0].len > 1 &&
         status->extents[1].len > 1))
        finish(slot);
    else
        walk(slot);
}

static void walk(struct nbd_slot *slot)
{
    struct req *req = &slot->req;

    req->kind = REQ_STATUS;
    req->flags = REQ_WANT_ZERO;
    req->offset = slot->status->pos;
    req->len = slot->status->end - slot->status->pos;
    req->data = iov_view(NULL, 0);
    req->done = walked;
    slot->conn->running++;
    edge_submit(slot->conn->edge, req);
}

void nbd_status_start(struct nbd_slot *slot)
{
    slot->status = TRY_NEW(struct nbd_status);
    if (!slot->status) {
        nbd_reply(slot, -ENOMEM, "out of memory");
        return;
    }
    slot->status->pos = slot->wire.offset;
    slot->status->end = slot->wire.offset + slot->wire.len;
    slot->status->contexts_left = (unsigned)__builtin_popcount(slot->conn->contexts);
    if (slot->conn->contexts >> CONTEXT_BITMAP_FIRST << CONTEXT_BITMAP_FIRST ==
        slot->conn->contexts)
        finish(slot); /* Only bitmaps. */
    else
        walk(slot);
}
