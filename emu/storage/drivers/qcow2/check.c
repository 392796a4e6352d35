/* The check machine: phases, report, comparing refcounts and COPIED flags. */

#include "emu/storage/drivers/qcow2/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/qcow2/check_image.h"
#include "emu/storage/drivers/qcow2/l2.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/refcount.h"

enum { REPORT_MAX = 1 << 20, READ_ALIGN = 4096 };

#define ULL(x) ((unsigned long long)(x))

static void check_step(struct qcow2_checking *c);

/* ---- Findings ---- */

static void add_line(struct qcow2_checking *c, const char *fmt, va_list args)
{
    if (c->report.len > REPORT_MAX)
        return;
    str_addv(&c->report, fmt, args);
    str_addc(&c->report, '\n');
}

void qcow2_check_line(struct qcow2_checking *c, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_line(c, fmt, args);
    va_end(args);
}

void qcow2_check_corrupt(struct qcow2_checking *c, const char *fmt, ...)
{
    va_list args;

    c->result->corruptions++;
    va_start(args, fmt);
    add_line(c, fmt, args);
    va_end(args);
}

static void count_one(struct qcow2_checking *c, uint64_t cluster)
{
    if (c->refs[cluster] >= MIN(c->q->geo.refcount_max, (uint64_t)UINT32_MAX)) {
        qcow2_check_corrupt(c, "ERROR: overflow cluster offset=%#llx",
                            ULL(cluster << c->q->geo.cluster_bits));
        qcow2_check_line(c, "Use qemu-img amend to increase the refcount entry width or qemu-img "
                            "convert to create a clean copy if the image cannot be opened for "
                            "writing");
        return;
    }
    c->refs[cluster]++;
    c->highest = MAX(c->highest, cluster + 1);
}

void qcow2_check_count(struct qcow2_checking *c, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = c->q;

    if (!len)
        return;
    if (offset + len > q->file_size && offset + len - q->file_size >= q->geo.cluster_size) {
        qcow2_check_corrupt(c,
                            "ERROR: counting reference for region exceeding the end of the file by "
                            "one cluster or more: offset %#llx size %#llx",
                            ULL(offset), ULL(len));
        return;
    }
    for (uint64_t cluster = offset >> q->geo.cluster_bits;
         cluster <= (offset + len - 1) >> q->geo.cluster_bits; cluster++)
        count_one(c, cluster);
}

static void check_read_done(struct req *req)
{
    struct qcow2_checking *c = container_of(req, struct qcow2_checking, req);

    c->waiting = false;
    if (req->result) {
        c->result->check_errors++;
        c->error = req->result;
    }
    check_step(c);
}

int qcow2_check_read(struct qcow2_checking *c, uint64_t offset, uint64_t len)
{
    uint64_t have = MIN(len, sub_saturate_u64(c->q->file_size, offset));

    c->buf = try_alloc_aligned(READ_ALIGN, MAX(len, UINT64_C(1)));
    c->buf_len = len;
    if (!c->buf)
        return -ENOMEM;
    memset(c->buf + have, 0, len - have);
    if (!have)
        return 0;
    c->iov = (struct iovec){ c->buf, have };
    req_submit_part(&c->req, c->q->node->file, REQ_READ, 0, offset, have, iov_view(&c->iov, 1),
                    check_read_done);
    return QCOW2_WAIT;
}

int qcow2_check_write(struct qcow2_checking *c, uint64_t offset)
{
    c->iov = (struct iovec){ c->buf, c->buf_len };
    req_submit_part(&c->req, c->q->node->file, REQ_WRITE, 0, offset, c->buf_len,
                    iov_view(&c->iov, 1), check_read_done);
    return QCOW2_WAIT;
}

/* ---- Comparing ---- */

static bool mends(const struct qcow2_checking *c, uint64_t value, uint64_t wanted)
{
    return c->phase == QCOW2_CHECK_MEND && wanted <= c->q->geo.refcount_max &&
           c->fix & (value > wanted ? CHECK_FIX_LEAKS : CHECK_FIX_ERRORS);
}

