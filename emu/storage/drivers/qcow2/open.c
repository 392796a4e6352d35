/*
 * Opening: reads header, extensions, L1, refcount table and snapshot table, one after the other, each bounded
 * by the limits of format.h and by the length of the file; then, when the image is writable, sets right what
 * the format asks for (dirty bit: repair; unknown autoclear bits: clear).
 *
 * It is long because the steps of opening are one sequence over one state.
 */

#include "emu/storage/drivers/qcow2/open.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/base/log.h"
#include "emu/storage/drivers/qcow2/check_image.h"
#include "emu/storage/drivers/qcow2/options.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum {
    FIRST_READ = 4096,
    SLICE_MAX = 4096,
    CACHE_BLOCKS_MIN = 2048,
    SNAPSHOT_READ_MIN = 65536,
};

enum open_phase {
    OPEN_HEADER,     /* The first sectors are being read. */
    OPEN_EXTENSIONS, /* The rest of the header cluster. */
    OPEN_CRYPT,      /* The key of an encrypted image is being found. */
    OPEN_DATA_FILE, /* The external data file is being opened. */
    OPEN_L1,
    OPEN_REFTABLE,
    OPEN_SNAPSHOTS,
    OPEN_REPAIR,  /* The refcounts are being rebuilt. */
    OPEN_BITMAPS, /* Stored bitmaps are being read. */
    OPEN_COMMIT,  /* The header is being brought up to date. */
    OPEN_MARK,    /* Stored bitmaps are being marked as in use. */
    OPEN_DONE,
};

struct opening {
    struct node *node;
    struct qcow2 *q;
    struct opts *opts;
    unsigned flags;
    driver_done_fn *done;
    void *arg;
    enum open_phase phase;
    uint8_t *buf; /* owned */
    size_t len;
    struct iovec iov;
    struct req req;
    struct qcow2_wait wait;
    struct check_result check;
    bool crashed;        /* The image was being written when its last user ended. */
    bool rewrite_header; /* An extension was dropped. */
};

static void open_enter(struct opening *o, enum open_phase phase);

static void qcow2_fini(struct qcow2 *q)
{
    qcow2_cache_fini(&q->l2_cache);
    qcow2_cache_fini(&q->ref_cache);
    qcow2_table_fini(&q->l1);
    qcow2_table_fini(&q->reftable);
    qcow2_owner_fini(&q->owner);
    qcow2_snapshots_fini(&q->snapshots);
    qcow2_bitmaps_fini(q);
    xfree(q->snapshot_infos);
    q->snapshot_infos = NULL;
    qcow2_limbo_fini(q);
    qcow2_commit_fini(q);
    qcow2_header_fini(&q->header);
    qcow2_crypt_fini(&q->crypt);
}

static void open_end(struct opening *o, struct err *err)
{
    driver_done_fn *done = o->done;
    void *arg = o->arg;

    if (err)
        qcow2_fini(o->q);
    xfree(o->check.report);
    xfree(o->buf);
    xfree(o);
    done(arg, err);
}

/* ---- Reading pieces ---- */

static void open_read_done(struct req *req);

/* Reads [offset, offset + len) into o->buf, which is made for it; zeroes behind the end of the file. */
static void open_read(struct opening *o, uint64_t offset, uint64_t len)
{
    uint64_t have = MIN(len, sub_saturate_u64(o->q->file_size, offset));

    xfree(o->buf);
    o->len = len;
    o->buf = try_calloc(1, MAX(len, UINT64_C(1)));
    if (!o->buf) {
        open_end(o, err_new_errno(ENOMEM, "Could not open qcow2 image"));
        return;
    }
    o->req.result = 0;
    if (!have) {
        open_read_done(&o->req);
        return;
    }
    o->iov = (struct iovec){ o->buf, have };
    req_submit_part(&o->req, o->node->file, REQ_READ, 0, offset, have, iov_view(&o->iov, 1),
                    open_read_done);
}

/* Tables end where the file ends: entries behind it are zero, so that a short file costs little. */
static uint64_t table_bytes(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    return align_up_u64(MIN(bytes, sub_saturate_u64(q->file_size, offset)), 8);
}

