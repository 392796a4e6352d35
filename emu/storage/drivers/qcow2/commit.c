/*
 * The commit machine. commit.h tells the phases and why they come in this order.
 */

#include "emu/storage/drivers/qcow2/commit.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/trace.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum { BUFFER_ALIGN = 4096, TABLE_PIECE = 1 << 20 };

#define S(name) BIT(QCOW2_COMMIT_##name)
static const uint32_t commit_edges[QCOW2_COMMIT_PHASE_COUNT] = {
    [QCOW2_COMMIT_IDLE] = S(SESSION),
    [QCOW2_COMMIT_SESSION] = S(SESSION_FLUSH) | S(IDLE),
    [QCOW2_COMMIT_SESSION_FLUSH] = S(REF) | S(IDLE),
    [QCOW2_COMMIT_REF] = S(BARRIER) | S(IDLE),
    [QCOW2_COMMIT_BARRIER] = S(REFTABLE) | S(IDLE),
    [QCOW2_COMMIT_REFTABLE] = S(REFTABLE_FLUSH) | S(IDLE),
    [QCOW2_COMMIT_REFTABLE_FLUSH] = S(L2) | S(IDLE),
    [QCOW2_COMMIT_L2] = S(L2_FLUSH) | S(IDLE),
    [QCOW2_COMMIT_L2_FLUSH] = S(L1) | S(IDLE),
    [QCOW2_COMMIT_L1] = S(FLUSH) | S(IDLE),
    [QCOW2_COMMIT_FLUSH] = S(IDLE),
};
#undef S

static void commit_step(struct qcow2 *q);

bool qcow2_commit_init(struct qcow2 *q)
{
    struct qcow2_commit *c = &q->commit;

    list_init(&c->refs);
    list_init(&c->l2);
    list_init(&c->written);
    list_init(&c->current);
    list_init(&c->next);
    for (int i = 0; i < QCOW2_COMMIT_WINDOW; i++)
        c->io[i].q = q;
    c->sector = try_alloc_aligned(BUFFER_ALIGN, QCOW2_SECTOR);
    return c->sector != NULL;
}

void qcow2_commit_fini(struct qcow2 *q)
{
    struct qcow2_commit *c = &q->commit;

    check(c->phase == QCOW2_COMMIT_IDLE);
    reactor_undefer(&c->task);
    xfree(c->sector);
    xfree(c->header_cluster);
    c->sector = c->header_cluster = NULL;
}

static bool tables_dirty(const struct qcow2 *q)
{
    return q->l1.any_dirty || q->l1.moved || q->reftable.any_dirty || q->reftable.moved;
}

bool qcow2_commit_needed(struct qcow2 *q)
{
    if (q->read_only || q->broken)
        return false;
    if (q->commit.phase != QCOW2_COMMIT_IDLE || q->header.dirty)
        return true;
    if (q->corrupt)
        return false;
    return q->l2_cache.dirty_count || q->ref_cache.dirty_count || tables_dirty(q) ||
           !vec_empty(&q->limbo.fresh);
}

/* ---- Submitting ---- */

static void commit_io_done(struct req *req)
{
    struct qcow2_commit_io *io = container_of(req, struct qcow2_commit_io, req);
    struct qcow2_commit *c = &io->q->commit;

    io->busy = false;
    c->in_flight--;
    if (req->result && !c->result)
        c->result = req->result;
    else if (!req->result && req->kind == REQ_WRITE)
        qcow2_file_grew(io->q, req->offset + req->len);
    commit_step(io->q);
}

static struct qcow2_commit_io *free_io(struct qcow2_commit *c)
{
    for (int i = 0; i < QCOW2_COMMIT_WINDOW; i++) {
        if (!c->io[i].busy)
            return &c->io[i];
    }
    return NULL;
}

static void submit(struct qcow2 *q, struct qcow2_commit_io *io, enum req_kind kind, uint64_t offset,
                   uint64_t len, unsigned niov)
{
    io->busy = true;
    q->commit.in_flight++;
    req_submit_part(&io->req, q->node->file, kind, 0, offset, len, iov_view(io->iov, niov),
                    commit_io_done);
}

static void submit_flush(struct qcow2 *q, struct edge *edge)
{
    struct qcow2_commit_io *io = free_io(&q->commit);

    io->busy = true;
    q->commit.in_flight++;
    req_submit_part(&io->req, edge, REQ_FLUSH, 0, 0, 0, (struct iov_view){ 0 }, commit_io_done);
}

