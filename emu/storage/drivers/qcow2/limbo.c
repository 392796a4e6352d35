/*
 * The limbo worker. It keeps O4 and O5 by construction: a count goes down in memory only when the durable file
 * has no reference any more, no request can still be using the place, and the punch, if any, is over.
 * Errors leave the count as it is (O10).
 */

#include "emu/storage/drivers/qcow2/limbo.h"

#include <errno.h>

#include "emu/base/arith.h"
#include "emu/base/trace.h"
#include "emu/storage/drivers/qcow2/op.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/refcount.h"

enum { LIMBO_COMMIT_AT = 4096 }; /* Ranges waiting before a commit is started for their sake. */

static void limbo_wake(struct qcow2_wait *wait, int result);

void qcow2_limbo_init(struct qcow2 *q)
{
    qcow2_wait_init(&q->limbo.wait, limbo_wake);
    list_init(&q->limbo.idle_waiters);
}

void qcow2_limbo_fini(struct qcow2 *q)
{
    vec_fini(&q->limbo.fresh);
    vec_fini(&q->limbo.committing);
    vec_fini(&q->limbo.durable);
}

bool qcow2_limbo_empty(const struct qcow2 *q)
{
    return vec_empty(&q->limbo.fresh) && vec_empty(&q->limbo.committing) &&
           q->limbo.next == vec_len(&q->limbo.durable);
}

static void push_fresh(struct qcow2 *q, uint64_t offset, uint64_t len, bool punch)
{
    struct qcow2_limbo *l = &q->limbo;

    if (!vec_empty(&l->fresh)) {
        struct qcow2_limbo_range *last = &vec_last(&l->fresh);

        if (last->offset + last->len == offset && last->punch == punch) {
            last->len += len;
            last->seq = q->next_seq;
            return;
        }
    }
    if (!vec_try_reserve(&l->fresh, l->fresh.len + 1)) {
        l->leaked += len; /* O10 */
        return;
    }
    vec_push(&l->fresh, (struct qcow2_limbo_range){
                            .offset = offset, .len = len, .seq = q->next_seq, .punch = punch });
}

void qcow2_limbo_add(struct qcow2 *q, uint64_t offset, uint64_t len, bool punch)
{
    push_fresh(q, offset, len, punch);
    if (vec_len(&q->limbo.fresh) >= LIMBO_COMMIT_AT)
        qcow2_commit_kick(q);
}

void qcow2_limbo_add_unused(struct qcow2 *q, uint64_t offset, uint64_t len)
{
    struct qcow2_limbo *l = &q->limbo;

    if (!vec_try_reserve(&l->durable, l->durable.len + 1)) {
        l->leaked += len;
        return;
    }
    vec_push(&l->durable, (struct qcow2_limbo_range){ .offset = offset, .len = len });
    qcow2_limbo_work(q);
}

void qcow2_limbo_captured(struct qcow2 *q)
{
    struct qcow2_limbo *l = &q->limbo;
    typeof(l->fresh) empty = { 0 };

    check(vec_empty(&l->committing));
    vec_fini(&l->committing);
    l->committing.items = l->fresh.items;
    l->committing.len = l->fresh.len;
    l->committing.cap = l->fresh.cap;
    l->fresh = empty;
}

void qcow2_limbo_committed(struct qcow2 *q, bool ok)
{
    struct qcow2_limbo *l = &q->limbo;

    for (size_t i = 0; i < l->committing.len; i++) {
        struct qcow2_limbo_range range = l->committing.items[i];

        if (!ok)
            push_fresh(q, range.offset, range.len, range.punch);
        else if (vec_try_reserve(&l->durable, l->durable.len + 1))
            vec_push(&l->durable, range);
        else
            l->leaked += range.len;
    }
    vec_clear(&l->committing);
    if (ok)
        qcow2_limbo_work(q);
}

/* Forgets what memory knew of a cluster that is free now. */
static void cluster_freed(struct qcow2 *q, uint64_t cluster)
{
    uint64_t offset = cluster << q->geo.cluster_bits;

    q->free_hint = MIN(q->free_hint, cluster);
    if (q->bytes_next && (q->bytes_next - 1) >> q->geo.cluster_bits == cluster)
        q->bytes_next = 0;
    qcow2_cache_forget(&q->l2_cache, offset, q->geo.cluster_size);
    qcow2_cache_forget(&q->ref_cache, offset, q->geo.cluster_size);
}

