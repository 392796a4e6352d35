/*
 * Creating: the extents one after the other, then the descriptor, unless it is part of the only extent. The identity of
 * the backing file's content (CID) is read first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/opts.h"
#include "emu/base/rng.h"
#include "emu/base/str.h"
#include "emu/storage/create.h"
#include "emu/storage/drivers/layout/layout.h"
#include "emu/storage/drivers/vmdk/vmdk.h"

const struct create_option vmdk_create_options[] = {
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { "adapter_type", CREATE_OPT_STR,
      "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX", NULL },
    { "backing_file", CREATE_OPT_STR, "File name of a base image", NULL },
    { "backing_fmt", CREATE_OPT_STR, "Must be 'vmdk' if present", NULL },
    { "compat6", CREATE_OPT_BOOL, "VMDK version 6 image", "off" },
    { "hwversion", CREATE_OPT_STR, "VMDK hardware version", "undefined" },
    { "toolsversion", CREATE_OPT_STR, "VMware guest tools version", NULL },
    { "subformat", CREATE_OPT_STR,
      "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | "
      "twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} ",
      NULL },
    { "zeroed_grain", CREATE_OPT_BOOL,
      "Enable efficient zero writes using the zeroed-grain GTE feature", NULL },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

enum subformat {
    MONOLITHIC_SPARSE,
    MONOLITHIC_FLAT,
    TWO_GB_SPARSE,
    TWO_GB_FLAT,
    STREAM_OPTIMIZED,
};
static const char *const subformats[] = { "monolithicSparse", "monolithicFlat",
                                          "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
                                          "streamOptimized" };

#define EXTENT_MAX (UINT64_C(2) << 30)

struct creation {
    struct graph *graph;
    struct json *options; /* A reference. */
    driver_done_fn *done;
    void *arg;
    uint64_t size;
    int subformat;
    const char *adapter, *hwversion, *toolsversion, *backing; /* Borrowed from options. */
    const struct json *extents;                               /* Borrowed; may be NULL. */
    bool zeroed_grain;
    uint32_t cid, parent_cid;
    uint64_t next; /* Extent to be made. */
};

static bool is_flat(const struct creation *c)
{
    return c->subformat == MONOLITHIC_FLAT || c->subformat == TWO_GB_FLAT;
}

/* The descriptor is in the only extent. */
static bool is_one_file(const struct creation *c)
{
    return c->subformat == MONOLITHIC_SPARSE || c->subformat == STREAM_OPTIMIZED;
}

static bool is_split(const struct creation *c)
{
    return c->subformat == TWO_GB_SPARSE || c->subformat == TWO_GB_FLAT;
}

static uint64_t extent_count(const struct creation *c)
{
    return is_split(c) ? div_round_up(c->size, EXTENT_MAX) : 1;
}

static uint64_t extent_size(const struct creation *c, uint64_t index)
{
    return is_split(c) ? MIN(EXTENT_MAX, c->size - index * EXTENT_MAX) : c->size;
}

/* ---- Options ---- */

static struct err *read_options(struct creation *c, struct opts *opts)
{
    static const char *const adapters[] = { "ide", "buslogic", "lsilogic", "legacyESX" };
    int adapter = 0;

    c->hwversion = "4";
    c->toolsversion = "2147483647";
    TRY(opts_size(opts, "size", &c->size));
    TRY(opts_array_opt(opts, "extents", &c->extents));
    TRY(opts_enum_opt(opts, "subformat", subformats, ARRAY_LEN(subformats), &c->subformat));
    TRY(opts_str_opt(opts, "backing-file", &c->backing));
    TRY(opts_enum_opt(opts, "adapter-type", adapters, ARRAY_LEN(adapters), &adapter));
    TRY(opts_str_opt(opts, "hwversion", &c->hwversion));
    TRY(opts_str_opt(opts, "toolsversion", &c->toolsversion));
    TRY(opts_bool_opt(opts, "zeroed-grain", &c->zeroed_grain));
    opts_mark(opts, "driver");
    opts_mark(opts, "file");
    c->adapter = adapters[adapter];
    return opts_check_unused(opts);
}

static struct err *check_options(const struct creation *c)
{
    uint64_t given = c->extents ? json_array_len(c->extents) : 0;

    if (c->size % VMDK_SECTOR)
        return err_new("Image size must be a multiple of 512 bytes");
    if (c->backing && is_flat(c))
        return err_new("Flat image can't have backing file");
    if (is_flat(c) && c->zeroed_grain)
        return err_new("Flat image can't enable zeroed grain");
    if (c->size > INT64_MAX ||
        (!is_flat(c) && extent_size(c, 0) / VMDK_SECTOR > UINT32_MAX * UINT64_C(16)))
        return err_set_errnum(err_new("The image size is too large for vmdk"), EFBIG);
    if (!is_one_file(c) && given < extent_count(c))
        return err_new("Extent [%" PRIu64 "] not specified", given);
    if (given > (is_one_file(c) ? 0 : extent_count(c)))
        return err_new("List of extents contains unused extents");
    return NULL;
}

