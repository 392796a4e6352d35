/*
 * Opening: reads the header and the name of the backing file; a writable image that says NEED_CHECK is repaired, and
 * unknown autoclear bits are cleared. And the functions that change the header.
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qed/qed.h"

enum { SECTOR = 512, HEADER_READ = 4096 };

enum open_phase {
    OPEN_HEADER,
    OPEN_BACKING, /* The name of the backing file is being read. */
    OPEN_REPAIR,  /* Only when the image is writable and says NEED_CHECK. */
    OPEN_UPDATE,  /* The header is being written. */
    OPEN_DONE,
};

struct opening {
    struct node *node;
    struct qed *q;
    unsigned flags;
    driver_done_fn *done;
    void *arg;
    enum open_phase phase;
    uint8_t *buf; /* owned; HEADER_READ bytes. */
    struct iovec iov;
    struct req req;
    struct check_result check;
};

static void open_enter(struct opening *o, enum open_phase phase);

static void open_end(struct opening *o, struct err *err)
{
    driver_done_fn *done = o->done;
    void *arg = o->arg;

    if (err)
        sparse_fini(&o->q->sparse);
    xfree(o->check.report);
    xfree(o->buf);
    xfree(o);
    done(arg, err);
}

static struct err *take_header(struct opening *o)
{
    struct qed *q = o->q;
    struct sparse *s = &q->sparse;
    uint64_t file_size = o->node->file->node->size;

    TRY(qed_header_parse(&q->header, o->buf, file_size));
    s->node = o->node;
    s->file = o->node->file;
    s->size = q->header.image_size;
    s->block_size = q->header.cluster_size;
    s->ops = &qed_sparse_ops;
    s->can_zero = s->explicit_zero = true;
    s->fresh_from = align_up_u64(file_size, q->header.cluster_size);
    q->levels = (struct levels){
        .s = s,
        .l1_offset = q->header.l1_offset,
        .l1_words = qed_table_words(&q->header),
        .l2_words = qed_table_words(&q->header),
        .l2_bytes = qed_table_words(&q->header) * 8,
        .align = q->header.cluster_size,
        .end = s->fresh_from,
        .table_valid = qed_table_valid,
    };
    TRY(sparse_init(s));
    sparse_adopt(s);
    o->node->size = q->header.image_size;
    return NULL;
}

static void open_read_done(struct req *req)
{
    struct opening *o = container_of(req, struct opening, req);
    const struct qed_header *h = &o->q->header;
    struct err *err = NULL;

    if (req->result) {
        open_end(o, err_new_errno(req->result, "Failed to read QED header"));
        return;
    }
    if (o->phase == OPEN_HEADER) {
        err = take_header(o);
    } else {
        o->buf[o->iov.iov_len] = 0;
        o->node->backing_name = xstrdup((const char *)o->buf);
        if (h->features & QED_BACKING_NO_PROBE)
            o->node->backing_format = xstrdup("raw");
    }
    if (err)
        open_end(o, err);
    else
        open_enter(o, o->phase + 1);
}

static void open_read(struct opening *o, uint64_t offset, uint64_t len)
{
    o->iov = (struct iovec){ o->buf, len };
    o->req = (struct req){ 0 };
    req_submit_part(&o->req, o->node->file, REQ_READ, 0, offset, len, iov_view(&o->iov, 1),
                    open_read_done);
}

static void repaired(void *arg, struct err *err)
{
    struct opening *o = arg;

    if (err)
        open_end(o, err);
    else
        open_enter(o, OPEN_UPDATE);
}

static void updated(void *arg, int result)
{
    struct opening *o = arg;

    if (result)
        open_end(o, err_new_errno(result, "Failed to update header"));
    else
        open_enter(o, OPEN_DONE);
}

