/*
 * Driver "file": reopening.
 *
 * The file is opened a second time with the new flags. The locks that the new permissions need were taken through the
 * first handle, where conflicts with others show; the second takes the same bytes without a test, and then replaces
 * the first.
 */
#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/file.h"

const char *const file_reopen_options[] = { "aio",        "aio-max-batch",
                                            "drop-cache", "x-check-cache-dropped",
                                            "pr-manager", NULL };

struct file_reopen {
    struct op op;
    struct file_state *state;
    struct reactor_file *file; /* Owned. */
    struct file_stat stat;
    struct file_locks locks;
    unsigned flags;
    bool keep; /* The handle serves as it is. */
    driver_done_fn *done;
    void *arg;
};

static void drop(struct file_state *state)
{
    struct file_reopen *reopen = state->reopen;

    state->reopen = NULL;
    reactor_file_close(reopen->file);
    xfree(reopen);
}

static void prepare_end(struct file_reopen *reopen, struct err *err)
{
    driver_done_fn *done = reopen->done;
    void *arg = reopen->arg;

    if (err)
        drop(reopen->state);
    done(arg, err);
}

static void stat_done(struct op *op)
{
    struct file_reopen *reopen = container_of(op, struct file_reopen, op);
    const struct file_state *state = reopen->state;

    if (op->result < 0)
        prepare_end(reopen,
                    err_new_errno((int)op->result, "Could not get the size of '%s'", state->path));
    else if (reopen->stat.dev != state->stat.dev || reopen->stat.ino != state->stat.ino)
        prepare_end(reopen, err_new("Could not reopen '%s': it is another file now", state->path));
    else
        prepare_end(reopen, NULL);
}

static void open_done(struct op *op)
{
    struct file_reopen *reopen = container_of(op, struct file_reopen, op);

    if (op->result < 0) {
        prepare_end(reopen, err_new_errno((int)op->result, "Could not reopen file"));
        return;
    }
    op->done = stat_done;
    reactor_file_stat(reopen->file, op, &reopen->stat);
}

void file_reopen_prepare(struct node *node, struct opts *opts, const struct node_options *open,
                         driver_done_fn *done, void *arg)
{
    struct file_state *state = node->state;
    struct file_reopen *reopen;
    unsigned flags = 0;
    struct err *err = file_read_flags(opts, open, open->read_only, &flags);

    check(!state->reopen);
    if (err) {
        done(arg, err);
        return;
    }
    reopen = NEW(struct file_reopen);
    reopen->state = state;
    reopen->flags = flags;
    reopen->done = done;
    reopen->arg = arg;
    state->reopen = reopen;
    if (flags == state->flags) {
        reopen->keep = true;
        prepare_end(reopen, NULL);
        return;
    }
    reopen->op.done = open_done;
    file_open_path(node->graph, &reopen->op, state->path, flags, &reopen->file);
}

static void ready_done(void *arg, struct err *err)
{
    struct file_reopen *reopen = arg;

    reopen->done(reopen->arg, err);
}

void file_reopen_ready(struct node *node, driver_done_fn *done, void *arg)
{
    struct file_state *state = node->state;
    struct file_reopen *reopen = state->reopen;

    if (reopen->keep || !state->locking) {
        done(arg, NULL);
        return;
    }
    reopen->done = done;
    reopen->arg = arg;
    reopen->locks.file = reopen->file;
    reopen->locks.filename = state->path;
    file_locks_copy(&reopen->locks, &state->locks, ready_done, reopen);
}

void file_reopen_commit(struct node *node)
{
    struct file_state *state = node->state;
    struct file_reopen *reopen = state->reopen;

    if (!reopen->keep) {
        reactor_file_close(state->file);
        state->file = reopen->file;
        reopen->file = NULL;
        state->flags = reopen->flags;
        state->stat = reopen->stat;
        state->locks.file = state->file;
        state->extent_known = false;
        node->limits.request_alignment = node->limits.memory_alignment = 1;
        if (node->open.cache_direct) {
            node->limits.request_alignment = MAX(state->stat.logical_block, 1u);
            node->limits.memory_alignment = MAX(state->stat.memory_align, 1u);
        }
    }
    drop(state);
}

void file_reopen_abort(struct node *node) { drop(node->state); }
