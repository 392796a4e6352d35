/* The driver table of qcow, opening, image facts, and creating images. */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/opts.h"
#include "emu/storage/drivers/layout/layout.h"
#include "emu/storage/drivers/qcow/qcow.h"

static int qcow_probe(const uint8_t *buf, size_t len, const char *filename)
{
    (void)filename;
    return len >= QCOW_HEADER_BYTES && load_be32(buf) == QCOW_MAGIC && load_be32(buf + 4) == 1 ? 100
                                                                                               : 0;
}

/* ---- Opening ---- */

struct opening {
    struct node *node;
    unsigned flags;
    driver_done_fn *done;
    void *arg;
    uint8_t buf[QCOW_BACKING_NAME_MAX + 1]; /* The header, then the name of the backing file. */
    struct iovec iov;
    struct req req;
};

static void open_end(struct opening *o, struct err *err)
{
    driver_done_fn *done = o->done;
    void *arg = o->arg;

    if (err)
        sparse_fini(&qcow_of(o->node)->sparse);
    xfree(o);
    done(arg, err);
}

static void open_read(struct opening *o, uint64_t offset, uint64_t len, req_done_fn *done)
{
    o->iov = (struct iovec){ o->buf, len };
    o->req = (struct req){ 0 };
    req_submit_part(&o->req, o->node->file, REQ_READ, 0, offset, len, iov_view(&o->iov, 1), done);
}

static void name_read(struct req *req)
{
    struct opening *o = container_of(req, struct opening, req);

    if (req->result) {
        open_end(o, err_new_errno(req->result, "Could not open '%s'", o->node->filename));
        return;
    }
    o->buf[o->iov.iov_len] = 0;
    o->node->backing_name = xstrdup((const char *)o->buf);
    open_end(o, NULL);
}

static struct err *take_header(struct opening *o)
{
    struct node *node = o->node;
    struct qcow *q = qcow_of(node);
    struct qcow_header *h = &q->header;
    struct sparse *s = &q->sparse;

    TRY(qcow_header_parse(h, o->buf));
    if (h->crypt != QCOW_CRYPT_NONE && !(o->flags & NODE_OPEN_NO_IO))
        return err_new("AES encryption of qcow images is not supported");
    s->node = node;
    s->file = node->file;
    s->size = align_down_u64(h->size, QCOW_SECTOR);
    s->block_size = UINT32_C(1) << h->cluster_bits;
    s->ops = &qcow_sparse_ops;
    s->fresh_from = align_up_u64(node->file->node->size, s->block_size);
    q->levels = (struct levels){
        .s = s,
        .l1_offset = h->l1_offset,
        .l1_words = h->l1_words,
        .l2_words = UINT64_C(1) << h->l2_bits,
        .l2_bytes = UINT64_C(8) << h->l2_bits,
        .big_endian = true,
        .align = s->block_size,
        .end = s->fresh_from,
        .table_valid = qcow_table_valid,
    };
    TRY(sparse_init(s));
    sparse_adopt(s);
    node->supported_zero_flags = 0; /* Zeroes are written. */
    node->size = s->size;
    return NULL;
}

static void header_read(struct req *req)
{
    struct opening *o = container_of(req, struct opening, req);
    const struct qcow_header *h = &qcow_of(o->node)->header;
    struct err *err;

    err = req->result ? err_new_errno(req->result, "Could not open '%s'", o->node->filename)
                      : take_header(o);
    if (err || !h->backing_offset || !h->backing_len)
        open_end(o, err);
    else if (h->backing_offset > INT64_MAX - QCOW_BACKING_NAME_MAX)
        open_end(o, err_new("Backing file name offset is too large"));
    else
        open_read(o, h->backing_offset, h->backing_len, name_read);
}

