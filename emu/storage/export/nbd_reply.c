/*
 * Replies: their layout, and the one write that carries all that are ready.
 *
 * A read of zeroes is answered with holes where the client can take them. The zeroes are found in the
 * data that was read: asking the node for extents first would cost every read a second request, and
 * clients that copy whole disks skip holes by BLOCK_STATUS anyway.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/check.h"
#include "emu/base/iov.h"
#include "emu/storage/export/nbd_conn.h"

enum { HOLE_BYTES = 64 << 10, HOLE_WHOLE_MIN = 4096 };

/* ---- Slots ---- */

static void resume(struct nbd_conn *conn)
{
    if (conn->state == NBD_CONN_TRANSMIT && !op_pending(&conn->rx_op))
        nbd_conn_pump(conn);
    else
        nbd_conn_finish_check(conn);
}

void nbd_slot_free(struct nbd_slot *slot)
{
    struct nbd_conn *conn = slot->conn;

    if (slot->data) {
        conn->memory -= slot->data->size;
        if (conn->server)
            conn->server->memory -= slot->data->size;
        buf_unref(slot->data);
        slot->data = NULL;
    }
    nbd_status_free(slot->status);
    slot->status = NULL;
    slot->part_count = 0;
    slot->head_len = 0;
    slot->bytes = NULL;
    slot->next = conn->free_slots;
    conn->free_slots = slot;
    check(conn->in_flight > 0);
    conn->in_flight--;
}

/* ---- Sending ---- */

static unsigned add_iov(struct nbd_conn *conn, unsigned n, const void *base, size_t len)
{
    if (!len)
        return n;
    conn->tx_iov[n].iov_base = (void *)base;
    conn->tx_iov[n].iov_len = len;
    return n + 1;
}

static unsigned slot_iov(struct nbd_conn *conn, unsigned n, const struct nbd_slot *slot)
{
    if (slot->bytes)
        return add_iov(conn, n, slot->bytes, slot->bytes_len);
    for (unsigned i = 0; i < slot->part_count; i++) {
        const struct nbd_part *part = &slot->parts[i];

        n = add_iov(conn, n, slot->head + part->head_off, part->head_len);
        if (part->data_len)
            n = add_iov(conn, n, slot->data->data + part->data_off, part->data_len);
    }
    return n;
}

static void tx_start(struct nbd_conn *conn);

static void free_sent(struct nbd_conn *conn)
{
    struct nbd_slot *slot = conn->sent_head;

    conn->sent_head = NULL;
    while (slot) {
        struct nbd_slot *next = slot->next;

        nbd_slot_free(slot);
        slot = next;
    }
}

static void sent(struct op *op)
{
    struct nbd_conn *conn = container_of(op, struct nbd_conn, tx_op);

    str_clear(&conn->hs_sending);
    free_sent(conn);
    if (conn->state == NBD_CONN_CLOSED) {
        nbd_conn_finish_check(conn);
        return;
    }
    if (op->result < 0) {
        nbd_conn_cut(conn);
        return;
    }
    tx_start(conn);
    if (conn->state == NBD_CONN_OPTIONS || conn->state == NBD_CONN_STARTTLS)
        nbd_conn_pump(conn);
    else
        resume(conn);
}

static void tx_start(struct nbd_conn *conn)
{
    unsigned n = 0;
    struct nbd_slot **tail = &conn->sent_head;

    if (op_pending(&conn->tx_op))
        return;
    if (conn->hs_out.len) {
        struct str empty = conn->hs_sending;

        conn->hs_sending = conn->hs_out;
        conn->hs_out = empty;
        n = add_iov(conn, n, conn->hs_sending.data, conn->hs_sending.len);
    }
    while (conn->tx_head && n + 2 * NBD_READ_CHUNKS <= NBD_TX_IOV) {
        struct nbd_slot *slot = conn->tx_head;

        conn->tx_head = slot->next;
        slot->next = NULL;
        n = slot_iov(conn, n, slot);
        *tail = slot;
        tail = &slot->next;
    }
    if (!n)
        return;
    conn->tx_op.done = sent;
    stream_writev(conn->stream, &conn->tx_op, conn->tx_iov, n);
}

static void tx_run(struct task *task) { tx_start(container_of(task, struct nbd_conn, tx_task)); }

void nbd_tx_kick(struct nbd_conn *conn)
{
    /* Deferred, so that all that becomes ready in this turn of the loop leaves together. */
    if (!op_pending(&conn->tx_op))
        reactor_defer(conn->reactor, &conn->tx_task, tx_run);
}

void nbd_tx_drop(struct nbd_conn *conn)
{
    while (conn->tx_head) {
        struct nbd_slot *slot = conn->tx_head;

        conn->tx_head = slot->next;
        nbd_slot_free(slot);
    }
    str_clear(&conn->hs_out);
}

void nbd_reply_queue(struct nbd_slot *slot)
{
    struct nbd_conn *conn = slot->conn;

    if (conn->state == NBD_CONN_CLOSED) {
        nbd_slot_free(slot);
        nbd_conn_finish_check(conn);
        return;
    }
    slot->next = NULL;
    if (conn->tx_head)
        conn->tx_tail->next = slot;
    else
        conn->tx_head = slot;
    conn->tx_tail = slot;
    nbd_tx_kick(conn);
}

