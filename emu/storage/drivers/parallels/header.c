/* The header, the table, and creating images. */

#include <errno.h>
#include <limits.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/opts.h"
#include "emu/storage/drivers/layout/layout.h"
#include "emu/storage/drivers/parallels/parallels.h"

enum {
    AT_VERSION = 16,
    AT_HEADS = 20,
    AT_CYLINDERS = 24,
    AT_TRACKS = 28,
    AT_ENTRIES = 32,
    AT_SECTORS = 36,
    AT_IN_USE = 44,
    AT_DATA_OFF = 48,
    AT_EXT_OFF = 56,
    VERSION = 2,
    HEADS = 16,
    SECTORS_PER_HEAD = 32,
    CLUSTER_DEFAULT = 1 << 20,
};
#define FACTOR_MAX (UINT64_C(1) << 32)

static const char magic_plain[] = "WithoutFreeSpace", magic_extended[] = "WithouFreSpacExt";

bool parallels_magic(const uint8_t *buf, bool *extended)
{
    *extended = memcmp(buf, magic_extended, PARALLELS_MAGIC_LEN) == 0;
    return (*extended || memcmp(buf, magic_plain, PARALLELS_MAGIC_LEN) == 0) &&
           load_le32(buf + AT_VERSION) == VERSION;
}

struct err *parallels_header_parse(struct parallels_header *h, const uint8_t *buf)
{
    bool extended;

    if (!parallels_magic(buf, &extended))
        return err_new("Image not in Parallels format");
    *h = (struct parallels_header){
        .extended = extended,
        .tracks = load_le32(buf + AT_TRACKS),
        .entries = load_le32(buf + AT_ENTRIES),
        .sectors = load_le64(buf + AT_SECTORS),
        .in_use = load_le32(buf + AT_IN_USE),
        .data_off = load_le32(buf + AT_DATA_OFF),
        .ext_off = load_le64(buf + AT_EXT_OFF),
    };
    if (!extended)
        h->sectors = (uint32_t)h->sectors; /* The rest of the field means nothing there. */
    if (h->tracks == 0)
        return err_new("Invalid image: Zero sectors per track");
    if (h->tracks > INT32_MAX / PARALLELS_SECTOR)
        return err_new("Invalid image: Too big cluster");
    if (h->entries > INT_MAX / PARALLELS_ENTRY)
        return err_new("Catalog too large");
    if (h->sectors > INT64_MAX / PARALLELS_SECTOR)
        return err_new("Invalid image: Too big disk");
    return NULL;
}

void parallels_header_build(const struct parallels_header *h, uint8_t *buf)
{
    memset(buf, 0, PARALLELS_HEADER_BYTES);
    memcpy(buf, h->extended ? magic_extended : magic_plain, PARALLELS_MAGIC_LEN);
    store_le32(buf + AT_VERSION, VERSION);
    store_le32(buf + AT_HEADS, HEADS);
    store_le32(buf + AT_CYLINDERS, (uint32_t)(h->sectors / HEADS / SECTORS_PER_HEAD));
    store_le32(buf + AT_TRACKS, h->tracks);
    store_le32(buf + AT_ENTRIES, h->entries);
    store_le64(buf + AT_SECTORS, h->sectors);
    store_le32(buf + AT_IN_USE, h->in_use);
    store_le32(buf + AT_DATA_OFF, h->data_off);
    store_le64(buf + AT_EXT_OFF, h->ext_off);
}

uint32_t parallels_data_start(const struct parallels_header *h)
{
    uint64_t sectors = div_round_up(parallels_entry_at(h->entries), PARALLELS_SECTOR);

    return (uint32_t)(h->extended ? round_up_any(sectors, h->tracks) : sectors);
}

uint64_t parallels_entry_unit(const struct parallels_header *h)
{
    return (uint64_t)PARALLELS_SECTOR * (h->extended ? h->tracks : 1);
}

/* ---- The table, as the request machine wants it ---- */

static struct parallels *from(struct sparse *s)
{
    return container_of(s, struct parallels, sparse);
}

static int parallels_find(struct sparse *s, uint64_t cluster, struct meta_wait *wait,
                          struct sparse_place *out)
{
    const struct parallels_header *h = &from(s)->header;
    uint8_t *bytes;
    uint32_t entry;
    int ret;

    *out = (struct sparse_place){ .kind = SPARSE_HOLE };
    if (cluster >= h->entries)
        return 0; /* The disk is larger than the table says. */
    ret = meta_get(&s->meta, parallels_entry_at(cluster), PARALLELS_ENTRY, wait, &bytes);
    if (ret)
        return ret;
    entry = load_le32(bytes);
    if (!entry)
        return 0;
    out->kind = SPARSE_DATA;
    out->host = entry * parallels_entry_unit(h);
    return 0;
}

