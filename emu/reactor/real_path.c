/*
 * Operations by path, and the facts about a file. They run on threads with copies of what they need,
 * so that a cancelled one can be left behind: its op completes at once and the thread cleans up.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/reactor/real.h"

/* Not in <linux/magic.h> of every release. */
#define MAGIC_CIFS 0xff534d42u
#define MAGIC_SMB2 0xfe534d42u
#define MAGIC_LUSTRE 0x0bd00bd0u
#define MAGIC_GFS2 0x01161970u
#define MAGIC_GPFS 0x47504653u

/* When the kernel does not tell what O_DIRECT needs. */
#define DIRECT_ALIGN_DEFAULT 4096

/* ---- Facts ---- */

static bool is_network_magic(uint32_t magic)
{
    static const uint32_t magics[] = {
        NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, MAGIC_CIFS,       MAGIC_SMB2,        CEPH_SUPER_MAGIC,
        V9FS_MAGIC,      AFS_SUPER_MAGIC, CODA_SUPER_MAGIC, FUSE_SUPER_MAGIC,  OCFS2_SUPER_MAGIC,
        MAGIC_LUSTRE,    MAGIC_GFS2,      MAGIC_GPFS,       AFS_FS_MAGIC,
    };

    for (size_t i = 0; i < ARRAY_LEN(magics); i++) {
        if (magics[i] == magic)
            return true;
    }
    return false;
}

static void device_facts(int fd, struct file_stat *out)
{
    uint64_t bytes = 0;
    int sector = 0;

    if (ioctl(fd, BLKGETSIZE64, &bytes) == 0)
        out->size = bytes;
    if (ioctl(fd, BLKSSZGET, &sector) == 0 && sector > 0)
        out->logical_block = (uint32_t)sector;
}

/* What O_DIRECT asks for. */
static void direct_facts(int fd, const char *path, struct file_stat *out)
{
    struct statx stx = { 0 };

    if (statx(fd, path, fd >= 0 ? AT_EMPTY_PATH : 0, STATX_DIOALIGN, &stx) == 0 &&
        (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align) {
        out->logical_block = stx.stx_dio_offset_align;
        out->memory_align = MAX(stx.stx_dio_mem_align, 1u);
        return;
    }
    out->logical_block = DIRECT_ALIGN_DEFAULT;
    out->memory_align = DIRECT_ALIGN_DEFAULT;
}

static void fill_stat(const struct stat *st, struct file_stat *out)
{
    *out = (struct file_stat){
        .size = (uint64_t)st->st_size,
        .allocated = (uint64_t)st->st_blocks * 512,
        .dev = st->st_dev,
        .ino = st->st_ino,
        .mode = st->st_mode,
        .logical_block = 1,
        .memory_align = 1,
        .is_block = S_ISBLK(st->st_mode),
        .is_char = S_ISCHR(st->st_mode),
        .is_dir = S_ISDIR(st->st_mode),
        .is_regular = S_ISREG(st->st_mode),
    };
}

int real_facts_of_fd(int fd, struct file_facts *out)
{
    struct statfs fs;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    fill_stat(&st, &out->stat);
    if (out->stat.is_regular || out->stat.is_block)
        direct_facts(fd, "", &out->stat);
    if (out->stat.is_block)
        device_facts(fd, &out->stat);
    if (out->stat.is_regular)
        out->stat.is_network = fstatfs(fd, &fs) < 0 || is_network_magic((uint32_t)fs.f_type);
    out->local = (out->stat.is_regular || out->stat.is_block) && !out->stat.is_network;
    return 0;
}

int real_facts_of_path(const char *path, struct file_facts *out)
{
    struct statfs fs;
    struct stat st;

    if (stat(path, &st) < 0)
        return -errno;
    fill_stat(&st, &out->stat);
    if (out->stat.is_regular || out->stat.is_block)
        direct_facts(AT_FDCWD, path, &out->stat);
    if (out->stat.is_block) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

        if (fd >= 0) {
            device_facts(fd, &out->stat);
            close(fd);
        }
    }
    if (out->stat.is_regular)
        out->stat.is_network = statfs(path, &fs) < 0 || is_network_magic((uint32_t)fs.f_type);
    out->local = !out->stat.is_network;
    return 0;
}

/* ---- Jobs ---- */

