/* Walks over L1 and L2 tables for shadow.h. */

#include "emu/storage/drivers/qcow2/shadow_tree.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/drivers/qcow2/l2.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum { BUFFER_ALIGN = 4096 };

void qcow2_tree_fini(struct qcow2_tree *tree)
{
    xfree(tree->buf);
    *tree = (struct qcow2_tree){ .s = tree->s };
}

static void tree_next(struct qcow2_tree *tree)
{
    tree->next++;
    tree->loaded = tree->writing = false;
}

static int tree_end(struct qcow2_tree *tree)
{
    qcow2_tree_fini(tree);
    return 0;
}

static int check_l1_entry(struct qcow2 *q, uint64_t entry, uint32_t index)
{
    uint64_t table = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_L1_RESERVED || !is_aligned(table, q->geo.cluster_size))
        return qcow2_corrupt(q, "L2 table offset %#llx unaligned (L1 index: %#x)",
                             (unsigned long long)table, index);
    return 0;
}

/* The table that the entry refers to, into tree->buf: 0, QCOW2_WAIT, -errno. */
static int load_table(struct qcow2_tree *tree, uint64_t entry, uint32_t index)
{
    struct qcow2 *q = tree->s->q;
    int ret;

    if (tree->loaded)
        return 0;
    ret = check_l1_entry(q, entry, index);
    if (ret)
        return ret;
    if (!tree->buf)
        tree->buf = try_alloc_aligned(BUFFER_ALIGN, q->geo.cluster_size);
    if (!tree->buf)
        return -ENOMEM;
    tree->loaded = true;
    return qcow2_shadow_read(tree->s, entry & QCOW2_OFFSET_MASK, tree->buf, q->geo.cluster_size);
}

static uint32_t table_entries(const struct qcow2 *q) { return UINT32_C(1) << q->geo.l2_bits; }

/* Host range that an entry counts for; *len 0: none. */
static int entry_range(struct qcow2_tree *tree, struct qcow2_entry entry, uint32_t index,
                       uint64_t *offset, uint64_t *len)
{
    struct qcow2 *q = tree->s->q;
    uint32_t packed;

    *offset = *len = 0;
    if (q->header.fields.incompatible & QCOW2_INCOMPAT_DATA_FILE)
        return 0;
    if (entry.word & QCOW2_COMPRESSED) {
        qcow2_entry_compressed(q, entry, offset, &packed);
        *len = packed;
        return 0;
    }
    *offset = qcow2_entry_host(entry);
    *len = *offset ? q->geo.cluster_size : 0;
    if (!is_aligned(*offset, q->geo.cluster_size))
        return qcow2_corrupt(q, "Cluster allocation offset %#llx unaligned (L2 index: %#x)",
                             (unsigned long long)*offset, index);
    return 0;
}

static int count_entries(struct qcow2_tree *tree, uint32_t first, int addend)
{
    struct qcow2 *q = tree->s->q;
    struct qcow2_block block = { .data = tree->buf };

    for (uint32_t i = first; i < table_entries(q); i++) {
        struct qcow2_entry entry = qcow2_entry_load(q, &block, i);
        uint64_t offset = 0, len = 0;
        int ret = entry.word ? entry_range(tree, entry, i, &offset, &len) : 0;

        if (!ret && entry.word)
            ret = qcow2_shadow_ref(tree->s, offset, len, addend);
        if (ret)
            return ret;
    }
    return 0;
}

int qcow2_tree_count(struct qcow2_tree *tree, const uint64_t *l1, uint32_t from, uint32_t count,
                     int addend)
{
    struct qcow2_shadow *s = tree->s;

    tree->next = MAX(tree->next, from);
    while (tree->next < count) {
        uint64_t entry = l1[tree->next], table = entry & QCOW2_OFFSET_MASK;
        int ret = table ? load_table(tree, entry, tree->next) : 0;

        if (!ret && table)
            ret = count_entries(tree, 0, addend);
        if (!ret && table)
            ret = qcow2_shadow_ref(s, table, s->q->geo.cluster_size, addend);
        if (ret)
            return ret;
        tree_next(tree);
    }
    return tree_end(tree);
}