/* The refcount of one cluster; 0 where its block cannot be used. */
static int stored_count(struct qcow2_checking *c, uint64_t cluster, uint64_t *value)
{
    struct qcow2 *q = c->q;
    uint64_t block = cluster >> q->geo.refblock_bits;
    uint64_t entry = block < q->reftable.count ? q->reftable.entries[block] : 0;

    *value = 0;
    if (!entry || entry & (q->geo.cluster_size - 1) || (entry >= q->file_size && !c->rebuilt))
        return 0;
    return qcow2_refcount_get(q, cluster, &c->wait, value);
}

static int compare_one(struct qcow2_checking *c, uint64_t cluster)
{
    uint64_t value, wanted = c->refs[cluster];
    bool mend;
    int ret = stored_count(c, cluster, &value);

    if (ret)
        return ret;
    if (value)
        c->highest = MAX(c->highest, cluster + 1);
    if (value == wanted)
        return 0;
    mend = mends(c, value, wanted);
    if (mend) {
        ret = qcow2_refcount_set(c->q, cluster, wanted, &c->wait);
        if (ret)
            return ret;
    }
    if (!value)
        c->rebuild = true; /* In use and counted as free: there is more wrong than a number. */
    qcow2_check_line(c, "%s cluster %llu refcount=%llu reference=%llu",
                     mend             ? "Repairing"
                     : value > wanted ? "Leaked"
                                      : "ERROR",
                     ULL(cluster), ULL(value), ULL(wanted));
    if (value > wanted) {
        c->result->leaks++;
        c->result->leaks_fixed += mend;
    } else {
        c->result->corruptions++;
        c->result->corruptions_fixed += mend;
    }
    return 0;
}

/* Every cluster of the file, and one that begins behind its end when something refers to it. */
static int compare_all(struct qcow2_checking *c)
{
    uint64_t end = div_round_up(c->q->file_size, c->q->geo.cluster_size);

    for (end = MAX(end, MIN(c->highest, c->clusters)); c->at < end; c->at++) {
        int ret = compare_one(c, c->at);

        if (ret)
            return ret;
    }
    c->at = 0;
    return 0;
}

/* A new structure takes the place of the old one; what was that is reported as mended. */
static int rebuild(struct qcow2_checking *c)
{
    int ret;

    qcow2_check_line(c, "Rebuilding refcount structure");
    ret = qcow2_repair_rebuild(c);
    if (ret)
        return ret;
    c->rebuild = false;
    c->rebuilt = true;
    c->result->corruptions_fixed = c->result->corruptions;
    c->result->leaks_fixed = c->result->leaks;
    return 0;
}

static int compare(struct qcow2_checking *c)
{
    struct check_result *r = c->result;
    int ret;

    if (!c->at) {
        c->found_leaks = r->leaks;
        c->found_corruptions = r->corruptions;
    }
    ret = compare_all(c);
    if (ret)
        return ret;
    c->phase = QCOW2_CHECK_COPIED;
    if (!c->fix)
        return 0;
    if (c->rebuild && !(c->fix & CHECK_FIX_ERRORS)) {
        qcow2_check_line(c, "ERROR need to rebuild refcount structures");
        return -EIO;
    }
    if (c->rebuild)
        return rebuild(c);
    if (r->leaks == c->found_leaks && r->corruptions == c->found_corruptions)
        return 0;
    r->leaks = c->found_leaks;
    r->corruptions = c->found_corruptions;
    c->phase = QCOW2_CHECK_MEND;
    return 0;
}

static int mend(struct qcow2_checking *c)
{
    int ret = compare_all(c);

    if (!ret)
        c->phase = QCOW2_CHECK_COPIED;
    return ret;
}

