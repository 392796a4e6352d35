/*
 * Resize. The image is held exclusively (exclusive.h) throughout.
 *
 * Growing: what the L1 table has behind the old disk (the state of a VM) goes, a larger table in new clusters if
 * needed, clusters for the new area if preallocation is asked for, zeroes where old content or a longer backing file
 * would show, and at last the size in the header. A crash before leaves the old size.
 *
 * Shrinking: one plan of shadow.h takes away the tables and clusters behind the new end and sets the size; then
 * the rest of the last cluster is zeroed, so that growing again does not bring old data back, and the end of the file
 * that nothing uses any more is cut off.
 */

#include "emu/storage/drivers/qcow2/resize.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/qcow2/l1.h"
#include "emu/storage/drivers/qcow2/l2.h"
#include "emu/storage/drivers/qcow2/map.h"
#include "emu/storage/drivers/qcow2/op.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/refcount.h"
#include "emu/storage/drivers/qcow2/shadow_tree.h"

enum resize_phase {
    RESIZE_TAKE,     /* The image is being taken. */
    RESIZE_SHADOW,   /* Tables behind the end are being given up. */
    RESIZE_L1,       /* The L1 table may be too short. */
    RESIZE_PREALLOC, /* It is long enough; clusters of the new area are being taken. */
    RESIZE_EXTEND,   /* The file is being extended. */
    RESIZE_EDGE, /* A backing file would show in the rest of the old last cluster: it is being zeroed. */
    RESIZE_ZERO,   /* The same for the clusters behind it. */
    RESIZE_COMMIT, /* All is in memory but the size. */
    RESIZE_TAIL, /* Shrinking: the new size is durable; the rest of the last cluster is being zeroed. */
    RESIZE_CUT,    /* Shrinking: the file's unused end is being cut off. */
};

struct resize {
    struct qcow2 *q;
    uint64_t old_size, size;
    enum prealloc prealloc;
    driver_done_fn *done;
    void *arg;
    enum resize_phase phase;
    uint64_t pos;
    struct qcow2_wait wait;
    struct qcow2_op op;
    uint8_t *zeroes; /* owned */
    struct iovec iov;
    struct qcow2_shadow shadow;
    struct qcow2_tree tree;
    bool planned;
    uint64_t file_end; /* What the file has to be long for. */
};

static void resize_run(struct resize *r);

static void resize_end(struct resize *r, struct err *err)
{
    struct qcow2 *q = r->q;
    driver_done_fn *done = r->done;
    void *arg = r->arg;

    if (err)
        q->header.fields.size = r->old_size;
    else
        node_set_size(q->node, r->size);
    qcow2_exclusive_drop(q, &r->wait);
    xfree(r->zeroes);
    xfree(r);
    done(arg, err);
}

static void resize_enter(struct resize *r, enum resize_phase phase)
{
    r->phase = phase;
    resize_run(r);
}

/* Takes clusters for [pos, size) that have none; new ones only, which read as zeroes. */
static int preallocate(struct resize *r)
{
    struct qcow2 *q = r->q;

    while (r->pos < r->size) {
        uint64_t left = MIN(r->size - r->pos, qcow2_l2_slice_left(q, r->pos)), n;
        struct qcow2_l2_at at;
        struct qcow2_run run;
        int ret = qcow2_l2_get_owned(q, r->pos, &r->wait, &at);

        if (ret)
            return ret;
        if (qcow2_entry_load(q, at.block, at.index).word) {
            r->pos += q->geo.cluster_size;
            continue;
        }
        qcow2_cache_pin(at.block);
        if (q->external) {
            run = (struct qcow2_run){ .offset = r->pos, .len = q->geo.cluster_size };
            ret = 0;
        } else {
            ret = qcow2_alloc_run(q, div_round_up(left, q->geo.cluster_size), true, &r->wait, &run);
        }
        qcow2_cache_unpin(at.block);
        if (!ret)
            ret = qcow2_cache_edit(at.block);
        if (ret)
            return ret;
        n = run.len >> q->geo.cluster_bits;
        for (uint64_t i = 0; i < n; i++, r->pos += q->geo.cluster_size) {
            uint64_t host = run.offset + (i << q->geo.cluster_bits);

            if (qcow2_entry_load(q, at.block, at.index + (uint32_t)i).word)
                qcow2_limbo_add_unused(q, host, q->geo.cluster_size);
            else
                qcow2_entry_store(q, at.block, at.index + (uint32_t)i,
                                  (struct qcow2_entry){ host | QCOW2_COPIED, 0 });
        }
    }
    return 0;
}

