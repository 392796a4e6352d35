/*
 * Drivers "file", "host_device" and "host_cdrom": an image in a file or device of the host. Opening, closing and
 * facts.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/file.h"
#include "emu/storage/fdset.h"

static const char *const aio_names[] = { "threads", "native", "io_uring" };
static const char *const locking_names[] = { "auto", "on", "off" };
enum { LOCKING_OFF = 2, AIO_THREADS = 0, AIO_NATIVE = 1, SECTOR = 512 };

static void open_end(struct file_state *state, struct err *err)
{
    if (err) {
        reactor_file_close(state->file);
        state->file = NULL;
        xfree(state->path);
        state->path = NULL;
    }
    state->done(state->arg, err);
}

static struct err *wrong_kind(const struct file_state *state)
{
    if (state->node->driver == &driver_file)
        return err_new("'file' driver requires '%s' to be a regular file", state->path);
    return err_new("'%s' driver requires '%s' to be either a character or block device",
                   state->node->driver->name, state->path);
}

static struct err *accept_file(struct file_state *state)
{
    bool is_device = state->stat.is_block || state->stat.is_char;
    struct node *node = state->node;

    /* A name outside of /dev may be a link to a disk: see filename.c. */
    if (node->driver == &driver_file ? !state->stat.is_regular && !state->stat.is_block
                                     : !is_device)
        return wrong_kind(state);
    state->real_size = state->stat.size;
    node->size = align_up_u64(state->stat.size, SECTOR);
    if (node->open.cache_direct) {
        node->limits.request_alignment = MAX(state->stat.logical_block, 1u);
        node->limits.memory_alignment = MAX(state->stat.memory_align, 1u);
    }
    node->supported_zero_flags = REQ_MAY_UNMAP | REQ_NO_FALLBACK;
    state->locks.file = state->file;
    state->locks.filename = state->path;
    return NULL;
}

void file_open_path(struct graph *graph, struct op *op, const char *path, unsigned flags,
                    struct reactor_file **out)
{
    int64_t id;
    int fd;

    if (!fdset_path(path, &id)) {
        reactor_file_open(graph_reactor(graph), op, path, flags, out);
        return;
    }
    fd = fdset_dup(graph, id, flags);
    if (fd >= 0)
        *out = reactor_file_from_fd(graph_reactor(graph), fd, flags);
    op->result = fd >= 0 ? 0 : fd;
    op->done(op);
}

static void stat_done(struct op *op)
{
    struct file_state *state = container_of(op, struct file_state, op);

    if (op->result < 0)
        open_end(state,
                 err_new_errno((int)op->result, "Could not get the size of '%s'", state->path));
    else
        open_end(state, accept_file(state));
}

static void open_done(struct op *op)
{
    struct file_state *state = container_of(op, struct file_state, op);
    int result = (int)op->result;

    if (result < 0 && (state->flags & FILE_WRITE) && state->node->open.auto_read_only &&
        (result == -EACCES || result == -EROFS || result == -EPERM)) {
        state->node->read_only = true;
        state->flags &= ~(unsigned)FILE_WRITE;
        file_open_path(state->node->graph, op, state->path, state->flags, &state->file);
        return;
    }
    if (result == -EISDIR && !(state->flags & FILE_WRITE)) {
        open_end(state, wrong_kind(state));
        return;
    }
    if (result < 0) {
        open_end(state, err_new_errno(result, "Could not open '%s'", state->path));
        return;
    }
    op->done = stat_done;
    reactor_file_stat(state->file, op, &state->stat);
}

struct err *file_read_flags(struct opts *opts, const struct node_options *open, bool read_only,
                            unsigned *out)
{
    const char *unused = NULL;
    int aio = AIO_THREADS;
    bool flag;

    TRY(opts_enum_opt(opts, "aio", aio_names, ARRAY_LEN(aio_names), &aio));
    TRY(opts_bool_opt(opts, "drop-cache", &flag));
    TRY(opts_bool_opt(opts, "x-check-cache-dropped", &flag));
    if (opts_has(opts, "aio-max-batch"))
        opts_mark(opts, "aio-max-batch");
    TRY(opts_str_opt(opts, "pr-manager", &unused));
    if (unused)
        return err_new("Persistent reservation managers are not supported");
    if (aio == AIO_NATIVE && !open->cache_direct)
        return err_new(
            "aio=native was specified, but it requires cache.direct=on, which was not specified.");
    *out = FILE_READ;
    if (!read_only)
        *out |= FILE_WRITE;
    if (open->cache_direct)
        *out |= FILE_DIRECT;
    if (aio == AIO_THREADS && opts_has(opts, "aio"))
        *out |= FILE_THREADS;
    return NULL;
}

static struct err *read_options(struct node *node, struct opts *opts, struct file_state *state)
{
    const char *filename = NULL;
    int locking = 0;

