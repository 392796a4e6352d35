/*
 * Changes of what is stored of bitmaps: storing, removing, marking as in use. Each has the image to itself.
 *
 * Storing never touches what is valid: data, tables and directory go to new clusters, the header is switched by a
 * commit, which makes all of it durable before (O1, O2, O8), and the old clusters go to limbo with that commit (O4).
 * Marking as in use is done in place: flags change one by one, and each of them is true at any time.
 *
 * It is long because the four changes share the machine that does one step after the other.
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/hbitmap.h"
#include "emu/base/str.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/refcount.h"

enum { WRITE_ALIGN = 4096 };

enum change_kind { CHANGE_STORE, CHANGE_REMOVE, CHANGE_MARK };

enum change_phase {
    CHANGE_BEGIN, /* Waiting for its turn. */
    CHANGE_DATA,  /* Data of the bitmap `bitmap` is being written, cluster by cluster. */
    CHANGE_TABLE, /* All of it is written; its table is being written. */
    CHANGE_DIRECTORY,
    CHANGE_NAME,   /* The backing file's name is being moved out of the way of the extension. */
    CHANGE_SWITCH, /* A commit is switching the header. */
    CHANGE_FLUSH,  /* MARK: the directory was written in place. */
};

struct change {
    struct qcow2 *q;
    enum change_kind kind;
    enum change_phase phase;
    bool over;  /* What the phase started last is all of it: it ends with that. */
    char *name; /* owned; REMOVE */
    driver_done_fn *done;
    void *arg;
    qcow2_stored_bitmaps fresh; /* Written so far; the last one may be incomplete. */
    const struct bitmap *bitmap;
    uint32_t at; /* Entry of the table of the last one of fresh. */
    uint64_t dir_offset, dir_bytes;
    uint8_t *buf; /* owned */
    struct iovec iov;
    struct req req;
    struct qcow2_wait wait;
};

static void change_run(struct change *c);

void qcow2_bitmaps_fini(struct qcow2 *q) { qcow2_stored_bitmaps_fini(&q->bitmaps.stored); }

/* ---- Places ---- */

static uint64_t clusters_of(const struct qcow2 *q, uint64_t bytes)
{
    return div_round_up(bytes, q->geo.cluster_size);
}

/* Takes the bytes at offset out of the owner map. */
static void disown(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    qcow2_owner_remove(&q->owner, offset >> q->geo.cluster_bits, clusters_of(q, bytes));
}

static MUST_USE int own(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    return qcow2_owner_add(&q->owner, offset >> q->geo.cluster_bits, clusters_of(q, bytes),
                           QCOW2_OWNER_BITMAPS, NULL);
}

static void free_place(struct qcow2 *q, uint64_t offset, uint64_t bytes, bool unused)
{
    uint64_t len = clusters_of(q, bytes) << q->geo.cluster_bits;

    if (!offset || !bytes)
        return;
    disown(q, offset, bytes);
    if (unused)
        qcow2_limbo_add_unused(q, offset, len);
    else
        qcow2_limbo_add(q, offset, len, q->pass_discard_other);
}

/* Gives up all clusters of a stored bitmap; unused: no durable directory ever named them. */
static void free_stored(struct qcow2 *q, const struct qcow2_stored_bitmap *s, bool unused)
{
    for (uint32_t i = 0; s->table && i < s->table_len; i++)
        free_place(q, s->table[i] & QCOW2_OFFSET_MASK, q->geo.cluster_size, unused);
    free_place(q, s->table_offset, (uint64_t)s->table_len * 8, unused);
}

/* ---- The end ---- */

static void change_end(struct change *c, struct err *err)
{
    struct qcow2 *q = c->q;
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    if (err) {
        vec_for_each(s, &c->fresh)
            free_stored(q, s, true);
        free_place(q, c->dir_offset, c->dir_bytes, true);
    }
    qcow2_exclusive_drop(q, &c->wait);
    qcow2_stored_bitmaps_fini(&c->fresh);
    xfree(c->buf);
    xfree(c->name);
    xfree(c);
    done(arg, err);
}

static struct err *failed(const struct change *c, int result)
{
    if (c->phase == CHANGE_DATA || c->phase == CHANGE_TABLE)
        return err_new_errno(result, "Failed to write bitmap '%s' to file", c->bitmap->name);
    if (c->phase == CHANGE_SWITCH || c->phase == CHANGE_NAME)
        return err_new_errno(result, "Failed to update bitmap extension");
    return err_new_errno(result, "Cannot update bitmap directory");
}