static uint64_t snapshot_bytes(const struct qcow2 *q, uint64_t wanted)
{
    uint64_t have = sub_saturate_u64(q->file_size, q->header.fields.snapshots_offset);

    return MIN(MIN(have, wanted), QCOW2_SNAPSHOT_TABLE_BYTES_MAX);
}

/* ---- What was read ---- */

void qcow2_set_geometry(struct qcow2 *q)
{
    const struct qcow2_header *h = &q->header;
    struct qcow2_geometry *geo = &q->geo;
    bool extended = h->fields.incompatible & QCOW2_INCOMPAT_EXTENDED_L2;

    geo->cluster_bits = h->cluster_bits;
    geo->cluster_size = UINT32_C(1) << h->cluster_bits;
    geo->l2_entry_size = extended ? 16 : 8;
    geo->l2_bits = h->cluster_bits - (extended ? 4 : 3);
    geo->slice_size = MIN(geo->cluster_size, (uint32_t)SLICE_MAX);
    geo->slice_entries = geo->slice_size / geo->l2_entry_size;
    geo->subs = extended ? QCOW2_SUBCLUSTERS : 1;
    geo->sub_bits = h->cluster_bits - (extended ? 5 : 0);
    geo->sub_size = UINT32_C(1) << geo->sub_bits;
    geo->refcount_order = h->fields.refcount_order;
    geo->refcount_max = bits_mask64(1U << h->fields.refcount_order);
    geo->refblock_bits = h->cluster_bits + 3 - h->fields.refcount_order;
}

/* Without its autoclear bit the bitmaps extension is not valid ("Bitmaps extension"): nothing of it is looked at. */
static void drop_untrusted_bitmaps(struct opening *o)
{
    struct qcow2_header *h = &o->q->header;

    if (!h->bitmap_count || h->fields.autoclear & QCOW2_AUTOCLEAR_BITMAPS)
        return;
    log_warn("%s", h->version < 3
                       ? "This qcow2 v2 image contains bitmaps, but they may have been modified by "
                         "software without persistent bitmap support; so now these bitmaps are "
                         "considered inconsistent"
                       : "a program lacking bitmap support modified this file, so all bitmaps are "
                         "now considered inconsistent");
    log_plain("Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix.");
    qcow2_header_set_extension(h, QCOW2_EXT_BITMAPS, NULL, 0);
    h->bitmap_count = 0;
    h->bitmap_dir_size = h->bitmap_dir_offset = 0;
    o->rewrite_header = true;
}

/* Finds out where guest data lies ("external data file bit"). */
static struct err *take_data_file(struct opening *o)
{
    struct qcow2 *q = o->q;
    struct edge *given = NULL;

    list_for_each(edge, &o->node->children, struct edge, child_link) {
        if (strcmp(edge->name, "data-file") == 0)
            given = edge;
    }
    q->external = q->header.fields.incompatible & QCOW2_INCOMPAT_DATA_FILE;
    q->data_raw = q->external && q->header.fields.autoclear & QCOW2_AUTOCLEAR_RAW;
    q->data = q->external ? given : o->node->file;
    if (!q->external && given)
        return err_new("'data-file' can only be set for images with an external data file");
    if (q->external && !given && (!q->header.data_name || !*q->header.data_name) &&
        !(o->flags & NODE_OPEN_NO_IO))
        return err_new("'data-file' is required for this image");
    if (q->data_raw && q->header.backing_name)
        log_warn("image '%s' has a backing file and a raw data file",
                 o->node->file->node->filename);
    return NULL;
}

static struct err *take_header(struct opening *o)
{
    struct qcow2 *q = o->q;
    struct qcow2_options options;
    uint64_t bytes;