/* The only writer of o->phase. */
static void open_enter(struct opening *o, enum open_phase phase)
{
    struct qed_header *h = &o->q->header;
    bool changes = !o->node->read_only && !(o->flags & NODE_OPEN_CHECK);

    o->phase = phase;
    switch (phase) {
    case OPEN_HEADER: open_read(o, 0, QED_HEADER_BYTES); return;
    case OPEN_BACKING:
        if (h->features & QED_BACKING_FILE && h->backing_len)
            open_read(o, h->backing_offset, MIN(h->backing_len, (uint32_t)QED_BACKING_NAME_MAX));
        else
            open_enter(o, OPEN_REPAIR);
        return;
    case OPEN_REPAIR:
        if (changes && h->features & QED_NEED_CHECK)
            qed_check(o->node, CHECK_FIX_ERRORS | CHECK_FIX_LEAKS, &o->check, repaired, o);
        else
            open_enter(o, OPEN_UPDATE);
        return;
    case OPEN_UPDATE:
        if (!changes || !h->autoclear_features) {
            open_enter(o, OPEN_DONE);
            return;
        }
        h->autoclear_features = 0;
        qed_write_header(o->q, updated, o);
        return;
    case OPEN_DONE: open_end(o, NULL); return;
    }
}

void qed_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done, void *arg)
{
    struct opening *o = NEW(struct opening);

    (void)opts; /* The format has no options of its own. */
    o->node = node;
    o->q = qed_of(node);
    o->flags = flags;
    o->done = done;
    o->arg = arg;
    o->buf = xcalloc(1, HEADER_READ);
    open_enter(o, OPEN_HEADER);
}

void qed_close(struct node *node, driver_done_fn *done, void *arg)
{
    sparse_close(&qed_of(node)->sparse, done, arg);
}

/* ---- Changing the header ---- */

struct header_write {
    struct qed *q;
    qed_written_fn *done;
    void *arg;
    struct meta_wait wait;
};

static void header_end(struct header_write *w, int result)
{
    qed_written_fn *done = w->done;
    void *arg = w->arg;

    xfree(w);
    done(arg, result);
}

static void header_committed(struct meta_wait *wait, int result)
{
    header_end(container_of(wait, struct header_write, wait), result);
}

/* The header goes through the metadata cache: the rest of its sector stays as it is. */
static void header_step(struct header_write *w)
{
    struct meta *meta = &w->q->sparse.meta;
    uint8_t *bytes;
    int ret = meta_edit(meta, 0, QED_HEADER_BYTES, META_ROOT, &w->wait, &bytes);

    if (ret == META_WAIT)
        return;
    if (ret) {
        header_end(w, ret);
        return;
    }
    qed_header_build(&w->q->header, bytes);
    w->wait.wake = header_committed;
    (void)meta_commit_wait(meta, &w->wait);
}

static void header_loaded(struct meta_wait *wait, int result)
{
    struct header_write *w = container_of(wait, struct header_write, wait);

    if (result)
        header_end(w, result);
    else
        header_step(w);
}

void qed_write_header(struct qed *q, qed_written_fn *done, void *arg)
{
    struct header_write *w = NEW(struct header_write);

    *w = (struct header_write){ .q = q, .done = done, .arg = arg };
    meta_wait_init(&w->wait, header_loaded);
    header_step(w);
}

/* ---- Size ---- */

struct change {
    struct node *node;
    struct qed_header old;
    driver_done_fn *done;
    void *arg;
    char *name, *format; /* owned; set_backing() */
    struct meta_wait wait;
};

static void change_end(struct change *c, struct err *err)
{
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    if (err)
        qed_of(c->node)->header = c->old;
    xfree(c->name);
    xfree(c->format);
    xfree(c);
    done(arg, err);
}

static struct change *change_new(struct node *node, driver_done_fn *done, void *arg)
{
    struct change *c = NEW(struct change);

    *c = (struct change){ .node = node, .old = qed_of(node)->header, .done = done, .arg = arg };
    return c;
}

