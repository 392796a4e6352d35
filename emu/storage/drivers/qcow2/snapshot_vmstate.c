/*
 * The area where the state of a VM is kept: guest offsets from the first L1 entry behind the disk on ("vm_state_size"
 * in the format specification). Writing there makes the L1 table longer where needed.
 */

#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/drivers/qcow2/l1.h"
#include "emu/storage/drivers/qcow2/op.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/snapshot.h"

struct vmstate {
    struct qcow2 *q;
    struct req *req;
    struct node *node; /* A reference. */
    uint64_t offset;   /* Guest offset. */
    struct qcow2_wait wait;
    struct qcow2_op op;
    struct task task;
    int result;
};

static void vmstate_step(struct vmstate *v);

static void vmstate_task(struct task *task)
{
    struct vmstate *v = container_of(task, struct vmstate, task);
    struct req *req = v->req;

    req->result = v->result;
    node_unref(v->node);
    xfree(v);
    req->done(req);
}

/* From the loop: never from within the submission. */
static void vmstate_end(struct vmstate *v, int result)
{
    v->result = result;
    reactor_defer(v->q->reactor, &v->task, vmstate_task);
}

static void vmstate_finished(struct qcow2_op *op, int result)
{
    vmstate_end(container_of(op, struct vmstate, op), result);
}

/* 0 when the table reaches the end of the request. */
static int reach(struct vmstate *v)
{
    struct qcow2 *q = v->q;
    unsigned bits = q->geo.l2_bits + q->geo.cluster_bits;
    uint64_t need = div_round_up(v->offset + v->req->len, BIT64(bits));

    if (v->req->kind != REQ_WRITE || need <= q->l1.count)
        return 0;
    if (need > QCOW2_L1_BYTES_MAX / 8)
        return -EFBIG;
    /* Some more, so that a state written piece by piece does not move the table each time. */
    return qcow2_l1_grow(q, MIN(need + need / 2, QCOW2_L1_BYTES_MAX / 8), &v->wait);
}

static void vmstate_wake(struct qcow2_wait *wait, int result)
{
    struct vmstate *v = container_of(wait, struct vmstate, wait);

    if (result < 0)
        vmstate_end(v, result);
    else
        vmstate_step(v);
}

static void vmstate_step(struct vmstate *v)
{
    struct qcow2 *q = v->q;
    int ret = 0;

    if (v->req->kind == REQ_WRITE && (q->read_only || q->corrupt || q->broken))
        ret = -EIO;
    if (!ret && q->exclusive.holder)
        ret = qcow2_exclusive_take(q, &v->wait);
    qcow2_exclusive_drop(q, &v->wait);
    if (!ret)
        ret = reach(v);
    if (ret < 0)
        vmstate_end(v, ret);
    else if (!ret)
        qcow2_op_run(&v->op, q, v->req->kind, v->offset, v->req->len, v->req->data,
                     vmstate_finished);
}

void qcow2_submit_vmstate(struct node *node, struct req *req)
{
    struct vmstate *v = NEW(struct vmstate);
    struct qcow2 *q = qcow2_of(node);
    unsigned bits = q->geo.l2_bits + q->geo.cluster_bits;
    uint64_t room = (QCOW2_L1_BYTES_MAX / 8 - qcow2_vmstate_index(q)) << bits;

    v->q = q;
    v->req = req;
    v->node = node_ref(node);
    v->offset = ((uint64_t)qcow2_vmstate_index(q) << bits) + req->offset;
    qcow2_wait_init(&v->wait, vmstate_wake);
    if ((req->kind != REQ_READ && req->kind != REQ_WRITE) ||
        !range_within(req->offset, req->len, room))
        vmstate_end(v, -EINVAL);
    else
        vmstate_step(v);
}