static void extended(void *arg, struct err *err)
{
    struct resize *r = arg;

    if (err) {
        resize_end(r, err);
        return;
    }
    if (!r->q->external)
        qcow2_file_grew(r->q, r->q->fresh_from);
    resize_enter(r, RESIZE_EDGE);
}

static void op_finished(struct qcow2_op *op, int result)
{
    struct resize *r = container_of(op, struct resize, op);

    if (result && r->phase != RESIZE_TAIL)
        resize_end(r, err_new_errno(result, "Failed to resize the image"));
    else
        resize_enter(
            r, r->phase + 1); /* A tail that keeps its bytes is zeroed when the disk grows again. */
}

/* Overwrites [from, to), which lies in one cluster, with zeroes. */
static void write_zeroes(struct resize *r, uint64_t from, uint64_t to)
{
    xfree(r->zeroes);
    r->zeroes = try_calloc(1, to - from);
    if (!r->zeroes) {
        resize_end(r, err_new_errno(ENOMEM, "Failed to resize the image"));
        return;
    }
    r->iov = (struct iovec){ r->zeroes, to - from };
    qcow2_op_run(&r->op, r->q, REQ_WRITE, from, to - from, iov_view(&r->iov, 1), op_finished);
}

static void resize_committed(struct resize *r, int result)
{
    if (result)
        resize_end(r, err_new_errno(result, "Failed to update the image size"));
    else
        resize_end(r, NULL);
}

/* How far the backing file shows in the new area. */
static uint64_t backing_end(const struct resize *r)
{
    const struct edge *backing = r->q->node->backing;

    return backing ? MIN(backing->node->size, r->size) : r->old_size;
}

/* An external data file is at least as long as the disk; what was there before becomes part of it. */
static void resize_data_file(struct resize *r)
{
    enum prealloc prealloc = r->prealloc == PREALLOC_METADATA ? PREALLOC_OFF : r->prealloc;

    if (r->size > r->q->data->node->size)
        edge_truncate(r->q->data, r->size, false, prealloc, extended, r);
    else
        resize_enter(r, RESIZE_EDGE);
}

static void extend_file(struct resize *r)
{
    struct qcow2 *q = r->q;
    enum prealloc prealloc = r->prealloc == PREALLOC_METADATA ? PREALLOC_OFF : r->prealloc;

    if (q->external)
        resize_data_file(r);
    else if (r->prealloc == PREALLOC_OFF || q->fresh_from <= q->node->file->node->size)
        resize_enter(r, RESIZE_EDGE);
    else
        edge_truncate(q->node->file, q->fresh_from, false, prealloc, extended, r);
}

static int start_commit(struct resize *r)
{
    r->q->header.fields.size = r->size;
    r->q->header.dirty = true;
    return qcow2_commit_wait(r->q, &r->wait);
}

/* Zeroes an area or goes on to the next phase. The new size must already bound what the operation may touch. */
static void zero_area(struct resize *r, uint64_t from, uint64_t to)
{
    if (from >= to)
        resize_enter(r, r->phase + 1);
    else if (r->phase == RESIZE_ZERO)
        qcow2_op_run(&r->op, r->q, REQ_ZERO, from, to - from, (struct iov_view){ 0 }, op_finished);
    else
        write_zeroes(r, from, to);
}

/* Whether the rest of a cluster from offset on holds anything: 0, QCOW2_WAIT or -errno. */
static int rest_is_zero(struct resize *r, uint64_t offset, bool *zero)
{
    struct qcow2 *q = r->q;
    struct qcow2_extent extent;
    int ret;

    *zero = true;
    if (is_aligned(offset, q->geo.cluster_size))
        return 0;
    for (uint64_t at = offset; *zero && at < qcow2_cluster_end(q, offset); at += extent.len) {
        ret = qcow2_map_lookup(q, at, qcow2_cluster_end(q, offset) - at, &r->wait, &extent);
        if (ret)
            return ret;
        *zero = extent.kind != QCOW2_SUB_DATA && extent.kind != QCOW2_SUB_COMPRESSED;
    }
    return 0;
}