/* ---- Writing ---- */

static void write_done(struct req *req)
{
    struct change *c = container_of(req, struct change, req);

    if (req->result) {
        change_end(c, failed(c, req->result));
        return;
    }
    if (req->kind == REQ_WRITE) {
        qcow2_file_grew(c->q, req->offset + req->len);
        c->q->unflushed_fill = true;
    }
    c->over = c->phase != CHANGE_DATA;
    change_run(c);
}

static void write_buf(struct change *c, uint64_t offset, uint64_t len)
{
    c->req = (struct req){ 0 };
    c->iov = (struct iovec){ c->buf, len };
    req_submit_part(&c->req, c->q->node->file, REQ_WRITE, 0, offset, len, iov_view(&c->iov, 1),
                    write_done);
}

static bool make_buf(struct change *c, uint64_t len)
{
    xfree(c->buf);
    c->buf = try_alloc_aligned(WRITE_ALIGN, align_up_u64(len, WRITE_ALIGN));
    if (c->buf)
        memset(c->buf, 0, align_up_u64(len, WRITE_ALIGN));
    return c->buf != NULL;
}

/* ---- Storing one bitmap ---- */

static bool to_be_stored(const struct bitmap *bitmap)
{
    return bitmap->name && bitmap->persistent && !bitmap->inconsistent && !bitmap->read_only;
}

/* The next older bitmap to be stored, as the reference orders new ones; NULL: there are none left. */
static const struct bitmap *bitmap_after(const struct change *c)
{
    bool behind = !c->bitmap;

    list_for_each_reverse(bitmap, &c->q->node->bitmaps, struct bitmap, link) {
        if (behind && to_be_stored(bitmap))
            return bitmap;
        behind = behind || bitmap == c->bitmap;
    }
    return NULL;
}

static struct qcow2_bitmap_limits limits_of(const struct qcow2 *q)
{
    return (struct qcow2_bitmap_limits){ q->geo.cluster_bits, q->header.fields.size, UINT64_MAX };
}

static struct err *begin_bitmap(struct change *c)
{
    struct qcow2 *q = c->q;
    const struct bitmap *b = c->bitmap;
    struct qcow2_bitmap_limits limits = limits_of(q);
    struct qcow2_stored_bitmap *old = qcow2_stored_bitmap_find(&q->bitmaps.stored, b->name);
    struct qcow2_stored_bitmap s = { 0 };
    struct err *err = qcow2_bitmap_check(b->name, hbitmap_granularity(b->map), &limits);

    if (err)
        return err_prefix(err, "Bitmap '%s' doesn't satisfy the constraints: ", b->name);
    s.granularity_bits = (uint8_t)ilog2_u64(hbitmap_granularity(b->map));
    s.table_len = qcow2_bitmap_table_len(&limits, s.granularity_bits);
    s.table = try_calloc(s.table_len, sizeof(uint64_t));
    if (!s.table)
        return err_new_errno(ENOMEM, "Failed to write bitmap '%s' to file", b->name);
    s.name = xstrdup(b->name);
    s.flags = b->enabled || (b->successor && b->successor->enabled) ? QCOW2_BITMAP_AUTO : 0;
    if (old && old->extra_len) {
        s.extra = xmemdup(old->extra, old->extra_len);
        s.extra_len = old->extra_len;
        s.flags |= QCOW2_BITMAP_EXTRA_COMPATIBLE;
    }
    vec_push(&c->fresh, s);
    c->at = 0;
    return NULL;
}

/* Writes the next cluster of data that is not all zero; 0 when there is none left. */
static int write_data(struct change *c)
{
    struct qcow2 *q = c->q;
    struct qcow2_stored_bitmap *s = &vec_last(&c->fresh);
    const struct hbitmap *map = c->bitmap->map;
    uint64_t covers = (uint64_t)q->geo.cluster_size * 8 * hbitmap_granularity(map), dirty;

    for (; c->at < s->table_len; c->at++) {
        uint64_t offset = c->at * covers;
        uint64_t end = MIN(offset + covers, hbitmap_size(map));
        struct qcow2_run run;
        int ret;

        if (offset >= end || !hbitmap_next_dirty(map, offset, end, &dirty))
            continue;
        ret = qcow2_alloc_run(q, 1, false, &c->wait, &run);
        if (ret)
            return ret;
        s->table[c->at] = run.offset;
        ret = own(q, run.offset, run.len);
        if (ret || !make_buf(c, q->geo.cluster_size))
            return -ENOMEM;
        hbitmap_serialise(map, offset, end - offset, c->buf);
        c->at++;
        write_buf(c, run.offset, q->geo.cluster_size);
        return QCOW2_WAIT;
    }
    return 0;
}

