/*
 * Copy before write.
 *
 * Invariants:
 *  (1) A cluster that is to do is in no claim; claims do not overlap.
 *  (2) While a cluster is to do or claimed, no guest write to it is below the filter, but those that were
 *      submitted before the filter came (they were not acknowledged at the moment of the copy).
 *  (3) A guest write passes when none of its clusters is to do or claimed, which is looked at again after every
 *      end of a claim it waited for.
 */

#include "emu/jobs/block/cbw.h"

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/jobs/block/filter_perm.h"

#define CBW_GUEST_INFLIGHT 32
#define CBW_GUEST_CHUNK    (UINT64_C(1) << 20)

struct cbw {
    struct node *filter;  /* NULL once the filter closed. */
    struct copy *copy;    /* Owned; the window for guests. NULL once stopped. */
    struct hbitmap *todo; /* Owned. */
    struct extent_set claims;
    struct list waiting; /* struct cbw_req, oldest first: for a claim or for room in the window. */
    uint64_t guest_bytes;
    struct cbw_options options;
    bool bypass;
    bool looking; /* cbw_look() is on the stack. */
    bool look_again;
};

/* Filter state. */
struct cbw_node {
    struct filter_perm perm;
    struct cbw *cbw; /* NULL: passes everything. */
};

/* A request in the filter (req->ctx). */
struct cbw_req {
    struct req child;
    struct req *parent;
    struct list link; /* In cbw->waiting. */
    unsigned copies;  /* Claims this one started and that have not ended. */
    int result;       /* First error of these. */
};

/* A claim for a guest write; own memory, because the window reports by cookie. */
struct guest_claim {
    struct cbw_claim claim;
    struct cbw_req *owner;
};

static void child_done(struct req *child)
{
    struct cbw_req *cr = container_of(child, struct cbw_req, child);

    cr->parent->status = child->status;
    req_complete(cr->parent, child->result);
}

static void pass(struct cbw_req *cr)
{
    struct req *req = cr->parent;

    req_submit_part(&cr->child, req->node->file, req->kind, req->flags, req->offset, req->len,
                    req->data, child_done);
}

static uint64_t cluster_of(const struct cbw *cbw) { return hbitmap_granularity(cbw->todo); }

static uint64_t chunk_of(const struct cbw *cbw) { return MAX(CBW_GUEST_CHUNK, cluster_of(cbw)); }

/* Starts copies for what is to do in [at, end) as far as there is room. True: something blocks the write. */
static bool start_copies(struct cbw *cbw, struct cbw_req *cr, uint64_t at, uint64_t end)
{
    uint64_t off, len;

    while (copy_has_room(cbw->copy) &&
           hbitmap_next_dirty_area(cbw->todo, at, end, chunk_of(cbw), &off, &len)) {
        struct guest_claim *gc = NEW(struct guest_claim);

        hbitmap_reset(cbw->todo, off, len);
        extent_insert(&cbw->claims, &gc->claim.range, off, len);
        gc->owner = cr;
        cr->copies++;
        cbw->options.guest_began(cbw->options.owner);
        copy_start(cbw->copy, off, len, (uint64_t)(uintptr_t)gc);
        at = off + len;
    }
    return cr->copies > 0 || hbitmap_next_dirty(cbw->todo, at, end, &off) ||
           extent_find(&cbw->claims, at, end - at);
}

/* Whether the write may go down now (or has failed); starts what it needs. */
static bool guest_may_pass(struct cbw *cbw, struct cbw_req *cr)
{
    const struct req *req = cr->parent;
    const uint64_t cluster = cluster_of(cbw);
    const uint64_t at = align_down_u64(req->offset, cluster);
    const uint64_t end =
        MIN(align_up_u64(req->offset + req->len, cluster), hbitmap_size(cbw->todo));

    if (cbw->bypass || at >= end)
        return true;
    if (cr->copies > 0)
        return false;
    if (cbw->options.wanted(cbw->options.owner)) {
        if (cr->result < 0)
            return true;
        if (start_copies(cbw, cr, at, end))
            return false;
    } else {
        /* What is to do stays to do: nobody will believe that it was copied. */
        cr->result = 0;
    }
    return !extent_find(&cbw->claims, at, end - at);
}

static void finish_guest(struct cbw_req *cr)
{
    list_del(&cr->link);
    if (cr->result < 0)
        req_complete(cr->parent, cr->result);
    else
        pass(cr);
}

/* Lets waiting writes go on. A write that passes may complete at once and bring the next one in, hence the flags. */
static void cbw_look(struct cbw *cbw)
{
    if (cbw->looking) {
        cbw->look_again = true;
        return;
    }
    cbw->looking = true;
    do {
        cbw->look_again = false;
        list_for_each(cr, &cbw->waiting, struct cbw_req, link) {
            if (!guest_may_pass(cbw, cr))
                continue;
            finish_guest(cr);
            cbw->look_again = true;
            break;
        }
    } while (cbw->look_again);
    cbw->looking = false;
}

