/* Driver "file": making files and changing their size. */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/file.h"

/*
 * A new file gets its first block at once: what the host needs to know to find out the alignment of direct I/O.
 */
enum { FILL_BYTES = 1 << 20, SECTOR = 512, FIRST_BLOCK = 4096 };

/* ---- Resize ---- */

static void resize_end(struct file_resize *r, struct err *err)
{
    xfree(r->zeroes);
    r->zeroes = NULL;
    r->done(r->arg, err);
}

static void fill_done(struct op *op)
{
    struct file_resize *r = container_of(op, struct file_resize, op);

    if (op->result <= 0) {
        resize_end(r, err_new_errno(op->result ? (int)op->result : ENOSPC,
                                    "Could not write zeros for preallocation"));
        return;
    }
    r->pos += (uint64_t)op->result;
    if (r->pos >= r->fill_end) {
        resize_end(r, NULL);
        return;
    }
    r->iov = (struct iovec){ r->zeroes, MIN((uint64_t)FILL_BYTES, r->fill_end - r->pos) };
    reactor_file_writev(r->file, op, &r->iov, 1, r->pos);
}

static void alloc_done(struct op *op)
{
    struct file_resize *r = container_of(op, struct file_resize, op);

    resize_end(r, op->result < 0 ? err_new_errno((int)op->result,
                                                 "Could not preallocate data for the new file")
                                 : NULL);
}

static void truncate_done(struct op *op)
{
    struct file_resize *r = container_of(op, struct file_resize, op);

    if (op->result < 0) {
        resize_end(r, err_new_errno((int)op->result, "Could not resize file"));
        return;
    }
    r->fill_end = r->size;
    if (r->prealloc == PREALLOC_OFF && r->old_size == 0)
        r->fill_end = MIN(r->size, (uint64_t)FIRST_BLOCK);
    else if (r->prealloc == PREALLOC_OFF)
        r->fill_end = 0;
    if (r->fill_end <= r->old_size || r->size <= r->old_size) {
        resize_end(r, NULL);
        return;
    }
    r->zeroes = try_alloc_aligned(4096, FILL_BYTES);
    if (!r->zeroes) {
        resize_end(r, err_new_errno(ENOMEM, "Could not write zeros for preallocation"));
        return;
    }
    memset(r->zeroes, 0, FILL_BYTES);
    r->pos = r->old_size;
    r->iov = (struct iovec){ r->zeroes, MIN((uint64_t)FILL_BYTES, r->fill_end - r->pos) };
    op->done = fill_done;
    reactor_file_writev(r->file, op, &r->iov, 1, r->pos);
}

void file_resize(struct file_resize *r)
{
    if (r->prealloc == PREALLOC_METADATA) {
        resize_end(r, err_new("Unsupported preallocation mode 'metadata'"));
        return;
    }
    if (r->prealloc != PREALLOC_OFF && r->size < r->old_size) {
        resize_end(r, err_new("Preallocation can't be used for shrinking files"));
        return;
    }
    /* Grows the file, too. Some file systems allocate nothing but what lies behind the end. */
    if (r->prealloc == PREALLOC_FALLOC && r->size > r->old_size) {
        r->op.done = alloc_done;
        reactor_file_allocate(r->file, &r->op, FILE_ALLOC, r->old_size, r->size - r->old_size);
        return;
    }
    r->op.done = truncate_done;
    reactor_file_truncate(r->file, &r->op, r->size);
}

struct truncation {
    struct file_resize resize;
    struct node *node;
    driver_done_fn *done;
    void *arg;
};

static void node_truncated(void *arg, struct err *err)
{
    struct truncation *t = arg;
    struct file_state *state = t->node->state;

    state->changes++;
    state->extent_known = false;
    if (!err) {
        state->real_size = t->resize.size;
        node_set_size(t->node, align_up_u64(t->resize.size, SECTOR));
    }
    t->done(t->arg, err);
    xfree(t);
}