static int write_table(struct change *c)
{
    struct qcow2 *q = c->q;
    struct qcow2_stored_bitmap *s = &vec_last(&c->fresh);
    uint64_t bytes = (uint64_t)s->table_len * 8;
    int ret = qcow2_alloc_region(q, clusters_of(q, bytes), &c->wait, &s->table_offset);

    if (ret)
        return ret;
    ret = own(q, s->table_offset, bytes);
    if (ret || !make_buf(c, bytes))
        return -ENOMEM;
    for (uint32_t i = 0; i < s->table_len; i++)
        store_be64(c->buf + (size_t)i * 8, s->table[i]);
    write_buf(c, s->table_offset, bytes);
    return QCOW2_WAIT;
}

/* ---- Directory and header ---- */

static bool is_replaced(const struct change *c, const char *name)
{
    return (c->name && str_eq(name, c->name)) || qcow2_stored_bitmap_find(&c->fresh, name);
}

/* What will be stored: the old ones in their order, new content where there is some, then the new ones. Borrows. */
static void new_list(const struct change *c, qcow2_stored_bitmaps *out)
{
    const qcow2_stored_bitmaps *stored = &c->q->bitmaps.stored;

    *out = (qcow2_stored_bitmaps){ 0 };
    for (size_t i = 0; i < stored->len; i++) {
        const struct qcow2_stored_bitmap *fresh =
            qcow2_stored_bitmap_find(&c->fresh, stored->items[i].name);

        if (fresh)
            vec_push(out, *fresh);
        else if (!is_replaced(c, stored->items[i].name))
            vec_push(out, stored->items[i]);
    }
    for (size_t i = 0; i < c->fresh.len; i++) {
        if (!qcow2_stored_bitmap_find(stored, c->fresh.items[i].name))
            vec_push(out, c->fresh.items[i]);
    }
}

static int write_directory(struct change *c)
{
    struct qcow2 *q = c->q;
    qcow2_stored_bitmaps list;
    int ret = 0;

    new_list(c, &list);
    c->dir_bytes = qcow2_bitmap_dir_size(&list);
    if (list.len)
        ret = list.len > QCOW2_BITMAPS_MAX || c->dir_bytes > QCOW2_BITMAP_DIR_BYTES_MAX
                  ? -EFBIG
                  : qcow2_alloc_region(q, clusters_of(q, c->dir_bytes), &c->wait, &c->dir_offset);
    if (!ret && list.len) {
        ret = own(q, c->dir_offset, c->dir_bytes);
        if (!ret && !make_buf(c, c->dir_bytes))
            ret = -ENOMEM;
        if (!ret) {
            qcow2_bitmap_dir_build(&list, c->buf);
            write_buf(c, c->dir_offset, c->dir_bytes);
            ret = QCOW2_WAIT;
        }
    }
    vec_fini(&list);
    return ret;
}

static void put_extension(struct qcow2 *q, uint32_t count, uint64_t size, uint64_t offset)
{
    uint8_t data[QCOW2_EXT_BITMAPS_LEN] = { 0 };

    store_be32(data, count);
    store_be64(data + 8, size);
    store_be64(data + 16, offset);
    qcow2_header_set_extension(&q->header, QCOW2_EXT_BITMAPS, count ? data : NULL, sizeof(data));
    q->header.bitmap_count = count;
    q->header.bitmap_dir_size = size;
    q->header.bitmap_dir_offset = offset;
    if (count)
        q->header.fields.autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
    else
        q->header.fields.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
}

/* Takes the new list over; what it replaces is freed with the next commit. */
static void take_over(struct change *c)
{
    struct qcow2 *q = c->q;
    qcow2_stored_bitmaps list;

    new_list(c, &list);
    vec_for_each(old, &q->bitmaps.stored) {
        if (is_replaced(c, old->name)) {
            free_stored(q, old, false);
            qcow2_stored_bitmap_fini(old);
        }
    }
    vec_fini(&q->bitmaps.stored);
    q->bitmaps.stored.items = list.items;
    q->bitmaps.stored.len = list.len;
    q->bitmaps.stored.cap = list.cap;
    vec_fini(&c->fresh);
    c->dir_offset = 0;
    if (c->kind == CHANGE_STORE)
        q->bitmaps.marked = false;
}

