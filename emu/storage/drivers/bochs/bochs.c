/*
 * Images of Bochs of the kind "Growing" (Bochs documentation, "redolog"), read only. All fields are little-endian:
 *
 *   0 magic, 32 type, 48 subtype, 64 version, 68 header bytes, 72 catalog entries, 76 bitmap bytes, 80 extent bytes,
 *   then the size of the disk (64), in version 2 at 88, in version 1 at 84; the catalog follows the header.
 *
 * A catalog entry is the number of the place where an extent lies, all ones: nowhere. An extent begins with a bitmap
 * of its sectors: those whose bit is clear are zero.
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/sparse/image_load.h"
#include "emu/storage/drivers/sparse/sparse.h"

enum {
    HEADER_BYTES = 512,
    SECTOR = 512,
    ENTRY = 4,
    VERSION_1 = 0x10000,
    VERSION_2 = 0x20000,
    CATALOG_MAX = 0x100000, /* Entries. */
    EXTENT_MAX = 0x800000,
};
#define NOWHERE UINT32_MAX

struct bochs {
    struct sparse sparse; /* First: see sparse_submit(). */
    uint32_t catalog_offset, catalog_size;
    uint32_t extent_size;
    uint64_t bitmap_bytes, place_bytes; /* Of an extent, in the file. */
    uint64_t data_offset;
};

/* Whether buf begins with a header of an image that can be read; *version is set. */
static bool is_bochs(const uint8_t *buf, uint32_t *version)
{
    *version = load_le32(buf + 64);
    return strncmp((const char *)buf, "Bochs Virtual HD Image", 32) == 0 &&
           strncmp((const char *)buf + 32, "Redolog", 16) == 0 &&
           strncmp((const char *)buf + 48, "Growing", 16) == 0 &&
           (*version == VERSION_1 || *version == VERSION_2);
}

static int bochs_probe(const uint8_t *buf, size_t len, const char *filename)
{
    uint32_t version;

    (void)filename;
    return len >= HEADER_BYTES && is_bochs(buf, &version) ? 100 : 0;
}

static int bochs_find(struct sparse *s, uint64_t sector, struct meta_wait *wait,
                      struct sparse_place *out)
{
    struct bochs *b = container_of(s, struct bochs, sparse);
    uint64_t per_extent = b->extent_size / SECTOR, place;
    uint64_t index = sector / per_extent, in_extent = sector % per_extent;
    uint8_t *bytes;
    int ret = meta_get(&s->meta, b->catalog_offset + index * ENTRY, ENTRY, wait, &bytes);

    *out = (struct sparse_place){ .kind = SPARSE_HOLE };
    if (ret || load_le32(bytes) == NOWHERE)
        return ret;
    place = b->data_offset + load_le32(bytes) * b->place_bytes;
    ret = meta_get(&s->meta, place + in_extent / 8, 1, wait, &bytes);
    if (ret || !(*bytes >> in_extent % 8 & 1))
        return ret;
    out->kind = SPARSE_DATA;
    out->host = place + b->bitmap_bytes + in_extent * SECTOR;
    return 0;
}

static const struct sparse_ops bochs_ops = { .find = bochs_find };

static struct err *take_header(struct node *node, const uint8_t *buf)
{
    struct bochs *b = node->state;
    struct sparse *s = &b->sparse;
    uint32_t version;
    uint64_t size;

    if (!is_bochs(buf, &version))
        return err_new("Image not in Bochs format");
    size = load_le64(buf + (version == VERSION_1 ? 84 : 88)) / SECTOR * SECTOR;
    b->catalog_offset = load_le32(buf + 68);
    b->catalog_size = load_le32(buf + 72);
    if (b->catalog_size > CATALOG_MAX)
        return err_new("Catalog size is too large");
    b->data_offset = (uint64_t)b->catalog_offset + (uint64_t)b->catalog_size * ENTRY;
    b->bitmap_bytes = round_up_any(MAX(load_le32(buf + 76), 1U), SECTOR);
    b->extent_size = load_le32(buf + 80);
    if (b->extent_size < SECTOR)
        return err_new("Extent size must be at least 512");
    if (!is_pow2(b->extent_size) && b->extent_size <= EXTENT_MAX)
        return err_new("Extent size %u is not a power of two", b->extent_size);
    if (b->extent_size > EXTENT_MAX)
        return err_new("Extent size %u is too large", b->extent_size);
    if (div_round_up(size, b->extent_size) > b->catalog_size)
        return err_new("Catalog size is too small for this disk size");
    b->place_bytes = b->bitmap_bytes + b->extent_size;
    s->node = node;
    s->file = node->file;
    s->size = size;
    s->block_size = SECTOR;
    s->ops = &bochs_ops;
    TRY(sparse_init(s));
    sparse_adopt(s);
    node->cluster_size = 0;
    node->size = size;
    return NULL;
}

struct opening {
    struct node *node;
    driver_done_fn *done;
    void *arg;
};

static void header_read(void *arg, uint8_t *bytes, int result)
{
    struct opening *o = arg;
    driver_done_fn *done = o->done;
    void *done_arg = o->arg;
    struct err *err =
        result ? err_new_errno(result, "Could not read Bochs header") : take_header(o->node, bytes);

    xfree(bytes);
    xfree(o);
    done(done_arg, err);
}

static void bochs_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                       void *arg)
{
    struct opening *o = NEW(struct opening);

    (void)opts;
    (void)flags;
    node->read_only = true;
    *o = (struct opening){ .node = node, .done = done, .arg = arg };
    image_load(node->file, 0, HEADER_BYTES, header_read, o);
}

static void bochs_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct bochs *b = node->state;

    sparse_close(&b->sparse, done, arg);
}

static const struct driver_child bochs_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_bochs = {
    .name = "bochs",
    .is_format = true,
    .state_size = sizeof(struct bochs),
    .req_size = sizeof(struct sparse_op),
    .children = bochs_children,
    .open = bochs_open,
    .close = bochs_close,
    .submit = sparse_submit,
    .probe = bochs_probe,
};
