/*
 * Compressed loop images (cloop), read only: a script of 128 bytes, then, big-endian, 128 the block size, 132 the
 * number of blocks, 136 the offsets of all blocks and of the end of the last; each block is a zlib stream.
 */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/sparse/image_load.h"
#include "emu/storage/drivers/sparse/sparse.h"

enum {
    AT_BLOCK_SIZE = 128,
    AT_BLOCKS = 132,
    AT_OFFSETS = 136,
    SECTOR = 512,
    WORD = 8,
    BLOCK_MAX = 64 << 20,
    OFFSETS_MAX = 512 << 20, /* Bytes. */
    LOAD = 1 << 20,          /* Bytes of offsets looked at at a time. */
};

static const char magic[] =
    "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n";

static int cloop_probe(const uint8_t *buf, size_t len, const char *filename)
{
    (void)filename;
    return len >= sizeof(magic) - 1 && memcmp(buf, magic, sizeof(magic) - 1) == 0 ? 2 : 0;
}

/* The two words at hand may lie on both sides of a page. */
static int offset_get(struct sparse *s, uint64_t index, struct meta_wait *wait, uint64_t *out)
{
    uint8_t *bytes;
    int ret = meta_get(&s->meta, AT_OFFSETS + index * WORD, WORD, wait, &bytes);

    if (!ret)
        *out = load_be64(bytes);
    return ret;
}

static int cloop_find(struct sparse *s, uint64_t block, struct meta_wait *wait,
                      struct sparse_place *out)
{
    uint64_t start, end = 0;
    int ret = offset_get(s, block, wait, &start);

    if (!ret)
        ret = offset_get(s, block + 1, wait, &end);
    if (ret)
        return ret;
    if (end < start || end - start > UINT32_MAX)
        return -EIO;
    *out = (struct sparse_place){ .kind = SPARSE_COMPRESSED,
                                  .host = start,
                                  .len = (uint32_t)(end - start) };
    return 0;
}

static int cloop_unpack(struct sparse *s, uint64_t block, const uint8_t *in, uint32_t len,
                        uint8_t *out)
{
    uLongf have = s->block_size;

    (void)block;
    return uncompress(out, &have, in, len) == Z_OK && have == s->block_size ? 0 : -EIO;
}

static const struct sparse_ops cloop_ops = { .find = cloop_find, .unpack = cloop_unpack };

/* ---- Opening: the header, then all offsets are looked at. ---- */

struct opening {
    struct node *node;
    driver_done_fn *done;
    void *arg;
    uint32_t block_size, blocks;
    uint64_t next; /* Offset to be looked at. */
    uint64_t last; /* The one before. */
};

static void open_end(struct opening *o, struct err *err)
{
    struct sparse *s = o->node->state;
    driver_done_fn *done = o->done;
    void *arg = o->arg;

    if (!err) {
        s->node = o->node;
        s->file = o->node->file;
        s->size = (uint64_t)o->blocks * o->block_size;
        s->block_size = o->block_size;
        s->ops = &cloop_ops;
        err = sparse_init(s);
    }
    if (!err) {
        sparse_adopt(s);
        o->node->limits.zero_alignment = o->node->limits.discard_alignment = SECTOR;
        o->node->cluster_size = 0;
        o->node->size = s->size;
    }
    xfree(o);
    done(arg, err);
}

static void load_offsets(struct opening *o);

static struct err *check_offset(const struct opening *o, uint64_t offset)
{
    if (o->next && offset < o->last)
        return err_new("offsets not monotonically increasing at index %" PRIu64
                       ", image file is corrupt",
                       o->next);
    if (o->next && offset - o->last > 2 * (uint64_t)BLOCK_MAX)
        return err_new("invalid compressed block size at index %" PRIu64 ", image file is corrupt",
                       o->next);
    return NULL;
}

static uint64_t batch(const struct opening *o)
{
    return MIN((uint64_t)LOAD / WORD, (uint64_t)o->blocks + 1 - o->next);
}

static void offsets_read(void *arg, uint8_t *bytes, int result)
{
    struct opening *o = arg;
    struct err *err = result ? err_new_errno(result, "Could not read cloop offsets") : NULL;
    uint64_t n = batch(o);

    for (uint64_t i = 0; i < n && !err; i++) {
        uint64_t offset = load_be64(bytes + i * WORD);

        err = check_offset(o, offset);
        o->last = offset;
        o->next++;
    }
    xfree(bytes);
    if (err || o->next > o->blocks)
        open_end(o, err);
    else
        load_offsets(o);
}

static void load_offsets(struct opening *o)
{
    image_load(o->node->file, AT_OFFSETS + o->next * WORD, batch(o) * WORD, offsets_read, o);
}

static struct err *take_header(struct opening *o, const uint8_t *buf)
{
    uint32_t blocks_max = UINT32_MAX / WORD;

    o->block_size = load_be32(buf + AT_BLOCK_SIZE);
    o->blocks = load_be32(buf + AT_BLOCKS);
    if (o->block_size % SECTOR)
        return err_new("block_size %u must be a multiple of 512", o->block_size);
    if (o->block_size == 0)
        return err_new("block_size cannot be zero");
    if (o->block_size > BLOCK_MAX)
        return err_new("block_size %u must be %d MB or less", o->block_size, BLOCK_MAX >> 20);
    if (o->blocks > blocks_max)
        return err_new("n_blocks %u must be %u or less", o->blocks, blocks_max);
    if ((uint64_t)(o->blocks + 1) * WORD > OFFSETS_MAX)
        return err_new("image requires too many offsets, try increasing block size");
    return NULL;
}

static void header_read(void *arg, uint8_t *bytes, int result)
{
    struct opening *o = arg;
    struct err *err =
        result ? err_new_errno(result, "Could not read cloop header") : take_header(o, bytes);

    xfree(bytes);
    if (err)
        open_end(o, err);
    else
        load_offsets(o);
}

static void cloop_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                       void *arg)
{
    struct opening *o = NEW(struct opening);

    (void)opts;
    (void)flags;
    node->read_only = true;
    *o = (struct opening){ .node = node, .done = done, .arg = arg };
    image_load(node->file, 0, AT_OFFSETS, header_read, o);
}

static void cloop_close(struct node *node, driver_done_fn *done, void *arg)
{
    sparse_close(node->state, done, arg);
}

static const struct driver_child cloop_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_cloop = {
    .name = "cloop",
    .is_format = true,
    .state_size = sizeof(struct sparse),
    .req_size = sizeof(struct sparse_op),
    .children = cloop_children,
    .open = cloop_open,
    .close = cloop_close,
    .submit = sparse_submit,
    .probe = cloop_probe,
};