static int switch_header(struct change *c)
{
    struct qcow2 *q = c->q;
    uint32_t old_count = q->header.bitmap_count, count;
    uint64_t old_size = q->header.bitmap_dir_size, old_offset = q->header.bitmap_dir_offset;
    uint64_t autoclear = q->header.fields.autoclear;
    qcow2_stored_bitmaps list;
    struct err *err;

    if (q->commit.header_cluster)
        return qcow2_commit_wait(q, &c->wait);
    new_list(c, &list);
    count = (uint32_t)list.len;
    vec_fini(&list);
    put_extension(q, count, c->dir_bytes, c->dir_offset);
    err = qcow2_commit_header(q);
    if (err) {
        int ret = err_errnum(err) ? err_errnum(err) : EIO;

        err_free(err);
        put_extension(q, old_count, old_size, old_offset);
        q->header.fields.autoclear = autoclear;
        return -ret;
    }
    take_over(c);
    if (old_count)
        free_place(q, old_offset, old_size, false);
    c->over = true;
    return qcow2_commit_wait(q, &c->wait);
}

/* The extension grows over the place of the backing file's name: that must be elsewhere before (O8). */
static int move_name(struct change *c)
{
    struct qcow2 *q = c->q;
    struct err *err;
    int ret;

    if (q->header.bitmap_count || !c->dir_offset ||
        !qcow2_header_name_in_way(&q->header, 8 + QCOW2_EXT_BITMAPS_LEN))
        return 0;
    if (q->commit.header_cluster)
        return qcow2_commit_wait(q, &c->wait);
    q->header.name_changed = true;
    q->header.name_room = 8 + QCOW2_EXT_BITMAPS_LEN;
    err = qcow2_commit_header(q);
    ret = err ? -EIO : 0;
    err_free(err);
    c->over = true;
    return ret ? ret : qcow2_commit_wait(q, &c->wait);
}

/* ---- Marking as in use ---- */

static bool needs_mark(const struct qcow2 *q, const struct qcow2_stored_bitmap *s)
{
    return !(s->flags & QCOW2_BITMAP_IN_USE) && bitmap_find(q->node, s->name);
}

/* Writes the directory in place, if a flag has to be set. */
static int write_marks(struct change *c)
{
    struct qcow2 *q = c->q;
    bool any = false;

    vec_for_each(s, &q->bitmaps.stored) {
        if (needs_mark(q, s)) {
            s->flags |= QCOW2_BITMAP_IN_USE;
            any = true;
        }
    }
    if (!any)
        return 0;
    if (!make_buf(c, q->header.bitmap_dir_size))
        return -ENOMEM;
    qcow2_bitmap_dir_build(&q->bitmaps.stored, c->buf);
    write_buf(c, q->header.bitmap_dir_offset, q->header.bitmap_dir_size);
    return QCOW2_WAIT;
}

static int flush_marks(struct change *c)
{
    if (!c->buf)
        return 0;
    c->req = (struct req){ 0 };
    req_submit_part(&c->req, c->q->node->file, REQ_FLUSH, 0, 0, 0, (struct iov_view){ 0 },
                    write_done);
    return QCOW2_WAIT;
}

/* ---- The machine ---- */

static bool anything_to_do(const struct change *c)
{
    switch (c->kind) {
    case CHANGE_STORE: return bitmap_after(c) != NULL;
    case CHANGE_REMOVE: return qcow2_stored_bitmap_find(&c->q->bitmaps.stored, c->name) != NULL;
    case CHANGE_MARK: return c->q->bitmaps.stored.len > 0;
    }
    unreachable();
}

/* Goes on to the phase that follows c->phase, which is over. *end: there is none. */
static struct err *advance(struct change *c, bool *end)
{
    switch (c->phase) {
    case CHANGE_BEGIN:
        *end = !anything_to_do(c);
        c->phase = c->kind == CHANGE_STORE ? CHANGE_DATA : CHANGE_DIRECTORY;
        c->bitmap = *end || c->kind != CHANGE_STORE ? NULL : bitmap_after(c);
        return c->bitmap ? begin_bitmap(c) : NULL;
    case CHANGE_DATA: c->phase = CHANGE_TABLE; return NULL;
    case CHANGE_TABLE:
        c->bitmap = bitmap_after(c);
        c->phase = c->bitmap ? CHANGE_DATA : CHANGE_DIRECTORY;
        return c->bitmap ? begin_bitmap(c) : NULL;
    case CHANGE_DIRECTORY:
        c->phase = c->kind == CHANGE_MARK ? CHANGE_FLUSH : CHANGE_NAME;
        return NULL;
    case CHANGE_NAME: c->phase = CHANGE_SWITCH; return NULL;
    case CHANGE_FLUSH: c->q->bitmaps.marked = true; FALLTHROUGH;
    case CHANGE_SWITCH: *end = true; return NULL;
    }
    unreachable();
}