    TRY(qcow2_header_parse_extensions(&q->header, o->buf, o->len));
    if (!q->header.fields.reftable_clusters && !(o->flags & NODE_OPEN_CHECK))
        return err_new("Image does not contain a reference count table");
    drop_untrusted_bitmaps(o);
    qcow2_set_geometry(q);
    TRY(take_data_file(o));
    TRY(qcow2_options_read(q, o->opts, &options));
    q->corrupt = false;
    if (q->header.fields.incompatible & QCOW2_INCOMPAT_CORRUPT && !q->read_only &&
        !(o->flags & NODE_OPEN_CHECK))
        return err_set_errnum(err_new("qcow2: Image is corrupt; cannot be opened read/write"),
                              EACCES);
    q->fresh_from = align_up_u64(q->file_size, q->geo.cluster_size);
    q->commit.on_disk = q->header.fields;
    o->crashed = q->header.fields.autoclear & QCOW2_AUTOCLEAR_SESSION;
    q->header.fields.autoclear &= ~QCOW2_AUTOCLEAR_SESSION;
    bytes = MAX((uint64_t)CACHE_BLOCKS_MIN * q->geo.slice_size, (uint64_t)q->geo.cluster_size * 4);
    if (!qcow2_commit_init(q) ||
        !qcow2_cache_init(&q->l2_cache, q, q->geo.slice_size,
                          (uint32_t)MIN(MAX(options.l2_cache, bytes) / q->geo.slice_size,
                                        (uint64_t)UINT32_MAX / 4)) ||
        !qcow2_cache_init(&q->ref_cache, q, q->geo.slice_size,
                          (uint32_t)MIN(MAX(options.refcount_cache, bytes) / q->geo.slice_size,
                                        (uint64_t)UINT32_MAX / 4)))
        return err_new_errno(ENOMEM, "Could not open qcow2 image");
    return NULL;
}

/* All metadata clusters; those named first win where an image has them overlap, and writes then find out. */
int qcow2_build_owners(struct qcow2 *q)
{
    const struct qcow2_header_fields *f = &q->header.fields;
    unsigned bits = q->geo.cluster_bits;
    int ret = qcow2_owner_add(&q->owner, 0, 1, QCOW2_OWNER_HEADER, NULL);

#define ADD(offset, len, kind)                                                                     \
    (ret = ret ? ret                                                                               \
               : qcow2_owner_add(&q->owner, (offset) >> bits,                                      \
                                 div_round_up((len), q->geo.cluster_size), QCOW2_OWNER_##kind,     \
                                 NULL))
    ADD(f->reftable_offset, (uint64_t)f->reftable_clusters << bits, REFTABLE);
    for (uint32_t i = 0; i < q->reftable.count; i++) {
        if (q->reftable.entries[i])
            ADD(q->reftable.entries[i], 1, REFBLOCK);
    }
    ADD(f->l1_offset, (uint64_t)f->l1_size * 8, L1);
    ADD(q->header.fields.snapshots_offset, q->snapshots.table_size, SNAPSHOTS);
    for (size_t i = 0; i < q->snapshots.list.len; i++) {
        if (!qcow2_snapshot_l1_ok(&q->snapshots.list.items[i], bits))
            continue; /* Found out when the snapshot is used. */
        ADD(q->snapshots.list.items[i].l1_offset, (uint64_t)q->snapshots.list.items[i].l1_size * 8,
            INACTIVE_L1);
    }
    ADD(q->header.bitmap_dir_offset, q->header.bitmap_dir_size, BITMAPS);
    ADD(q->header.luks_offset, q->header.luks_len, LUKS);
    for (uint32_t i = 0; i < q->l1.count; i++) {
        if (q->l1.entries[i] & QCOW2_OFFSET_MASK)
            ADD(q->l1.entries[i] & QCOW2_OFFSET_MASK, 1, L2);
    }
#undef ADD
    return ret;
}

static struct err *take_snapshots(struct opening *o, bool *more)
{
    struct qcow2 *q = o->q;

    TRY(qcow2_snapshots_parse(&q->snapshots, &q->header, o->buf, o->len, more));
    if (*more && o->len >= snapshot_bytes(q, UINT64_MAX))
        return err_new("Snapshot table is cut off by the end of the file");
    return NULL;
}