static void qcow_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                      void *arg)
{
    struct opening *o;
    const struct json *encrypt = NULL;
    struct err *err = opts_child_opt(opts, "encrypt", &encrypt);

    if (!err && encrypt)
        err = err_new("No encryption in image header, but options specified format '%s'",
                      json_object_get_str(encrypt, "format"));
    if (err) {
        done(arg, err);
        return;
    }
    o = NEW(struct opening);
    o->node = node;
    o->flags = flags;
    o->done = done;
    o->arg = arg;
    open_read(o, 0, QCOW_HEADER_BYTES, header_read);
}

static void qcow_close(struct node *node, driver_done_fn *done, void *arg)
{
    sparse_close(&qcow_of(node)->sparse, done, arg);
}

static void qcow_facts(struct node *node, struct image_facts *facts, driver_done_fn *done,
                       void *arg)
{
    const struct qcow *q = qcow_of(node);

    facts->virtual_size = node->size;
    facts->cluster_size = q->sparse.block_size;
    facts->encrypted = q->header.crypt != QCOW_CRYPT_NONE;
    facts->backing_filename = xstrdup(node->backing_name);
    done(arg, NULL);
}

/* ---- Creating ---- */

static struct err *read_options(const struct json *options, struct qcow_header *h,
                                const char **name)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };
    const char *format = NULL;

    opts_init(&opts, options);
    TRY(opts_size(&opts, "size", &h->size));
    TRY(opts_str_opt(&opts, "backing-file", name));
    TRY(opts_str_opt(&opts, "backing-fmt", &format)); /* The format has no place for it. */
    opts_mark(&opts, "driver");
    opts_mark(&opts, "file");
    TRY(opts_check_unused(&opts));
    if (h->size == 0)
        return err_new("Image size is too small, cannot be zero length");
    if (h->size > INT64_MAX)
        return err_new("Image too large");
    if (*name && !**name)
        *name = NULL;
    if (*name && strlen(*name) > QCOW_BACKING_NAME_MAX)
        return err_new("Backing file name too long");
    return NULL;
}

/* With a backing file clusters are small, as each allocation copies what is left of one. */
void qcow_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg)
{
    struct qcow_header h = { .cluster_bits = 12, .l2_bits = 9 };
    const char *name = NULL;
    struct err *err = read_options(options, &h, &name);
    struct layout *layout;
    uint64_t end, l1_bytes;
    uint8_t *head;

    if (err) {
        done(arg, err);
        return;
    }
    if (name) {
        h.backing_offset = QCOW_HEADER_BYTES;
        h.backing_len = (uint32_t)strlen(name);
        h.cluster_bits = 9;
        h.l2_bits = 12;
    }
    h.l1_offset = align_up_u64(QCOW_HEADER_BYTES + h.backing_len, 8);
    l1_bytes = qcow_l1_words(&h) * sizeof(uint64_t);
    end = h.l1_offset + align_up_u64(l1_bytes, QCOW_SECTOR);
    head = xcalloc(1, QCOW_HEADER_BYTES + QCOW_BACKING_NAME_MAX);
    qcow_header_build(&h, head);
    if (name)
        memcpy(head + QCOW_HEADER_BYTES, name, h.backing_len);
    layout = layout_new(graph, options);
    layout_add(layout, 0, head, QCOW_HEADER_BYTES + h.backing_len);
    layout_run(layout, end, "qcow", done, arg);
}

const struct create_option qcow_create_options[] = {
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { "backing_file", CREATE_OPT_STR, "File name of a base image", NULL },
    { "backing_fmt", CREATE_OPT_STR, "Format of the backing image", NULL },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

static const struct driver_child qcow_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_qcow = {
    .name = "qcow",
    .is_format = true,
    .supports_backing = true,
    .can_compress = true,
    .state_size = sizeof(struct qcow),
    .req_size = sizeof(struct sparse_op),
    .children = qcow_children,
    .open = qcow_open,
    .close = qcow_close,
    .submit = sparse_submit,
    .facts = qcow_facts,
    .probe = qcow_probe,
    .create = qcow_create,
    .create_options = qcow_create_options,
};
