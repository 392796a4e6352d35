/*
 * Disk images of Apple's UDIF format, read only. A trailer ("koly") at the end of the file says where the tables of
 * chunks are; see chunks.h. One unpacked chunk is kept.
 */

#include <bzlib.h>
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/str.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/dmg/chunks.h"
#include "emu/storage/drivers/sparse/image_load.h"
#include "emu/storage/drivers/sparse/meta.h"

enum {
    KOLY_BYTES = 512,
    KOLY_SEARCH = 1024, /* Bytes at the end of the file in which the trailer begins. */
    AT_DATA_FORK = 0x18,
    AT_RESOURCE = 0x28,
    AT_RESOURCE_LEN = 0x30,
    AT_PLIST = 0xd8,
    AT_PLIST_LEN = 0xe0,
    AT_SECTORS = 0x1ec,
    RESOURCE_HEADER = 0x100,
    TABLES_MAX = 32 << 20, /* Bytes of resource fork or property list. */
};

struct dmg {
    struct dmg_chunks chunks;
    uint64_t data_fork;
    const struct dmg_chunk *loaded; /* What plain holds, NULL: nothing. */
    uint8_t *plain;                 /* owned */
    bool loading;
    struct list waiters; /* struct meta_wait: for the load under way. */
};

static int dmg_probe(const uint8_t *buf, size_t len, const char *filename)
{
    (void)buf;
    (void)len;
    return filename && str_has_suffix(filename, ".dmg") ? 2 : 0;
}

/* ---- Opening ---- */

struct opening {
    struct node *node;
    driver_done_fn *done;
    void *arg;
    uint8_t koly[KOLY_BYTES];
    bool plist;
};

static void open_end(struct opening *o, struct err *err)
{
    struct dmg *d = o->node->state;
    driver_done_fn *done = o->done;
    void *arg = o->arg;

    if (err)
        dmg_chunks_fini(&d->chunks);
    xfree(o);
    done(arg, err);
}

static void tables_read(void *arg, uint8_t *bytes, int result)
{
    struct opening *o = arg;
    struct dmg *d = o->node->state;
    uint64_t len = load_be64(o->koly + (o->plist ? AT_PLIST_LEN : AT_RESOURCE_LEN));
    struct err *err;

    if (result)
        err = err_new_errno(result, "Could not read the list of chunks");
    else if (o->plist)
        err = dmg_chunks_plist(&d->chunks, bytes, len, d->data_fork);
    else if (len < RESOURCE_HEADER || load_be32(bytes) > len - 8)
        err = err_new_errno(EINVAL, "Could not read the resource fork");
    else
        err = dmg_chunks_resource(
            &d->chunks, bytes + load_be32(bytes) + 4,
            MIN(len - load_be32(bytes) - 4, (uint64_t)load_be32(bytes + load_be32(bytes))),
            d->data_fork);
    xfree(bytes);
    dmg_chunks_sort(&d->chunks);
    open_end(o, err);
}

static struct err *take_koly(struct opening *o)
{
    struct dmg *d = o->node->state;
    uint64_t sectors = load_be64(o->koly + AT_SECTORS);
    uint64_t resource = load_be64(o->koly + AT_RESOURCE_LEN);
    uint64_t plist = load_be64(o->koly + AT_PLIST_LEN);

    if (sectors > INT64_MAX / DMG_SECTOR)
        return err_new_errno(EINVAL, "Could not open dmg image");
    if (resource > TABLES_MAX || plist > TABLES_MAX || (!resource && !plist))
        return err_new_errno(EINVAL, "Could not read the list of chunks");
    o->plist = !resource;
    d->data_fork = load_be64(o->koly + AT_DATA_FORK);
    if (d->data_fork > INT64_MAX)
        return err_new_errno(EINVAL, "Could not open dmg image");
    o->node->size = sectors * DMG_SECTOR;
    o->node->limits.request_alignment = DMG_SECTOR;
    return NULL;
}

static void end_read(void *arg, uint8_t *bytes, int result)
{
    struct opening *o = arg;
    uint64_t size = o->node->file->node->size, len = MIN(size, (uint64_t)KOLY_SEARCH);
    const uint8_t *found = NULL;
    struct err *err = NULL;

    if (result)
        err = err_new_errno(result, "Could not read dmg trailer");
    for (uint64_t at = 0; !result && at + KOLY_BYTES <= len; at++) {
        if (memcmp(bytes + at, "koly", 4) == 0)
            found = bytes + at;
    }
    if (!err && !found)
        err = err_new("Could not locate UDIF trailer in dmg file");
    if (found) {
        memcpy(o->koly, found, KOLY_BYTES);
        err = take_koly(o);
    }
    xfree(bytes);
    if (err) {
        open_end(o, err);
        return;
    }
    image_load(o->node->file, load_be64(o->koly + (o->plist ? AT_PLIST : AT_RESOURCE)),
               load_be64(o->koly + (o->plist ? AT_PLIST_LEN : AT_RESOURCE_LEN)), tables_read, o);
}

static void dmg_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                     void *arg)
{
    uint64_t size = node->file->node->size, len = MIN(size, (uint64_t)KOLY_SEARCH);
    struct dmg *d = node->state;
    struct opening *o;

    (void)opts;
    (void)flags;
    list_init(&d->waiters);
    node->read_only = true;
    if (size < KOLY_BYTES) {
        done(arg, err_new("dmg file must be at least 512 bytes long"));
        return;
    }
    o = NEW(struct opening);
    o->node = node;
    o->done = done;
    o->arg = arg;
    image_load(node->file, size - len, len, end_read, o);
}

