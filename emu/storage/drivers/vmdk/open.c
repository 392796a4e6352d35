/*
 * Opening: a sparse extent with the descriptor in it, or a descriptor and the files it names, one after the other.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/json.h"
#include "emu/storage/drivers/sparse/image_load.h"
#include "emu/storage/drivers/vmdk/vmdk.h"

enum { DESCRIPTOR_MAX = 1 << 20, FOOTER_LEN = 3 * VMDK_SECTOR };

struct opening {
    struct node *node;
    struct vmdk *v;
    driver_done_fn *done;
    void *arg;
    size_t next;             /* Line of the descriptor being opened. */
    struct vmdk_extent *now; /* The extent whose header is being read; owned by v. */
    uint8_t *header;         /* owned */
};

static void vmdk_extent_free(struct vmdk_extent *x)
{
    sparse_fini(&x->sparse);
    xfree(x);
}

void vmdk_fini(struct vmdk *v)
{
    vec_for_each(x, &v->extents)
        vmdk_extent_free(*x);
    vec_fini(&v->extents);
    vmdk_descriptor_fini(&v->descriptor);
}

static void open_end(struct opening *o, struct err *err)
{
    driver_done_fn *done = o->done;
    void *arg = o->arg;

    if (err)
        vmdk_fini(o->v);
    xfree(o->header);
    xfree(o);
    done(arg, err);
}

static struct vmdk_extent *add_extent(struct opening *o, struct edge *edge, const char *type)
{
    struct vmdk_extent *x = NEW(struct vmdk_extent), *last;

    x->edge = edge;
    snprintf(x->type, sizeof(x->type), "%s", type);
    if (o->v->extents.len) {
        last = vec_last(&o->v->extents);
        x->start = last->start + last->size;
    }
    vec_push(&o->v->extents, x);
    return x;
}

/* ---- All is there ---- */

static void set_limits(struct opening *o)
{
    struct node *node = o->node;
    uint32_t grain = 0;
    uint64_t size = 0;
    bool compressed = false;

    vec_for_each(x, &o->v->extents) {
        size = (*x)->start + (*x)->size;
        if (!(*x)->flat)
            grain = (*x)->sparse.block_size;
        compressed |= (*x)->compressed;
    }
    node->limits.request_alignment = VMDK_SECTOR;
    node->limits.zero_alignment = grain;
    node->limits.max_zero = 1 << 30;
    node->cluster_size = grain;
    node->supported_zero_flags = REQ_MAY_UNMAP | REQ_NO_FALLBACK;
    node->supported_write_flags = compressed ? REQ_COMPRESSED : 0;
    node_set_size(node, size);
}

static void opened(struct opening *o)
{
    const struct vmdk_descriptor *d = &o->v->descriptor;

    if (d->parent_hint[0]) {
        o->node->backing_name = xstrdup(d->parent_hint);
        o->node->backing_format = xstrdup("vmdk");
    }
    set_limits(o);
    open_end(o, NULL);
}

/* ---- Sparse extents ---- */

static void next_extent(struct opening *o);

static void extent_ready(struct opening *o, struct err *err)
{
    if (err)
        open_end(o, err);
    else
        next_extent(o);
}

static void footer_read(void *arg, uint8_t *footer, int result)
{
    struct opening *o = arg;
    const uint8_t *header;
    struct err *err = NULL;

    if (result) {
        open_end(o, err_new_errno(result, "Failed to read footer"));
        return;
    }
    header = footer + VMDK_SECTOR;
    if (load_le32(header) != VMDK_MAGIC || load_le32(footer + 8) != 0 ||
        load_le32(footer + 12) != VMDK_MARKER_FOOTER ||
        load_le64(header + VMDK_HDR_GD_OFFSET) == VMDK_GD_AT_END)
        err = err_new("Invalid footer");
    if (!err)
        err = vmdk_extent_init(o->now, o->node, header);
    o->now->has_footer = true;
    xfree(footer);
    extent_ready(o, err);
}

static void take_header(struct opening *o, const uint8_t *header)
{
    uint64_t size = o->now->edge->node->size;

    if (load_le64(header + VMDK_HDR_GD_OFFSET) != VMDK_GD_AT_END)
        extent_ready(o, vmdk_extent_init(o->now, o->node, header));
    else if (size < FOOTER_LEN)
        open_end(o, err_new("Invalid footer"));
    else
        image_load(o->now->edge, size / VMDK_SECTOR * VMDK_SECTOR - FOOTER_LEN, FOOTER_LEN,
                   footer_read, o);
}

static void header_read(void *arg, uint8_t *header, int result)
{
    struct opening *o = arg;

    if (result) {
        open_end(o, err_new_errno(result, "Could not read header from file '%s'",
                                  o->now->edge->node->filename));
        return;
    }
    if (load_le32(header) != VMDK_MAGIC) {
        xfree(header);
        open_end(o, err_new("Image not in VMDK format"));
        return;
    }
    xfree(o->header);
    o->header = header;
    take_header(o, header);
}

/* ---- The files that a descriptor names ---- */

