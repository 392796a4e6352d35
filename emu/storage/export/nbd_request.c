/*
 * Requests as they come in: headers, checks, payloads.
 *
 * A request that is wrong but whose end is known is answered with an error, after its payload was
 * thrown away; when the end cannot be known (wrong magic) the connection is cut.
 */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/export/nbd_conn.h"

/* What each command allows. */
static const struct command {
    uint16_t flags; /* Besides FUA, which every command takes. */
    bool writes;
    bool limited; /* Length at most NBD_PAYLOAD_MAX. */
} commands[NBD_CMD_COUNT] = {
    [NBD_CMD_READ] = { .flags = NBD_CMD_FLAG_DF, .limited = true },
    [NBD_CMD_WRITE] = { .flags = NBD_CMD_FLAG_PAYLOAD_LEN, .writes = true, .limited = true },
    [NBD_CMD_FLUSH] = { 0 },
    [NBD_CMD_TRIM] = { .writes = true },
    [NBD_CMD_CACHE] = { .limited = true },
    [NBD_CMD_WRITE_ZEROES] = { .flags = NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
                               .writes = true },
    [NBD_CMD_BLOCK_STATUS] = { .flags = NBD_CMD_FLAG_REQ_ONE },
};

static int refuse(struct nbd_slot *slot, int error, const char *reason)
{
    slot->refused = error;
    slot->reason = reason;
    return error;
}

/* 0, or the error the request gets. */
static int check_request(struct nbd_slot *slot)
{
    const struct nbd_conn *conn = slot->conn;
    const struct nbd_request *r = &slot->wire;
    const struct command *command;
    uint16_t allowed;

    if (r->type >= NBD_CMD_COUNT)
        return refuse(slot, -EINVAL, "invalid request type received");
    command = &commands[r->type];
    allowed = command->flags | NBD_CMD_FLAG_FUA;
    if (!nbd_chunked(conn))
        allowed &= (uint16_t)~NBD_CMD_FLAG_DF;
    if (!conn->extended)
        allowed &= (uint16_t)~NBD_CMD_FLAG_PAYLOAD_LEN;
    if (r->flags & ~allowed)
        return refuse(slot, -EINVAL, "unsupported flags for this command");
    if (command->writes && !conn->export->writable)
        return refuse(slot, -EPERM, "export is read-only");
    if (command->limited && r->len > NBD_PAYLOAD_MAX)
        return refuse(slot, -EINVAL, "length is larger than the maximum of 33554432");
    if (r->type == NBD_CMD_BLOCK_STATUS && !conn->contexts)
        return refuse(slot, -EINVAL, "no metadata context was negotiated");
    if (r->type == NBD_CMD_BLOCK_STATUS && !r->len)
        return refuse(slot, -EINVAL, "need non-zero length");
    if (r->type != NBD_CMD_FLUSH && !range_within(r->offset, r->len, conn->edge->node->size))
        return refuse(
            slot, r->type == NBD_CMD_WRITE || r->type == NBD_CMD_WRITE_ZEROES ? -ENOSPC : -EINVAL,
            "operation past EOF");
    return 0;
}

/* Bytes that follow the header; also for requests that are refused. */
static uint64_t payload_len(const struct nbd_conn *conn, const struct nbd_request *r)
{
    /* The reference's client forgets PAYLOAD_LEN on its writes, which are clear without it. */
    if (r->type == NBD_CMD_WRITE)
        return r->len;
    return conn->extended && r->flags & NBD_CMD_FLAG_PAYLOAD_LEN ? r->len : 0;
}

/* Whether the buffer fits the shares of memory now; a connection without any may always go on. */
static bool memory_fits(const struct nbd_conn *conn, uint64_t len)
{
    if (conn->memory == 0)
        return conn->server->memory + len <= NBD_SERVER_MEMORY + NBD_CONN_MEMORY;
    if (conn->memory + len > NBD_CONN_CACHED && conn->in_flight >= NBD_CONN_FEW)
        return false;
    return conn->memory + len <= NBD_CONN_MEMORY && conn->server->memory + len <= NBD_SERVER_MEMORY;
}

static void make_slots(struct nbd_conn *conn)
{
    conn->slots = NEW_ARRAY(struct nbd_slot, NBD_SLOTS);
    for (unsigned i = NBD_SLOTS; i-- > 0;) {
        conn->slots[i].conn = conn;
        conn->slots[i].next = conn->free_slots;
        conn->free_slots = &conn->slots[i];
    }
}

/* Moves payload from the receive buffer into the slot's. */
static enum nbd_step payload_step(struct nbd_conn *conn)
{
    struct nbd_slot *slot = conn->rx_slot;

    if (slot->refused) { /* Its payload has been skipped. */
        conn->rx_slot = NULL;
        nbd_reply(slot, slot->refused, slot->reason);
        return NBD_STEP_AGAIN;
    }
    if (slot->got < slot->wire.len) {
        size_t n = MIN(nbd_rx_avail(conn), (size_t)slot->wire.len - slot->got);

        memcpy(slot->data->data + slot->got, nbd_rx_bytes(conn), n);
        slot->got += n;
        conn->rx_pos += n;
        if (slot->got < slot->wire.len)
            return NBD_STEP_MORE;
    }
    conn->rx_slot = NULL;
    nbd_exec(slot);
    return NBD_STEP_AGAIN;
}

static bool needs_buffer(const struct nbd_request *r)
{
    return (r->type == NBD_CMD_READ || r->type == NBD_CMD_WRITE) && r->len &&
           r->len <= NBD_PAYLOAD_MAX;
}

/* The header was taken and a slot is at hand. */
static void start_request(struct nbd_conn *conn, struct nbd_slot *slot)
{
    uint64_t payload = payload_len(conn, &slot->wire);

    conn->in_flight++;
    slot->refused = 0;
    slot->got = 0;
    if (check_request(slot) == 0 && needs_buffer(&slot->wire) && !nbd_slot_buffer(slot))
        refuse(slot, -ENOMEM, "out of memory");
    if (slot->refused) {
        conn->rx_skip = payload;
        conn->rx_slot = slot;
    } else if (payload) {
        conn->rx_slot = slot;
    } else {
        nbd_exec(slot);
    }
}

enum nbd_step nbd_request_step(struct nbd_conn *conn)
{
    size_t header = conn->extended ? NBD_REQUEST_EXT_BYTES : NBD_REQUEST_BYTES;
    struct nbd_request wire;
    struct nbd_slot *slot;

    if (conn->rx_slot)
        return payload_step(conn);
    if (!conn->slots)
        make_slots(conn);
    if (nbd_rx_avail(conn) < header)
        return NBD_STEP_MORE;
    if (!nbd_request_load(nbd_rx_bytes(conn), conn->extended, &wire)) {
        nbd_conn_cut(conn);
        return NBD_STEP_WAIT;
    }
    if (wire.type == NBD_CMD_DISC) {
        nbd_conn_enter(conn, NBD_CONN_FINISH);
        return NBD_STEP_WAIT;
    }
    slot = conn->free_slots;
    if (!slot || (needs_buffer(&wire) && conn->memory && !memory_fits(conn, wire.len)))
        return NBD_STEP_WAIT; /* nbd_slot_free comes back here. */
    conn->free_slots = slot->next;
    conn->rx_pos += header;
    slot->wire = wire;
    start_request(conn, slot);
    return NBD_STEP_AGAIN;
}
