/*
 * The receiving side: replies, simple and structured. What breaks the protocol ends the connection,
 * for nothing behind it can be trusted (specs: section 2).
 */
#include <errno.h>
#include <string.h>

#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/nbd/client.h"

enum step { STEP_AGAIN, STEP_MORE, STEP_BROKEN };

static const uint8_t *rx_bytes(const struct nbd_client *c) { return c->rx + c->rx_pos; }

/* The reply of rx_req is complete: its slot is free. Returns false when something is missing. */
static bool finish(struct nbd_client *c)
{
    struct nbd_req *r = c->rx_req;
    unsigned slot = nbd_cookie_slot(r->cookie);

    if (!r->result && r->type == NBD_CMD_READ &&
        !nbd_cover_full(&r->cover, r->req->offset, r->wire_len))
        return false;
    if (!r->result && r->type == NBD_CMD_BLOCK_STATUS && !r->got_status)
        return false;
    c->slots[slot] = NULL;
    c->slots_free |= BIT64(slot);
    c->rx_req = NULL;
    if (!list_empty(&c->waiting))
        nbd_send_kick(c);
    nbd_req_end(c, r);
    return true;
}

/* The chunk is complete. */
static enum step chunk_end(struct nbd_client *c)
{
    c->rx_state = NBD_RX_HEADER;
    if (c->rx_done_flag)
        return finish(c) ? STEP_AGAIN : STEP_BROKEN;
    c->rx_req = NULL;
    return STEP_AGAIN;
}

static struct nbd_req *find(struct nbd_client *c, uint64_t cookie)
{
    struct nbd_req *r = c->slots[nbd_cookie_slot(cookie)];

    return r && r->cookie == cookie ? r : NULL;
}

static void set_error(struct nbd_req *r, uint32_t wire)
{
    if (!r->result)
        r->result = nbd_error_from_wire(wire);
}

static enum step simple_reply(struct nbd_client *c)
{
    const uint8_t *p = rx_bytes(c);
    struct nbd_req *r = find(c, load_be64(p + 8));

    c->rx_pos += NBD_REPLY_SIMPLE_BYTES;
    if (!r ||
        (c->info.structured && (r->type == NBD_CMD_READ || r->type == NBD_CMD_BLOCK_STATUS)) ||
        r->cover.count || r->got_status)
        return STEP_BROKEN;
    c->rx_req = r;
    c->rx_done_flag = true;
    set_error(r, load_be32(p + 4));
    if (r->result || r->type != NBD_CMD_READ)
        return chunk_end(c);
    c->rx_off = r->req->offset;
    c->rx_left = r->wire_len;
    if (!nbd_cover_add(&r->cover, c->rx_off, c->rx_left))
        return STEP_BROKEN;
    c->rx_state = NBD_RX_DATA;
    return STEP_AGAIN;
}

static enum step chunk_start(struct nbd_client *c, uint16_t type)
{
    uint64_t len = c->rx_left;
    uint16_t command = c->rx_req->type;

    switch (type) {
    case NBD_CHUNK_NONE: return len == 0 && c->rx_done_flag ? chunk_end(c) : STEP_BROKEN;
    case NBD_CHUNK_OFFSET_DATA:
        c->rx_state = NBD_RX_CONTENT_OFFSET;
        return command == NBD_CMD_READ && len >= 9 ? STEP_AGAIN : STEP_BROKEN;
    case NBD_CHUNK_OFFSET_HOLE:
        c->rx_state = NBD_RX_HOLE;
        return command == NBD_CMD_READ && len == 12 ? STEP_AGAIN : STEP_BROKEN;
    case NBD_CHUNK_BLOCK_STATUS:
        c->rx_state = NBD_RX_STATUS_ID;
        return command == NBD_CMD_BLOCK_STATUS && len >= 12 && len % 8 == 4 &&
                       !c->rx_req->got_status
                   ? STEP_AGAIN
                   : STEP_BROKEN;
    case NBD_CHUNK_ERROR:
    case NBD_CHUNK_ERROR_OFFSET:
        c->rx_state = NBD_RX_ERROR;
        return len >= (type == NBD_CHUNK_ERROR ? 6u : 14u) && len <= NBD_ERROR_PAYLOAD_MAX
                   ? STEP_AGAIN
                   : STEP_BROKEN;
    default:
        /* An unknown error is an error; an unknown content cannot be ignored. */
        if (!(type & NBD_CHUNK_ERROR_BIT) || len > NBD_PAYLOAD_MAX)
            return STEP_BROKEN;
        set_error(c->rx_req, 22);
        c->rx_state = NBD_RX_SKIP;
        return STEP_AGAIN;
    }
}

