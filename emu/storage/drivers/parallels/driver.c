/* The driver table of parallels, opening, and image facts. */

#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/log.h"
#include "emu/storage/drivers/parallels/parallels.h"
#include "emu/storage/drivers/sparse/image_load.h"

static int parallels_probe(const uint8_t *buf, size_t len, const char *filename)
{
    bool extended;

    (void)filename;
    return len >= PARALLELS_HEADER_BYTES && parallels_magic(buf, &extended) ? 100 : 0;
}

struct opening {
    struct node *node;
    unsigned flags;
    driver_done_fn *done;
    void *arg;
    struct check_result check;
};

static void open_end(struct opening *o, struct err *err)
{
    driver_done_fn *done = o->done;
    void *arg = o->arg;

    if (err)
        sparse_fini(&parallels_of(o->node)->sparse);
    xfree(o->check.report);
    xfree(o);
    done(arg, err);
}

static void repaired(void *arg, struct err *err)
{
    struct opening *o = arg;

    if (o->check.report)
        log_warn("%s", o->check.report);
    if (err)
        err = err_prefix(err, "Could not repair corrupted image: ");
    else if (o->check.corruptions > o->check.corruptions_fixed)
        err = err_new("Could not repair corrupted image");
    open_end(o, err);
}

static void header_read(void *arg, uint8_t *bytes, int result)
{
    struct opening *o = arg;
    struct node *node = o->node;
    struct parallels *p = parallels_of(node);
    struct sparse *s = &p->sparse;
    struct err *err;

    err = result ? err_new_errno(result, "Could not read Parallels header")
                 : parallels_header_parse(&p->header, bytes);
    xfree(bytes);
    if (!err) {
        s->node = node;
        s->file = node->file;
        s->size = p->header.sectors * PARALLELS_SECTOR;
        s->block_size = p->header.tracks * PARALLELS_SECTOR;
        s->ops = &parallels_sparse_ops;
        s->can_unlink = true;
        p->end = s->fresh_from = MAX(
            node->file->node->size,
            (uint64_t)MAX(p->header.data_off, parallels_data_start(&p->header)) * PARALLELS_SECTOR);
        err = sparse_init(s);
    }
    if (err) {
        open_end(o, err);
        return;
    }
    sparse_adopt(s);
    node->limits.zero_alignment = node->limits.discard_alignment =
        is_pow2(s->block_size) ? s->block_size : PARALLELS_SECTOR;
    node->size = s->size;
    if (p->header.ext_off && !node->read_only)
        log_warn("Format Extension ignored in RW mode");
    if (node->read_only || o->flags & NODE_OPEN_CHECK)
        open_end(o, NULL);
    else
        parallels_check(node, CHECK_FIX_ERRORS, &o->check, repaired, o);
}

static void parallels_open(struct node *node, struct opts *opts, unsigned flags,
                           driver_done_fn *done, void *arg)
{
    struct opening *o = NEW(struct opening);

    (void)opts;
    *o = (struct opening){ .node = node, .flags = flags, .done = done, .arg = arg };
    image_load(node->file, 0, PARALLELS_HEADER_BYTES, header_read, o);
}

static void parallels_close(struct node *node, driver_done_fn *done, void *arg)
{
    sparse_close(&parallels_of(node)->sparse, done, arg);
}

static void parallels_facts(struct node *node, struct image_facts *facts, driver_done_fn *done,
                            void *arg)
{
    facts->virtual_size = node->size;
    facts->dirty_flag = parallels_of(node)->header.in_use == PARALLELS_IN_USE;
    done(arg, NULL);
}

static const struct driver_child parallels_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_parallels = {
    .name = "parallels",
    .is_format = true,
    .state_size = sizeof(struct parallels),
    .req_size = sizeof(struct sparse_op),
    .children = parallels_children,
    .open = parallels_open,
    .close = parallels_close,
    .submit = sparse_submit,
    .facts = parallels_facts,
    .check = parallels_check,
    .probe = parallels_probe,
    .create = parallels_create,
    .create_options = parallels_create_options,
};