void file_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                   driver_done_fn *done, void *arg)
{
    struct file_state *state = node->state;
    struct truncation *t;

    if (state->stat.is_block) {
        /* The device has the size it has; a smaller one will do unless it must be exact. */
        struct err *err = NULL;

        if (size > node->size)
            err = err_new("Cannot grow device files");
        else if (exact && size != node->size)
            err = err_new("Cannot resize device files");
        done(arg, err);
        return;
    }
    t = NEW(struct truncation);
    t->node = node;
    t->done = done;
    t->arg = arg;
    t->resize = (struct file_resize){ .file = state->file,
                                      .old_size = state->real_size,
                                      .size = size,
                                      .prealloc = prealloc,
                                      .done = node_truncated,
                                      .arg = t };
    file_resize(&t->resize);
}

/* ---- Create ---- */

struct creation {
    struct graph *graph;
    char *path; /* Owned. */
    uint64_t size;
    enum prealloc prealloc;
    struct reactor_file *file;
    struct op op;
    struct file_locks locks;
    struct file_resize resize;
    driver_done_fn *done;
    void *arg;
};

static void create_end(struct creation *c, struct err *err)
{
    reactor_file_close(c->file);
    c->done(c->arg, err);
    xfree(c->path);
    xfree(c);
}

static void resized(void *arg, struct err *err) { create_end(arg, err); }

static void emptied(void *arg, struct err *err)
{
    struct creation *c = arg;

    if (err) {
        create_end(c, err);
        return;
    }
    c->resize = (struct file_resize){
        .file = c->file, .size = c->size, .prealloc = c->prealloc, .done = resized, .arg = c
    };
    file_resize(&c->resize);
}

static void locked(void *arg, struct err *err)
{
    struct creation *c = arg;

    if (err) {
        create_end(c, err);
        return;
    }
    /* What was in it goes, only now that nobody else uses it. */
    c->resize = (struct file_resize){ .file = c->file, .size = 0, .done = emptied, .arg = c };
    file_resize(&c->resize);
}

static void create_opened(struct op *op)
{
    struct creation *c = container_of(op, struct creation, op);

    if (op->result < 0) {
        create_end(c, err_new_errno((int)op->result, "Could not create '%s'", c->path));
        return;
    }
    c->locks.file = c->file;
    c->locks.filename = c->path;
    file_locks_apply(&c->locks, PERM_WRITE | PERM_RESIZE, PERM_ALL & ~(uint32_t)PERM_RESIZE, locked,
                     c);
}

static const char *const prealloc_names[] = { "off", "metadata", "falloc", "full" };

static struct err *create_options(struct creation *c, struct opts *opts)
{
    const char *filename = NULL;
    int prealloc = PREALLOC_OFF;
    bool nocow = false;

    opts_mark(opts, "driver");
    TRY(opts_str(opts, "filename", &filename));
    TRY(opts_size(opts, "size", &c->size));
    TRY(opts_enum_opt(opts, "preallocation", prealloc_names, ARRAY_LEN(prealloc_names), &prealloc));
    TRY(opts_bool_opt(opts, "nocow", &nocow));
    if (opts_has(opts, "extent-size-hint"))
        opts_mark(opts, "extent-size-hint");
    TRY(opts_check_unused(opts));
    if (c->size > INT64_MAX)
        return err_new("Image size must be less than 8 EiB!");
    if (prealloc == PREALLOC_METADATA)
        return err_new("Unsupported preallocation mode 'metadata'");
    c->prealloc = (enum prealloc)prealloc;
    c->path = xstrdup(str_has_prefix(filename, "file:") ? filename + 5 : filename);
    return NULL;
}

void file_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg)
{
    struct creation *c = NEW(struct creation);
    struct opts opts;
    struct err *err;

    c->graph = graph;
    c->done = done;
    c->arg = arg;
    opts_init(&opts, options);
    err = create_options(c, &opts);
    opts_fini(&opts);
    if (err) {
        create_end(c, err);
        return;
    }
    c->op.done = create_opened;
    reactor_file_open(graph_reactor(graph), &c->op, c->path, FILE_READ | FILE_WRITE | FILE_CREATE,
                      &c->file);
}

const struct create_option file_create_options[] = {
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { "nocow", CREATE_OPT_BOOL, "Turn off copy-on-write (valid only on btrfs)", NULL },
    { "preallocation", CREATE_OPT_STR, "Preallocation mode (allowed values: off, falloc, full)",
      NULL },
    { "extent_size_hint", CREATE_OPT_SIZE, "Extent size hint for the image file, 0 to disable",
      NULL },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};