static enum step header(struct nbd_client *c)
{
    const uint8_t *p = rx_bytes(c);
    uint32_t magic;

    if (nbd_rx_avail(c) < NBD_REPLY_SIMPLE_BYTES)
        return STEP_MORE;
    magic = load_be32(p);
    if (magic == NBD_MAGIC_REPLY_SIMPLE)
        return simple_reply(c);
    if (magic != NBD_MAGIC_REPLY_CHUNK || !c->info.structured)
        return STEP_BROKEN;
    if (nbd_rx_avail(c) < NBD_REPLY_CHUNK_BYTES)
        return STEP_MORE;
    c->rx_pos += NBD_REPLY_CHUNK_BYTES;
    c->rx_req = find(c, load_be64(p + 8));
    c->rx_done_flag = load_be16(p + 4) & NBD_CHUNK_FLAG_DONE;
    c->rx_left = load_be32(p + 16);
    return c->rx_req ? chunk_start(c, load_be16(p + 6)) : STEP_BROKEN;
}

/* ---- Payloads ---- */

/* Where byte off of the disk goes in the request's memory. */
static struct iov_view target(const struct nbd_client *c, uint64_t off)
{
    const struct req *req = c->rx_req->req;

    return iov_view_advance(req->data, (size_t)(off - req->offset));
}

static bool in_request(const struct nbd_client *c, uint64_t off, uint64_t len)
{
    const struct nbd_req *r = c->rx_req;

    return off >= r->req->offset && range_within(off - r->req->offset, len, r->wire_len);
}

static enum step content_offset(struct nbd_client *c)
{
    if (nbd_rx_avail(c) < 8)
        return STEP_MORE;
    c->rx_off = load_be64(rx_bytes(c));
    c->rx_pos += 8;
    c->rx_left -= 8;
    if (!in_request(c, c->rx_off, c->rx_left) ||
        !nbd_cover_add(&c->rx_req->cover, c->rx_off, c->rx_left))
        return STEP_BROKEN;
    c->rx_state = NBD_RX_DATA;
    return STEP_AGAIN;
}

static enum step data(struct nbd_client *c)
{
    size_t n = (size_t)MIN(c->rx_left, (uint64_t)nbd_rx_avail(c));

    if (n) {
        iov_copy_to(target(c, c->rx_off), n, rx_bytes(c));
        c->rx_pos += n;
        c->rx_off += n;
        c->rx_left -= n;
    }
    return c->rx_left ? STEP_MORE : chunk_end(c);
}

static enum step hole(struct nbd_client *c)
{
    uint64_t off, len;

    if (nbd_rx_avail(c) < 12)
        return STEP_MORE;
    off = load_be64(rx_bytes(c));
    len = load_be32(rx_bytes(c) + 8);
    c->rx_pos += 12;
    if (!len || !in_request(c, off, len) || !nbd_cover_add(&c->rx_req->cover, off, len))
        return STEP_BROKEN;
    iov_fill(target(c, off), (size_t)len, 0);
    return chunk_end(c);
}

static enum step status_id(struct nbd_client *c)
{
    if (nbd_rx_avail(c) < 4)
        return STEP_MORE;
    if (!c->info.has_context || load_be32(rx_bytes(c)) != c->info.context_id)
        return STEP_BROKEN;
    c->rx_pos += 4;
    c->rx_left -= 4;
    c->rx_off = c->rx_req->req->offset;
    c->rx_state = NBD_RX_EXTENT;
    return STEP_AGAIN;
}

