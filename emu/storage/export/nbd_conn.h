/*
 * One client's connection to the NBD server. Private to emu/storage/export.
 *
 * Bytes come in through one large receive buffer, so that many small requests cost one read; a large
 * payload is read straight into its request's buffer. Requests occupy slots; a client that has filled
 * its slots or its share of memory is not read from until some finish. Replies that become ready
 * in one turn of the loop, or while a write is pending, leave in one vectored write.
 *
 * Invariants:
 *  (1) At most one read and one write are pending on the stream.
 *  (2) In the handshake one option is handled at a time: the next is parsed when the answer has left.
 *  (3) A connection that was cut completes nothing to the client; it is freed when its read, its write
 *      and its last request have ended.
 */
#ifndef EMU_STORAGE_EXPORT_NBD_CONN_H
#define EMU_STORAGE_EXPORT_NBD_CONN_H

#include "emu/base/buf.h"
#include "emu/base/str.h"
#include "emu/base/vec.h"
#include "emu/storage/export/nbd_server.h"
#include "emu/storage/nbd_wire/nbd_wire.h"
#include "emu/storage/req.h"

enum {
    NBD_RX_BYTES = 128 << 10,
    NBD_DIRECT_BYTES =
        32 << 10,   /* A missing payload of this size is read past the receive buffer. */
    NBD_SLOTS = 64, /* Requests in flight per connection. */
    NBD_CONN_MEMORY = 8 << 20, /* Payload bytes per connection, or one request. */
    /* Payload that is copied in and out while it is in the CPU's caches. Beyond it a connection has no more than
     * a few requests in flight, which keep the storage and the socket busy at the same time. */
    NBD_CONN_CACHED = 1 << 20,
    NBD_CONN_FEW = 4,
    NBD_NAME_SHOWN = 80,             /* Bytes of a foreign name in an error text. */
    NBD_OPTION_MAX = 32 << 10,       /* Longer options are drained and answered TOO_BIG. */
    NBD_OPTION_DRAIN_MAX = 32 << 20, /* Longer ones still end the connection. */
    NBD_TX_IOV = 256,
    NBD_READ_CHUNKS = 8,       /* Pieces a read is answered in at most. */
    NBD_HEAD_BYTES = 400,      /* All headers and error text of one reply. */
    NBD_STATUS_EXTENTS = 8192, /* Per context and reply. */
    NBD_CONTEXTS = 2 + EXPORT_BITMAPS_MAX,
};
#define NBD_SERVER_MEMORY (UINT64_C(1) << 30) /* Payload bytes of all connections. */

enum nbd_conn_state {
    NBD_CONN_HELLO,    /* Greeting sent; the client's flags are awaited. */
    NBD_CONN_OPTIONS,  /* Options are being haggled over. */
    NBD_CONN_STARTTLS, /* The answer to STARTTLS leaves, then TLS shakes hands; OPTIONS again. */
    NBD_CONN_TRANSMIT, /* export is set; requests are served. */
    NBD_CONN_FINISH,   /* The client took leave: the last replies go out, nothing is read. */
    NBD_CONN_CLOSED,   /* Stream closed; the server no longer knows the connection. Terminal. */
    NBD_CONN_STATE_COUNT,
};

/* A piece of a reply: bytes of head, then bytes of data. */
struct nbd_part {
    uint16_t head_off, head_len;
    uint32_t data_off, data_len;
};

struct nbd_extent {
    uint64_t len;
    uint32_t flags;
};
struct nbd_status;

struct nbd_slot {
    struct nbd_conn *conn;
    struct nbd_slot *next; /* In the free stack or the queue of replies. */
    struct req req;
    struct nbd_request wire;
    struct buf *data; /* owned; payload of READ and WRITE. */
    struct iovec iov;
    size_t got;                /* Payload of a WRITE received so far. */
    int refused;               /* The error a drained payload is answered with, or 0. */
    const char *reason;        /* Text for the client with it; static. */
    bool flushing;             /* The flush of a TRIM with FUA is running. */
    struct nbd_status *status; /* owned; BLOCK_STATUS. */
    uint8_t head[NBD_HEAD_BYTES];
    unsigned head_len, part_count;
    struct nbd_part parts[NBD_READ_CHUNKS];
    const void *bytes; /* A reply made elsewhere, instead of parts; borrowed. */
    size_t bytes_len;
};

