/* The check machine: phases, report, comparing refcounts and COPIED flags. */

#include "emu/storage/drivers/qcow2/check.h"

#include <errno.h>
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

void qcow2_check_count(struct qcow2_checking *c, uint64_t offset, uint64_t len, const char *what)
{
    unsigned bits = c->q->geo.cluster_bits;

    if (!len)
        return;
    for (uint64_t cluster = offset >> bits; cluster <= (offset + len - 1) >> bits; cluster++) {
        if (cluster >= c->clusters) {
            qcow2_check_corrupt(
                c,
                "ERROR: counting reference for region exceeding the end of the file by one "
                "cluster or more: %s at offset %#llx size %#llx",
                what, ULL(offset), ULL(len));
            return;
        }
        if (c->refs[cluster] < UINT32_MAX)
            c->refs[cluster]++;
        c->highest = MAX(c->highest, cluster + 1);
    }
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

/* ---- Comparing ---- */

static int mend(struct qcow2_checking *c, uint64_t cluster, uint64_t value, uint64_t wanted)
{
    bool leak = value > wanted;
    int ret;

    if (!(c->fix & (leak ? CHECK_FIX_LEAKS : CHECK_FIX_ERRORS)) || c->rebuild)
        return 0;
    if (wanted > c->q->geo.refcount_max)
        return 0;
    ret = qcow2_refcount_set(c->q, cluster, wanted, &c->wait);
    if (ret == -ERANGE) {
        c->rebuild = true; /* There is no block for it. */
        return 0;
    }
    if (ret)
        return ret;
    if (leak)
        c->result->leaks_fixed++;
    else
        c->result->corruptions_fixed++;
    return 0;
}

/* Compares one cluster; the next one is *next (whole blocks that do not exist are skipped where nothing is used). */
static int compare_one(struct qcow2_checking *c, uint64_t cluster, uint64_t *next)
{
    struct qcow2 *q = c->q;
    uint64_t block = cluster >> q->geo.refblock_bits, value = 0;
    uint64_t wanted = cluster < c->clusters ? c->refs[cluster] : 0;
    uint64_t entry = block < q->reftable.count ? q->reftable.entries[block] : 0;
    bool usable = entry && !(entry & (q->geo.cluster_size - 1)) &&
                  entry >> q->geo.cluster_bits < c->clusters &&
                  (c->rebuilt || c->refs[entry >> q->geo.cluster_bits] == 1);
    int ret;

    *next = cluster + 1;
    if (!usable && cluster >= c->clusters) {
        *next = (block + 1) << q->geo.refblock_bits;
        return 0;
    }
    if (usable) {
        ret = qcow2_refcount_get(q, cluster, &c->wait, &value);
        if (ret)
            return ret;
    }
    if (value)
        c->highest = MAX(c->highest, cluster + 1);
    if (value == wanted)
        return 0;
    ret = mend(c, cluster, value, wanted);
    if (ret)
        return ret;
    qcow2_check_line(c, "%s cluster %llu refcount=%llu reference=%llu",
                     c->fix && !c->rebuild ? "Repairing"
                     : value > wanted      ? "Leaked"
                                           : "ERROR",
                     ULL(cluster), ULL(value), ULL(wanted));
    if (value > wanted)
        c->result->leaks++;
    else
        c->result->corruptions++;
    return 0;
}

static int compare(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;
    uint64_t end = MAX(c->clusters, (uint64_t)q->reftable.count << q->geo.refblock_bits);
    int ret;

    while (c->at < end) {
        uint64_t next;

        ret = compare_one(c, c->at, &next);
        if (ret)
            return ret;
        c->at = next;
    }
    if (c->rebuild && c->fix & CHECK_FIX_ERRORS) {
        ret = qcow2_repair_rebuild(c);
        if (ret)
            return ret;
        qcow2_check_line(c, "Rebuilding refcount structure");
        c->rebuild = false;
        c->rebuilt = true;
        c->result->corruptions_fixed = c->result->corruptions;
        c->result->leaks_fixed = c->result->leaks;
    }
    c->at = 0;
    c->phase = QCOW2_CHECK_COPIED;
    return 0;
}

/* Compares the COPIED flag of one word that refers to host; *word is mended when asked. */
static int compare_copied(struct qcow2_checking *c, uint64_t host, uint64_t *word, bool is_l1)
{
    uint64_t value;
    int ret;

    if (host >> c->q->geo.cluster_bits >= c->clusters)
        return 0;
    ret = qcow2_refcount_get(c->q, host >> c->q->geo.cluster_bits, &c->wait, &value);
    if (ret)
        return ret;
    if ((value == 1) == !!(*word & QCOW2_COPIED))
        return 0;
    qcow2_check_corrupt(c, "%s OFLAG_COPIED %s=%llx refcount=%llu",
                        c->fix & CHECK_FIX_ERRORS ? "Repairing" : "ERROR",
                        is_l1 ? "L2 cluster: l1_entry" : "data cluster: l2_entry", ULL(*word),
                        ULL(value));
    if (c->fix & CHECK_FIX_ERRORS) {
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
    if (!table || word & QCOW2_L1_RESERVED || table & (q->geo.cluster_size - 1) ||
        table >= q->file_size)
        return 0;
    ret = qcow2_l2_get(q, offset, &c->wait, &at);
    if (ret)
        return ret;
    if (!(cluster & ((UINT64_C(1) << q->geo.l2_bits) - 1))) {
        ret = compare_copied(c, table, &word, true);
        if (ret)
            return ret;
        if (word != q->l1.entries[l1])
            qcow2_table_set(&q->l1, (uint32_t)l1, word);
        ret = qcow2_l2_get(q, offset, &c->wait, &at);
        if (ret)
            return ret;
    }
    *next = cluster + 1;
    old = entry = qcow2_entry_load(q, at.block, at.index);
    if (entry.word & QCOW2_COMPRESSED || !qcow2_entry_host(entry) || q->external ||
        qcow2_entry_sub(q, entry, 0) == QCOW2_SUB_INVALID)
        return 0;
    qcow2_cache_pin(at.block);
    ret = compare_copied(c, qcow2_entry_host(entry), &entry.word, false);
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
    /* A cluster that begins before the end of the file belongs to it, and so may the next one, partly unwritten. */
    c->clusters = (q->file_size >> q->geo.cluster_bits) + 1;
    c->refs = try_calloc(c->clusters, sizeof(uint32_t));
    if (!c->refs)
        return -ENOMEM;
    c->result->total_clusters = div_round_up(q->header.fields.size, q->geo.cluster_size);
    qcow2_check_fixed(c);
    c->phase = QCOW2_CHECK_L1;
    return 0;
}

static int write_repairs(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;
    struct qcow2_header_fields *f = &q->header.fields;
    uint64_t clean = f->incompatible & ~(uint64_t)(QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
    const struct check_result *r = c->result;

    if (c->fix & CHECK_FIX_ERRORS && !r->check_errors && r->corruptions == r->corruptions_fixed &&
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
    struct err *err = c->error ? err_new_errno(c->error, "Check failed") : NULL;
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