static enum step extent(struct nbd_client *c)
{
    const uint8_t *p = rx_bytes(c);

    if (!c->rx_left)
        return chunk_end(c);
    if (nbd_rx_avail(c) < 8)
        return STEP_MORE;
    c->rx_pos += 8;
    c->rx_left -= 8;
    return nbd_status_extent(c, c->rx_req, &c->rx_off, load_be32(p), load_be32(p + 4))
               ? STEP_AGAIN
               : STEP_BROKEN;
}

static enum step error(struct nbd_client *c)
{
    const uint8_t *p = rx_bytes(c);
    uint64_t len = c->rx_left;

    if (nbd_rx_avail(c) < len)
        return STEP_MORE;
    c->rx_pos += (size_t)len;
    if (load_be32(p) == 0 || load_be16(p + 4) > len - 6)
        return STEP_BROKEN;
    set_error(c->rx_req, load_be32(p));
    return chunk_end(c);
}

static enum step skip(struct nbd_client *c)
{
    size_t n = (size_t)MIN(c->rx_left, (uint64_t)nbd_rx_avail(c));

    c->rx_pos += n;
    c->rx_left -= n;
    return c->rx_left ? STEP_MORE : chunk_end(c);
}

static enum step step(struct nbd_client *c)
{
    switch (c->rx_state) {
    case NBD_RX_HEADER: return header(c);
    case NBD_RX_CONTENT_OFFSET: return content_offset(c);
    case NBD_RX_DATA: return data(c);
    case NBD_RX_HOLE: return hole(c);
    case NBD_RX_STATUS_ID: return status_id(c);
    case NBD_RX_EXTENT: return extent(c);
    case NBD_RX_ERROR: return error(c);
    case NBD_RX_SKIP: return skip(c);
    }
    unreachable();
}

/* ---- Reading ---- */

static void received(struct op *op)
{
    struct nbd_client *c = container_of(op, struct nbd_client, rx_op);
    enum step s;

    if (c->state == NBD_CLIENT_DEAD) {
        nbd_link_settle(c);
        return;
    }
    if (op->result <= 0) {
        nbd_link_die(c, op->result
                            ? err_new_errno((int)op->result, "Failed to read from the NBD server")
                            : err_new("The NBD server closed the connection"));
        return;
    }
    if (c->rx_direct) {
        c->rx_off += (uint64_t)op->result;
        c->rx_left -= (uint64_t)op->result;
    } else {
        c->rx_len += (size_t)op->result;
    }
    c->rx_direct = false;
    do {
        s = step(c);
    } while (s == STEP_AGAIN && c->state != NBD_CLIENT_DEAD);
    if (s == STEP_BROKEN)
        nbd_link_die(c, err_new("The NBD server broke the protocol"));
    else if (c->state != NBD_CLIENT_DEAD)
        nbd_recv_start(c);
}

void nbd_recv_start(struct nbd_client *c)
{
    c->rx_op.done = received;
    if (c->rx_pos) {
        memmove(c->rx, c->rx + c->rx_pos, nbd_rx_avail(c));
        c->rx_len -= c->rx_pos;
        c->rx_pos = 0;
    }
    if (c->rx_state == NBD_RX_DATA && c->rx_left >= NBD_CLIENT_DIRECT_BYTES) {
        struct iovec piece;

        iov_slice(target(c, c->rx_off), (size_t)c->rx_left, &piece, 1);
        if (piece.iov_len >= NBD_CLIENT_DIRECT_BYTES) {
            c->rx_direct = true;
            stream_read(c->stream, &c->rx_op, piece.iov_base, piece.iov_len);
            return;
        }
    }
    stream_read(c->stream, &c->rx_op, c->rx + c->rx_len, NBD_CLIENT_RX_BYTES - c->rx_len);
}