/* Blocks that are adjacent on disk go out as one write. */
static int submit_blocks(struct qcow2 *q, struct list *list, enum qcow2_owner_kind kind)
{
    struct qcow2_commit *c = &q->commit;
    struct qcow2_commit_io *io;

    while (!list_empty(list) && (io = free_io(c))) {
        uint64_t start = list_first(list, struct qcow2_block, dirty_link)->offset, end = start;
        unsigned n = 0;

        while (!list_empty(list) && n < QCOW2_COMMIT_RUN) {
            struct qcow2_block *block = list_first(list, struct qcow2_block, dirty_link);

            if (block->offset != end)
                break;
            if (!block->doomed && qcow2_owner_of(&q->owner, end >> q->geo.cluster_bits) != kind)
                return qcow2_corrupt_overlap(q, end, q->geo.slice_size);
            list_del(&block->dirty_link);
            list_add_tail(&c->written, &block->dirty_link);
            if (block->doomed)
                break;
            io->iov[n++] = (struct iovec){ block->captured_data, q->geo.slice_size };
            end += q->geo.slice_size;
        }
        if (n) {
            debug_event(q->node->file,
                        kind == QCOW2_OWNER_L2 ? "l2_update" : "refblock_update_part");
            submit(q, io, REQ_WRITE, start, end - start, n);
        }
    }
    return 0;
}

static void submit_table(struct qcow2 *q, struct qcow2_table_capture *capture)
{
    struct qcow2_commit_io *io;
    uint64_t offset;
    uint8_t *data;
    uint32_t len;

    while ((io = free_io(&q->commit)) &&
           qcow2_table_capture_next(capture, TABLE_PIECE, &offset, &data, &len)) {
        io->iov[0] = (struct iovec){ data, len };
        debug_event(q->node->file, capture == &q->commit.l1 ? "l1_update" : "reftable_update");
        submit(q, io, REQ_WRITE, offset, len, 1);
    }
}

static bool table_left(const struct qcow2_table_capture *capture)
{
    return capture->next < capture->count;
}

/* Writes the first sector (O8) with these fields; what is on disk is remembered when that worked. */
static void submit_sector(struct qcow2 *q, const uint8_t *sector,
                          const struct qcow2_header_fields *fields)
{
    struct qcow2_commit_io *io = free_io(&q->commit);

    memcpy(q->commit.sector, sector, QCOW2_SECTOR);
    qcow2_header_patch(q->commit.sector, q->header.version, fields);
    io->iov[0] = (struct iovec){ q->commit.sector, QCOW2_SECTOR };
    submit(q, io, REQ_WRITE, 0, QCOW2_SECTOR, 1);
}

static void submit_header_tail(struct qcow2 *q)
{
    struct qcow2_commit_io *io = free_io(&q->commit);
    uint64_t len = q->geo.cluster_size - QCOW2_SECTOR;

    io->iov[0] = (struct iovec){ q->commit.header_cluster + QCOW2_SECTOR, len };
    submit(q, io, REQ_WRITE, QCOW2_SECTOR, len, 1);
}

/* ---- Phases ---- */

static bool have_l2_or_later(const struct qcow2 *q)
{
    const struct qcow2_commit *c = &q->commit;

    return !list_empty(&c->l2) || c->l1.count || c->l1.moved || c->header_dirty ||
           c->reftable.count;
}

/* Starts the one-off work of a phase; pieces of the writing phases go out in pump(). */
static void commit_enter(struct qcow2 *q, enum qcow2_commit_phase to)
{
    struct qcow2_commit *c = &q->commit;

    fsm_check_edge(commit_edges, c->phase, to);
    trace(qcow2_commit_phase, "from %d to %d", c->phase, to);
    c->phase = to;
    switch (to) {
    case QCOW2_COMMIT_SESSION:
        if (c->need_session) {
            struct qcow2_header_fields fields = c->on_disk;

            fields.autoclear |= QCOW2_AUTOCLEAR_SESSION;
            submit_sector(q, q->header.sector, &fields);
        }
        break;
    case QCOW2_COMMIT_SESSION_FLUSH:
        if (c->need_session)
            submit_flush(q, q->node->file);
        break;
    case QCOW2_COMMIT_BARRIER:
        if (c->need_barrier) {
            if (q->external && q->unflushed_fill)
                submit_flush(q, q->data);
            q->unflushed_fill = false;
            submit_flush(q, q->node->file);
        }
        break;
    case QCOW2_COMMIT_REFTABLE:
        if (c->reftable.moved) {
            struct qcow2_header_fields fields = c->on_disk;

            fields.reftable_offset = c->fields.reftable_offset;
            fields.reftable_clusters = c->fields.reftable_clusters;
            submit_sector(q, q->header.sector, &fields);
        }
        break;
    case QCOW2_COMMIT_REFTABLE_FLUSH:
        if (c->reftable.count)
            submit_flush(q, q->node->file);
        break;
    case QCOW2_COMMIT_L2_FLUSH:
        if (c->l1.count || c->l1.moved || c->header_dirty)
            submit_flush(q, q->node->file);
        break;
    case QCOW2_COMMIT_L2:
        if (c->cluster_captured && c->header_tail && q->geo.cluster_size > QCOW2_SECTOR)
            submit_header_tail(q);
        break;
    case QCOW2_COMMIT_L1:
        if (c->cluster_captured)
            submit_sector(q, c->header_cluster, &c->fields);
        else if (c->header_dirty || c->l1.moved)
            submit_sector(q, q->header.sector, &c->fields);
        break;
    case QCOW2_COMMIT_FLUSH: submit_flush(q, q->node->file); break;
    case QCOW2_COMMIT_IDLE:
    case QCOW2_COMMIT_REF: break;
    case QCOW2_COMMIT_PHASE_COUNT: unreachable();
    }
}

