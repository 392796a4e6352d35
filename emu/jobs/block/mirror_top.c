/*
 * The filter of a mirror job.
 *
 * Invariants:
 *  (1) Locked ranges do not overlap: of the job's copies and the active guest writes, one at a time touches a granule.
 *  (2) The bit of a granule is cleared only while its range is locked: by a copy before it reads, or by an active
 *      write after it is on the target, if no other write to the granule ended on the source meanwhile (touched).
 *  (3) The target write reads from memory of its own, so that the guest can be answered before it ends.
 */

#include "emu/jobs/block/mirror_top.h"

#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/jobs/block/filter_perm.h"

struct mirror_top {
    struct node *filter;      /* NULL once it closed. */
    struct extent_set locked; /* Ranges rounded to the granularity. */
    struct list active;       /* struct top_req that hold a lock. */
    struct list waiting;      /* struct top_req that want one, oldest first. */
    struct mirror_top_options options;
    uint64_t granularity;
    bool blocking;
    bool looking, look_again;
};

/* Filter state. */
struct top_node {
    struct filter_perm perm;
    struct mirror_top *top; /* NULL: passes everything. */
};

/* A write to the target; outlives the guest's request when that is answered early. */
struct tee {
    struct req req;
    struct top_req *owner; /* NULL: let go. */
    struct iovec iov;      /* Owned memory; NULL without data. */
};

/* A request in the filter (req->ctx). */
struct top_req {
    struct req child;
    struct req *parent;
    struct mirror_top *top; /* NULL: passed through. */
    struct list link;       /* In active or waiting. */
    struct extent range;
    struct tee *tee; /* Pending on the target. */
    bool own_seen;   /* The note of its own write on the source came. */
    bool touched;    /* Another write to the range ended: it must stay dirty. */
};

static void plain_done(struct req *child)
{
    struct top_req *tr = container_of(child, struct top_req, child);

    tr->parent->status = child->status;
    req_complete(tr->parent, child->result);
}

static void submit_child(struct top_req *tr, req_done_fn *done)
{
    struct req *req = tr->parent;

    req_submit_part(&tr->child, req->node->file, req->kind, req->flags, req->offset, req->len,
                    req->data, done);
}

static void tee_free(struct tee *tee)
{
    xfree(tee->iov.iov_base);
    xfree(tee);
}

/* Gives the lock back; more may be waiting for it. */
static void active_end(struct top_req *tr, int result)
{
    struct mirror_top *top = tr->top;
    struct req *parent = tr->parent;

    list_del(&tr->link);
    tr->top = NULL;
    if (extent_linked(&tr->range))
        mirror_top_unlock(top, &tr->range);
    req_complete(parent, result);
}

static void tee_done(struct req *req)
{
    struct tee *tee = container_of(req, struct tee, req);
    struct top_req *tr = tee->owner;
    const int result = req->result;

    tee_free(tee);
    if (!tr)
        return;
    tr->tee = NULL;
    if (result == 0 && !tr->touched)
        hbitmap_reset_inside(tr->top->options.dirty->map, tr->parent->offset, tr->parent->len);
    tr->top->options.write_ended(tr->top->options.owner, result);
    /* What the target could not take stays dirty; the guest's data is safe on the source. */
    active_end(tr, tr->child.result);
}

/* The data is on the source. False: no memory, or no use. */
static bool start_tee(struct top_req *tr)
{
    struct mirror_top *top = tr->top;
    const struct req *req = tr->parent;
    struct tee *tee;

    /*
     * What a discard leaves is each disk's choice, and a target that missed an earlier write would keep
     * what it had: the range stays dirty, and is copied.
     */
    if (req->kind == REQ_DISCARD || !top->options.wanted(top->options.owner))
        return false;
    tee = NEW(struct tee);
    if (req->kind == REQ_WRITE) {
        tee->iov.iov_base = try_alloc_aligned(4096, req->len);
        tee->iov.iov_len = req->len;
        if (!tee->iov.iov_base) {
            tee_free(tee);
            return false;
        }
        iov_copy_from(req->data, req->len, tee->iov.iov_base);
    }
    tee->owner = tr;
    tr->tee = tee;
    tee->req.kind = req->kind;
    tee->req.flags = req->flags & (REQ_FUA | REQ_MAY_UNMAP);
    tee->req.offset = req->offset;
    tee->req.len = req->len;
    tee->req.data = iov_view(&tee->iov, 1);
    tee->req.done = tee_done;
    top->options.write_began(top->options.owner);
    edge_submit(top->options.target, &tee->req);
    return true;
}

static void source_done(struct req *child)
{
    struct top_req *tr = container_of(child, struct top_req, child);

    if (!tr->top) {
        req_complete(tr->parent, child->result);
        return;
    }
    /* After a failure nobody knows what the source holds: leave it to the dirty bit. */
    if (child->result < 0) {
        bitmap_set(tr->top->options.dirty, tr->parent->offset, tr->parent->len);
        active_end(tr, child->result);
        return;
    }
    if (!start_tee(tr))
        active_end(tr, 0);
}

