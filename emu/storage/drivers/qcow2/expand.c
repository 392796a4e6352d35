/* Plans that rewrite zero clusters, the snapshot table, or refcounts of another width. */

#include "emu/storage/drivers/qcow2/expand.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/map.h"
#include "emu/storage/drivers/qcow2/l2.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/shadow.h"
#include "emu/storage/drivers/qcow2/snapshot.h"

enum { BUFFER_ALIGN = 4096 };

enum expand_stage {
    EXPAND_L1,       /* The next L1 table: the active one, then those of the snapshots. */
    EXPAND_L1_READ,
    EXPAND_L2,       /* Its next entry. */
    EXPAND_L2_READ,
    EXPAND_ENTRY,    /* Entries of the loaded L2 table. */
    EXPAND_L1_DONE,
    EXPAND_TABLE,    /* The snapshot table. */
};

struct rewriting {
    struct qcow2_shadow s;
    bool expand, changed;
    enum expand_stage stage;
    size_t table;      /* 0: active, then snapshots. */
    uint64_t *l1;      /* owned (but the active one is s.l1); in host byte order. */
    uint32_t l1_count, l1_next;
    bool l1_changed, l2_changed;
    uint8_t *raw;      /* owned; an L1 table as on disk. */
    uint8_t *l2;       /* owned; one L2 table. */
    uint32_t l2_next;
    uint8_t *zeroes;   /* owned; one cluster. */
    struct idmap moved; /* Old place of an L2 table to the new one. */
    driver_done_fn *done;
    void *arg;
};

static struct rewriting *rewriting_of(struct qcow2_shadow *s)
{
    return container_of(s, struct rewriting, s);
}

/* The active tables stay where they point; the machine moves the L1 table. */
static int keep_active(struct rewriting *w)
{
    struct qcow2 *q = w->s.q;
    int ret = qcow2_shadow_make_l1(&w->s, q->l1.count);

    if (!ret && q->l1.count)
        memcpy(w->s.l1, q->l1.entries, q->l1.count * sizeof(uint64_t));
    qcow2_snapshots_copy(&w->s.snapshots, &q->snapshots);
    w->s.has_snapshots = true;
    return ret;
}

static int next_l1(struct rewriting *w)
{
    const struct qcow2_snapshot *snapshot;
    uint64_t bytes;

    w->l1_next = 0;
    w->l1_changed = false;
    if (!w->table) {
        w->l1 = w->s.l1;
        w->l1_count = w->s.l1_count;
        w->stage = EXPAND_L2;
        return 0;
    }
    if (w->table - 1 == w->s.snapshots.list.len) {
        w->stage = EXPAND_TABLE;
        return 0;
    }
    snapshot = &w->s.snapshots.list.items[w->table - 1];
    if (!qcow2_snapshot_l1_ok(snapshot, w->s.q->geo.cluster_bits))
        return -EINVAL;
    w->l1_count = snapshot->l1_size;
    bytes = (uint64_t)w->l1_count * 8;
    w->raw = try_alloc_aligned(BUFFER_ALIGN, align_up_u64(bytes + 1, w->s.q->geo.cluster_size));
    w->l1 = try_calloc(MAX(w->l1_count, 1U), sizeof(uint64_t));
    if (!w->raw || !w->l1)
        return -ENOMEM;
    w->stage = EXPAND_L1_READ;
    return bytes ? qcow2_shadow_read(&w->s, snapshot->l1_offset, w->raw, bytes) : 0;
}

static void free_l1(struct rewriting *w)
{
    if (w->l1 != w->s.l1)
        xfree(w->l1);
    xfree(w->raw);
    w->l1 = NULL;
    w->raw = NULL;
}

/* A snapshot's table that changed gets a new place. */
static int l1_done(struct rewriting *w)
{
    struct qcow2 *q = w->s.q;
    uint64_t bytes = (uint64_t)w->l1_count * 8, room = align_up_u64(bytes, q->geo.cluster_size);
    struct qcow2_snapshot *snapshot;
    int ret;

    if (w->table && w->l1_changed) {
        snapshot = &w->s.snapshots.list.items[w->table - 1];
        ret = qcow2_shadow_ref(&w->s, snapshot->l1_offset, bytes, -1);
        if (!ret)
            ret = qcow2_shadow_alloc(&w->s, room >> q->geo.cluster_bits, 1, &snapshot->l1_offset);
        if (ret)
            return ret;
        memset(w->raw, 0, room);
        for (uint32_t i = 0; i < w->l1_count; i++)
            store_be64(w->raw + (size_t)i * 8, w->l1[i]);
        qcow2_shadow_piece(&w->s, (struct qcow2_piece){ snapshot->l1_offset, room, w->raw, true });
        w->raw = NULL;
    }
    free_l1(w);
    w->table++;
    w->stage = EXPAND_L1;
    return 0;
}

