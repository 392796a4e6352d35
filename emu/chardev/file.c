/* The file chardev: output goes to a file. */
#include "emu/base/alloc.h"
#include "emu/chardev/backend.h"

struct file_chardev {
    struct chardev chr;
    char *path; /* owned */
    bool append;
    bool stopped;
    struct op op;
    struct reactor_file *file; /* owned until the channel has it */
    struct file_stat stat;
};

static void free_it(struct file_chardev *f)
{
    reactor_file_close(f->file);
    xfree(f->path);
    chardev_gone(&f->chr);
}

/* True when the chardev goes, or has failed. */
static bool failed(struct file_chardev *f)
{
    int64_t result = f->op.result;

    if (f->stopped) {
        free_it(f);
        return true;
    }
    if (result < 0)
        chardev_ready(&f->chr, err_new_errno((int)-result, "Could not open '%s'", f->path));
    return result < 0;
}

static void ready(struct file_chardev *f, uint64_t offset)
{
    struct reactor_file *file = f->file;

    f->file = NULL;
    chardev_ready(&f->chr, NULL);
    chardev_opened(&f->chr, channel_new_file(f->chr.reactor, file, offset));
}

static void stat_done(struct op *op)
{
    struct file_chardev *f = container_of(op, struct file_chardev, op);

    if (!failed(f))
        ready(f, f->stat.is_regular ? f->stat.size : 0);
}

static void open_done(struct op *op)
{
    struct file_chardev *f = container_of(op, struct file_chardev, op);

    if (failed(f))
        return;
    if (!f->append) {
        ready(f, 0);
        return;
    }
    op->done = stat_done;
    reactor_file_stat(f->file, op, &f->stat);
}

static struct err *start(struct chardev *chr, const struct qapi_chardev_backend *backend)
{
    struct file_chardev *f = container_of(chr, struct file_chardev, chr);
    const struct qapi_chardev_file *opts = backend->u.file.data;

    f->append = opts->append.set && opts->append.value;
    f->path = xstrdup(opts->out);
    f->op.done = open_done;
    reactor_file_open(chr->reactor, &f->op, f->path,
                      FILE_WRITE | FILE_CREATE | (f->append ? 0 : FILE_TRUNC), &f->file);
    return NULL;
}

static void stop(struct chardev *chr)
{
    struct file_chardev *f = container_of(chr, struct file_chardev, chr);

    f->stopped = true;
    if (!op_pending(&f->op))
        free_it(f);
}

static char *filename(const struct chardev *chr)
{
    (void)chr;
    return xstrdup("file");
}

const struct chardev_ops chardev_file_ops = {
    .size = sizeof(struct file_chardev), .start = start, .stop = stop, .filename = filename
};
