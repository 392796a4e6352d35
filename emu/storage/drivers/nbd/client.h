/*
 * An NBD client: the connection below one node of driver "nbd". Private to emu/storage/drivers/nbd.
 *
 * Home: the graph's reactor. The one exception is yanking, which may come from any thread at any time:
 * it only shuts the socket down and posts; see link.c.
 *
 * Invariants:
 *  (1) At most one read and one write are pending on the stream.
 *  (2) A request that was sent has a slot until its reply is complete; slot numbers are in its cookie.
 *  (3) A request is not completed while a pending write or read refers to its memory.
 *  (4) After DEAD was entered every request ends with -EIO as soon as (3) allows, which does not depend on
 *      the peer: closing the stream ends what is pending on it.
 */
#ifndef EMU_STORAGE_DRIVERS_NBD_CLIENT_H
#define EMU_STORAGE_DRIVERS_NBD_CLIENT_H

#include <stdatomic.h>

#include "emu/storage/driver.h"
#include "emu/storage/drivers/nbd/address.h"
#include "emu/storage/drivers/nbd/handshake.h"
#include "emu/storage/nbd_wire/nbd_wire.h"
#include "emu/yank/yank.h"

enum {
    NBD_CLIENT_SLOTS = 64, /* Requests in flight; power of two. */
    NBD_CLIENT_RX_BYTES = 256 << 10,
    NBD_CLIENT_DIRECT_BYTES = 16 << 10, /* A missing piece of this size is read into its buffer. */
    NBD_CLIENT_IOV = 1024,              /* Of one write. */
    NBD_CLIENT_REQ_IOV = 512,           /* Of one request. */
    NBD_COVER_RANGES = 16,              /* Gaps a reply in pieces may have at any time. */
    NBD_CACHED_EXTENTS = 1024,
    NBD_ERROR_PAYLOAD_MAX = NBD_STRING_MAX + 16,
};

enum nbd_client_state {
    NBD_CLIENT_CONNECT,   /* Connecting; nobody submits yet. */
    NBD_CLIENT_HANDSHAKE, /* Connected; the handshake machine runs. */
    NBD_CLIENT_READY,     /* Requests are served. */
    NBD_CLIENT_LEAVE,     /* The node closes: saying good-bye. */
    NBD_CLIENT_DEAD, /* Disconnected for good; waits for (3) and then fails requests. Terminal. */
    NBD_CLIENT_STATE_COUNT,
};

/* Which bytes of a read have arrived. */
struct nbd_cover {
    unsigned count;
    struct {
        uint64_t off, len;
    } ranges[NBD_COVER_RANGES]; /* Sorted, neither overlapping nor touching. */
};

/* A request of the node: req->ctx. */
struct nbd_req {
    struct req *req;
    struct list link;          /* In waiting. */
    struct nbd_req *next_sent; /* In the pending write. */
    uint64_t cookie;
    uint64_t wire_len; /* Bytes asked of the server. */
    uint16_t type, flags;
    uint8_t head[NBD_REQUEST_BYTES];
    bool in_write; /* The pending write refers to its memory. */
    bool replied;  /* The reply is complete, result holds. */
    bool got_status;
    int result;         /* First error the server sent. */
    uint64_t cache_gen; /* STATUS: client->cache.gen when it was sent. */
    struct nbd_cover cover;
};

struct nbd_status_cache {
    uint64_t gen;       /* Counts writes. */
    uint64_t start;     /* Where the first extent begins. */
    int64_t expires_ns; /* Others may write to the export, too. */
    unsigned count;
    struct {
        uint64_t end;
        uint32_t flags; /* enum nbd state flags */
    } extents[NBD_CACHED_EXTENTS];
};

/* What part of a reply is awaited. */
enum nbd_rx_state {
    NBD_RX_HEADER,
    NBD_RX_CONTENT_OFFSET, /* Of OFFSET_DATA. */
    NBD_RX_DATA,           /* rx_left bytes for rx_req at rx_off. */
    NBD_RX_HOLE,           /* Offset and length. */
    NBD_RX_STATUS_ID,
    NBD_RX_EXTENT, /* rx_left bytes of extents. */
    NBD_RX_ERROR,  /* A whole error payload. */
    NBD_RX_SKIP,   /* rx_left bytes of something unknown that means failure. */
};