struct nbd_conn {
    struct list link;              /* In server->conns. */
    struct nbd_server *server;     /* borrowed; NULL once CLOSED. */
    struct reactor *reactor;       /* borrowed */
    struct reactor_stream *stream; /* owned; NULL once CLOSED. */
    struct export *export;         /* In TRANSMIT and later; used (export_use). */
    struct edge *edge;             /* export->edge */
    enum nbd_conn_state state;
    struct timer handshake_timer;
    struct task tx_task, reap_task;
    /* Negotiated. */
    bool fixed_newstyle, no_zeroes, structured, extended;
    bool tls_started; /* stream is, or is becoming, a TLS session. */
    struct export *meta_export; /* What contexts were chosen for; borrowed. */
    uint32_t contexts;          /* Bit i: context id i. 0 base:allocation, 1 depth, 2.. bitmaps. */
    /* Receiving. */
    struct op rx_op;
    bool rx_direct;           /* The pending read goes into rx_slot's buffer. */
    uint8_t *rx;              /* owned */
    size_t rx_pos, rx_len;    /* Unparsed bytes are rx[rx_pos..rx_len). */
    uint64_t rx_skip;         /* Bytes to throw away before anything else. */
    struct nbd_slot *rx_slot; /* Its payload is awaited (or, with rx_skip, thrown away). */
    uint32_t skip_option;     /* Option whose payload is thrown away, or 0. */
    /* Sending. */
    struct op tx_op;
    struct str hs_out, hs_sending;      /* Handshake bytes waiting, and in the pending write. */
    struct nbd_slot *tx_head, *tx_tail; /* Replies that wait. */
    struct nbd_slot *sent_head;         /* Replies in the pending write. */
    struct iovec tx_iov[NBD_TX_IOV];
    /* Requests. */
    struct nbd_slot *slots; /* owned array; made when transmission begins. */
    struct nbd_slot *free_slots;
    unsigned in_flight; /* Slots not free. */
    unsigned running;   /* Of those, with a request in the node. */
    uint64_t memory;    /* Bytes of payload buffers held. */
};

/* What a parser step says. */
enum nbd_step {
    NBD_STEP_AGAIN, /* Something was consumed. */
    NBD_STEP_MORE,  /* More bytes are needed. */
    NBD_STEP_WAIT,  /* Something else must happen first. */
};

static inline size_t nbd_rx_avail(const struct nbd_conn *conn)
{
    return conn->rx_len - conn->rx_pos;
}
static inline const uint8_t *nbd_rx_bytes(const struct nbd_conn *conn)
{
    return conn->rx + conn->rx_pos;
}
/* What was negotiated counts, so the flags of an export differ between connections. */
static inline bool nbd_chunked(const struct nbd_conn *conn)
{
    return conn->structured || conn->extended;
}

/* nbd_conn.c */
void nbd_conn_start(struct nbd_server *server, struct reactor_stream *stream); /* Takes stream. */
void nbd_conn_cut(struct nbd_conn *conn); /* Enters CLOSED; harmless when it is there. */
/* Cuts a connection whose handshake failed, and logs why. Takes err. */
void nbd_conn_fail(struct nbd_conn *conn, struct err *err);
void nbd_conn_enter(struct nbd_conn *conn, enum nbd_conn_state to);
void nbd_conn_pump(struct nbd_conn *conn); /* Parses and reads on, as far as possible. */
void nbd_conn_finish_check(
    struct nbd_conn *conn); /* FINISH may be over, or a cut connection free. */

/* nbd_option.c */
enum nbd_step nbd_hello_step(struct nbd_conn *conn);
enum nbd_step nbd_option_step(struct nbd_conn *conn);
void nbd_option_reply(struct nbd_conn *conn, uint32_t option, uint32_t type, const void *data,
                      size_t len);
PRINTF(4, 5)
void nbd_option_error(struct nbd_conn *conn, uint32_t option, uint32_t type, const char *fmt, ...);

/* nbd_starttls.c */
bool nbd_starttls_allows(struct nbd_conn *conn, uint32_t option); /* False: it was answered. */
void nbd_starttls_option(struct nbd_conn *conn, size_t len);
enum nbd_step nbd_starttls_step(struct nbd_conn *conn);

/* nbd_meta.c */
void nbd_meta_option(struct nbd_conn *conn, uint32_t option, const uint8_t *data, size_t len);

/* nbd_request.c */
enum nbd_step nbd_request_step(struct nbd_conn *conn);

/* nbd_exec.c */
void nbd_exec(struct nbd_slot *slot); /* Starts a request that was checked and is complete. */
bool nbd_slot_buffer(struct nbd_slot *slot); /* Gets slot->data; false: out of memory. */

/* nbd_status.c */
void nbd_status_start(struct nbd_slot *slot);
void nbd_status_free(struct nbd_status *status);

/* nbd_reply.c */
void nbd_reply(struct nbd_slot *slot, int result,
               const char *reason);         /* reason: NULL for a plain text. */
void nbd_reply_read(struct nbd_slot *slot); /* slot->data holds the answer. */
void nbd_reply_bytes(struct nbd_slot *slot, const void *bytes,
                     size_t len); /* Whole chunks; slot->status owns them. */
void nbd_reply_queue(struct nbd_slot *slot);
void nbd_tx_kick(struct nbd_conn *conn);
void nbd_slot_free(struct nbd_slot *slot);
void nbd_tx_drop(struct nbd_conn *conn); /* Frees replies that wait, in CLOSED. */

#endif