/* COPIED in the loaded table as the counts want it. Returns whether anything changed. */
static bool flag_entries(struct qcow2_tree *tree)
{
    struct qcow2 *q = tree->s->q;
    struct qcow2_block block = { .data = tree->buf };
    bool changed = false;

    if (q->header.fields.incompatible & QCOW2_INCOMPAT_DATA_FILE)
        return false;
    for (uint32_t i = 0; i < table_entries(q); i++) {
        struct qcow2_entry entry = qcow2_entry_load(q, &block, i);
        uint64_t host = qcow2_entry_host(entry);
        bool sole;

        if (entry.word & QCOW2_COMPRESSED || !host)
            continue;
        sole = qcow2_counts_get(&tree->s->new, host >> q->geo.cluster_bits) == 1;
        if (sole == !!(entry.word & QCOW2_COPIED))
            continue;
        entry.word ^= QCOW2_COPIED;
        qcow2_entry_store(q, &block, i, entry);
        changed = true;
    }
    return changed;
}

/* The references to the old place of the table become references to a new one. */
static int move_table(struct qcow2_tree *tree, uint64_t table, unsigned refs)
{
    struct qcow2_shadow *s = tree->s;
    int ret = 0;

    for (unsigned i = 0; !ret && i < refs; i++)
        ret = qcow2_shadow_ref(s, table, s->q->geo.cluster_size, -1);
    return ret ? ret : qcow2_shadow_alloc(s, 1, refs, &tree->place);
}

static int flag_one(struct qcow2_tree *tree, uint64_t *twin)
{
    struct qcow2_shadow *s = tree->s;
    uint64_t *entry = &s->l1[tree->next], table = *entry & QCOW2_OFFSET_MASK;
    bool twins = twin && (twin[tree->next] & QCOW2_OFFSET_MASK) == table;
    int ret;

    if (!table)
        return 0;
    ret = load_table(tree, *entry, tree->next);
    if (ret)
        return ret;
    if (!tree->writing && flag_entries(tree)) {
        ret = move_table(tree, table, twins ? 2 : 1);
        if (ret)
            return ret;
        tree->writing = true;
        if (twins)
            twin[tree->next] = tree->place;
        *entry = table = tree->place;
    }
    *entry = table;
    if (qcow2_counts_get(&s->new, table >> s->q->geo.cluster_bits) == 1)
        *entry |= QCOW2_COPIED;
    if (!tree->writing)
        return 0;
    ret = qcow2_shadow_write(s, table, tree->buf, s->q->geo.cluster_size);
    tree_next(tree);
    return ret;
}

int qcow2_tree_flag(struct qcow2_tree *tree, uint64_t *twin)
{
    while (tree->next < tree->s->l1_count) {
        uint32_t at = tree->next;
        int ret = flag_one(tree, twin);

        if (ret)
            return ret;
        if (tree->next == at)
            tree_next(tree);
    }
    return tree_end(tree);
}

int qcow2_tree_cut(struct qcow2_tree *tree, uint32_t index, uint32_t first)
{
    struct qcow2_shadow *s = tree->s;
    struct qcow2 *q = s->q;
    uint64_t table = s->l1[index] & QCOW2_OFFSET_MASK;
    int ret;

    if (tree->writing || !table)
        return tree_end(tree);
    ret = load_table(tree, s->l1[index], index);
    if (!ret)
        ret = count_entries(tree, first, -1);
    if (!ret)
        ret = move_table(tree, table, 1);
    if (ret)
        return ret;
    memset(tree->buf + (size_t)first * q->geo.l2_entry_size, 0,
           (size_t)(table_entries(q) - first) * q->geo.l2_entry_size);
    s->l1[index] = tree->place | QCOW2_COPIED;
    tree->writing = true;
    return qcow2_shadow_write(s, tree->place, tree->buf, q->geo.cluster_size);
}
