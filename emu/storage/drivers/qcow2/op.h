#ifndef EMU_STORAGE_DRIVERS_QCOW2_OP_H
#define EMU_STORAGE_DRIVERS_QCOW2_OP_H

/*
 * A request of the guest in flight (req->ctx), and claims on guest ranges.
 *
 * A request is worked off from pos to end in parts; several parts are in flight at once. It moves on in
 * qcow2_op_step(), which may be called at any time: it starts what can be started, and completes the request when
 * all is done or the first error's parts have come back.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/extent.h"
#include "emu/base/list.h"
#include "emu/storage/drivers/qcow2/read.h"
#include "emu/storage/drivers/qcow2/wait.h"
#include "emu/storage/req.h"

struct qcow2;
struct qcow2_op;

enum { QCOW2_OP_PARTS = 4, QCOW2_OP_PARTS_MAX = 16 };

struct qcow2_op_part {
    struct req req;
    struct qcow2_op *op;
    bool busy;
    uint8_t *packed; /* Owned while busy: encrypted data; NULL without encryption. */
    struct iovec iov;
};

struct qcow2_op {
    struct qcow2 *q;
    struct req *req;                                   /* NULL: started by the driver itself. */
    void (*finished)(struct qcow2_op *op, int result); /* The end of one without req. */
    enum req_kind kind;
    uint32_t flags;
    struct iov_view data;
    struct list link; /* In q->active. */
    uint64_t seq;
    uint64_t pos, end; /* What is not yet started. */
    uint64_t base;     /* Guest offset of the first byte of the request's buffer. */
    struct qcow2_wait wait;
    bool waiting;  /* In some queue: step does nothing until woken. */
    bool stepping; /* Guards against steps within steps. */
    bool again;
    bool prepared; /* The header allows changes (autoclear bits). */
    bool data_zeroed; /* ZERO: done in the raw data file. */
    unsigned in_flight;
    int result;
    /* Starts the next part: 0, QCOW2_WAIT or -errno. Moves pos. */
    int (*start)(struct qcow2_op *op);
    union {
        struct qcow2_read read;
        struct qcow2_op_part parts[QCOW2_OP_PARTS];
    };
};

/* driver->submit */
void qcow2_op_submit(struct node *node, struct req *req);
/* The same, at another guest offset than the request's. */
void qcow2_op_submit_at(struct node *node, struct req *req, uint64_t offset);
/* Starts one that was set up by these (or kept by exclusive.h). */
void qcow2_op_start(struct qcow2_op *op);
/* An operation of the driver's own: WRITE (not compressed), ZERO or DISCARD. finished may be called from within. */
void qcow2_op_run(struct qcow2_op *op, struct qcow2 *q, enum req_kind kind, uint64_t offset,
                  uint64_t len, struct iov_view data,
                  void (*finished)(struct qcow2_op *op, int result));
void qcow2_op_step(struct qcow2_op *op);
/* A part has ended. */
void qcow2_op_part_done(struct qcow2_op *op, int result);
/* Number of the oldest request in flight; the next number to be given when there is none. */
uint64_t qcow2_op_oldest(const struct qcow2 *q);

/*
 * A claim on guest clusters (O9): while it is held, no one else allocates, zeroes or discards there.
 */
struct qcow2_claim {
    struct extent range;
    struct list waiters; /* struct qcow2_wait */
};
/* 0, or QCOW2_WAIT when something overlaps. */
MUST_USE int qcow2_claim_check(struct qcow2 *q, uint64_t offset, uint64_t len,
                               struct qcow2_wait *wait);
void qcow2_claim_take(struct qcow2 *q, struct qcow2_claim *claim, uint64_t offset, uint64_t len);
void qcow2_claim_drop(struct qcow2 *q, struct qcow2_claim *claim);

/* The `start` functions of the kinds. */
int qcow2_write_start(struct qcow2_op *op);
int qcow2_compress_start(struct qcow2_op *op);
int qcow2_change_start(struct qcow2_op *op); /* ZERO and DISCARD. */
/* Discards a range of the external data file as part of the operation, which has no other part in flight. */
void qcow2_op_discard_data(struct qcow2_op *op, uint64_t offset, uint64_t len);
/* Whether the edges of a ZERO request can be done, as it looks now: 0, QCOW2_WAIT, -ENOTSUP. */
MUST_USE int qcow2_zero_prepare(struct qcow2_op *op);

#endif