    TRY(opts_str_opt(opts, "filename", &filename));
    if (!filename || !*filename)
        return err_new("The '%s' block driver requires a file name", node->driver->name);
    TRY(opts_enum_opt(opts, "locking", locking_names, ARRAY_LEN(locking_names), &locking));
    TRY(file_read_flags(opts, &node->open, node->read_only, &state->flags));
    if (str_has_prefix(filename, node->driver->name) && filename[strlen(node->driver->name)] == ':')
        filename += strlen(node->driver->name) + 1;
    state->path = xstrdup(filename);
    xfree(node->filename);
    node->filename = xstrdup(state->path);
    state->locking = locking != LOCKING_OFF && !node->open.force_share;
    return NULL;
}

static void file_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                      void *arg)
{
    struct file_state *state = node->state;
    struct err *err;

    (void)flags;
    state->node = node;
    state->done = done;
    state->arg = arg;
    err = read_options(node, opts, state);
    if (err) {
        open_end(state, err);
        return;
    }
    state->op.done = open_done;
    file_open_path(node->graph, &state->op, state->path, state->flags, &state->file);
}

static void file_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct file_state *state = node->state;

    /* The locks go with the open file. */
    reactor_file_close(state->file);
    xfree(state->path);
    done(arg, NULL);
}

static void file_prepare_perm(struct node *node, uint32_t perm, uint32_t shared,
                              driver_done_fn *done, void *arg)
{
    struct file_state *state = node->state;

    if (!state->locking || !state->file)
        done(arg, NULL);
    else
        file_locks_apply(&state->locks, perm, shared, done, arg);
}

/* ---- Facts ---- */

struct facts_run {
    struct op op;
    struct file_stat stat;
    struct image_facts *facts;
    struct node *node; /* Holds a reference. */
    driver_done_fn *done;
    void *arg;
};

static void facts_done(struct op *op)
{
    struct facts_run *run = container_of(op, struct facts_run, op);

    if (op->result >= 0) {
        run->facts->actual_size = run->stat.allocated;
        run->facts->have_actual_size = true;
    }
    run->facts->virtual_size = run->node->size;
    if (run->node->driver == &driver_file) {
        run->facts->format_specific = json_object();
        json_object_set_str(run->facts->format_specific, "type", "file");
        json_object_set(run->facts->format_specific, "data", json_object());
    }
    run->done(run->arg, NULL);
    node_unref(run->node);
    xfree(run);
}

static void file_facts(struct node *node, struct image_facts *facts, driver_done_fn *done,
                       void *arg)
{
    struct file_state *state = node->state;
    struct facts_run *run = NEW(struct facts_run);

    run->facts = facts;
    run->node = node_ref(node);
    run->done = done;
    run->arg = arg;
    run->op.done = facts_done;
    reactor_file_stat(state->file, &run->op, &run->stat);
}

const struct driver driver_file = {
    .name = "file",
    .is_protocol = true,
    .has_variable_size = true,
    .can_grow = true,
    .state_size = sizeof(struct file_state),
    .req_size = sizeof(struct file_req),
    .open = file_open,
    .close = file_close,
    .submit = file_submit,
    .truncate = file_truncate,
    .facts = file_facts,
    .prepare_perm = file_prepare_perm,
    .reopen_options = file_reopen_options,
    .reopen_prepare = file_reopen_prepare,
    .reopen_ready = file_reopen_ready,
    .reopen_commit = file_reopen_commit,
    .reopen_abort = file_reopen_abort,
    .create = file_create,
    .create_options = file_create_options,
};

const struct driver driver_host_device = {
    .name = "host_device",
    .is_protocol = true,
    .has_variable_size = true,
    .state_size = sizeof(struct file_state),
    .req_size = sizeof(struct file_req),
    .open = file_open,
    .close = file_close,
    .submit = file_submit,
    .truncate = file_truncate,
    .facts = file_facts,
    .prepare_perm = file_prepare_perm,
    .reopen_options = file_reopen_options,
    .reopen_prepare = file_reopen_prepare,
    .reopen_ready = file_reopen_ready,
    .reopen_commit = file_reopen_commit,
    .reopen_abort = file_reopen_abort,
    .create = file_create,
    .create_options = file_create_options,
};

const struct driver driver_host_cdrom = {
    .name = "host_cdrom",
    .is_protocol = true,
    .has_variable_size = true,
    .state_size = sizeof(struct file_state),
    .req_size = sizeof(struct file_req),
    .open = file_open,
    .close = file_close,
    .submit = file_submit,
    .truncate = file_truncate,
    .facts = file_facts,
    .prepare_perm = file_prepare_perm,
    .reopen_options = file_reopen_options,
    .reopen_prepare = file_reopen_prepare,
    .reopen_ready = file_reopen_ready,
    .reopen_commit = file_reopen_commit,
    .reopen_abort = file_reopen_abort,
    .create = file_create,
    .create_options = file_create_options,
};