static void file_opened(void *arg, struct node *file, struct err *err)
{
    struct opening *o = arg;
    const struct vmdk_extent_line *line = &vec_at(&o->v->descriptor.extents, o->next);
    char name[32];
    struct edge *edge = NULL;

    snprintf(name, sizeof(name), "extents.%zu", o->next);
    o->next++;
    if (!err) {
        err = edge_attach_child(o->node, file, name, ROLE_DATA | ROLE_METADATA, 0, PERM_ALL, &edge);
        node_unref(file);
    }
    if (err) {
        open_end(o, err);
        return;
    }
    o->now = add_extent(o, edge, line->type);
    o->now->flat = strcmp(line->type, "FLAT") == 0 || strcmp(line->type, "VMFS") == 0;
    if (o->now->flat) {
        o->now->size = line->sectors * VMDK_SECTOR;
        o->now->flat_offset = line->offset * VMDK_SECTOR;
        next_extent(o);
    } else {
        image_load(edge, 0, VMDK_HDR_LEN, header_read, o);
    }
}

/* Names count from the folder of the descriptor. */
static char *path_of(const struct opening *o, const char *name)
{
    const char *self = o->node->file->node->filename, *slash = strrchr(self, '/');

    if (name[0] == '/' || !slash)
        return xstrdup(name);
    return xasprintf("%.*s/%s", (int)(slash - self), self, name);
}

static void open_file(struct opening *o, const char *name)
{
    CLEANUP(json_free) struct json *options = json_object();
    char *path = path_of(o, name);

    json_object_set_str(options, "driver", "file");
    json_object_set_str(options, "filename", path);
    if (o->node->read_only)
        json_object_set_bool(options, "read-only", true);
    if (o->node->open.force_share)
        json_object_set_bool(options, "force-share", true);
    xfree(path);
    node_open(o->node->graph, options, 0, file_opened, o);
}

static void next_extent(struct opening *o)
{
    struct vmdk_descriptor *d = &o->v->descriptor;
    struct vmdk_extent *last;

    if (o->v->extents.len) {
        last = vec_last(&o->v->extents);
        if (last->size > INT64_MAX - last->start) {
            open_end(o, err_new("Can't get image size '%s': File too large",
                                o->node->file->node->filename));
            return;
        }
    }
    if (o->next < d->extents.len) {
        const struct vmdk_extent_line *line = &vec_at(&d->extents, o->next);

        if (strcmp(line->type, "VMFSSPARSE") == 0 || strcmp(line->type, "SESPARSE") == 0)
            open_end(o, err_new("Unsupported extent type '%s'", line->type));
        else
            open_file(o, line->name);
        return;
    }
    if (!o->v->extents.len)
        open_end(o, err_new("invalid VMDK image descriptor"));
    else
        opened(o);
}

/* ---- The descriptor ---- */

static struct err *parse(struct opening *o, uint8_t *text, size_t len, bool with_extents)
{
    text[len] = '\0';
    return vmdk_descriptor_parse((char *)text, with_extents, &o->v->descriptor);
}

static void text_read(void *arg, uint8_t *text, int result)
{
    struct opening *o = arg;
    struct err *err = result ? err_new_errno(result, "Could not read VMDK descriptor") : NULL;

    if (!err && memcmp(text, "# Disk DescriptorFile", 21) != 0)
        err = err_new_errno(EINVAL, "Could not open '%s'", o->node->file->node->filename);
    if (!err)
        err = parse(o, text, MIN(o->node->file->node->size, (uint64_t)DESCRIPTOR_MAX), true);
    xfree(text);
    if (err)
        open_end(o, err);
    else
        next_extent(o);
}

static void embedded_read(void *arg, uint8_t *text, int result)
{
    struct opening *o = arg;
    bool only_text = load_le64(o->header + VMDK_HDR_CAPACITY) == 0;
    struct err *err = result ? err_new_errno(result, "Could not read VMDK descriptor")
                             : parse(o, text, VMDK_DESC_SECTORS * VMDK_SECTOR, only_text);

    xfree(text);
    if (err) {
        open_end(o, err);
    } else if (only_text) {
        next_extent(o);
    } else {
        o->now = add_extent(o, o->node->file, "");
        take_header(o, o->header);
    }
}

static void first_sector_read(void *arg, uint8_t *header, int result)
{
    struct opening *o = arg;
    struct edge *file = o->node->file;

    if (result) {
        open_end(
            o, err_new_errno(result, "Could not read header from file '%s'", file->node->filename));
        return;
    }
    o->header = header;
    if (file->node->size < 4) {
        open_end(o, err_new("File is too small, not a valid image"));
        return;
    }
    if (load_le32(header) != VMDK_MAGIC) {
        uint64_t len = MIN(file->node->size, (uint64_t)DESCRIPTOR_MAX);

        image_load(file, 0, len + VMDK_SECTOR, text_read, o);
        return;
    }
    /* Where every program puts it, whatever the header says. */
    image_load(file, VMDK_SECTOR, (VMDK_DESC_SECTORS + 1) * VMDK_SECTOR, embedded_read, o);
}

void vmdk_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
               void *arg)
{
    struct opening *o = NEW(struct opening);

    o->node = node;
    o->v = node->state;
    o->done = done;
    o->arg = arg;
    image_load(node->file, 0, VMDK_HDR_LEN, first_sector_read, o);
}
