/*
 * Creating, applying, deleting and showing internal snapshots ("Snapshots" in the format specification).
 *
 * The first three are plans of shadow.h: the whole change is published by one header write, so that an image never has
 * half a snapshot, and no cluster leaks.
 *
 *   create  everything that the active table refers to counts once more; the tables behind the disk (the state of the
 *           VM) move to the snapshot and leave the active table
 *   apply   what the snapshot refers to counts once more, what the active table referred to once less; the active
 *           table becomes a copy of the snapshot's
 *   delete  what the snapshot refers to counts once less
 */

#include "emu/storage/drivers/qcow2/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/shadow.h"
#include "emu/storage/drivers/qcow2/shadow_tree.h"

enum { BUFFER_ALIGN = 4096 };

/* What the plan does next. */
enum change_stage {
    CHANGE_BEGIN,
    CHANGE_READ_L1,     /* The snapshot's L1 table is being read. */
    CHANGE_COUNT_UP,    /* What will be referred to once more. */
    CHANGE_COUNT_DOWN,  /* What will be referred to once less. */
    CHANGE_FLAG,        /* COPIED flags of the active tables. */
    CHANGE_TABLE,       /* The snapshot table. */
};

struct change {
    struct qcow2_shadow s;
    struct qcow2_tree tree;
    enum { CREATE, APPLY, REMOVE } kind;
    enum change_stage stage;
    size_t index;               /* Of the snapshot in q->snapshots. */
    struct qcow2_snapshot made; /* CREATE; owned until it is in the list. */
    uint64_t *l1;               /* owned; the snapshot's L1 table, in host byte order. */
    uint32_t l1_count;
    uint8_t *raw; /* owned; the same as on disk. */
    graph_done_fn *done;
    void *arg;
};

static struct change *change_of(struct qcow2_shadow *s)
{
    return container_of(s, struct change, s);
}

uint32_t qcow2_vmstate_index(const struct qcow2 *q)
{
    return (uint32_t)div_round_up(q->header.fields.size,
                                  BIT64(q->geo.l2_bits + q->geo.cluster_bits));
}

/* ---- Planning ---- */

static int begin_create(struct change *c)
{
    struct qcow2 *q = c->s.q;
    uint32_t keep = MIN(qcow2_vmstate_index(q), q->l1.count);
    int ret = qcow2_shadow_make_l1(&c->s, q->l1.count);

    c->l1 = try_calloc(MAX(q->l1.count, 1U), sizeof(uint64_t));
    if (ret || !c->l1)
        return -ENOMEM;
    c->l1_count = q->l1.count;
    for (uint32_t i = 0; i < q->l1.count; i++) {
        c->l1[i] = q->l1.entries[i] & ~QCOW2_COPIED;
        if (i < keep)
            c->s.l1[i] = q->l1.entries[i];
    }
    c->stage = CHANGE_COUNT_UP;
    return 0;
}

static int begin_with(struct change *c, const struct qcow2_snapshot *snapshot)
{
    uint64_t bytes = (uint64_t)snapshot->l1_size * 8;

    c->l1_count = snapshot->l1_size;
    c->raw = try_alloc_aligned(BUFFER_ALIGN, MAX(bytes, UINT64_C(1)));
    c->l1 = try_calloc(MAX(snapshot->l1_size, 1U), sizeof(uint64_t));
    if (!c->raw || !c->l1)
        return -ENOMEM;
    c->stage = CHANGE_READ_L1;
    return bytes ? qcow2_shadow_read(&c->s, snapshot->l1_offset, c->raw, bytes) : 0;
}

static void decode_l1(struct change *c)
{
    for (uint32_t i = 0; i < c->l1_count; i++)
        c->l1[i] = load_be64(c->raw + (size_t)i * 8);
}

static int l1_was_read(struct change *c)
{
    struct qcow2 *q = c->s.q;
    const struct qcow2_snapshot *snapshot = &q->snapshots.list.items[c->index];
    int ret;

    decode_l1(c);
    if (c->kind == REMOVE) {
        ret = qcow2_shadow_make_l1(&c->s, q->l1.count);
        if (!ret && q->l1.count)
            memcpy(c->s.l1, q->l1.entries, q->l1.count * sizeof(uint64_t));
        c->stage = CHANGE_COUNT_DOWN;
        return ret;
    }
    c->s.fields.size = snapshot->disk_size;
    ret = qcow2_shadow_make_l1(
        &c->s, MAX(MAX(q->l1.count, c->l1_count),
                   (uint32_t)div_round_up(snapshot->disk_size,
                                          BIT64(q->geo.l2_bits + q->geo.cluster_bits))));
    if (!ret)
        memcpy(c->s.l1, c->l1, c->l1_count * sizeof(uint64_t));
    c->stage = CHANGE_COUNT_UP;
    return ret;
}