/* The next L2 table that has not been seen in another L1 table. */
static int next_l2(struct rewriting *w)
{
    struct qcow2 *q = w->s.q;
    uint64_t entry, table;
    void *moved;

    for (; w->l1_next < w->l1_count; w->l1_next++) {
        entry = w->l1[w->l1_next];
        table = entry & QCOW2_OFFSET_MASK;
        if (!table)
            continue;
        if (entry & QCOW2_L1_RESERVED || !is_aligned(table, q->geo.cluster_size))
            return qcow2_corrupt(q, "L2 table offset %#llx unaligned (L1 index: %#x)",
                                 (unsigned long long)table, w->l1_next);
        if (idmap_has(&w->moved, table)) {
            moved = idmap_get(&w->moved, table);
            w->l1_changed |= (uint64_t)(uintptr_t)moved != table;
            w->l1[w->l1_next] = (uint64_t)(uintptr_t)moved | (entry & QCOW2_COPIED);
            continue;
        }
        if (!w->l2)
            w->l2 = try_alloc_aligned(BUFFER_ALIGN, q->geo.cluster_size);
        if (!w->l2)
            return -ENOMEM;
        w->l2_next = 0;
        w->l2_changed = false;
        w->stage = EXPAND_L2_READ;
        return qcow2_shadow_read(&w->s, table, w->l2, q->geo.cluster_size);
    }
    w->stage = EXPAND_L1_DONE;
    return 0;
}

/* Takes `refs` references to an own cluster away. */
static int unref(struct rewriting *w, uint64_t offset, uint64_t refs)
{
    int ret = 0;

    for (uint64_t i = 0; !ret && i < refs; i++)
        ret = qcow2_shadow_ref(&w->s, offset, w->s.q->geo.cluster_size, -1);
    return ret;
}

/* One entry of the loaded table; QCOW2_WAIT while a cluster of zeroes is being written. */
static int expand_entry(struct rewriting *w, uint32_t i, uint64_t refs)
{
    struct qcow2 *q = w->s.q;
    struct qcow2_block block = { .data = w->l2 };
    struct qcow2_entry entry = qcow2_entry_load(q, &block, i);
    uint64_t place = 0;
    int ret = 0;

    if (entry.word & QCOW2_COMPRESSED || !(entry.word & QCOW2_ZERO))
        return 0;
    if (!is_aligned(qcow2_entry_host(entry), q->geo.cluster_size))
        return qcow2_corrupt(
            q, "Cluster allocation offset %#llx unaligned (L2 offset: %#llx, L2 index: %#x)",
            (unsigned long long)qcow2_entry_host(entry),
            (unsigned long long)(w->l1[w->l1_next] & QCOW2_OFFSET_MASK), i);
    if (qcow2_entry_host(entry))
        ret = unref(w, qcow2_entry_host(entry), refs);
    if (!ret && qcow2_has_backing(q))
        ret = qcow2_shadow_alloc(&w->s, 1, refs, &place);
    if (ret)
        return ret;
    w->l2_changed = w->changed = true;
    entry.word = place | (place && refs == 1 ? QCOW2_COPIED : 0);
    qcow2_entry_store(q, &block, i, entry);
    if (!place)
        return 0;
    if (!w->zeroes)
        w->zeroes = try_alloc_aligned(BUFFER_ALIGN, q->geo.cluster_size);
    if (!w->zeroes)
        return -ENOMEM;
    memset(w->zeroes, 0, q->geo.cluster_size);
    return qcow2_shadow_write(&w->s, place, w->zeroes, q->geo.cluster_size);
}