struct path_job {
    struct real_job base; /* First. */
    struct op *op;        /* NULL once it was cancelled. Home thread only. */
    enum op_kind kind;
    unsigned flags;
    char *path, *path2; /* owned */
    int fd;             /* owned; -1: none. */
    int result;
    struct file_facts facts;
};

static int open_flags(unsigned flags)
{
    int how = O_CLOEXEC | O_NOCTTY;

    if ((flags & FILE_READ) && (flags & FILE_WRITE))
        how |= O_RDWR;
    else
        how |= (flags & FILE_WRITE) ? O_WRONLY : O_RDONLY;
    how |= (flags & FILE_CREATE) ? O_CREAT : 0;
    how |= (flags & FILE_CREATE) && (flags & FILE_EXCL) ? O_EXCL : 0;
    how |= (flags & FILE_TRUNC) ? O_TRUNC : 0;
    how |= (flags & FILE_DIRECT) ? O_DIRECT : 0;
    how |= (flags & FILE_DSYNC) ? O_DSYNC : 0;
    return how;
}

static int run_open(struct path_job *job)
{
    int result;

    job->fd = open(job->path, open_flags(job->flags), 0644);
    if (job->fd < 0)
        return -errno;
    result = real_facts_of_fd(job->fd, &job->facts);
    /* Reading a directory would fail later, with less to say. */
    return result == 0 && job->facts.stat.is_dir ? -EISDIR : result;
}

static int run_kind(struct path_job *job)
{
    switch (job->kind) {
    case OP_FILE_OPEN: return run_open(job);
    case OP_PATH_UNLINK: return unlink(job->path) < 0 ? -errno : 0;
    case OP_PATH_RENAME: return rename(job->path, job->path2) < 0 ? -errno : 0;
    case OP_PATH_STAT: return real_facts_of_path(job->path, &job->facts);
    default: unreachable();
    }
}

static void path_job_free(struct path_job *job)
{
    if (job->fd >= 0)
        close(job->fd);
    xfree(job->path);
    xfree(job->path2);
    xfree(job);
}

static void path_job_drop(struct job *job) { path_job_free((struct path_job *)job); }

static void path_job_run(struct job *base)
{
    struct path_job *job = (struct path_job *)base;

    job->result = run_kind(job);
    /* What is not handed over is closed here: it may block. */
    if (job->result < 0 && job->fd >= 0) {
        close(job->fd);
        job->fd = -1;
    }
}

static void path_job_finish(struct real_job *base)
{
    struct path_job *job = (struct path_job *)base;
    struct op *op = job->op;

    if (!op) {
        if (job->fd >= 0)
            real_close_later(base->real, job->fd);
        job->fd = -1;
        path_job_free(job);
        return;
    }
    if (job->result == 0 && job->kind == OP_FILE_OPEN) {
        *(struct reactor_file **)op->out =
            real_file_make(base->real, job->fd, job->flags, &job->facts);
        job->fd = -1;
    } else if (job->result == 0 && job->kind == OP_PATH_STAT) {
        *(struct file_stat *)op->out = job->facts.stat;
    }
    op->backend = NULL;
    op_finish(op, job->result);
    path_job_free(job);
}

void real_path_start(struct op *op)
{
    struct path_job *job = NEW(struct path_job);

    job->base.job.run = path_job_run;
    job->base.job.drop = path_job_drop;
    job->base.finish = path_job_finish;
    job->op = op;
    job->kind = op->kind;
    job->flags = op->mode;
    job->path = xstrdup(op->handle);
    job->path2 = xstrdup(op->handle2);
    job->fd = -1;
    op->backend = job;
    real_submit(real_of(op->reactor), &job->base);
}

void real_path_cancel(struct op *op)
{
    struct path_job *job = op->backend;

    op->backend = NULL;
    job->op = NULL;
    if (real_revoke(&job->base))
        path_job_free(job);
    op_finish(op, -ECANCELED);
}

/* ---- Closing ---- */

struct close_job {
    struct real_job base; /* First. */
    int fd;               /* owned */
};

static void close_job_run(struct job *job) { close(((struct close_job *)job)->fd); }

static void close_job_drop(struct job *job) { xfree(job); }

static void close_job_finish(struct real_job *job) { xfree(job); }

void real_close_later(struct real *real, int fd)
{
    struct close_job *job = NEW(struct close_job);

    job->base.job.run = close_job_run;
    job->base.job.drop = close_job_drop;
    job->base.finish = close_job_finish;
    job->fd = fd;
    real_submit(real, &job->base);
}