static int count_up(struct change *c)
{
    struct qcow2 *q = c->s.q;
    uint32_t count = c->kind == CREATE ? MIN(qcow2_vmstate_index(q), q->l1.count) : c->l1_count;
    int ret = qcow2_tree_count(&c->tree, c->l1, 0, count, 1);

    if (!ret)
        c->stage = c->kind == CREATE ? CHANGE_FLAG : CHANGE_COUNT_DOWN;
    return ret;
}

static int count_down(struct change *c)
{
    struct qcow2 *q = c->s.q;
    int ret = c->kind == APPLY ? qcow2_tree_count(&c->tree, q->l1.entries, 0, q->l1.count, -1)
                               : qcow2_tree_count(&c->tree, c->l1, 0, c->l1_count, -1);

    if (!ret)
        c->stage = CHANGE_FLAG;
    return ret;
}

/* The snapshot's own L1 table: placed, or given up. */
static int change_own_l1(struct change *c)
{
    struct qcow2 *q = c->s.q;
    uint64_t bytes = (uint64_t)c->l1_count * 8, room = align_up_u64(bytes, q->geo.cluster_size);
    int ret;

    if (c->kind == REMOVE)
        return qcow2_shadow_ref(&c->s, q->snapshots.list.items[c->index].l1_offset, bytes, -1);
    c->made.l1_size = c->l1_count;
    if (!bytes)
        return 0;
    c->raw = try_alloc_aligned(BUFFER_ALIGN, room);
    if (!c->raw)
        return -ENOMEM;
    memset(c->raw, 0, room);
    for (uint32_t i = 0; i < c->l1_count; i++)
        store_be64(c->raw + (size_t)i * 8, c->l1[i]);
    ret = qcow2_shadow_alloc(&c->s, room >> q->geo.cluster_bits, 1, &c->made.l1_offset);
    if (!ret)
        qcow2_shadow_piece(&c->s, (struct qcow2_piece){ c->made.l1_offset, room, c->raw, false });
    return ret;
}