/* Sends out more of what the phase writes. Returns whether something is left to send. */
static bool pump(struct qcow2 *q)
{
    struct qcow2_commit *c = &q->commit;
    int ret = 0;

    switch (c->phase) {
    case QCOW2_COMMIT_REF:
        ret = submit_blocks(q, &c->refs, QCOW2_OWNER_REFBLOCK);
        if (!ret && c->reftable.moved)
            submit_table(q, &c->reftable);
        break;
    case QCOW2_COMMIT_REFTABLE: submit_table(q, &c->reftable); break;
    case QCOW2_COMMIT_L2:
        ret = submit_blocks(q, &c->l2, QCOW2_OWNER_L2);
        if (!ret && c->l1.moved)
            submit_table(q, &c->l1);
        break;
    case QCOW2_COMMIT_L1: submit_table(q, &c->l1); break;
    default: return false;
    }
    if (ret && !c->result)
        c->result = ret;
    if (c->result)
        return false;
    switch (c->phase) {
    case QCOW2_COMMIT_REF:
        return !list_empty(&c->refs) || (c->reftable.moved && table_left(&c->reftable));
    case QCOW2_COMMIT_L2: return !list_empty(&c->l2) || (c->l1.moved && table_left(&c->l1));
    case QCOW2_COMMIT_REFTABLE: return table_left(&c->reftable);
    default: return table_left(&c->l1);
    }
}

static void phase_succeeded(struct qcow2 *q)
{
    struct qcow2_commit *c = &q->commit;

    if (c->phase == QCOW2_COMMIT_SESSION && c->need_session) {
        memcpy(q->header.sector, c->sector, QCOW2_SECTOR);
        c->on_disk.autoclear |= QCOW2_AUTOCLEAR_SESSION;
    }
    if (c->phase == QCOW2_COMMIT_REFTABLE && c->reftable.moved) {
        memcpy(q->header.sector, c->sector, QCOW2_SECTOR);
        c->on_disk.reftable_offset = c->fields.reftable_offset;
        c->on_disk.reftable_clusters = c->fields.reftable_clusters;
    }
    if (c->phase == QCOW2_COMMIT_L1 && (c->header_dirty || c->l1.moved)) {
        memcpy(q->header.sector, c->sector, QCOW2_SECTOR);
        c->on_disk = c->fields;
    }
}

/* Whether this commit begins or ends the time in which a crash may leave clusters that nothing refers to. */
static void capture_session(struct qcow2 *q, uint32_t refs)
{
    struct qcow2_commit *c = &q->commit;
    bool noted = c->on_disk.autoclear & QCOW2_AUTOCLEAR_SESSION;
    bool risky = refs || c->reftable.count || c->reftable.moved || !vec_empty(&q->limbo.committing);

    c->need_session = risky && !noted && q->header.version >= 3;
    if (risky || !c->end_session)
        c->fields.autoclear |= noted || c->need_session ? QCOW2_AUTOCLEAR_SESSION : 0;
    c->end_session = false;
}