/* What is between the old end and the end of its cluster must not be seen. */
static void zero_edge(struct resize *r)
{
    struct qcow2 *q = r->q;
    uint64_t end = MIN(qcow2_cluster_end(q, r->old_size), r->size);
    bool zero;
    int ret = rest_is_zero(r, r->old_size, &zero);

    if (ret == QCOW2_WAIT)
        return;
    if (ret)
        resize_end(r, err_new_errno(ret, "Failed to resize the image"));
    else
        zero_area(r, r->old_size, zero ? MIN(end, backing_end(r)) : end);
}

static void zero_tail(struct resize *r)
{
    bool zero;
    int ret = rest_is_zero(r, r->size, &zero);

    if (ret == QCOW2_WAIT)
        return;
    zero_area(r, r->size, ret || zero ? r->size : qcow2_cluster_end(r->q, r->size));
}

/* ---- Giving up tables ---- */

static struct resize *resize_of(struct qcow2_shadow *s)
{
    return container_of(s, struct resize, shadow);
}

/* Growing keeps the tables of the old disk, shrinking those of the new one. */
static int resize_plan(struct qcow2_shadow *s)
{
    struct resize *r = resize_of(s);
    struct qcow2 *q = s->q;
    uint64_t covers = BIT64(q->geo.l2_bits), clusters = div_round_up(r->size, q->geo.cluster_size);
    uint64_t keep = qcow2_l1_entries_for(q, MIN(r->size, r->old_size));
    int ret = 0;

    if (!s->l1) {
        ret = qcow2_shadow_make_l1(
            s, MAX((uint32_t)qcow2_l1_entries_for(q, MAX(r->size, UINT64_C(1))), (uint32_t)keep));
        if (ret)
            return ret;
        memcpy(s->l1, q->l1.entries, keep * sizeof(uint64_t));
        if (r->size < r->old_size)
            s->fields.size = r->size;
    }
    if (r->size < r->old_size && !r->planned && clusters % covers)
        ret =
            qcow2_tree_cut(&r->tree, (uint32_t)(clusters / covers), (uint32_t)(clusters % covers));
    if (ret)
        return ret;
    if (!r->planned)
        r->tree.next = 0;
    r->planned = true;
    return qcow2_tree_count(&r->tree, q->l1.entries, (uint32_t)keep, q->l1.count, -1);
}

static void resize_published(struct qcow2_shadow *s)
{
    resize_of(s)->file_end = qcow2_shadow_end(s);
}

static void shadow_done(struct qcow2_shadow *s, struct err *err)
{
    struct resize *r = resize_of(s);

    qcow2_tree_fini(&r->tree);
    if (err)
        resize_end(r, err_prefix(err, "Failed to resize the image: "));
    else
        resize_enter(r, r->size < r->old_size ? RESIZE_TAIL : RESIZE_L1);
}

static const struct qcow2_shadow_ops resize_shadow = {
    .plan = resize_plan,
    .published = resize_published,
    .done = shadow_done,
};

static bool has_vmstate(const struct qcow2 *q)
{
    for (uint64_t i = qcow2_l1_entries_for(q, q->header.fields.size); i < q->l1.count; i++) {
        if (q->l1.entries[i])
            return true;
    }
    return false;
}

static void start_shadow(struct resize *r)
{
    if (r->size > r->old_size && !has_vmstate(r->q)) {
        resize_enter(r, RESIZE_L1);
        return;
    }
    r->shadow.q = r->q;
    r->shadow.ops = &resize_shadow;
    r->shadow.new_order = r->q->geo.refcount_order;
    r->shadow.punch = r->q->pass_discard_snapshot || r->q->pass_discard_request;
    r->shadow.holder = &r->wait;
    r->tree.s = &r->shadow;
    qcow2_shadow_start(&r->shadow);
}

static void cut_done(void *arg, struct err *err)
{
    struct resize *r = arg;

    if (!err)
        qcow2_file_cut(r->q, r->file_end);
    err_ignore(err); /* A file that keeps its length is no failure. */
    resize_end(r, NULL);
}