/* ---- Sparse extents ---- */

struct sparse_layout {
    uint64_t tables, gd_sectors, rgd_offset, gd_offset, data_offset; /* In sectors. */
};

static struct sparse_layout sparse_layout_of(uint64_t size)
{
    struct sparse_layout l;
    uint64_t table = VMDK_GTES * 4 / VMDK_SECTOR;

    l.tables = div_round_up(div_round_up(size, VMDK_GRAIN_SECTORS * VMDK_SECTOR), VMDK_GTES);
    l.gd_sectors = div_round_up(l.tables * 4, VMDK_SECTOR);
    l.rgd_offset = 1 + VMDK_DESC_SECTORS;
    l.gd_offset = l.rgd_offset + l.gd_sectors + table * l.tables;
    l.data_offset = align_up_u64(l.gd_offset + l.gd_sectors + table * l.tables, VMDK_GRAIN_SECTORS);
    return l;
}

static uint8_t *build_header(const struct creation *c, uint64_t size, const struct sparse_layout *l)
{
    static const uint8_t check_bytes[] = { '\n', ' ', '\r', '\n' };
    uint8_t *h = NEW_ARRAY(uint8_t, VMDK_HDR_LEN);
    bool stream = c->subformat == STREAM_OPTIMIZED;
    uint32_t flags = VMDK_FLAG_NEWLINE | VMDK_FLAG_RGD;

    if (stream)
        flags |= VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS;
    if (c->zeroed_grain)
        flags |= VMDK_FLAG_ZERO_GRAIN;
    store_le32(h + VMDK_HDR_MAGIC, VMDK_MAGIC);
    store_le32(h + VMDK_HDR_VERSION, stream ? 3 : c->zeroed_grain ? 2 : 1);
    store_le32(h + VMDK_HDR_FLAGS, flags);
    store_le64(h + VMDK_HDR_CAPACITY, size / VMDK_SECTOR);
    store_le64(h + VMDK_HDR_GRANULARITY, VMDK_GRAIN_SECTORS);
    store_le64(h + VMDK_HDR_DESC_OFFSET, 1);
    store_le64(h + VMDK_HDR_DESC_SIZE, VMDK_DESC_SECTORS);
    store_le32(h + VMDK_HDR_GTES, VMDK_GTES);
    store_le64(h + VMDK_HDR_RGD_OFFSET, l->rgd_offset);
    store_le64(h + VMDK_HDR_GD_OFFSET, l->gd_offset);
    store_le64(h + VMDK_HDR_GRAIN_OFFSET, l->data_offset);
    memcpy(h + VMDK_HDR_CHECK, check_bytes, sizeof(check_bytes));
    store_le16(h + VMDK_HDR_COMPRESSION, stream ? 1 : 0);
    return h;
}

/* A directory; its tables follow it. NULL without memory. */
static uint8_t *build_directory(uint64_t offset, const struct sparse_layout *l)
{
    uint8_t *directory = try_calloc(l->gd_sectors, VMDK_SECTOR);

    for (uint64_t i = 0; directory && i < l->tables; i++)
        store_le32(directory + i * 4,
                   (uint32_t)(offset + l->gd_sectors + i * (VMDK_GTES * 4 / VMDK_SECTOR)));
    return directory;
}

static uint64_t add_sparse(struct layout *layout, const struct creation *c, uint64_t size)
{
    struct sparse_layout l = sparse_layout_of(size);
    uint64_t len = l.gd_sectors * VMDK_SECTOR;

    layout_add(layout, 0, build_header(c, size, &l), VMDK_HDR_LEN);
    if (l.tables) {
        layout_add(layout, l.rgd_offset * VMDK_SECTOR, build_directory(l.rgd_offset, &l), len);
        layout_add(layout, l.gd_offset * VMDK_SECTOR, build_directory(l.gd_offset, &l), len);
    }
    return l.data_offset * VMDK_SECTOR;
}

/* ---- The descriptor ---- */

