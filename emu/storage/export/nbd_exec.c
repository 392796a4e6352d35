/* Requests of a client as requests to the node. */
#include <errno.h>

#include "emu/base/check.h"
#include "emu/storage/export/nbd_conn.h"

bool nbd_slot_buffer(struct nbd_slot *slot)
{
    struct nbd_conn *conn = slot->conn;

    check(!slot->data);
    if (conn->server->memory + slot->wire.len > NBD_SERVER_MEMORY + NBD_CONN_MEMORY)
        return false;
    slot->data = nbd_buffers_get(&conn->server->buffers, (size_t)slot->wire.len);
    if (!slot->data)
        return false;
    conn->memory += slot->data->size;
    conn->server->memory += slot->data->size;
    return true;
}

static void submit(struct nbd_slot *slot, enum req_kind kind, uint32_t flags);

static void executed(struct req *req)
{
    struct nbd_slot *slot = container_of(req, struct nbd_slot, req);

    slot->conn->running--;
    /* DISCARD knows no FUA in the node: a flush follows. */
    if (req->result == 0 && slot->wire.type == NBD_CMD_TRIM && !slot->flushing &&
        (slot->wire.flags & NBD_CMD_FLAG_FUA || slot->conn->export->writethrough)) {
        slot->flushing = true;
        submit(slot, REQ_FLUSH, 0);
        return;
    }
    if (req->result == 0 && slot->wire.type == NBD_CMD_READ)
        nbd_reply_read(slot);
    else
        nbd_reply(slot, req->result, NULL);
}

static void submit(struct nbd_slot *slot, enum req_kind kind, uint32_t flags)
{
    struct req *req = &slot->req;

    req->kind = kind;
    req->flags = flags;
    req->offset = kind == REQ_FLUSH ? 0 : slot->wire.offset;
    req->len = kind == REQ_FLUSH ? 0 : slot->wire.len;
    req->done = executed;
    if (slot->data) {
        slot->iov.iov_base = slot->data->data;
        slot->iov.iov_len = (size_t)slot->wire.len;
        req->data = iov_view(&slot->iov, 1);
    } else {
        req->data = iov_view(NULL, 0);
    }
    slot->conn->running++;
    edge_submit(slot->conn->edge, req);
}

static uint32_t zero_flags(const struct nbd_request *r)
{
    return (r->flags & NBD_CMD_FLAG_NO_HOLE ? 0 : REQ_MAY_UNMAP) |
           (r->flags & NBD_CMD_FLAG_FAST_ZERO ? REQ_NO_FALLBACK : 0);
}

void nbd_exec(struct nbd_slot *slot)
{
    const struct nbd_request *r = &slot->wire;
    uint32_t fua = r->flags & NBD_CMD_FLAG_FUA || slot->conn->export->writethrough ? REQ_FUA : 0;

    slot->flushing = false;
    if (!r->len && r->type != NBD_CMD_FLUSH) {
        nbd_reply(slot, 0, NULL); /* Nothing to do is done at once. */
        return;
    }
    switch (r->type) {
    case NBD_CMD_READ: submit(slot, REQ_READ, 0); break;
    case NBD_CMD_WRITE: submit(slot, REQ_WRITE, fua); break;
    case NBD_CMD_FLUSH: submit(slot, REQ_FLUSH, 0); break;
    case NBD_CMD_TRIM: submit(slot, REQ_DISCARD, 0); break;
    case NBD_CMD_CACHE: submit(slot, REQ_READ, REQ_PREFETCH); break;
    case NBD_CMD_WRITE_ZEROES: submit(slot, REQ_ZERO, fua | zero_flags(r)); break;
    case NBD_CMD_BLOCK_STATUS: nbd_status_start(slot); break;
    default: unreachable();
    }
}