/* All is in the file that belongs there: what is in memory of the tail's zeroing is written by the next flush. */
static void cut_file(struct resize *r)
{
    struct qcow2 *q = r->q;

    if (qcow2_commit_needed(q) || !qcow2_limbo_empty(q) || r->file_end >= q->node->file->node->size)
        resize_end(r, NULL);
    else
        edge_truncate(q->node->file, r->file_end, false, PREALLOC_OFF, cut_done, r);
}

static void resize_run(struct resize *r)
{
    struct qcow2 *q = r->q;
    uint64_t edge = qcow2_cluster_end(q, r->old_size);
    int ret = 0;

    switch (r->phase) {
    case RESIZE_TAKE: ret = qcow2_exclusive_take(q, &r->wait); break;
    case RESIZE_SHADOW: start_shadow(r); return;
    case RESIZE_L1: ret = qcow2_l1_grow(q, qcow2_l1_entries_for(q, r->size), &r->wait); break;
    case RESIZE_PREALLOC:
        q->header.fields.size = r->size; /* In memory: operations below may use the new area. */
        ret = r->prealloc == PREALLOC_OFF ? 0 : preallocate(r);
        break;
    case RESIZE_EXTEND: extend_file(r); return;
    case RESIZE_EDGE: zero_edge(r); return;
    case RESIZE_ZERO:
        zero_area(r, edge, MIN(align_up_u64(backing_end(r), q->geo.cluster_size), r->size));
        return;
    case RESIZE_COMMIT: ret = start_commit(r); break;
    case RESIZE_TAIL: zero_tail(r); return;
    case RESIZE_CUT: cut_file(r); return;
    }
    if (ret == QCOW2_WAIT)
        return;
    if (ret)
        resize_end(r, err_new_errno(ret, "Failed to resize the image"));
    else
        resize_enter(r, r->phase + 1);
}

static void resize_wake(struct qcow2_wait *wait, int result)
{
    struct resize *r = container_of(wait, struct resize, wait);

    if (r->phase == RESIZE_COMMIT)
        resize_committed(r, result);
    else if (result)
        resize_end(r, err_new_errno(result, "Failed to resize the image"));
    else
        resize_run(r);
}

static struct err *resize_allowed(const struct qcow2 *q, uint64_t size, enum prealloc prealloc)
{
    if (q->read_only || q->corrupt)
        return err_new("Image is read-only");
    if (size % QCOW2_SECTOR)
        return err_new("The new size must be a multiple of %u", QCOW2_SECTOR);
    if (q->header.version < 3 && q->header.fields.nb_snapshots)
        return err_new("Can't resize a v2 image which has snapshots");
    TRY(qcow2_bitmaps_check_resize(q));
    if (size < q->header.fields.size && prealloc != PREALLOC_OFF)
        return err_new("Preallocation can't be used for shrinking an image");
    if (qcow2_l1_entries_for(q, size) > QCOW2_L1_BYTES_MAX / 8 || size > INT64_MAX)
        return err_set_errnum(err_new("Image is too big"), EFBIG);
    return NULL;
}

void qcow2_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                    driver_done_fn *done, void *arg)
{
    struct qcow2 *q = qcow2_of(node);
    struct err *err = resize_allowed(q, size, prealloc);
    struct resize *r;

    if (err || size == q->header.fields.size) {
        done(arg, err);
        return;
    }
    r = NEW(struct resize);
    r->q = q;
    r->old_size = q->header.fields.size;
    r->size = size;
    /* A raw data file shows all of its content: so must the image. */
    r->prealloc = q->data_raw && prealloc == PREALLOC_OFF && size > r->old_size ? PREALLOC_METADATA
                                                                                : prealloc;
    r->done = done;
    r->arg = arg;
    /* A backing file may show in the old last cluster: it is not for us to hide. */
    r->pos = qcow2_has_backing(q) ? qcow2_cluster_end(q, r->old_size)
                                  : qcow2_cluster_start(q, r->old_size);
    qcow2_wait_init(&r->wait, resize_wake);
    resize_enter(r, RESIZE_TAKE);
}