static void dmg_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct dmg *d = node->state;

    dmg_chunks_fini(&d->chunks);
    xfree(d->plain);
    d->plain = NULL;
    done(arg, NULL);
}

/* ---- Unpacking ---- */

struct load {
    struct dmg *d;
    const struct dmg_chunk *chunk;
};

static int unpack(struct dmg *d, const struct dmg_chunk *chunk, uint8_t *bytes)
{
    uLongf have = chunk->count * DMG_SECTOR;
    unsigned bz_have = (unsigned)have;

    xfree(d->plain);
    d->plain = try_alloc(have);
    if (!d->plain)
        return -ENOMEM;
    if (chunk->type == DMG_ZLIB)
        return uncompress(d->plain, &have, bytes, chunk->len) == Z_OK &&
                       have == chunk->count * DMG_SECTOR
                   ? 0
                   : -EIO;
    return BZ2_bzBuffToBuffDecompress((char *)d->plain, &bz_have, (char *)bytes,
                                      (unsigned)chunk->len, 0, 0) == BZ_OK &&
                   bz_have == chunk->count * DMG_SECTOR
               ? 0
               : -EIO;
}

static void chunk_read(void *arg, uint8_t *bytes, int result)
{
    struct load *load = arg;
    struct dmg *d = load->d;
    const struct dmg_chunk *chunk = load->chunk;

    xfree(load);
    if (!result)
        result = unpack(d, chunk, bytes);
    xfree(bytes);
    d->loaded = result ? NULL : chunk;
    d->loading = false;
    meta_wait_wake_all(&d->waiters, result);
}

/* 0: plain holds the chunk, META_WAIT: it is being loaded, or another one is. */
static int chunk_get(struct node *node, const struct dmg_chunk *chunk, struct meta_wait *wait)
{
    struct dmg *d = node->state;
    struct load *load;

    if (!d->loading && d->loaded == chunk)
        return 0;
    (void)!meta_wait_add(&d->waiters, wait);
    if (d->loading)
        return META_WAIT;
    load = NEW(struct load);
    *load = (struct load){ .d = d, .chunk = chunk };
    d->loading = true;
    d->loaded = NULL;
    image_load(node->file, chunk->offset, chunk->len, chunk_read, load);
    return META_WAIT;
}

/* ---- Requests ---- */

struct dmg_op {
    struct req *req;
    uint64_t pos, end, part;
    struct req sub;
    struct meta_wait wait;
};

static void op_step(struct dmg_op *op);

static void part_read(struct req *sub)
{
    struct dmg_op *op = container_of(sub, struct dmg_op, sub);

    if (sub->result) {
        req_complete(op->req, sub->result);
        return;
    }
    op->pos += op->part;
    op_step(op);
}

/* 0: op->pos moved, META_WAIT: a callback goes on, or -errno. */
static int read_part(struct dmg_op *op)
{
    struct node *node = op->req->node;
    struct dmg *d = node->state;
    const struct dmg_chunk *chunk = dmg_chunks_find(&d->chunks, op->pos / DMG_SECTOR);
    struct iov_view view = iov_view_advance(op->req->data, op->pos - op->req->offset);
    uint64_t in_chunk;
    int ret = 0;

    if (!chunk)
        return -EIO;
    in_chunk = op->pos - chunk->first * DMG_SECTOR;
    op->part = MIN(op->end - op->pos, chunk->count * DMG_SECTOR - in_chunk);
    if (chunk->type == DMG_RAW) {
        req_submit_part(&op->sub, node->file, REQ_READ, 0, chunk->offset + in_chunk, op->part, view,
                        part_read);
        return META_WAIT;
    }
    if (chunk->type == DMG_ZERO || chunk->type == DMG_IGNORE) {
        iov_fill(view, op->part, 0);
    } else {
        ret = chunk_get(node, chunk, &op->wait);
        if (!ret)
            iov_copy_to(view, op->part, d->plain + in_chunk);
    }
    if (!ret)
        op->pos += op->part;
    return ret;
}

static void op_step(struct dmg_op *op)
{
    int ret = 0;

    while (!ret && op->pos < op->end) /* A completed request is gone. */
        ret = read_part(op);
    if (ret != META_WAIT)
        req_complete(op->req, ret);
}

static void op_woken(struct meta_wait *wait, int result)
{
    struct dmg_op *op = container_of(wait, struct dmg_op, wait);

    if (result)
        req_complete(op->req, result);
    else
        op_step(op);
}

static void dmg_submit(struct node *node, struct req *req)
{
    struct dmg_op *op = req->ctx;

    (void)node;
    if (req->kind != REQ_READ) {
        req_complete(req, req->kind == REQ_STATUS || req->kind == REQ_FLUSH ? -ENOTSUP : -EACCES);
        return;
    }
    *op = (struct dmg_op){ .req = req, .pos = req->offset, .end = req->offset + req->len };
    meta_wait_init(&op->wait, op_woken);
    op_step(op);
}

static const struct driver_child dmg_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_dmg = {
    .name = "dmg",
    .is_format = true,
    .state_size = sizeof(struct dmg),
    .req_size = sizeof(struct dmg_op),
    .children = dmg_children,
    .open = dmg_open,
    .close = dmg_close,
    .submit = dmg_submit,
    .probe = dmg_probe,
};
