/* The front of file and path operations and of CPU work: checks, fills in the op, starts it. */
#include "emu/reactor/backend.h"

#include "emu/base/check.h"

static void start(struct op *op) { op->reactor->backend->start(op); }

/* ---- On the reactor ---- */

static void start_work(struct reactor *r, struct op *op, enum op_kind kind,
                       int64_t (*work)(void *arg), void *arg)
{
    op_begin(r, op, kind);
    op->work = work;
    op->handle2 = arg;
    start(op);
}

void reactor_work(struct reactor *r, struct op *op, int64_t (*work)(void *arg), void *arg)
{
    start_work(r, op, OP_WORK, work, arg);
}

void reactor_call(struct reactor *r, struct op *op, int64_t (*work)(void *arg), void *arg)
{
    start_work(r, op, OP_CALL, work, arg);
}

/* The path is copied by the body; it is lent through the op only during the start. */
static void start_path(struct op *op, const char *path, const char *path2)
{
    struct reactor *r = op->reactor;

    op->handle = (void *)(uintptr_t)path;
    op->handle2 = (void *)(uintptr_t)path2;
    r->backend->start(op);
    op->handle = NULL;
    op->handle2 = NULL;
}

void reactor_file_open(struct reactor *r, struct op *op, const char *path, unsigned flags,
                       struct reactor_file **out)
{
    check(flags & (FILE_READ | FILE_WRITE));
    op_begin(r, op, OP_FILE_OPEN);
    op->mode = flags;
    op->out = out;
    *out = NULL;
    start_path(op, path, NULL);
}

void reactor_path_unlink(struct reactor *r, struct op *op, const char *path)
{
    op_begin(r, op, OP_PATH_UNLINK);
    start_path(op, path, NULL);
}

void reactor_path_rename(struct reactor *r, struct op *op, const char *from, const char *to)
{
    op_begin(r, op, OP_PATH_RENAME);
    start_path(op, from, to);
}

void reactor_path_stat(struct reactor *r, struct op *op, const char *path, struct file_stat *out)
{
    op_begin(r, op, OP_PATH_STAT);
    op->out = out;
    start_path(op, path, NULL);
}

/* ---- Handles ---- */

struct reactor_file *reactor_file_from_fd(struct reactor *r, int fd, unsigned flags)
{
    check(reactor_is_home(r));
    return r->backend->file_from_fd(r, fd, flags);
}

void reactor_file_close(struct reactor_file *file)
{
    if (!file)
        return;
    check(reactor_is_home(file->reactor));
    check(file->ops_pending == 0);
    file->reactor->handles--;
    file->reactor->backend->file_close(file);
}

struct reactor *reactor_file_reactor(struct reactor_file *file) { return file->reactor; }

int reactor_file_fd(const struct reactor_file *file)
{
    return file->reactor->backend->file_fd(file);
}

/* ---- On a file ---- */

static void begin(struct reactor_file *file, struct op *op, enum op_kind kind)
{
    op_begin(file->reactor, op, kind);
    op->handle = file;
    file->ops_pending++;
}

static void start_io(struct reactor_file *file, struct op *op, enum op_kind kind,
                     const struct iovec *iov, unsigned niov, uint64_t offset)
{
    begin(file, op, kind);
    op->iov = iov;
    op->niov = niov;
    op->offset = offset;
    start(op);
}

void reactor_file_readv(struct reactor_file *file, struct op *op, const struct iovec *iov,
                        unsigned niov, uint64_t offset)
{
    start_io(file, op, OP_FILE_READV, iov, niov, offset);
}

void reactor_file_writev(struct reactor_file *file, struct op *op, const struct iovec *iov,
                         unsigned niov, uint64_t offset)
{
    start_io(file, op, OP_FILE_WRITEV, iov, niov, offset);
}

void reactor_file_sync(struct reactor_file *file, struct op *op, bool data_only)
{
    begin(file, op, OP_FILE_SYNC);
    op->mode = data_only;
    start(op);
}

void reactor_file_allocate(struct reactor_file *file, struct op *op, enum file_alloc_mode mode,
                           uint64_t offset, uint64_t len)
{
    begin(file, op, OP_FILE_ALLOCATE);
    op->mode = mode;
    op->offset = offset;
    op->len = len;
    start(op);
}

void reactor_file_truncate(struct reactor_file *file, struct op *op, uint64_t size)
{
    begin(file, op, OP_FILE_TRUNCATE);
    op->len = size;
    start(op);
}

void reactor_file_stat(struct reactor_file *file, struct op *op, struct file_stat *out)
{
    begin(file, op, OP_FILE_STAT);
    op->out = out;
    start(op);
}

void reactor_file_extent(struct reactor_file *file, struct op *op, uint64_t offset,
                         struct file_extent *out)
{
    begin(file, op, OP_FILE_EXTENT);
    op->offset = offset;
    op->out = out;
    start(op);
}

void reactor_file_copy(struct reactor_file *src, uint64_t src_offset, struct reactor_file *dst,
                       uint64_t dst_offset, uint64_t len, struct op *op)
{
    check(src->reactor == dst->reactor);
    begin(src, op, OP_FILE_COPY);
    dst->ops_pending++;
    op->handle2 = dst;
    op->offset = src_offset;
    op->offset2 = dst_offset;
    op->len = len;
    start(op);
}

void reactor_file_lock(struct reactor_file *file, struct op *op, enum file_lock kind,
                       uint64_t offset, uint64_t len)
{
    begin(file, op, OP_FILE_LOCK);
    op->mode = kind;
    op->offset = offset;
    op->len = len;
    start(op);
}

void reactor_file_lock_test(struct reactor_file *file, struct op *op, enum file_lock kind,
                            uint64_t offset, uint64_t len, int *pid)
{
    check(kind != FILE_LOCK_NONE);
    begin(file, op, OP_FILE_LOCK_TEST);
    op->mode = kind;
    op->offset = offset;
    op->len = len;
    op->out = pid;
    start(op);
}