/* The last part of the name of what ref (a node's name or options) stands for; "" when it has none. */
static const char *file_name_of(const struct creation *c, const struct json *ref)
{
    const char *name = NULL, *slash;
    struct node *node = NULL;

    if (json_type_of(ref) == JSON_STRING)
        node = graph_find(c->graph, json_get_str(ref));
    else
        name = json_object_get_str(ref, "filename");
    name = node ? node->filename : name ? name : "";
    slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static void add_extent_lines(const struct creation *c, struct str *text)
{
    for (uint64_t i = 0; i < extent_count(c); i++) {
        const struct json *ref =
            is_one_file(c) ? json_object_get(c->options, "file") : json_array_get(c->extents, i);

        str_addf(text, "RW %" PRIu64 " %s \"%s\"%s\n", extent_size(c, i) / VMDK_SECTOR,
                 is_flat(c) ? "FLAT" : "SPARSE", file_name_of(c, ref), is_flat(c) ? " 0" : "");
    }
}

static void build_descriptor(const struct creation *c, struct str *text)
{
    unsigned heads = strcmp(c->adapter, "ide") == 0 ? 16 : 255;

    str_addf(text,
             "# Disk DescriptorFile\nversion=1\nCID=%" PRIx32 "\nparentCID=%" PRIx32
             "\ncreateType=\"%s\"\n",
             c->cid, c->parent_cid, subformats[c->subformat]);
    if (c->backing)
        str_addf(text, "parentFileNameHint=\"%s\"", c->backing);
    str_addf(text, "\n# Extent description\n");
    add_extent_lines(c, text);
    str_addf(text,
             "\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"%s\"\n"
             "ddb.geometry.cylinders = \"%" PRIu64 "\"\nddb.geometry.heads = \"%u\"\n"
             "ddb.geometry.sectors = \"63\"\nddb.adapterType = \"%s\"\n"
             "ddb.toolsVersion = \"%s\"\n",
             c->hwversion, c->size / (heads * UINT64_C(63) * VMDK_SECTOR), heads, c->adapter,
             c->toolsversion);
}

/* ---- The machine ---- */

static void create_next(void *arg, struct err *err);

static void create_end(struct creation *c, struct err *err)
{
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    json_free(c->options);
    xfree(c);
    done(arg, err);
}

static void write_descriptor(struct creation *c, driver_done_fn *done)
{
    CLEANUP(str_fini) struct str text = { 0 };
    struct layout *layout = layout_new(c->graph, c->options);
    uint64_t size = 0, offset = 0;

    build_descriptor(c, &text);
    if (is_one_file(c)) {
        size = add_sparse(layout, c, c->size);
        offset = VMDK_SECTOR;
        if (text.len > VMDK_DESC_SECTORS * VMDK_SECTOR) {
            layout_free(layout);
            create_end(c, err_new("The VMDK descriptor is too long for the image"));
            return;
        }
    }
    layout_add(layout, offset, xmemdup(str_cstr(&text), text.len), text.len);
    layout_run(layout, size, "VMDK", done, c);
}

static void all_done(void *arg, struct err *err) { create_end(arg, err); }

static void create_next(void *arg, struct err *err)
{
    struct creation *c = arg;
    CLEANUP(json_free) struct json *options = NULL;
    struct layout *layout;
    uint64_t size;

    if (err) {
        create_end(c, err);
        return;
    }
    if (is_one_file(c) || c->next == extent_count(c)) {
        write_descriptor(c, all_done);
        return;
    }
    options = json_object();
    json_object_set(options, "file", json_ref(json_array_get(c->extents, c->next)));
    size = extent_size(c, c->next++);
    layout = layout_new(c->graph, options);
    if (!is_flat(c))
        size = add_sparse(layout, c, size);
    layout_run(layout, size, "VMDK", create_next, c);
}

static void backing_opened(void *arg, struct node *node, struct err *err)
{
    struct creation *c = arg;

    if (!err && strcmp(node->driver->name, "vmdk") != 0)
        err = err_new("Invalid backing file format: '%s'. Must be 'vmdk'", node->driver->name);
    else if (!err)
        c->parent_cid = ((struct vmdk *)node->state)->descriptor.cid;
    if (node)
        node_unref(node);
    create_next(c, err);
}

/* Names count from the folder of the new image. */
static void open_backing(struct creation *c)
{
    CLEANUP(json_free) struct json *options = json_object();
    const struct json *file = json_object_get(c->options, "file");
    struct json *below = json_object();
    struct node *node =
        file && json_type_of(file) == JSON_STRING ? graph_find(c->graph, json_get_str(file)) : NULL;
    const char *self = node ? node->filename
                       : file && json_type_of(file) == JSON_OBJECT
                           ? json_object_get_str(file, "filename")
                           : NULL;
    const char *slash = self ? strrchr(self, '/') : NULL;
    char *path = c->backing[0] == '/' || !slash
                     ? xstrdup(c->backing)
                     : xasprintf("%.*s/%s", (int)(slash - self), self, c->backing);

    json_object_set_str(below, "driver", "file");
    json_object_set_str(below, "filename", path);
    json_object_set_str(options, "driver", "vmdk");
    json_object_set_bool(options, "read-only", true);
    json_object_set(options, "file", below);
    xfree(path);
    node_open(c->graph, options, NODE_OPEN_NO_BACKING | NODE_OPEN_NO_IO, backing_opened, c);
}

void vmdk_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };
    struct creation *c = NEW(struct creation);
    struct err *err;
    struct uuid uuid;

    c->graph = graph;
    c->options = json_ref(options);
    c->done = done;
    c->arg = arg;
    opts_init(&opts, options);
    err = read_options(c, &opts);
    if (!err)
        err = check_options(c);
    create_uuids(graph, &uuid, 1);
    c->cid = load_le32(uuid.bytes);
    c->parent_cid = VMDK_NO_CID;
    if (err)
        create_end(c, err);
    else if (c->backing)
        open_backing(c);
    else
        create_next(c, NULL);
}