/* ---- Layout ---- */

/* Appends a chunk header to the reply; payload_head bytes of its payload are appended to head by the caller. */
static struct nbd_part *add_chunk(struct nbd_slot *slot, uint16_t flags, uint16_t type,
                                  uint64_t len)
{
    struct nbd_chunk_header h = { flags, type, slot->wire.cookie, slot->wire.offset, len };
    struct nbd_part *part = &slot->parts[slot->part_count++];

    check(slot->part_count <= NBD_READ_CHUNKS);
    part->head_off = (uint16_t)slot->head_len;
    part->data_len = 0;
    slot->head_len +=
        (unsigned)nbd_chunk_store(slot->head + slot->head_len, slot->conn->extended, &h);
    part->head_len = (uint16_t)(slot->head_len - part->head_off);
    return part;
}

static void simple(struct nbd_slot *slot, uint32_t error)
{
    nbd_reply_simple_store(slot->head, error, slot->wire.cookie);
    slot->head_len = NBD_REPLY_SIMPLE_BYTES;
    slot->parts[0] = (struct nbd_part){ .head_len = NBD_REPLY_SIMPLE_BYTES };
    slot->part_count = 1;
}

static void error_chunk(struct nbd_slot *slot, uint32_t error, int result, const char *reason)
{
    const char *text = reason ? reason : strerror(-result);
    size_t len = MIN(strlen(text), (size_t)NBD_HEAD_BYTES / 2);
    struct nbd_part *part = add_chunk(slot, NBD_CHUNK_FLAG_DONE, NBD_CHUNK_ERROR, 6 + len);
    uint8_t *p = slot->head + slot->head_len;

    store_be32(p, error);
    store_be16(p + 4, (uint16_t)len);
    memcpy(p + 6, text, len);
    slot->head_len += (unsigned)(6 + len);
    part->head_len = (uint16_t)(part->head_len + 6 + len);
}

void nbd_reply(struct nbd_slot *slot, int result, const char *reason)
{
    bool fast =
        slot->wire.type == NBD_CMD_WRITE_ZEROES && slot->wire.flags & NBD_CMD_FLAG_FAST_ZERO;
    uint32_t error = nbd_error_to_wire(result, fast);
    const struct nbd_conn *conn = slot->conn;

    if (error && nbd_chunked(conn))
        error_chunk(slot, error, result, reason);
    else if (conn->extended || (conn->structured && slot->wire.type == NBD_CMD_READ))
        add_chunk(slot, NBD_CHUNK_FLAG_DONE, NBD_CHUNK_NONE, 0);
    else
        simple(slot, error);
    nbd_reply_queue(slot);
}

static void add_content(struct nbd_slot *slot, uint32_t off, uint32_t len, bool hole, bool last)
{
    uint16_t flags = last ? NBD_CHUNK_FLAG_DONE : 0;
    struct nbd_part *part = hole ? add_chunk(slot, flags, NBD_CHUNK_OFFSET_HOLE, 12)
                                 : add_chunk(slot, flags, NBD_CHUNK_OFFSET_DATA, 8 + (uint64_t)len);

    store_be64(slot->head + slot->head_len, slot->wire.offset + off);
    slot->head_len += 8;
    if (hole) {
        store_be32(slot->head + slot->head_len, len);
        slot->head_len += 4;
    } else {
        part->data_off = off;
        part->data_len = len;
    }
    part->head_len = (uint16_t)(slot->head_len - part->head_off);
}

/* Length of the run at off of pieces that are all zeroes, or all not. */
static uint32_t run_len(const uint8_t *data, uint32_t off, uint32_t len, bool *hole)
{
    uint32_t end = off;

    do {
        uint32_t piece = MIN(len - end, (uint32_t)HOLE_BYTES);
        bool zero = mem_is_zero(data + end, piece);

        if (end == off)
            *hole = zero;
        else if (zero != *hole)
            break;
        end += piece;
    } while (end < len);
    return end - off;
}

void nbd_reply_read(struct nbd_slot *slot)
{
    uint32_t len = (uint32_t)slot->wire.len, off = 0;

    if (!nbd_chunked(slot->conn)) {
        simple(slot, 0);
        slot->parts[0].data_len = len;
        nbd_reply_queue(slot);
        return;
    }
    while (off < len) {
        bool hole = false;
        uint32_t run = len - off;

        /* Without fragments, small, or in the last chunk there may be: data. */
        if (len >= HOLE_WHOLE_MIN && slot->part_count < NBD_READ_CHUNKS - 1) {
            run = run_len(slot->data->data, off, len, &hole);
            if (slot->wire.flags & NBD_CMD_FLAG_DF && run < len) {
                hole = false;
                run = len;
            }
        }
        add_content(slot, off, run, hole, off + run == len);
        off += run;
    }
    nbd_reply_queue(slot);
}

void nbd_reply_bytes(struct nbd_slot *slot, const void *bytes, size_t len)
{
    slot->bytes = bytes;
    slot->bytes_len = len;
    nbd_reply_queue(slot);
}