/* Flags follow from refcounts: they are mended when those are right, or when errors are to be mended. */
static bool mends_flags(const struct qcow2_checking *c)
{
    const struct check_result *r = c->result;

    return c->fix & CHECK_FIX_ERRORS ||
           (c->fix & CHECK_FIX_LEAKS && !r->check_errors &&
            r->corruptions == r->corruptions_fixed && r->leaks == r->leaks_fixed);
}

/* Compares the COPIED flag of one word that refers to host; *word is mended when asked. name tells which it is. */
static int compare_copied(struct qcow2_checking *c, uint64_t host, uint64_t *word, const char *name)
{
    uint64_t value;
    bool mend = c->mend_flags;
    int ret;

    ret = stored_count(c, host >> c->q->geo.cluster_bits, &value);
    if (ret)
        return ret;
    if ((value == 1) == !!(*word & QCOW2_COPIED))
        return 0;
    qcow2_check_corrupt(c, "%s OFLAG_COPIED %s=%llx refcount=%llu", mend ? "Repairing" : "ERROR",
                        name, ULL(*word), ULL(value));
    if (mend) {
        *word ^= QCOW2_COPIED;
        c->result->corruptions_fixed++;
    }
    return 0;
}

/* Entry number at of the disk: its L1 entry when it is the first of a table, then itself. */
static int copied_one(struct qcow2_checking *c, uint64_t cluster, uint64_t *next)
{
    struct qcow2 *q = c->q;
    uint64_t offset = cluster << q->geo.cluster_bits, l1 = cluster >> q->geo.l2_bits,
             word = q->l1.entries[l1];
    uint64_t table = word & QCOW2_OFFSET_MASK;
    struct qcow2_entry entry, old;
    struct qcow2_l2_at at;
    int ret;

    *next = (l1 + 1) << q->geo.l2_bits;
    if (!table || word & QCOW2_L1_RESERVED || table & (q->geo.cluster_size - 1))
        return 0;
    if (c->flagged <= l1) {
        char name[64];

        snprintf(name, sizeof(name), "L2 cluster: l1_index=%llu l1_entry", ULL(l1));
        ret = compare_copied(c, table, &word, name);
        if (ret)
            return ret;
        if (word != q->l1.entries[l1])
            qcow2_table_set(&q->l1, (uint32_t)l1, word);
        c->flagged = l1 + 1;
    }
    if (table >= q->file_size)
        return 0;
    ret = qcow2_l2_get(q, offset, &c->wait, &at);
    if (ret)
        return ret;
    *next = cluster + 1;
    old = entry = qcow2_entry_load(q, at.block, at.index);
    if (entry.word & QCOW2_COMPRESSED || !qcow2_entry_host(entry) || q->external ||
        qcow2_entry_sub(q, entry, 0) == QCOW2_SUB_INVALID)
        return 0;
    qcow2_cache_pin(at.block);
    ret = compare_copied(c, qcow2_entry_host(entry), &entry.word, "data cluster: l2_entry");
    qcow2_cache_unpin(at.block);
    if (ret || entry.word == old.word)
        return ret;
    ret = qcow2_cache_edit(at.block);
    if (!ret)
        qcow2_entry_store(q, at.block, at.index, entry);
    return ret;
}

static int copied(struct qcow2_checking *c)
{
    if (!c->at)
        c->mend_flags = mends_flags(c);
    while (c->at < (uint64_t)c->q->l1.count << c->q->geo.l2_bits) {
        uint64_t next;
        int ret = copied_one(c, c->at, &next);

        if (ret)
            return ret;
        c->at = next;
    }
    c->phase = QCOW2_CHECK_COMMIT;
    return 0;
}

/* ---- The machine ---- */