static void finish_setup(struct opening *o)
{
    struct qcow2 *q = o->q;
    struct node *node = o->node;

    if (qcow2_build_owners(q)) {
        open_end(o, err_new_errno(ENOMEM, "Could not open qcow2 image"));
        return;
    }
    node->size = q->header.fields.size;
    node->limits.request_alignment = 1;
    node->limits.memory_alignment = 1;
    if (q->crypt.method != QCOW2_CRYPT_NONE) {
        node->limits.request_alignment = CRYPT_SECTOR;
        node->limits.max_transfer = QCOW2_CRYPT_TRANSFER_MAX;
    }
    node->limits.zero_alignment = q->geo.sub_size;
    node->limits.discard_alignment = q->geo.cluster_size;
    node->cluster_size = q->geo.cluster_size;
    node->supported_zero_flags = q->header.version >= 3 ? REQ_MAY_UNMAP : 0;
    node->supported_write_flags = REQ_COMPRESSED;
    if (q->header.backing_name) {
        node->backing_name = xstrdup(q->header.backing_name);
        node->backing_format = xstrdup(q->header.backing_format);
    }
    open_enter(o, OPEN_REPAIR);
}

static void open_read_done(struct req *req)
{
    struct opening *o = container_of(req, struct opening, req);
    struct qcow2 *q = o->q;
    struct err *err = NULL;
    bool more = false;

    if (req->result) {
        static const char *const what[] = {
            [OPEN_HEADER] = "Could not read qcow2 header",
            [OPEN_EXTENSIONS] = "Could not read qcow2 header",
            [OPEN_L1] = "Could not read L1 table",
            [OPEN_REFTABLE] = "Could not initialize refcount handling",
            [OPEN_SNAPSHOTS] = "Could not read snapshots",
        };

        open_end(o, err_new_errno(req->result, "%s", what[o->phase]));
        return;
    }
    switch (o->phase) {
    case OPEN_HEADER: err = qcow2_header_parse(&q->header, o->buf, o->len); break;
    case OPEN_EXTENSIONS: err = take_header(o); break;
    case OPEN_L1: qcow2_table_decode(&q->l1, o->buf, (uint32_t)(o->len / 8)); break;
    case OPEN_REFTABLE: qcow2_table_decode(&q->reftable, o->buf, (uint32_t)(o->len / 8)); break;
    case OPEN_SNAPSHOTS:
        err = take_snapshots(o, &more);
        if (!err && more) {
            open_read(o, q->header.fields.snapshots_offset, snapshot_bytes(q, o->len * 4));
            return;
        }
        if (!err) {
            finish_setup(o);
            return;
        }
        break;
    case OPEN_CRYPT:
    case OPEN_DATA_FILE:
    case OPEN_REPAIR:
    case OPEN_BITMAPS:
    case OPEN_COMMIT:
    case OPEN_MARK:
    case OPEN_DONE: unreachable();
    }
    if (err)
        open_end(o, err);
    else
        open_enter(o, o->phase + 1);
}

/* ---- The machine ---- */

static void open_phase_done(void *arg, struct err *err)
{
    struct opening *o = arg;

    if (err)
        open_end(o, err);
    else
        open_enter(o, o->phase + 1);
}

/*
 * After a crash the counts were looked at: if all is well but for clusters that nothing refers to, those are freed. In
 * an image that has other faults they may belong to what cannot be seen.
 */
static void leaks_found(void *arg, struct err *err)
{
    struct opening *o = arg;
    struct check_result *r = &o->check;

    if (err || r->corruptions || r->check_errors || !r->leaks) {
        err_free(err);
        open_enter(o, OPEN_BITMAPS);
        return;
    }
    xfree(r->report);
    *r = (struct check_result){ 0 };
    qcow2_check(o->node, CHECK_FIX_LEAKS, r, open_phase_done, o);
}

static void repaired(void *arg, struct err *err)
{
    struct opening *o = arg;

    if (!err && o->check.corruptions + o->check.check_errors > o->check.corruptions_fixed)
        err = err_new("qcow2: Could not repair dirty image");
    if (err) {
        open_end(o, err);
        return;
    }
    open_enter(o, OPEN_BITMAPS);
}

static void data_file_opened(void *arg, struct err *err)
{
    struct opening *o = arg;

    list_for_each(edge, &o->node->children, struct edge, child_link) {
        if (strcmp(edge->name, "data-file") == 0)
            o->q->data = edge;
    }
    if (err)
        open_end(o, err);
    else
        open_enter(o, OPEN_L1);
}

static void open_committed(struct qcow2_wait *wait, int result)
{
    struct opening *o = container_of(wait, struct opening, wait);

    if (result)
        open_end(o, err_new_errno(result, "Could not update qcow2 header"));
    else
        open_enter(o, OPEN_MARK);
}