static int parallels_place(struct sparse *s, uint64_t cluster, uint64_t *count,
                           struct meta_wait *wait, uint64_t *host)
{
    struct parallels *p = from(s);
    uint64_t unit = parallels_entry_unit(&p->header);
    uint8_t *bytes;
    int ret;

    if (cluster >= p->header.entries)
        return -EINVAL;
    ret = meta_get(&s->meta, parallels_entry_at(cluster), PARALLELS_ENTRY, wait, &bytes);
    if (ret)
        return ret;
    *count = MIN(*count, p->header.entries - cluster);
    *host = round_up_any(MAX(p->end, s->fresh_from), unit);
    if ((*host + *count * s->block_size) / unit > UINT32_MAX)
        return -EFBIG;
    return 0;
}

static int parallels_link(struct sparse *s, uint64_t cluster, uint64_t count,
                          struct sparse_place place, struct meta_wait *wait)
{
    struct parallels *p = from(s);
    uint64_t unit = parallels_entry_unit(&p->header), end = 0;
    uint8_t *bytes;
    int ret = 0;

    if (cluster + count > p->header.entries)
        return -EINVAL;
    /* All pages first, so that nothing has changed when one has to be waited for. */
    for (uint64_t i = 0; i < count && !ret; i++) {
        if (i == 0 || parallels_entry_at(cluster + i) % META_PAGE == 0)
            ret =
                meta_get(&s->meta, parallels_entry_at(cluster + i), PARALLELS_ENTRY, wait, &bytes);
    }
    for (uint64_t i = 0; i < count && !ret; i++) {
        ret = meta_edit(&s->meta, parallels_entry_at(cluster + i), PARALLELS_ENTRY, META_ROOT, wait,
                        &bytes);
        if (!ret && place.kind == SPARSE_DATA) {
            end = place.host + (i + 1) * s->block_size;
            store_le32(bytes, (uint32_t)((place.host + i * s->block_size) / unit));
        } else if (!ret) {
            store_le32(bytes, 0);
        }
    }
    p->end = MAX(p->end, end);
    return ret;
}

const struct sparse_ops parallels_sparse_ops = {
    .find = parallels_find,
    .place = parallels_place,
    .link = parallels_link,
};

/* ---- Creating ---- */

static struct err *read_options(const struct json *options, struct parallels_header *h)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };
    uint64_t size, cluster = CLUSTER_DEFAULT;

    opts_init(&opts, options);
    TRY(opts_size(&opts, "size", &size));
    TRY(opts_size_opt(&opts, "cluster-size", &cluster));
    opts_mark(&opts, "driver");
    opts_mark(&opts, "file");
    TRY(opts_check_unused(&opts));
    if (cluster >= INT64_MAX / FACTOR_MAX)
        return err_new("Cluster size is too large");
    if (size >= FACTOR_MAX * cluster)
        return err_set_errnum(err_new("Image size is too large for this cluster size"), E2BIG);
    if (size % PARALLELS_SECTOR)
        return err_new("Image size must be a multiple of 512 bytes");
    if (cluster % PARALLELS_SECTOR)
        return err_new("Cluster size must be a multiple of 512 bytes");
    if (div_round_up(size, cluster) > INT_MAX / PARALLELS_ENTRY)
        return err_new("Image size is too large for this cluster size");
    h->extended = true;
    h->tracks = (uint32_t)(cluster / PARALLELS_SECTOR);
    h->entries = (uint32_t)div_round_up(size, cluster);
    h->sectors = size / PARALLELS_SECTOR;
    h->data_off = parallels_data_start(h);
    return NULL;
}

void parallels_create(struct graph *graph, const struct json *options, driver_done_fn *done,
                      void *arg)
{
    struct parallels_header h = { 0 };
    struct err *err = read_options(options, &h);
    struct layout *layout;
    uint8_t *head;

    if (err) {
        done(arg, err);
        return;
    }
    head = xcalloc(1, PARALLELS_SECTOR);
    parallels_header_build(&h, head);
    layout = layout_new(graph, options);
    layout_add(layout, 0, head, PARALLELS_SECTOR);
    layout_run(layout, (uint64_t)h.data_off * PARALLELS_SECTOR, "Parallels", done, arg);
}

const struct create_option parallels_create_options[] = {
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { "cluster_size", CREATE_OPT_SIZE, "Parallels image cluster size", "1048576" },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};