/* True: the write holds its lock and is on its way. */
static bool start_active(struct mirror_top *top, struct top_req *tr)
{
    const uint64_t off = align_down_u64(tr->parent->offset, top->granularity);
    const uint64_t end = align_up_u64(tr->parent->offset + tr->parent->len, top->granularity);

    if (extent_find(&top->locked, off, end - off))
        return false;
    extent_insert(&top->locked, &tr->range, off, end - off);
    list_add_tail(&top->active, &tr->link);
    submit_child(tr, source_done);
    return true;
}

/* Starts waiting writes whose range is free. An older one that overlaps goes first: it is found first. */
static void look(struct mirror_top *top)
{
    if (top->looking) {
        top->look_again = true;
        return;
    }
    top->looking = true;
    do {
        top->look_again = false;
        list_for_each(tr, &top->waiting, struct top_req, link) {
            const uint64_t off = tr->parent->offset;

            if (extent_find(&top->locked, align_down_u64(off, top->granularity),
                            align_up_u64(off + tr->parent->len, top->granularity) -
                                align_down_u64(off, top->granularity)))
                continue;
            list_del(&tr->link);
            check(start_active(top, tr));
            top->look_again = true;
            break;
        }
    } while (top->look_again);
    top->looking = false;
}

/* A write to the source ended well. */
static void dirty_changed(struct bitmap *bitmap, uint64_t offset, uint64_t len)
{
    struct mirror_top *top = bitmap->owner;

    list_for_each(tr, &top->active, struct top_req, link) {
        if (tr->parent->offset >= offset + len || offset >= tr->parent->offset + tr->parent->len)
            continue;
        if (tr->own_seen)
            tr->touched = true;
        tr->own_seen = true;
    }
    top->options.changed(top->options.owner);
}

struct mirror_top *mirror_top_open(struct node *filter, const struct mirror_top_options *options)
{
    struct mirror_top *top = NEW(struct mirror_top);
    struct top_node *state = filter->state;

    top->filter = filter;
    top->options = *options;
    top->granularity = hbitmap_granularity(options->dirty->map);
    extent_set_init(&top->locked);
    list_init(&top->active);
    list_init(&top->waiting);
    options->dirty->owner = top;
    options->dirty->changed = dirty_changed;
    state->top = top;
    return top;
}

void mirror_top_share(struct node *filter, bool on)
{
    struct top_node *state = filter->state;

    state->perm.share_all = on;
}

void mirror_top_set_blocking(struct mirror_top *top, bool on) { top->blocking = on; }

void mirror_top_bypass(struct mirror_top *top)
{
    struct top_req *tr;

    if (top->filter) {
        struct top_node *state = top->filter->state;

        state->top = NULL;
        top->filter = NULL;
    }
    while ((tr = list_pop_head(&top->waiting, struct top_req, link))) {
        tr->top = NULL;
        submit_child(tr, plain_done);
    }
    while ((tr = list_pop_head(&top->active, struct top_req, link))) {
        struct tee *tee = tr->tee;

        tr->top = NULL;
        tr->tee = NULL;
        extent_remove(&top->locked, &tr->range);
        if (!tee)
            continue; /* Still on the source: source_done() answers. */
        tee->owner = NULL;
        top->options.write_ended(top->options.owner, -ECANCELED);
        req_complete(tr->parent, tr->child.result);
    }
}

void mirror_top_free(struct mirror_top *top)
{
    if (!top)
        return;
    mirror_top_bypass(top);
    check(extent_set_empty(&top->locked));
    top->options.dirty->changed = NULL;
    xfree(top);
}

bool mirror_top_lock(struct mirror_top *top, struct extent *range, uint64_t off, uint64_t len,
                     uint64_t *skip_to)
{
    const struct extent *other = extent_find(&top->locked, off, len);

    if (other) {
        *skip_to = other->off + other->len;
        return false;
    }
    extent_insert(&top->locked, range, off, len);
    return true;
}

void mirror_top_unlock(struct mirror_top *top, struct extent *range)
{
    extent_remove(&top->locked, range);
    look(top);
    top->options.changed(top->options.owner);
}

/* ---- The filter ---- */

static void top_submit(struct node *node, struct req *req)
{
    struct top_node *state = node->state;
    struct mirror_top *top = state->top;
    struct top_req *tr = req->ctx;
    const bool changes =
        req->kind == REQ_WRITE || req->kind == REQ_ZERO || req->kind == REQ_DISCARD;

    *tr = (struct top_req){ .parent = req };
    if (!top || !top->blocking || !changes || req->offset >= node->size) {
        submit_child(tr, plain_done);
        return;
    }
    tr->top = top;
    if (!start_active(top, tr))
        list_add_tail(&top->waiting, &tr->link);
}

static void top_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct top_node *state = node->state;

    if (state->top)
        state->top->filter = NULL;
    done(arg, NULL);
}

const struct driver driver_mirror_top = {
    .name = "mirror_top",
    .is_filter = true,
    .state_size = sizeof(struct top_node),
    .req_size = sizeof(struct top_req),
    .submit = top_submit,
    .child_perm = filter_child_perm,
    .close = top_close,
};