/* Brings the header to what it must be while we may write. */
static void update_header(struct opening *o)
{
    struct qcow2 *q = o->q;
    struct qcow2_header_fields *f = &q->header.fields;
    uint64_t autoclear =
        f->autoclear & (QCOW2_AUTOCLEAR_BITMAPS | (q->external ? QCOW2_AUTOCLEAR_RAW : 0));
    bool checking = o->flags & NODE_OPEN_CHECK;
    struct err *err;

    if (q->read_only || (f->autoclear == autoclear && !o->rewrite_header &&
                         (checking || !(f->incompatible & QCOW2_INCOMPAT_DIRTY)))) {
        open_enter(o, OPEN_MARK);
        return;
    }
    f->autoclear = autoclear;
    err = o->rewrite_header ? qcow2_commit_header(q) : NULL;
    if (err) {
        open_end(o, err);
        return;
    }
    if (!checking)
        f->incompatible &= ~(uint64_t)QCOW2_INCOMPAT_DIRTY;
    q->header.dirty = true;
    if (qcow2_commit_wait(q, &o->wait) != QCOW2_WAIT)
        open_end(o, err_new_errno(EIO, "Could not update qcow2 header"));
}

/* The only writer of o->phase. */
static void open_enter(struct opening *o, enum open_phase phase)
{
    struct qcow2 *q = o->q;
    const struct qcow2_header_fields *f = &q->header.fields;
    const unsigned no_data = NODE_OPEN_CHECK | NODE_OPEN_NO_IO;

    o->phase = phase;
    switch (phase) {
    case OPEN_HEADER: open_read(o, 0, FIRST_READ); return;
    case OPEN_EXTENSIONS: open_read(o, 0, UINT64_C(1) << q->header.cluster_bits); return;
    case OPEN_CRYPT: qcow2_crypt_open(q, o->opts, o->flags, open_phase_done, o); return;
    case OPEN_DATA_FILE:
        /* Only asked about: a name in an image of unknown origin is not followed. */
        if (q->data || o->flags & NODE_OPEN_NO_IO)
            open_enter(o, OPEN_L1);
        else
            open_child_file(o->node, q->header.data_name, "data-file", ROLE_DATA, data_file_opened,
                            o);
        return;
    case OPEN_L1:
        if (!qcow2_table_init(&q->l1, f->l1_size, f->l1_offset))
            break;
        open_read(o, f->l1_offset, table_bytes(q, f->l1_offset, (uint64_t)f->l1_size * 8));
        return;
    case OPEN_REFTABLE:
        if (!qcow2_table_init(&q->reftable, f->reftable_clusters * (q->geo.cluster_size / 8),
                              f->reftable_offset))
            break;
        open_read(o, f->reftable_offset,
                  table_bytes(q, f->reftable_offset, (uint64_t)q->reftable.count * 8));
        return;
    case OPEN_SNAPSHOTS:
        open_read(o, q->header.fields.snapshots_offset,
                  q->header.fields.nb_snapshots ? snapshot_bytes(q, SNAPSHOT_READ_MIN) : 0);
        return;
    case OPEN_REPAIR:
        if (q->read_only || o->flags & NODE_OPEN_CHECK ||
            !(f->incompatible & QCOW2_INCOMPAT_DIRTY || o->crashed)) {
            open_enter(o, OPEN_BITMAPS);
            return;
        }
        if (!(f->incompatible & QCOW2_INCOMPAT_DIRTY)) {
            qcow2_check(o->node, 0, &o->check, leaks_found, o);
            return;
        }
        qcow2_check(o->node, CHECK_FIX_ERRORS | CHECK_FIX_LEAKS, &o->check, repaired, o);
        return;
    case OPEN_BITMAPS: qcow2_bitmaps_load(q, !(o->flags & no_data), open_phase_done, o); return;
    case OPEN_COMMIT: update_header(o); return;
    case OPEN_MARK:
        if (q->read_only || o->flags & no_data)
            open_enter(o, OPEN_DONE);
        else
            qcow2_bitmaps_mark(q, open_phase_done, o);
        return;
    case OPEN_DONE: open_end(o, NULL); return;
    }
    open_end(o, err_new_errno(ENOMEM, "Could not open qcow2 image"));
}