static int settle(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;

    if (!q->read_only && !q->corrupt && qcow2_commit_needed(q))
        return qcow2_commit_wait(q, &c->wait);
    if (!q->read_only && !q->corrupt && !qcow2_limbo_empty(q)) {
        qcow2_wait_add(&q->limbo.idle_waiters, &c->wait);
        qcow2_limbo_work(q);
        return QCOW2_WAIT;
    }
    /* Regions may end less than a cluster behind the end of the file. */
    c->clusters = (q->file_size >> q->geo.cluster_bits) + 2;
    c->refs = try_calloc(c->clusters, sizeof(uint32_t));
    if (!c->refs)
        return -ENOMEM;
    c->result->total_clusters = div_round_up(q->header.fields.size, q->geo.cluster_size);
    qcow2_check_count(c, 0, q->geo.cluster_size);
    c->phase = QCOW2_CHECK_L1;
    return 0;
}

static int write_repairs(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;
    struct qcow2_header_fields *f = &q->header.fields;
    uint64_t clean = f->incompatible & ~(uint64_t)(QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
    const struct check_result *r = c->result;

    if (c->fix && !r->check_errors && r->corruptions == r->corruptions_fixed &&
        f->incompatible != clean) {
        f->incompatible = clean;
        q->header.dirty = true;
    }
    if (c->fix && qcow2_commit_needed(q))
        return qcow2_commit_wait(q, &c->wait);
    c->phase = QCOW2_CHECK_END;
    return 0;
}

static void check_end(struct qcow2_checking *c)
{
    driver_done_fn *done = c->done;
    struct err *err =
        c->error ? err_set_errnum(err_new("%s", strerror(-c->error)), -c->error) : NULL;
    void *arg = c->arg;

    c->result->image_end_offset = c->highest << c->q->geo.cluster_bits;
    if (c->fix)
        c->q->free_hint = 0;
    xfree(c->result->report);
    c->result->report = str_steal(&c->report);
    xfree(c->refs);
    xfree(c->l1);
    xfree(c->directory);
    xfree(c->buf);
    xfree(c);
    done(arg, err);
}

static int run_phase(struct qcow2_checking *c)
{
    switch (c->phase) {
    case QCOW2_CHECK_SETTLE: return settle(c);
    case QCOW2_CHECK_L1: return qcow2_check_l1(c);
    case QCOW2_CHECK_L2: return qcow2_check_l2(c);
    case QCOW2_CHECK_BITMAPS: return qcow2_check_bitmaps(c);
    case QCOW2_CHECK_BITMAP: return qcow2_check_bitmap(c);
    case QCOW2_CHECK_COMPARE: return compare(c);
    case QCOW2_CHECK_MEND: return mend(c);
    case QCOW2_CHECK_COPIED: return copied(c);
    case QCOW2_CHECK_COMMIT: return write_repairs(c);
    case QCOW2_CHECK_END: break;
    }
    unreachable();
}

static void check_step(struct qcow2_checking *c)
{
    if (c->stepping)
        return;
    c->stepping = true;
    while (!c->waiting && !c->error && c->phase != QCOW2_CHECK_END) {
        int ret;

        c->waiting = true; /* A wake-up may come before the call returns. */
        ret = run_phase(c);
        if (ret != QCOW2_WAIT)
            c->waiting = false;
        if (ret < 0) {
            c->error = ret;
            c->result->check_errors++;
        }
    }
    c->stepping = false;
    if (!c->waiting)
        check_end(c);
}

static void check_wake(struct qcow2_wait *wait, int result)
{
    struct qcow2_checking *c = container_of(wait, struct qcow2_checking, wait);

    c->waiting = false;
    if (result)
        c->error = result;
    check_step(c);
}

void qcow2_check(struct node *node, unsigned fix, struct check_result *result, driver_done_fn *done,
                 void *arg)
{
    struct qcow2_checking *c = NEW(struct qcow2_checking);

    c->q = qcow2_of(node);
    c->fix = c->q->read_only ? 0 : fix;
    c->result = result;
    c->done = done;
    c->arg = arg;
    qcow2_wait_init(&c->wait, check_wake);
    check_step(c);
}
