/*
 * Files of the real reactors: where each op runs, and its system calls.
 *
 * Reads, writes, syncs and allocation go to the body first, which may have a way without a thread.
 * Locks and stat of local files never block and are called at once. All else runs on a thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/reactor/real.h"

/* More is done by more calls: a copy of this size takes well under a second on any local disk. */
#define COPY_BYTES_MAX (UINT64_C(64) << 20)

/* ---- Handles ---- */

struct reactor_file *real_file_make(struct real *real, int fd, unsigned flags,
                                    const struct file_facts *facts)
{
    struct real_file *file = NEW(struct real_file);

    file->file.reactor = &real->reactor;
    file->file.flags = flags;
    file->fd = fd;
    file->local = facts->local;
    file->regular = facts->stat.is_regular;
    real->reactor.handles++;
    return &file->file;
}

struct reactor_file *real_file_from_fd(struct reactor *r, int fd, unsigned flags)
{
    struct file_facts facts = { 0 };
    struct statx stx;

    /* Asks no server. A file system on a block device of its own (major number not 0) is local; of
     * the others nothing is known without a call that may block. */
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) == 0) {
        facts.stat.is_regular = S_ISREG(stx.stx_mode);
        facts.local = stx.stx_dev_major != 0 && S_ISREG(stx.stx_mode);
    }
    return real_file_make(real_of(r), fd, flags, &facts);
}

void real_file_close(struct reactor_file *base)
{
    struct real_file *file = (struct real_file *)base;

    /* Closing a device writes its cache back, closing on a server may wait for the server. */
    if (file->local && file->regular) {
        close(file->fd);
    } else {
        if (file->locked && file->local) {
            struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

            fcntl(file->fd, F_OFD_SETLK, &all);
        }
        real_close_later(real_of(base->reactor), file->fd);
    }
    xfree(file);
}

int real_file_fd(const struct reactor_file *file) { return ((const struct real_file *)file)->fd; }

/* ---- System calls ---- */

static int64_t result_of(int64_t n) { return n < 0 ? -errno : n; }

static int call_allocate(int fd, const struct op *op)
{
    static const int modes[] = {
        [FILE_ALLOC] = 0,
        [FILE_PUNCH] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
        [FILE_ZERO] = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
    };

    return fallocate(fd, modes[op->mode], (off_t)op->offset, (off_t)op->len);
}

static int64_t call_extent(int fd, const struct op *op)
{
    struct file_extent *out = op->out;
    off_t offset = (off_t)op->offset;
    off_t data = lseek(fd, offset, SEEK_DATA);
    off_t end;

    if (data > offset) {
        *out = (struct file_extent){ .end = (uint64_t)data, .data = false };
        return 0;
    }
    if (data == offset) {
        end = lseek(fd, offset, SEEK_HOLE);
        if (end > offset) {
            *out = (struct file_extent){ .end = (uint64_t)end, .data = true };
            return 0;
        }
        /* The file was cut or punched between the calls, or the file system cannot tell. */
    }
    /* -ENXIO: a hole up to the end, or beyond the end. Anything else: no such thing as holes here. */
    bool hole = data < 0 && errno == ENXIO;
    end = lseek(fd, 0, SEEK_END);
    if (end < 0)
        return -errno;
    if (offset >= end)
        return -ENXIO;
    *out = (struct file_extent){ .end = (uint64_t)end, .data = !hole };
    return 0;
}

static int64_t call_copy(const struct op *op)
{
    const struct real_file *src = op->handle;
    const struct real_file *dst = op->handle2;
    loff_t from = (loff_t)op->offset, to = (loff_t)op->offset2;
    int64_t n = copy_file_range(src->fd, &from, dst->fd, &to, MIN(op->len, COPY_BYTES_MAX), 0);

    if (n < 0 && errno == ENOSYS)
        return -EOPNOTSUPP;
    return result_of(n);
}

static struct flock lock_of(const struct op *op)
{
    static const short types[] = {
        [FILE_LOCK_NONE] = F_UNLCK,
        [FILE_LOCK_SHARED] = F_RDLCK,
        [FILE_LOCK_EXCLUSIVE] = F_WRLCK,
    };

    return (struct flock){
        .l_type = types[op->mode],
        .l_whence = SEEK_SET,
        .l_start = (off_t)op->offset,
        .l_len = (off_t)op->len,
    };
}

static int64_t call_lock_test(int fd, const struct op *op)
{
    struct flock lock = lock_of(op);
    int *pid = op->out;

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -errno;
    if (lock.l_type == F_UNLCK)
        return 0;
    *pid = lock.l_pid > 0 ? lock.l_pid : -1;
    return 1;
}

static int64_t call_stat(int fd, const struct op *op)
{
    struct file_facts facts;
    int error = real_facts_of_fd(fd, &facts);

    if (error == 0)
        *(struct file_stat *)op->out = facts.stat;
    return error;
}

static int iov_limit(const struct op *op) { return (int)MIN(op->niov, (unsigned)IOV_MAX); }

int64_t real_file_call(struct op *op)
{
    struct real_file *file = op->handle;
    int fd = file->fd;
    struct flock lock;

    switch ((enum op_kind)op->kind) {
    case OP_FILE_READV: return result_of(preadv(fd, op->iov, iov_limit(op), (off_t)op->offset));
    case OP_FILE_WRITEV: return result_of(pwritev(fd, op->iov, iov_limit(op), (off_t)op->offset));
    case OP_FILE_SYNC: return result_of(op->mode ? fdatasync(fd) : fsync(fd));
    case OP_FILE_ALLOCATE: return result_of(call_allocate(fd, op));
    case OP_FILE_TRUNCATE: return result_of(ftruncate(fd, (off_t)op->len));
    case OP_FILE_STAT: return call_stat(fd, op);
    case OP_FILE_EXTENT: return call_extent(fd, op);
    case OP_FILE_COPY: return call_copy(op);
    case OP_FILE_LOCK: lock = lock_of(op); return result_of(fcntl(fd, F_OFD_SETLK, &lock));
    case OP_FILE_LOCK_TEST: return call_lock_test(fd, op);
    default: unreachable();
    }
}

/* ---- Ops ---- */

void real_file_start(struct op *op)
{
    struct real_file *file = op->handle;
    struct real *real = real_of(op->reactor);

    switch ((enum op_kind)op->kind) {
    case OP_FILE_READV:
    case OP_FILE_WRITEV:
    case OP_FILE_SYNC:
    case OP_FILE_ALLOCATE:
        if (!(file->file.flags & FILE_THREADS) && real->body->file_io(op, file->fd))
            return;
        break;
    case OP_FILE_LOCK: file->locked = true; FALLTHROUGH;
    case OP_FILE_LOCK_TEST:
    case OP_FILE_STAT:
        if (file->local) {
            op_finish(op, real_file_call(op));
            return;
        }
        break;
    default: break;
    }
    real_submit_op(op);
}

void real_file_cancel(struct op *op)
{
    struct real *real = real_of(op->reactor);

    if (op->backend)
        real_cancel_op(op);
    else
        real->body->file_io_cancel(op);
}