static void capture(struct qcow2 *q)
{
    struct qcow2_commit *c = &q->commit;
    uint32_t refs = 0;

    c->result = 0;
    c->kicked = false;
    c->fields = q->header.fields;
    c->header_dirty = q->header.dirty;
    q->header.dirty = false;
    c->cluster_captured = !q->corrupt && c->header_cluster;
    c->need_barrier = c->need_session = false;
    list_splice_tail(&c->current, &c->next);
    if (q->corrupt) {
        /* Only the corrupt bit: nothing else in memory is to be trusted. */
        c->fields = c->on_disk;
        c->fields.incompatible |= QCOW2_INCOMPAT_CORRUPT;
        return;
    }
    if (!qcow2_table_capture(&q->reftable, &c->reftable) || !qcow2_table_capture(&q->l1, &c->l1)) {
        c->result = -ENOMEM;
        return;
    }
    refs = qcow2_cache_capture(&q->ref_cache, &c->refs);
    qcow2_cache_capture(&q->l2_cache, &c->l2);
    qcow2_limbo_captured(q);
    capture_session(q, refs);
    c->need_barrier = (refs || c->reftable.moved || q->unflushed_fill) && have_l2_or_later(q);
}

static void release(struct list *list, bool written)
{
    struct qcow2_block *block;

    while ((block = list_first(list, struct qcow2_block, dirty_link)))
        qcow2_cache_release(block, written);
}

static void commit_end(struct qcow2 *q)
{
    struct qcow2_commit *c = &q->commit;
    struct list done = LIST_INIT(done);
    int result = c->result;

    if (result) {
        q->unflushed_fill = true;
        q->header.dirty |= c->header_dirty;
        qcow2_table_uncapture(&q->l1, &c->l1);
        qcow2_table_uncapture(&q->reftable, &c->reftable);
    } else if (c->cluster_captured) {
        xfree(c->header_cluster);
        c->header_cluster = NULL;
    }
    release(&c->refs, false);
    release(&c->l2, false);
    release(&c->written, result == 0);
    qcow2_table_capture_fini(&c->l1);
    qcow2_table_capture_fini(&c->reftable);
    commit_enter(q, QCOW2_COMMIT_IDLE);
    list_splice_tail(&done, &c->current);
    qcow2_limbo_committed(q, result == 0);
    if (!list_empty(&c->next) || c->kicked)
        qcow2_commit_kick(q);
    qcow2_wait_wake_all(&done, result);
}

/* Looks what holds now and goes on; may be called at any time. */
static void commit_step(struct qcow2 *q)
{
    struct qcow2_commit *c = &q->commit;

    while (c->phase != QCOW2_COMMIT_IDLE) {
        bool left = c->result ? false : pump(q);

        if (c->in_flight || left)
            return;
        if (c->result || c->phase == QCOW2_COMMIT_FLUSH) {
            commit_end(q);
            return;
        }
        phase_succeeded(q);
        commit_enter(q, c->phase + 1);
    }
}

static void commit_start(struct task *task)
{
    struct qcow2 *q = container_of(task, struct qcow2, commit.task);

    if (q->commit.phase != QCOW2_COMMIT_IDLE)
        return;
    capture(q);
    commit_enter(q, QCOW2_COMMIT_SESSION);
    commit_step(q);
}

bool qcow2_commit_end_session(struct qcow2 *q)
{
    if (!(q->commit.on_disk.autoclear & QCOW2_AUTOCLEAR_SESSION) || q->limbo.leaked)
        return false;
    q->commit.end_session = true;
    q->header.dirty = true;
    return true;
}

struct err *qcow2_commit_header(struct qcow2 *q)
{
    struct qcow2_commit *c = &q->commit;
    struct qcow2_header *h = &q->header;
    uint8_t *cluster;
    struct err *err;

    check(!c->header_cluster);
    if (h->header_len > QCOW2_HDR_OUR_LEN + QCOW2_HDR_EXTRA_MAX)
        return err_new("The header is too long to be changed");
    cluster = try_alloc_aligned(BUFFER_ALIGN, q->geo.cluster_size);
    if (!cluster)
        return err_new_errno(ENOMEM, "Could not update qcow2 header");
    err = qcow2_header_build(h, cluster, q->geo.cluster_size, &c->header_tail);
    if (err) {
        xfree(cluster);
        return err;
    }
    c->header_cluster = cluster;
    h->dirty = true;
    return NULL;
}

void qcow2_commit_kick(struct qcow2 *q)
{
    if (q->read_only || q->broken)
        return;
    q->commit.kicked = true;
    if (q->commit.phase == QCOW2_COMMIT_IDLE)
        reactor_defer(q->reactor, &q->commit.task, commit_start);
}

int qcow2_commit_wait(struct qcow2 *q, struct qcow2_wait *wait)
{
    if (q->broken || q->read_only)
        return -EIO;
    qcow2_wait_add(&q->commit.next, wait);
    qcow2_commit_kick(q);
    return QCOW2_WAIT;
}
