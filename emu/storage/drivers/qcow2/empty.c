/*
 * Emptying a layer: the active tables are given up in one step (shadow.h), then the end of the file is cut off. What
 * snapshots and the state of a VM hold stays.
 */

#include "emu/storage/drivers/qcow2/empty.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/drivers/qcow2/l1.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/shadow_tree.h"

struct emptying {
    struct qcow2_shadow s;
    struct qcow2_tree tree;
    uint64_t file_end;
    driver_done_fn *done;
    void *arg;
};

static struct emptying *emptying_of(struct qcow2_shadow *s)
{
    return container_of(s, struct emptying, s);
}

static int empty_plan(struct qcow2_shadow *s)
{
    struct emptying *e = emptying_of(s);
    struct qcow2 *q = s->q;
    uint32_t disk =
        (uint32_t)MIN(qcow2_l1_entries_for(q, q->header.fields.size), (uint64_t)q->l1.count);

    if (!s->l1) {
        int ret = qcow2_shadow_make_l1(s, q->l1.count);

        if (ret)
            return ret;
        for (uint32_t i = disk; i < q->l1.count; i++)
            s->l1[i] = q->l1.entries[i];
    }
    return qcow2_tree_count(&e->tree, q->l1.entries, 0, disk, -1);
}

static void empty_published(struct qcow2_shadow *s)
{
    emptying_of(s)->file_end = qcow2_shadow_end(s);
}

static void empty_cut(void *arg, struct err *err)
{
    struct emptying *e = arg;
    driver_done_fn *done = e->done;
    void *done_arg = e->arg;

    if (!err)
        qcow2_file_cut(e->s.q, e->file_end);
    err_ignore(err); /* A file that keeps its length is no failure. */
    xfree(e);
    done(done_arg, NULL);
}

static void empty_done(struct qcow2_shadow *s, struct err *err)
{
    struct emptying *e = emptying_of(s);
    struct qcow2 *q = s->q;
    driver_done_fn *done = e->done;
    void *arg = e->arg;

    qcow2_tree_fini(&e->tree);
    if (!err && e->file_end < q->node->file->node->size) {
        edge_truncate(q->node->file, e->file_end, false, PREALLOC_OFF, empty_cut, e);
        return;
    }
    xfree(e);
    done(arg, err);
}

static const struct qcow2_shadow_ops empty_ops = {
    .plan = empty_plan,
    .published = empty_published,
    .done = empty_done,
};

void qcow2_make_empty(struct node *node, driver_done_fn *done, void *arg)
{
    struct qcow2 *q = qcow2_of(node);
    struct emptying *e;

    if (q->read_only || q->corrupt || q->broken) {
        done(arg, err_new("Image is read-only"));
        return;
    }
    e = NEW(struct emptying);
    e->s.q = q;
    e->s.ops = &empty_ops;
    e->s.new_order = q->geo.refcount_order;
    e->s.punch = q->pass_discard_snapshot;
    e->tree.s = &e->s;
    e->done = done;
    e->arg = arg;
    qcow2_shadow_start(&e->s);
}