static int expand_l2(struct rewriting *w)
{
    struct qcow2 *q = w->s.q;
    uint64_t table = w->l1[w->l1_next] & QCOW2_OFFSET_MASK, place = table;
    uint64_t refs = qcow2_counts_get(&w->s.new, table >> q->geo.cluster_bits);
    int ret;

    while (w->l2_next < UINT32_C(1) << q->geo.l2_bits) {
        ret = expand_entry(w, w->l2_next++, refs);
        if (ret)
            return ret;
    }
    w->stage = EXPAND_L2;
    if (!w->l2_changed) {
        idmap_put(&w->moved, table, (void *)(uintptr_t)table);
        return 0;
    }
    ret = unref(w, table, refs);
    if (!ret)
        ret = qcow2_shadow_alloc(&w->s, 1, refs, &place);
    if (ret)
        return ret;
    idmap_put(&w->moved, table, (void *)(uintptr_t)place);
    return qcow2_shadow_write(&w->s, place, w->l2, q->geo.cluster_size);
}

static int write_table(struct rewriting *w)
{
    struct qcow2_shadow *s = &w->s;
    struct qcow2 *q = s->q;
    uint64_t room;
    uint8_t *table;
    int ret;

    if (!s->fields.nb_snapshots)
        return 0;
    ret = qcow2_shadow_ref(s, s->fields.snapshots_offset, q->snapshots.table_size, -1);
    if (ret)
        return ret;
    table = qcow2_snapshots_build(&s->snapshots, q->geo.cluster_size);
    if (!table)
        return -ENOMEM;
    room = align_up_u64(s->snapshots.table_size, q->geo.cluster_size);
    qcow2_shadow_piece(s, (struct qcow2_piece){ 0, room, table, true });
    if (s->snapshots.table_size > QCOW2_SNAPSHOT_TABLE_BYTES_MAX)
        return -EFBIG;
    ret = qcow2_shadow_alloc(s, room >> q->geo.cluster_bits, 1, &s->fields.snapshots_offset);
    vec_last(&s->pieces).offset = s->fields.snapshots_offset;
    return ret;
}

static int rewriting_plan(struct qcow2_shadow *s)
{
    struct rewriting *w = rewriting_of(s);
    int ret = 0;

    if (!s->l1) {
        ret = keep_active(w);
        if (!w->expand)
            w->stage = EXPAND_TABLE;
    }
    while (!ret) {
        switch (w->stage) {
        case EXPAND_L1: ret = next_l1(w); break;
        case EXPAND_L1_READ:
            for (uint32_t i = 0; i < w->l1_count; i++)
                w->l1[i] = load_be64(w->raw + (size_t)i * 8);
            w->stage = EXPAND_L2;
            break;
        case EXPAND_L2: ret = next_l2(w); break;
        case EXPAND_L2_READ: w->stage = EXPAND_ENTRY; break;
        case EXPAND_ENTRY: ret = expand_l2(w); break;
        case EXPAND_L1_DONE: ret = l1_done(w); break;
        case EXPAND_TABLE: return w->expand && !w->changed ? 0 : write_table(w);
        }
    }
    return ret;
}

static void rewriting_published(struct qcow2_shadow *s) { qcow2_snapshot_refresh(s->q); }

static void rewriting_done(struct qcow2_shadow *s, struct err *err)
{
    struct rewriting *w = rewriting_of(s);
    driver_done_fn *done = w->done;
    void *arg = w->arg;

    if (w->expand)
        err = err_prefix(err, "Failed to turn zero into data clusters: ");
    if (w->table)
        free_l1(w);
    xfree(w->l2);
    xfree(w->zeroes);
    idmap_fini(&w->moved);
    xfree(w);
    done(arg, err);
}

static const struct qcow2_shadow_ops rewriting_ops = {
    .plan = rewriting_plan,
    .published = rewriting_published,
    .done = rewriting_done,
};

static struct rewriting *rewriting_new(struct qcow2 *q, driver_done_fn *done, void *arg)
{
    struct rewriting *w = NEW(struct rewriting);

    w->s.q = q;
    w->s.ops = &rewriting_ops;
    w->s.new_order = q->geo.refcount_order;
    w->done = done;
    w->arg = arg;
    idmap_init(&w->moved);
    return w;
}

void qcow2_expand_zeroes(struct qcow2 *q, driver_done_fn *done, void *arg)
{
    struct rewriting *w = rewriting_new(q, done, arg);

    w->expand = true;
    qcow2_shadow_start(&w->s);
}

void qcow2_rewrite_snapshots(struct qcow2 *q, driver_done_fn *done, void *arg)
{
    qcow2_shadow_start(&rewriting_new(q, done, arg)->s);
}

void qcow2_change_refcount_order(struct qcow2 *q, unsigned order, driver_done_fn *done, void *arg)
{
    struct rewriting *w = rewriting_new(q, done, arg);

    w->s.new_order = order;
    qcow2_shadow_start(&w->s);
}