static void guest_copied(struct copy *copy, const struct copy_range *range)
{
    struct cbw *cbw = copy_owner(copy);
    struct guest_claim *gc = (void *)(uintptr_t)range->cookie;
    struct cbw_req *cr = gc->owner;

    cr->copies--;
    if (range->result < 0 && cr->result == 0)
        cr->result = range->result;
    if (range->result == 0)
        cbw->guest_bytes += range->len;
    cbw_release(cbw, &gc->claim, range->result == 0);
    xfree(gc);
    cbw->options.guest_ended(cbw->options.owner);
}

struct cbw *cbw_open(struct node *filter, const struct cbw_options *options)
{
    struct cbw *cbw = NEW(struct cbw);
    struct cbw_node *state = filter->state;

    cbw->filter = filter;
    cbw->options = *options;
    cbw->todo = options->todo;
    list_init(&cbw->waiting);
    extent_set_init(&cbw->claims);
    cbw->copy =
        copy_new(graph_reactor(filter->graph), &(struct copy_options){
                                                   .source = options->source,
                                                   .target = options->target,
                                                   .chunk_bytes = chunk_of(cbw),
                                                   .max_bytes = CBW_GUEST_INFLIGHT * chunk_of(cbw),
                                                   .max_inflight = CBW_GUEST_INFLIGHT,
                                                   .use_status = options->use_status,
                                                   .detect_zeroes = options->detect_zeroes,
                                                   .top_only = options->top_only,
                                                   .unmap = options->unmap,
                                                   .write_flags = options->write_flags,
                                                   .range_done = guest_copied,
                                                   .owner = cbw,
                                               });
    state->cbw = cbw;
    return cbw;
}

void cbw_unshare_writes(struct node *filter)
{
    struct cbw_node *state = filter->state;

    state->perm.unshare_writes = true;
}

void cbw_bypass(struct cbw *cbw)
{
    struct extent *range;

    if (cbw->bypass)
        return;
    cbw->bypass = true;
    if (cbw->filter) {
        struct cbw_node *state = cbw->filter->state;

        state->cbw = NULL;
    }
    if (copy_inflight(cbw->copy) > 0)
        copy_abandon(cbw->copy);
    else
        copy_free(cbw->copy);
    cbw->copy = NULL;
    while ((range = extent_first(&cbw->claims))) {
        struct guest_claim *gc =
            container_of(container_of(range, struct cbw_claim, range), struct guest_claim, claim);

        extent_remove(&cbw->claims, range);
        hbitmap_set(cbw->todo, range->off, range->len);
        gc->owner->copies--;
        xfree(gc);
        cbw->options.guest_ended(cbw->options.owner);
    }
    list_for_each(cr, &cbw->waiting, struct cbw_req, link)
        cr->result = 0;
    cbw_look(cbw);
    check(list_empty(&cbw->waiting));
}

void cbw_free(struct cbw *cbw)
{
    if (!cbw)
        return;
    cbw_bypass(cbw);
    hbitmap_free(cbw->todo);
    xfree(cbw);
}

bool cbw_claim(struct cbw *cbw, struct cbw_claim *claim, uint64_t *cursor, uint64_t max)
{
    const uint64_t size = hbitmap_size(cbw->todo);
    uint64_t off, len;

    if (!hbitmap_next_dirty_area(cbw->todo, *cursor, size, max, &off, &len) &&
        !hbitmap_next_dirty_area(cbw->todo, 0, size, max, &off, &len))
        return false;
    hbitmap_reset(cbw->todo, off, len);
    extent_insert(&cbw->claims, &claim->range, off, len);
    *cursor = off + len;
    return true;
}

void cbw_release(struct cbw *cbw, struct cbw_claim *claim, bool done)
{
    extent_remove(&cbw->claims, &claim->range);
    if (!done)
        hbitmap_set(cbw->todo, claim->range.off, claim->range.len);
    cbw_look(cbw);
}

const struct hbitmap *cbw_todo(const struct cbw *cbw) { return cbw->todo; }

bool cbw_finished(const struct cbw *cbw)
{
    return extent_set_empty(&cbw->claims) && !hbitmap_any(cbw->todo);
}

uint64_t cbw_guest_bytes(const struct cbw *cbw) { return cbw->guest_bytes; }

/* ---- The filter ---- */

static void filter_submit(struct node *node, struct req *req)
{
    struct cbw_node *state = node->state;
    struct cbw *cbw = state->cbw;
    struct cbw_req *cr = req->ctx;

    cr->parent = req;
    cr->copies = 0;
    cr->result = 0;
    if (cbw && (req->kind == REQ_WRITE || req->kind == REQ_ZERO || req->kind == REQ_DISCARD) &&
        !(req->flags & REQ_UNCHANGED) && !guest_may_pass(cbw, cr)) {
        list_add_tail(&cbw->waiting, &cr->link);
        return;
    }
    pass(cr);
}

static void filter_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct cbw_node *state = node->state;

    if (state->cbw)
        state->cbw->filter = NULL;
    done(arg, NULL);
}

const struct driver driver_cbw = {
    .name = "copy-before-write",
    .is_filter = true,
    .state_size = sizeof(struct cbw_node),
    .req_size = sizeof(struct cbw_req),
    .submit = filter_submit,
    .child_perm = filter_child_perm,
    .close = filter_close,
};