static void resized(void *arg, int result)
{
    struct change *c = arg;
    struct qed *q = qed_of(c->node);

    if (!result) {
        q->sparse.size = q->header.image_size;
        node_set_size(c->node, q->header.image_size);
    }
    change_end(c, result ? err_new_errno(result, "Failed to update the image size") : NULL);
}

void qed_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                  driver_done_fn *done, void *arg)
{
    static const char *const modes[] = {
        [PREALLOC_OFF] = "off",
        [PREALLOC_METADATA] = "metadata",
        [PREALLOC_FALLOC] = "falloc",
        [PREALLOC_FULL] = "full",
    };
    struct qed *q = qed_of(node);
    struct qed_header *h = &q->header;
    struct err *err = NULL;

    (void)exact;
    if (prealloc != PREALLOC_OFF)
        err = err_new("Unsupported preallocation mode '%s'", modes[prealloc]);
    else if (size % SECTOR || size > qed_size_max(h->cluster_size, h->table_clusters))
        err = err_new("Invalid image size specified");
    else if (size < h->image_size)
        err = err_new("Shrinking images is currently not supported");
    if (err || size == h->image_size) {
        done(arg, err);
        return;
    }
    struct change *c = change_new(node, done, arg);

    h->image_size = size;
    qed_write_header(q, resized, c);
}

/* ---- Backing file ---- */

static void rebased(void *arg, int result)
{
    struct change *c = arg;

    if (result) {
        change_end(c, err_new_errno(result, "Could not update QED header"));
        return;
    }
    xfree(c->node->backing_name);
    xfree(c->node->backing_format);
    c->node->backing_name = c->name;
    c->node->backing_format = c->format;
    c->name = c->format = NULL;
    change_end(c, NULL);
}

/* The name is part of the header clusters; its pages are changed before the header refers to it. */
static void write_name(struct change *c)
{
    struct qed *q = qed_of(c->node);
    size_t len = c->name ? strlen(c->name) : 0;
    uint8_t *bytes = NULL;
    int ret = len ? meta_edit(&q->sparse.meta, QED_HEADER_BYTES, (uint32_t)len, META_ROOT, &c->wait,
                              &bytes)
                  : 0;

    if (ret == META_WAIT)
        return;
    if (ret) {
        rebased(c, ret);
        return;
    }
    if (len)
        memcpy(bytes, c->name, len);
    qed_write_header(q, rebased, c);
}

static void name_loaded(struct meta_wait *wait, int result)
{
    struct change *c = container_of(wait, struct change, wait);

    if (result)
        rebased(c, result);
    else
        write_name(c);
}

void qed_set_backing(struct node *node, const char *name, const char *format, driver_done_fn *done,
                     void *arg)
{
    struct qed_header *h = &qed_of(node)->header;
    struct change *c;

    if (name && !*name)
        name = NULL;
    if (node->read_only) {
        done(arg, err_new_errno(EACCES, "Could not update QED header"));
        return;
    }
    if (name &&
        (strlen(name) > QED_BACKING_NAME_MAX ||
         QED_HEADER_BYTES + strlen(name) > (uint64_t)h->header_clusters * h->cluster_size)) {
        done(arg, err_new("Backing file name too long"));
        return;
    }
    c = change_new(node, done, arg);
    c->name = xstrdup(name);
    c->format = name && format && strcmp(format, "raw") == 0 ? xstrdup("raw") : NULL;
    h->features &= ~(uint64_t)(QED_BACKING_FILE | QED_BACKING_NO_PROBE);
    if (name)
        h->features |= QED_BACKING_FILE | (c->format ? QED_BACKING_NO_PROBE : 0);
    h->backing_offset = name ? QED_HEADER_BYTES : 0;
    h->backing_len = name ? (uint32_t)strlen(name) : 0;
    meta_wait_init(&c->wait, name_loaded);
    write_name(c);
}
