/* One read or write of the shell: arguments, buffer, result. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/shell/private.h"
#include "emu/storage/snapshot.h"

enum { BUFFER_ALIGN = 4096 };

struct shell_io *shell_io_new(struct shell_call *call)
{
    struct shell_io *io = NEW(struct shell_io);

    io->shell = call->shell;
    io->call = call;
    return io;
}

void shell_io_free(struct shell_io *io)
{
    if (!io)
        return;
    xfree(io->iov);
    xfree(io->buf);
    xfree(io);
}

bool shell_pattern(struct shell_call *call, const char *text, uint8_t *out)
{
    char *end;
    long value = strtol(text, &end, 0);

    if (end != text && !*end && value >= 0 && value <= 0xff) {
        *out = (uint8_t)value;
        return true;
    }
    shell_print(call->shell, "%s is not a valid pattern byte\n", text);
    shell_done(call, -EINVAL);
    return false;
}

bool shell_io_range(struct shell_io *io, struct shell_call *call, bool one_length)
{
    const int lengths = call->argc - optind - 1;
    uint64_t len;

    if (lengths < 1 || (one_length && lengths > 1)) {
        shell_usage(call);
        return false;
    }
    if (!shell_size(call, call->argv[optind], &io->offset))
        return false;
    io->niov = (unsigned)lengths;
    io->iov = xcalloc(io->niov, sizeof(*io->iov));
    for (unsigned i = 0; i < io->niov; i++) {
        const char *text = call->argv[optind + 1 + (int)i];

        if (!shell_size(call, text, &len))
            return false;
        if (len > SHELL_LEN_MAX || io->len + len > SHELL_LEN_MAX) {
            if (one_length)
                shell_print(call->shell, "length cannot exceed %d, given %s\n", SHELL_LEN_MAX,
                            text);
            else
                shell_print(call->shell, "The total number of bytes exceed the maximum size %d\n",
                            SHELL_LEN_MAX);
            shell_done(call, -EINVAL);
            return false;
        }
        io->iov[i].iov_len = len;
        io->len += len;
    }
    return true;
}

bool shell_io_buffer(struct shell_io *io, struct shell_call *call, uint8_t fill)
{
    uint8_t *at;

    io->buf = try_alloc_aligned(BUFFER_ALIGN, io->len + 1);
    if (!io->buf) {
        shell_print(call->shell, "no memory for %" PRIu64 " bytes\n", io->len);
        shell_done(call, -ENOMEM);
        return false;
    }
    memset(io->buf, fill, io->len);
    at = io->buf;
    for (unsigned i = 0; i < io->niov; i++) {
        io->iov[i].iov_base = at;
        at += io->iov[i].iov_len;
    }
    return true;
}

static void done_at_once(struct task *task)
{
    struct req *req = container_of(task, struct req, task);

    req->done(req);
}

void shell_io_submit(struct shell_io *io, req_done_fn *done, bool vm_state)
{
    struct req *req = &io->req;

    req->offset = io->offset;
    req->len = io->len;
    req->data = iov_view(io->iov, io->niov);
    req->done = done;
    io->started_ns = reactor_now(io->shell->config.reactor);
    if (vm_state) {
        node_submit_vmstate(io->shell->edge->node, req);
    } else if (io->len == 0) {
        /* The core takes no empty requests; one inside the disk succeeds. */
        req->result = io->offset <= io->shell->edge->node->size ? 0 : -EIO;
        reactor_defer(io->shell->config.reactor, &req->task, done_at_once);
    } else {
        edge_submit(io->shell->edge, req);
    }
}

static void dump(struct shell_io *io)
{
    CLEANUP(str_fini) struct str text = { 0 };

    for (uint64_t at = 0; at < io->len; at += 16) {
        const uint64_t n = MIN(UINT64_C(16), io->len - at);

        str_addf(&text, "%08" PRIx64 ":  ", io->offset + at);
        for (uint64_t i = 0; i < n; i++)
            str_addf(&text, "%02x ", io->buf[at + i]);
        str_addc(&text, ' ');
        for (uint64_t i = 0; i < n; i++)
            str_addc(&text, isalnum(io->buf[at + i]) ? (char)io->buf[at + i] : '.');
        str_addc(&text, '\n');
    }
    shell_print(io->shell, "%s", str_cstr(&text));
}

static void verify(struct shell_io *io)
{
    const uint8_t *at = io->buf + io->verify_offset;

    for (uint64_t i = 0; i < io->verify_len; i++)
        if (at[i] != io->pattern)
            io->pattern_failed = true;
    if (io->pattern_failed)
        shell_print(io->shell,
                    "Pattern verification failed at offset %" PRIu64 ", %" PRIu64 " bytes\n",
                    io->offset + io->verify_offset, io->verify_len);
}

static void print_time(struct str *text, int64_t ns, bool terse)
{
    const int64_t hundredths = ns / 10000000;
    const int64_t seconds = hundredths / 100;

    if (terse || seconds >= 3600)
        str_addf(text, "%" PRId64 ":%02" PRId64 ":%02" PRId64 ".%02" PRId64, seconds / 3600,
                 seconds / 60 % 60, seconds % 60, hundredths % 100);
    else if (seconds >= 60)
        str_addf(text, "%" PRId64 ":%02" PRId64 ".%02" PRId64, seconds / 60, seconds % 60,
                 hundredths % 100);
    else
        str_addf(text, "%02" PRId64 ".%02" PRId64 " sec", seconds, hundredths % 100);
}

static void statistics(struct shell_io *io)
{
    const int64_t ns = MAX(reactor_now(io->shell->config.reactor) - io->started_ns, INT64_C(1));
    const double rate = (double)io->len * 1e9 / (double)ns, ops = 1e9 / (double)ns;
    CLEANUP(str_fini) struct str time = { 0 };
    char size[64], per_second[64];

    if (io->machine) {
        print_time(&time, ns, true);
        shell_print(io->shell, "%" PRIu64 ",1,%s,%.3f,%.3f\n", io->len, str_cstr(&time), rate, ops);
        return;
    }
    print_time(&time, ns, false);
    shell_print(io->shell,
                "%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n"
                "%s, 1 ops; %s (%s/sec and %.4f ops/sec)\n",
                io->verb, io->len, io->len, io->offset, shell_size_text((double)io->len, size),
                str_cstr(&time), shell_size_text(rate, per_second), ops);
}

int shell_io_finish(struct shell_io *io)
{
    if (io->req.result < 0) {
        shell_print(io->shell, "%s failed: %s\n", io->fail, strerror(-io->req.result));
        return io->req.result;
    }
    if (io->verify)
        verify(io);
    if (io->quiet)
        return io->pattern_failed ? -EINVAL : 0;
    if (io->dump)
        dump(io);
    statistics(io);
    return io->pattern_failed ? -EINVAL : 0;
}