struct nbd_client {
    struct node *node;       /* borrowed */
    struct reactor *reactor; /* borrowed */
    enum nbd_client_state state;
    struct nbd_address address;
    char *export, *context;   /* owned */
    struct tls_creds *tls_creds; /* owned reference; NULL: no TLS. */
    char *tls_hostname;          /* owned; NULL: the host of the address. */
    bool dirty_context;       /* The context is a dirty bitmap (x-dirty-bitmap). */
    int64_t open_deadline_ns; /* Connecting is tried again until then. */
    struct timer timer;       /* Next try; limit of LEAVE. */
    struct op connect_op, rx_op, tx_op;
    struct reactor_stream *stream; /* owned; NULL before CONNECT is over and in DEAD. */
    struct nbd_handshake hs;
    struct nbd_export_info info;
    driver_done_fn *open_done; /* Until it was called. */
    void *open_arg;
    driver_done_fn *close_done;
    void *close_arg;
    struct err *error; /* owned; why it died while opening. */
    struct task settle_task;
    /* Yank. */
    struct yank_instance *yank_instance;
    struct yank_function yank_function;
    atomic_uint refs; /* The node's, and one per posted yank. */
    atomic_bool yanked;
    atomic_int fd; /* For shutdown(2) from another thread; -1: none. */
    /* Requests. */
    struct list waiting; /* struct nbd_req without slot. */
    struct nbd_req *slots[NBD_CLIENT_SLOTS];
    uint64_t slots_free; /* Bit mask. */
    uint64_t next_cookie;
    unsigned in_flight; /* Requests of the node not yet completed. */
    struct task tx_task;
    struct nbd_req *sent_head; /* In the pending write. */
    struct iovec tx_iov[NBD_CLIENT_IOV];
    uint8_t disc[NBD_REQUEST_BYTES];
    /* Receiving. */
    uint8_t *rx; /* owned */
    size_t rx_pos, rx_len;
    enum nbd_rx_state rx_state;
    struct nbd_req *rx_req; /* The one whose reply is being received. */
    bool rx_direct;         /* The pending read goes into rx_req's memory. */
    bool rx_done_flag;      /* This chunk is its last. */
    uint64_t rx_left, rx_off;
    struct nbd_status_cache cache;
};

static inline size_t nbd_rx_avail(const struct nbd_client *c) { return c->rx_len - c->rx_pos; }
static inline unsigned nbd_cookie_slot(uint64_t cookie) { return cookie & (NBD_CLIENT_SLOTS - 1); }

/* link.c */
void nbd_link_open(struct nbd_client *c);
/* DEAD; error (taken, may be NULL) is what a pending open reports. Harmless in DEAD. */
void nbd_link_die(struct nbd_client *c, struct err *error);
void nbd_link_settle(struct nbd_client *c); /* In DEAD: an op ended. */
void nbd_link_close(struct nbd_client *c);
void nbd_client_unref(struct nbd_client *c);
/* client.c */
void nbd_client_opened(struct nbd_client *c); /* READY: the node gets its facts. */
/* send.c */
void nbd_send(struct nbd_client *c, struct nbd_req *r);
void nbd_send_kick(struct nbd_client *c);
void nbd_req_end(struct nbd_client *c, struct nbd_req *r); /* r->result; keeps (3). */
/* recv.c */
void nbd_recv_start(struct nbd_client *c);
/* cover.c */
bool nbd_cover_add(struct nbd_cover *cover, uint64_t off,
                   uint64_t len); /* False: overlap or too many gaps. */
bool nbd_cover_full(const struct nbd_cover *cover, uint64_t off, uint64_t len);
/* status.c */
bool nbd_status_cached(struct nbd_client *c, struct req *req);
void nbd_status_begin(struct nbd_client *c, struct nbd_req *r);
bool nbd_status_extent(struct nbd_client *c, struct nbd_req *r, uint64_t *pos, uint32_t len,
                       uint32_t flags);
void nbd_status_forget(struct nbd_client *c);

#endif