/* Takes one reference off the first clusters of the range, up to len bytes; eats the range as it goes. */
static int lower_counts(struct qcow2 *q, struct qcow2_limbo_range *range, uint64_t len)
{
    uint64_t end = range->offset + len;

    while (range->offset < end) {
        uint64_t cluster = range->offset >> q->geo.cluster_bits, value;
        int ret = qcow2_refcount_get(q, cluster, &q->limbo.wait, &value);

        if (ret)
            return ret;
        if (!value)
            return qcow2_corrupt(q, "Refcount of cluster at offset %#llx would become negative",
                                 (unsigned long long)range->offset);
        ret = qcow2_refcount_set(q, cluster, value - 1, &q->limbo.wait);
        if (ret)
            return ret;
        if (value == 1)
            cluster_freed(q, cluster);
        range->offset += q->geo.cluster_size;
        range->len -= q->geo.cluster_size;
    }
    return 0;
}

static void punch_done(struct req *req)
{
    struct qcow2 *q = container_of(req, struct qcow2, limbo.req);

    q->limbo.working = false;
    q->limbo.punched = true; /* Whether it worked makes no difference to what follows. */
    qcow2_limbo_work(q);
}

/* Punches out the clusters at the start of the range that only we refer to. */
static int punch(struct qcow2 *q, const struct qcow2_limbo_range *range)
{
    struct qcow2_limbo *l = &q->limbo;
    uint64_t run = 0;

    while (run < range->len) {
        uint64_t value;
        int ret =
            qcow2_refcount_get(q, (range->offset + run) >> q->geo.cluster_bits, &l->wait, &value);

        if (ret)
            return ret;
        if (value != 1)
            break;
        run += q->geo.cluster_size;
    }
    /* No compressed data may be put behind the old in a cluster that is about to be punched. */
    if (q->bytes_next && q->bytes_next - 1 - range->offset < run)
        q->bytes_next = 0;
    l->run = MAX(run, (uint64_t)q->geo.cluster_size);
    if (!run || range->offset >= q->file_size) {
        l->punched = true;
        return 0;
    }
    l->working = true;
    req_submit_part(&l->req, q->node->file, REQ_DISCARD, 0, range->offset,
                    MIN(run, q->file_size - range->offset), (struct iov_view){ 0 }, punch_done);
    return QCOW2_WAIT;
}

/* One range, or a part of it. */
static int work_range(struct qcow2 *q, struct qcow2_limbo_range *range)
{
    struct qcow2_limbo *l = &q->limbo;
    int ret;

    if (range->punch && !l->punched) {
        ret = punch(q, range);
        if (ret)
            return ret;
    }
    ret = lower_counts(q, range, range->punch ? MIN(l->run, range->len) : range->len);
    if (ret == QCOW2_WAIT)
        l->run = range->punch ? l->run - MIN(l->run, range->len) : 0;
    else
        l->punched = false;
    return ret;
}

void qcow2_limbo_work(struct qcow2 *q)
{
    struct qcow2_limbo *l = &q->limbo;

    while (!l->working && l->next < vec_len(&l->durable)) {
        struct qcow2_limbo_range range = vec_at(&l->durable, l->next);
        int ret;

        if (!q->corrupt && !q->broken && qcow2_op_oldest(q) < range.seq)
            return;
        if (q->corrupt || q->broken) {
            ret = -EIO;
        } else {
            l->working = true; /* Nothing called below may come back here. */
            ret = work_range(q, &range);
            if (ret != QCOW2_WAIT)
                l->working = false;
        }
        vec_at(&l->durable, l->next) = range;
        if (ret == QCOW2_WAIT)
            return;
        if (ret < 0)
            l->leaked += range.len; /* O10 */
        if (ret < 0 || !range.len)
            l->next++;
    }
    if (l->working)
        return;
    vec_clear(&l->durable);
    l->next = 0;
    qcow2_wait_wake_all(&l->idle_waiters, 0);
}

static void limbo_wake(struct qcow2_wait *wait, int result)
{
    struct qcow2_limbo *l = container_of(wait, struct qcow2_limbo, wait);
    struct qcow2 *q = container_of(l, struct qcow2, limbo);

    l->working = false;
    if (result < 0) {
        l->leaked += vec_at(&l->durable, l->next).len;
        l->next++;
        l->punched = false;
    }
    qcow2_limbo_work(q);
}