/* Places the new list of snapshots; gives the old table up. */
static int change_table(struct change *c)
{
    struct qcow2_shadow *s = &c->s;
    struct qcow2 *q = s->q;
    uint8_t *table;
    uint64_t room;
    int ret = change_own_l1(c);

    if (!ret)
        ret = qcow2_shadow_ref(s, s->fields.snapshots_offset, q->snapshots.table_size, -1);
    if (ret)
        return ret;
    qcow2_snapshots_copy(&s->snapshots, &q->snapshots);
    s->has_snapshots = true;
    if (c->kind == CREATE) {
        vec_push(&s->snapshots.list, c->made);
        c->made = (struct qcow2_snapshot){ 0 };
    } else {
        qcow2_snapshot_fini(&s->snapshots.list.items[c->index]);
        vec_remove(&s->snapshots.list, c->index);
    }
    s->fields.nb_snapshots = (uint32_t)s->snapshots.list.len;
    s->fields.snapshots_offset = 0;
    if (!s->fields.nb_snapshots)
        return 0;
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

static int change_plan(struct qcow2_shadow *s)
{
    struct change *c = change_of(s);
    int ret = 0;

    while (!ret) {
        switch (c->stage) {
        case CHANGE_BEGIN:
            ret = c->kind == CREATE ? begin_create(c)
                                    : begin_with(c, &s->q->snapshots.list.items[c->index]);
            break;
        case CHANGE_READ_L1: ret = l1_was_read(c); break;
        case CHANGE_COUNT_UP: ret = count_up(c); break;
        case CHANGE_COUNT_DOWN: ret = count_down(c); break;
        case CHANGE_FLAG:
            ret = qcow2_tree_flag(&c->tree, c->kind == CREATE ? c->l1 : NULL);
            if (!ret)
                c->stage = CHANGE_TABLE;
            break;
        case CHANGE_TABLE: return c->kind == APPLY ? 0 : change_table(c);
        }
    }
    return ret;
}

/* ---- The driver's functions ---- */

static void change_published(struct qcow2_shadow *s)
{
    qcow2_snapshot_refresh(s->q);
    node_set_size(s->q->node, s->q->header.fields.size);
}

static void change_done(struct qcow2_shadow *s, struct err *err)
{
    struct change *c = change_of(s);
    graph_done_fn *done = c->done;
    void *arg = c->arg;

    qcow2_tree_fini(&c->tree);
    qcow2_snapshot_fini(&c->made);
    xfree(c->l1);
    xfree(c->raw);
    xfree(c);
    done(arg, err);
}

static const struct qcow2_shadow_ops change_ops = {
    .plan = change_plan,
    .published = change_published,
    .done = change_done,
};

static struct change *change_new(struct qcow2 *q, graph_done_fn *done, void *arg)
{
    struct change *c = NEW(struct change);

    c->s.q = q;
    c->s.ops = &change_ops;
    c->s.new_order = q->geo.refcount_order;
    c->s.punch = q->pass_discard_snapshot;
    c->tree.s = &c->s;
    c->done = done;
    c->arg = arg;
    return c;
}

static struct err *changeable(const struct qcow2 *q)
{
    if (q->read_only || q->corrupt || q->broken)
        return err_new("Image is read-only");
    if (q->header.fields.incompatible & QCOW2_INCOMPAT_DATA_FILE)
        return err_set_errnum(err_new("Operation not supported"), ENOTSUP);
    return NULL;
}

/* The id after the largest that is a number. */
static char *free_id(const struct qcow2 *q)
{
    unsigned long last = 0;

    for (size_t i = 0; i < q->snapshots.list.len; i++) {
        char *end;
        unsigned long id = strtoul(q->snapshots.list.items[i].id, &end, 10);

        last = MAX(last, *end || id == UINT64_MAX ? 0 : id);
    }
    return xasprintf("%lu", last + 1);
}

static bool find(const struct qcow2 *q, const char *id, size_t *index)
{
    for (*index = 0; *index < q->snapshots.list.len; ++*index) {
        if (str_eq(q->snapshots.list.items[*index].id, id))
            return true;
    }
    return false;
}

static void qcow2_snapshot_create(struct node *node, const struct snapshot_info *info,
                                  graph_done_fn *done, void *arg)
{
    struct qcow2 *q = qcow2_of(node);
    struct err *err = changeable(q);
    struct change *c;
    size_t index;

    if (!err && q->snapshots.list.len >= QCOW2_SNAPSHOTS_MAX)
        err = err_set_errnum(err_new("%s", strerror(EFBIG)), EFBIG);
    if (!err && info->id[0] && find(q, info->id, &index))
        err = err_set_errnum(err_new("%s", strerror(EEXIST)), EEXIST);
    if (err) {
        done(arg, err);
        return;
    }
    c = change_new(q, done, arg);
    c->kind = CREATE;
    c->made = (struct qcow2_snapshot){
        .id = info->id[0] ? xstrdup(info->id) : free_id(q),
        .name = xstrdup(info->name),
        .date_s = (uint32_t)info->date_sec,
        .date_ns = info->date_nsec,
        .vm_clock_ns = info->vm_clock_nsec,
        .vm_state_size = info->vm_state_size,
        .disk_size = q->header.fields.size,
        .icount = info->icount,
    };
    qcow2_shadow_start(&c->s);
}

static struct err *check_l1(const struct qcow2 *q, size_t index)
{
    const struct qcow2_snapshot *s = &q->snapshots.list.items[index];

    if (qcow2_snapshot_l1_ok(s, q->geo.cluster_bits))
        return NULL;
    if (s->l1_size > QCOW2_L1_BYTES_MAX / 8)
        return err_set_errnum(err_new("Snapshot L1 table too large"), EFBIG);
    return err_set_errnum(err_new("Snapshot L1 table offset invalid"), EINVAL);
}

/* Common to apply and remove: refuses, or starts. */
static void change_existing(struct node *node, const char *id, int kind, graph_done_fn *done,
                            void *arg)
{
    struct qcow2 *q = qcow2_of(node);
    struct err *err = changeable(q);
    struct change *c;
    size_t index = 0;

    if (!err && !find(q, id, &index))
        err = err_set_errnum(err_new("Can't find the snapshot"), ENOENT);
    if (!err)
        err = check_l1(q, index);
    if (!err && kind == APPLY && !list_empty(&node->bitmaps))
        err = err_set_errnum(err_new("Device has active dirty bitmaps"), EBUSY);
    if (!err && kind == APPLY &&
        (q->snapshots.list.items[index].disk_size % QCOW2_SECTOR ||
         q->snapshots.list.items[index].disk_size > INT64_MAX ||
         q->snapshots.list.items[index].disk_size >> (q->geo.l2_bits + q->geo.cluster_bits) >=
             QCOW2_L1_BYTES_MAX / 8))
        err = err_set_errnum(err_new("Snapshot '%s' has an impossible disk size of %llu bytes", id,
                                     (unsigned long long)q->snapshots.list.items[index].disk_size),
                             EINVAL);
    if (err) {
        done(arg, err);
        return;
    }
    c = change_new(q, done, arg);
    c->kind = kind;
    c->index = index;
    qcow2_shadow_start(&c->s);
}

static void qcow2_snapshot_apply(struct node *node, const char *id, graph_done_fn *done, void *arg)
{
    change_existing(node, id, APPLY, done, arg);
}

static void qcow2_snapshot_remove(struct node *node, const char *id, graph_done_fn *done, void *arg)
{
    change_existing(node, id, REMOVE, done, arg);
}

/* ---- Showing ---- */

struct showing {
    struct qcow2 *q;
    struct qcow2_table l1;
    uint8_t *raw; /* owned */
    uint32_t read; /* Entries to come from the file. */
    uint64_t size;
    struct iovec iov;
    struct req req;
    graph_done_fn *done;
    void *arg;
};

static void show_done(struct req *req)
{
    struct showing *show = container_of(req, struct showing, req);
    struct qcow2 *q = show->q;
    graph_done_fn *done = show->done;
    void *arg = show->arg;
    int result = req->result;

    if (!result) {
        qcow2_table_decode(&show->l1, show->raw, show->read);
        qcow2_table_fini(&q->l1);
        q->l1 = show->l1;
        show->l1 = (struct qcow2_table){ 0 };
        q->header.fields.size = show->size;
        node_set_size(q->node, show->size);
    }
    qcow2_table_fini(&show->l1);
    xfree(show->raw);
    xfree(show);
    done(arg, result ? err_new_errno(result, "Could not read the L1 table of the snapshot") : NULL);
}

static void qcow2_snapshot_show(struct node *node, const char *id, graph_done_fn *done, void *arg)
{
    struct qcow2 *q = qcow2_of(node);
    struct showing *show;
    const struct qcow2_snapshot *snapshot;
    struct err *err;
    uint64_t bytes;
    size_t index;

    if (!q->read_only) {
        done(arg, err_set_errnum(err_new("Device is not readonly"), EINVAL));
        return;
    }
    if (!find(q, id, &index)) {
        done(arg, err_set_errnum(err_new("Can't find the snapshot"), ENOENT));
        return;
    }
    err = check_l1(q, index);
    if (err) {
        done(arg, err);
        return;
    }
    snapshot = &q->snapshots.list.items[index];
    show = NEW(struct showing);
    *show = (struct showing){ .q = q, .size = snapshot->disk_size, .done = done, .arg = arg };
    bytes = MIN((uint64_t)snapshot->l1_size * 8,
                align_down_u64(sub_saturate_u64(q->file_size, snapshot->l1_offset), 8));
    show->read = (uint32_t)(bytes / 8);
    show->raw = try_alloc_aligned(BUFFER_ALIGN, MAX(bytes, UINT64_C(1)));
    if (!show->raw ||
        !qcow2_table_init(&show->l1,
                          MAX(snapshot->l1_size,
                              (uint32_t)div_round_up(snapshot->disk_size,
                                                     BIT64(q->geo.l2_bits + q->geo.cluster_bits))),
                          snapshot->l1_offset)) {
        show->req.result = -ENOMEM;
        show_done(&show->req);
        return;
    }
    if (!bytes) {
        show_done(&show->req);
        return;
    }
    show->iov = (struct iovec){ show->raw, bytes };
    req_submit_part(&show->req, node->file, REQ_READ, 0, snapshot->l1_offset, bytes,
                    iov_view(&show->iov, 1), show_done);
}

/* ---- The list ---- */

void qcow2_snapshot_refresh(struct qcow2 *q)
{
    size_t n = q->snapshots.list.len;

    xfree(q->snapshot_infos);
    q->snapshot_infos = n ? NEW_ARRAY(struct snapshot_info, n) : NULL;
    for (size_t i = 0; i < n; i++)
        qcow2_snapshot_info(&q->snapshots.list.items[i], &q->snapshot_infos[i]);
}

static size_t qcow2_snapshot_list(struct node *node, const struct snapshot_info **out)
{
    struct qcow2 *q = qcow2_of(node);

    if (!q->snapshot_infos)
        qcow2_snapshot_refresh(q);
    *out = q->snapshot_infos;
    return q->snapshots.list.len;
}

const struct snapshot_ops qcow2_snapshot_ops = {
    .list = qcow2_snapshot_list,
    .create = qcow2_snapshot_create,
    .apply = qcow2_snapshot_apply,
    .remove = qcow2_snapshot_remove,
    .show = qcow2_snapshot_show,
    .submit_vmstate = qcow2_submit_vmstate,
};
