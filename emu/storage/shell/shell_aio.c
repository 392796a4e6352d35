/* aio_read, aio_write, aio_flush: the command ends when the request has begun; its result is printed as it comes. */
#include <errno.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/storage/shell/private.h"

enum { READ_FILL = 0xab, WRITE_FILL = 0xcd };

bool shell_is_busy(const struct shell *shell) { return shell->aio_pending > 0; }

static void one_less(struct shell *shell)
{
    struct list waiters = LIST_INIT(waiters);

    if (--shell->aio_pending > 0)
        return;
    list_splice_tail(&waiters, &shell->waiters);
    list_for_each_safe(waiter, &waiters, struct shell_waiter, link) {
        list_del(&waiter->link);
        waiter->done(waiter->arg, 0);
        xfree(waiter);
    }
}

void shell_quiesce(struct shell *shell, shell_done_fn *done, void *arg)
{
    struct shell_waiter *waiter;

    if (shell->aio_pending == 0) {
        done(arg, 0);
        return;
    }
    waiter = NEW(struct shell_waiter);
    waiter->done = done;
    waiter->arg = arg;
    list_add_tail(&shell->waiters, &waiter->link);
}

static void finished(struct req *req)
{
    struct shell_io *io = container_of(req, struct shell_io, req);
    struct shell *shell = io->shell;

    shell_io_finish(io);
    shell_io_free(io);
    one_less(shell);
    shell_unref(shell);
}

static void launch(struct shell_io *io, struct shell_call *call)
{
    io->call = NULL;
    io->shell->aio_pending++;
    io->shell->refs++;
    shell_io_submit(io, finished, false);
    shell_done(call, 0);
}

/* A request that never is one, for whoever counts invalid ones. */
static void inject_invalid(struct shell_io *io, struct shell_call *call)
{
    shell_print(call->shell, "injecting invalid %s request\n",
                io->req.kind == REQ_READ ? "read" : "write");
    shell_io_free(io);
    shell_done(call, 0);
}

static void aio_read_run(struct shell_call *call)
{
    struct shell_io *io = shell_io_new(call);
    bool invalid = false, bad = false;
    int c;

    io->verb = "read";
    io->fail = "readv";
    io->req.kind = REQ_READ;
    shell_getopt_start();
    while (!bad && (c = shell_getopt(call, "CP:iqrv")) != -1) {
        switch (c) {
        case 'C': io->machine = true; break;
        case 'P':
            io->verify = shell_pattern(call, optarg, &io->pattern);
            bad = !io->verify;
            break;
        case 'i': invalid = true; break;
        case 'q': io->quiet = true; break;
        case 'v': io->dump = true; break;
        case '?': bad = true; break;
        }
    }
    if (!bad && invalid) {
        inject_invalid(io, call);
    } else if (!bad && shell_io_range(io, call, false) && shell_io_buffer(io, call, READ_FILL)) {
        io->verify_len = io->len;
        launch(io, call);
    } else {
        shell_io_free(io);
    }
}

struct aio_write_options {
    bool invalid, zeroes, unmap, fua, pattern;
};

static bool aio_write_option(struct shell_io *io, struct shell_call *call, int c,
                             struct aio_write_options *o)
{
    switch (c) {
    case 'C': io->machine = true; return true;
    case 'f': o->fua = true; return true;
    case 'i': o->invalid = true; return true;
    case 'P': o->pattern = true; return shell_pattern(call, optarg, &io->pattern);
    case 'q': io->quiet = true; return true;
    case 'u': o->unmap = true; return true;
    case 'z': o->zeroes = true; return true;
    }
    return c != '?';
}

static bool aio_write_is_ready(struct shell_io *io, struct shell_call *call,
                               const struct aio_write_options *o)
{
    const char *conflict = NULL;

    if (o->zeroes && optind != call->argc - 2)
        conflict = "-z supports only a single length parameter";
    else if (o->unmap && !o->zeroes)
        conflict = "-u requires -z to be specified";
    else if (o->zeroes && o->pattern)
        conflict = "-z and -P cannot be specified at the same time";
    if (conflict) {
        shell_print(call->shell, "%s\n", conflict);
        shell_done(call, -EINVAL);
        return false;
    }
    return shell_io_range(io, call, false) &&
           (o->zeroes || shell_io_buffer(io, call, o->pattern ? io->pattern : WRITE_FILL));
}

static void aio_write_run(struct shell_call *call)
{
    struct shell_io *io = shell_io_new(call);
    struct aio_write_options o = { 0 };
    int c;

    io->verb = "wrote";
    io->fail = "aio_write";
    io->req.kind = REQ_WRITE;
    shell_getopt_start();
    while ((c = shell_getopt(call, "CfiP:qruz")) != -1) {
        if (!aio_write_option(io, call, c, &o)) {
            shell_io_free(io);
            return;
        }
    }
    if (o.invalid) {
        inject_invalid(io, call);
        return;
    }
    if (!aio_write_is_ready(io, call, &o)) {
        shell_io_free(io);
        return;
    }
    io->req.kind = o.zeroes ? REQ_ZERO : REQ_WRITE;
    io->req.flags = (o.fua ? REQ_FUA : 0) | (o.unmap ? REQ_MAY_UNMAP : 0);
    launch(io, call);
}

static void quiesced(void *arg, int result) { shell_done(arg, result); }
static void aio_flush_run(struct shell_call *call) { shell_quiesce(call->shell, quiesced, call); }

const struct shell_command shell_aio_commands[] = {
    { .name = "aio_read",
      .args_min = 2,
      .args_max = -1,
      .args = "[-Ciqrv] [-P pattern] off len [len..]",
      .summary = "asynchronously reads a number of bytes",
      .help =
          "\n"
          " begins to read one range into one or more buffers\n"
          "\n"
          " Example:\n"
          " 'aio_read -v 512 1k 1k ' - dumps 2 KiB read from 512 bytes into the disk\n"
          "\n"
          " The command succeeds once the request has begun. Its result is printed when it comes;\n"
          " aio_flush waits for all of them.\n"
          " -C, -- print the statistics as one line for programs\n"
          " -i, -- count an invalid request instead of making one\n"
          " -P, -- compare what was read with this byte\n"
          " -q, -- print no statistics\n"
          " -r, -- accepted without effect\n"
          " -v, -- dump what was read\n"
          "\n",
      .run = aio_read_run },
    { .name = "aio_write",
      .args_min = 2,
      .args_max = -1,
      .perm = PERM_WRITE,
      .args = "[-Cfiqruz] [-P pattern] off len [len..]",
      .summary = "asynchronously writes a number of bytes",
      .help =
          "\n"
          " begins to write one range from one or more buffers\n"
          "\n"
          " Example:\n"
          " 'aio_write 512 1k 1k' - writes 2 KiB at 512 bytes into the disk\n"
          "\n"
          " The command succeeds once the request has begun. Its result is printed when it comes;\n"
          " aio_flush waits for all of them.\n"
          " -C, -- print the statistics as one line for programs\n"
          " -f, -- the data is stable when the write ends (FUA)\n"
          " -i, -- count an invalid request instead of making one\n"
          " -P, -- the byte to write\n"
          " -q, -- print no statistics\n"
          " -r, -- accepted without effect\n"
          " -u, -- with -z: may unmap\n"
          " -z, -- write zeroes as zeroes, without data\n"
          "\n",
      .run = aio_write_run },
    { .name = "aio_flush",
      .summary = "completes all outstanding aio requests",
      .run = aio_flush_run },
    { 0 },
};