static int run_phase(struct change *c)
{
    switch (c->phase) {
    case CHANGE_BEGIN: return anything_to_do(c) ? qcow2_exclusive_take(c->q, &c->wait) : 0;
    case CHANGE_DATA: return write_data(c);
    case CHANGE_TABLE: return write_table(c);
    case CHANGE_DIRECTORY: return c->kind == CHANGE_MARK ? write_marks(c) : write_directory(c);
    case CHANGE_NAME: return move_name(c);
    case CHANGE_SWITCH: return switch_header(c);
    case CHANGE_FLUSH: return flush_marks(c);
    }
    unreachable();
}

static void change_run(struct change *c)
{
    struct err *err = NULL;
    bool end = false;

    while (!err && !end) {
        int ret = c->over ? 0 : run_phase(c);

        if (ret == QCOW2_WAIT)
            return;
        if (ret) {
            change_end(c, failed(c, ret));
            return;
        }
        c->over = false;
        err = advance(c, &end);
    }
    change_end(c, err);
}

static void change_wake(struct qcow2_wait *wait, int result)
{
    struct change *c = container_of(wait, struct change, wait);

    if (result)
        change_end(c, failed(c, result));
    else
        change_run(c);
}

static void change_start(struct qcow2 *q, enum change_kind kind, const char *name,
                         driver_done_fn *done, void *arg)
{
    struct change *c = NEW(struct change);

    *c = (struct change){ .q = q, .kind = kind, .name = xstrdup(name), .done = done, .arg = arg };
    qcow2_wait_init(&c->wait, change_wake);
    change_run(c);
}

void qcow2_bitmaps_mark(struct qcow2 *q, driver_done_fn *done, void *arg)
{
    change_start(q, CHANGE_MARK, NULL, done, arg);
}

void qcow2_bitmaps_store(struct qcow2 *q, driver_done_fn *done, void *arg)
{
    change_start(q, CHANGE_STORE, NULL, done, arg);
}

/* ---- For the storage core ---- */

static struct err *can_store(struct node *node, const char *name, uint32_t granularity)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_bitmap_limits limits = limits_of(q);
    uint64_t size = align_up_u64(QCOW2_BITMAP_ENTRY_FIXED + strlen(name), 8);
    uint32_t count = 1;
    struct err *err = NULL;

    list_for_each(bitmap, &node->bitmaps, struct bitmap, link) {
        if (bitmap->name && bitmap->persistent) {
            count++;
            size += align_up_u64(QCOW2_BITMAP_ENTRY_FIXED + strlen(bitmap->name), 8);
        }
    }
    if (q->header.version < 3)
        err = err_new("Cannot store dirty bitmaps in qcow2 v2 files");
    else
        err = qcow2_bitmap_check(name, granularity, &limits);
    if (!err && count > QCOW2_BITMAPS_MAX)
        err = err_new("Maximum number of persistent bitmaps is already reached");
    if (!err && size > QCOW2_BITMAP_DIR_BYTES_MAX)
        err = err_new("Not enough space in the bitmap directory");
    return err_prefix(err, "Can't make bitmap '%s' persistent in '%s': ", name, node->name);
}

static void remove_stored(struct node *node, const char *name, driver_done_fn *done, void *arg)
{
    change_start(qcow2_of(node), CHANGE_REMOVE, name, done, arg);
}

static void store(struct node *node, driver_done_fn *done, void *arg)
{
    qcow2_bitmaps_store(qcow2_of(node), done, arg);
}

static void begin_use(struct node *node, driver_done_fn *done, void *arg)
{
    qcow2_bitmaps_mark(qcow2_of(node), done, arg);
}

const struct bitmap_ops qcow2_bitmap_ops = {
    .can_store = can_store,
    .remove = remove_stored,
    .store = store,
    .begin_use = begin_use,
};

struct err *qcow2_bitmaps_check_resize(const struct qcow2 *q)
{
    for (size_t i = 0; i < q->bitmaps.stored.len; i++) {
        if (!bitmap_find(q->node, q->bitmaps.stored.items[i].name))
            return err_new(
                "Cannot resize qcow2 with persistent bitmaps that were not loaded into memory");
    }
    return NULL;
}