void qcow2_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                void *arg)
{
    struct qcow2 *q = qcow2_of(node);
    struct opening *o = NEW(struct opening);

    q->node = node;
    q->reactor = graph_reactor(node->graph);
    q->file_size = node->file->node->size;
    q->read_only = node->read_only;
    q->checking = flags & NODE_OPEN_CHECK;
    list_init(&q->active);
    extent_set_init(&q->in_flight);
    qcow2_limbo_init(q);
    qcow2_exclusive_init(q);
    o->node = node;
    o->q = q;
    o->opts = opts;
    o->flags = flags;
    o->done = done;
    o->arg = arg;
    qcow2_wait_init(&o->wait, open_committed);
    open_enter(o, OPEN_HEADER);
}

/* ---- Closing ---- */

struct closing {
    struct qcow2 *q;
    bool keep; /* Only write back; the image stays open. */
    driver_done_fn *done;
    void *arg;
    struct qcow2_wait wait;
    struct task task;
    int result;
    unsigned rounds;
};

enum { CLOSE_ROUNDS_MAX = 64 }; /* Commit, free, commit: each round leaves less to do. */

static void close_end(struct closing *c)
{
    struct err *err = c->result
                          ? err_new_errno(c->result, "Could not write back the metadata of '%s'",
                                          c->q->node->filename ? c->q->node->filename : "")
                          : NULL;
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    if (!c->keep)
        qcow2_fini(c->q);
    xfree(c);
    done(arg, err);
}

/* Commits until nothing is dirty and nothing is in limbo. */
static void close_step(struct closing *c)
{
    struct qcow2 *q = c->q;

    if (!c->result && c->rounds++ < CLOSE_ROUNDS_MAX && !q->read_only && !q->broken) {
        if (qcow2_commit_needed(q)) {
            (void)!qcow2_commit_wait(q, &c->wait);
            return;
        }
        if (!q->corrupt && !qcow2_limbo_empty(q)) {
            qcow2_wait_add(&q->limbo.idle_waiters, &c->wait);
            qcow2_limbo_work(q);
            return;
        }
        if (!q->corrupt && qcow2_commit_end_session(q)) {
            (void)!qcow2_commit_wait(q, &c->wait);
            return;
        }
    }
    /* A failed commit may have left another one on its way. */
    if (q->commit.phase != QCOW2_COMMIT_IDLE || q->limbo.working || q->l2_cache.loading ||
        q->ref_cache.loading) {
        qcow2_wait_add(q->commit.phase != QCOW2_COMMIT_IDLE ? &q->commit.current
                                                            : &q->limbo.idle_waiters,
                       &c->wait);
        return;
    }
    close_end(c);
}

static void close_task(struct task *task) { close_step(container_of(task, struct closing, task)); }

static void close_wake(struct qcow2_wait *wait, int result)
{
    struct closing *c = container_of(wait, struct closing, wait);

    if (result && !c->result)
        c->result = result;
    /* Not from within the machine that has just woken us: it still uses what a close frees. */
    reactor_defer(c->q->reactor, &c->task, close_task);
}

static void close_stored(void *arg, struct err *err)
{
    struct closing *c = arg;

    if (err)
        log_error("Lost persistent bitmaps during inactivation of node '%s': %s", c->q->node->name,
                  err_text(err));
    err_free(err);
    reactor_defer(c->q->reactor, &c->task, close_task);
}

static void start_closing(struct node *node, bool keep, driver_done_fn *done, void *arg)
{
    struct closing *c = NEW(struct closing);

    c->q = qcow2_of(node);
    c->keep = keep;
    c->done = done;
    c->arg = arg;
    qcow2_wait_init(&c->wait, close_wake);
    if (c->keep || c->q->read_only || c->q->corrupt || c->q->broken)
        close_step(c);
    else
        qcow2_bitmaps_store(c->q, close_stored, c);
}

void qcow2_close(struct node *node, driver_done_fn *done, void *arg)
{
    start_closing(node, false, done, arg);
}

void qcow2_write_back(struct node *node, driver_done_fn *done, void *arg)
{
    start_closing(node, true, done, arg);
}
