/* read, readv, write, writev, discard: the command ends when the request has. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/shell/private.h"

enum { READ_FILL = 0xab, WRITE_FILL = 0xcd, SECTOR_BYTES = 512 };

static void finished(struct req *req)
{
    struct shell_io *io = container_of(req, struct shell_io, req);
    struct shell_call *call = io->call;
    int result = shell_io_finish(io);

    shell_io_free(io);
    shell_done(call, result);
}

static bool sector_aligned(struct shell_call *call, uint64_t value, const char *what)
{
    if (value % SECTOR_BYTES == 0)
        return true;
    shell_print(call->shell, "%llu is not a sector-aligned value for '%s'\n",
                (unsigned long long)value, what);
    shell_done(call, -EINVAL);
    return false;
}

/* ---- read ---- */

struct read_options {
    bool vm_state, pattern, have_offset, have_len;
    uint64_t offset, len;
};

static bool read_option(struct shell_io *io, struct shell_call *call, int c, struct read_options *o)
{
    switch (c) {
    case 'b': o->vm_state = true; return true;
    case 'C': io->machine = true; return true;
    case 'l': o->have_len = true; return shell_size(call, optarg, &o->len);
    case 's': o->have_offset = true; return shell_size(call, optarg, &o->offset);
    case 'P': o->pattern = io->verify = true; return shell_pattern(call, optarg, &io->pattern);
    case 'q': io->quiet = true; return true;
    case 'v': io->dump = true; return true;
    }
    return c != '?'; /* -p, -r and -a change nothing. */
}

static bool read_limits(struct shell_io *io, struct shell_call *call, const struct read_options *o)
{
    if (!o->pattern && (o->have_len || o->have_offset)) {
        shell_usage(call);
        return false;
    }
    if (o->offset > io->len || (o->have_len && o->len > io->len - o->offset)) {
        shell_print(call->shell, "pattern verification range exceeds end of read data\n");
        shell_done(call, -EINVAL);
        return false;
    }
    io->verify_offset = o->offset;
    io->verify_len = o->have_len ? o->len : io->len - o->offset;
    return !o->vm_state ||
           (sector_aligned(call, io->offset, "offset") && sector_aligned(call, io->len, "count"));
}

static void read_any(struct shell_call *call, const char *options, bool vector)
{
    struct shell_io *io = shell_io_new(call);
    struct read_options o = { 0 };
    int c;

    io->verb = "read";
    io->fail = vector ? "readv" : "read";
    io->req.kind = REQ_READ;
    shell_getopt_start();
    while ((c = shell_getopt(call, options)) != -1) {
        if (!read_option(io, call, c, &o)) {
            shell_io_free(io);
            return;
        }
    }
    if (!shell_io_range(io, call, !vector) || !read_limits(io, call, &o) ||
        !shell_io_buffer(io, call, READ_FILL)) {
        shell_io_free(io);
        return;
    }
    shell_io_submit(io, finished, o.vm_state);
}

static void read_run(struct shell_call *call) { read_any(call, "abCl:pP:qrs:v", false); }
static void readv_run(struct shell_call *call) { read_any(call, "CP:qrv", true); }

/* ---- write ---- */

struct write_options {
    bool vm_state, compressed, zeroes, unmap, no_fallback, fua, pattern;
    const char *source;
};

static bool write_option(struct shell_io *io, struct shell_call *call, int c,
                         struct write_options *o)
{
    switch (c) {
    case 'b': o->vm_state = true; return true;
    case 'c': o->compressed = true; return true;
    case 'C': io->machine = true; return true;
    case 'f': o->fua = true; return true;
    case 'n': o->no_fallback = true; return true;
    case 'P': o->pattern = true; return shell_pattern(call, optarg, &io->pattern);
    case 'q': io->quiet = true; return true;
    case 's': o->source = optarg; return true;
    case 'u': o->unmap = true; return true;
    case 'z': o->zeroes = true; return true;
    }
    return c != '?';
}

static const char *write_conflict(const struct write_options *o)
{
    if (o->vm_state && o->zeroes)
        return "-b and -z cannot be specified at the same time";
    if ((o->vm_state || o->compressed) && o->fua)
        return "-f and -b or -c cannot be specified at the same time";
    if (o->no_fallback && !o->zeroes)
        return "-n requires -z to be specified";
    if (o->unmap && !o->zeroes)
        return "-u requires -z to be specified";
    if (o->zeroes + o->pattern + (o->source != NULL) > 1)
        return "Only one of -z, -P, and -s can be specified at the same time";
    return NULL;
}

/* Fills the buffer with a file, repeated as often as it takes. */
static bool fill_from_file(struct shell_io *io, struct shell_call *call, const char *name)
{
    FILE *file = fopen(name, "rb");
    size_t got = 0;

    if (!file) {
        shell_complain(call->shell, "%s: %s\n", name, strerror(errno));
        shell_done(call, -EINVAL);
        return false;
    }
    got = fread(io->buf, 1, io->len, file);
    if (ferror(file))
        shell_complain(call->shell, "%s: %s\n", name, strerror(errno));
    else if (got == 0)
        shell_complain(call->shell, "%s: file is empty\n", name);
    fclose(file);
    if (got == 0) {
        shell_done(call, -EINVAL);
        return false;
    }
    for (uint64_t at = got; at < io->len; at += MIN(got, io->len - at))
        memcpy(io->buf + at, io->buf, MIN(got, io->len - at));
    return true;
}

static bool write_content(struct shell_io *io, struct shell_call *call,
                          const struct write_options *o)
{
    if (o->zeroes)
        return true;
    if (!shell_io_buffer(io, call, o->pattern ? io->pattern : WRITE_FILL))
        return false;
    return !o->source || fill_from_file(io, call, o->source);
}

static bool write_is_ready(struct shell_io *io, struct shell_call *call,
                           const struct write_options *o, bool vector)
{
    const char *conflict = write_conflict(o);

    if (conflict) {
        shell_print(call->shell, "%s\n", conflict);
        shell_done(call, -EINVAL);
        return false;
    }
    if (!shell_io_range(io, call, !vector))
        return false;
    if ((o->vm_state || o->compressed) &&
        !(sector_aligned(call, io->offset, "offset") && sector_aligned(call, io->len, "count")))
        return false;
    return write_content(io, call, o);
}

static void write_any(struct shell_call *call, const char *options, bool vector)
{
    struct shell_io *io = shell_io_new(call);
    struct write_options o = { 0 };
    int c;

    io->verb = "wrote";
    io->fail = vector ? "writev" : "write";
    shell_getopt_start();
    while ((c = shell_getopt(call, options)) != -1) {
        if (!write_option(io, call, c, &o)) {
            shell_io_free(io);
            return;
        }
    }
    if (!write_is_ready(io, call, &o, vector)) {
        shell_io_free(io);
        return;
    }
    io->req.kind = o.zeroes ? REQ_ZERO : REQ_WRITE;
    io->req.flags = (o.fua ? REQ_FUA : 0) | (o.unmap ? REQ_MAY_UNMAP : 0) |
                    (o.no_fallback ? REQ_NO_FALLBACK : 0) |
                    (o.compressed && !o.zeroes ? REQ_COMPRESSED : 0);
    shell_io_submit(io, finished, o.vm_state);
}

static void write_run(struct shell_call *call) { write_any(call, "bcCfnpP:qrs:uz", false); }
static void writev_run(struct shell_call *call) { write_any(call, "CfqrP:", true); }

/* ---- discard ---- */

static void discard_run(struct shell_call *call)
{
    struct shell_io *io = shell_io_new(call);
    int c;

    io->verb = io->fail = "discard";
    io->req.kind = REQ_DISCARD;
    shell_getopt_start();
    while ((c = shell_getopt(call, "Cq")) != -1) {
        if (c == '?') {
            shell_io_free(io);
            return;
        }
        io->machine |= c == 'C';
        io->quiet |= c == 'q';
    }
    if (!shell_io_range(io, call, true)) {
        shell_io_free(io);
        return;
    }
    shell_io_submit(io, finished, false);
}

const struct shell_command shell_rw_commands[] = {
    { .name = "read",
      .alias = "r",
      .args_min = 2,
      .args_max = -1,
      .args = "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
      .summary = "reads a number of bytes at a specified offset",
      .help = "\n"
              " reads one range and checks or shows what it holds\n"
              "\n"
              " Example:\n"
              " 'read -v 512 1k' - dumps 1 KiB read from 512 bytes into the disk\n"
              "\n"
              " -b, -- read the VM state area instead of the disk\n"
              " -C, -- print the statistics as one line for programs\n"
              " -l, -- how many bytes to compare with the pattern (with -P)\n"
              " -p, -- accepted without effect\n"
              " -P, -- compare what was read with this byte\n"
              " -q, -- print no statistics\n"
              " -r, -- accepted without effect\n"
              " -s, -- where to begin comparing (with -P)\n"
              " -v, -- dump what was read\n"
              "\n",
      .run = read_run },
    { .name = "readv",
      .args_min = 2,
      .args_max = -1,
      .args = "[-Cqrv] [-P pattern] off len [len..]",
      .summary = "reads a number of bytes at a specified offset",
      .help = "\n"
              " reads one range into several buffers\n"
              "\n"
              " Example:\n"
              " 'readv -v 512 1k 1k ' - dumps 2 KiB read from 512 bytes into the disk\n"
              "\n"
              " -C, -- print the statistics as one line for programs\n"
              " -P, -- compare what was read with this byte\n"
              " -q, -- print no statistics\n"
              " -r, -- accepted without effect\n"
              " -v, -- dump what was read\n"
              "\n",
      .run = readv_run },
    { .name = "write",
      .alias = "w",
      .args_min = 2,
      .args_max = -1,
      .perm = PERM_WRITE,
      .args = "[-bcCfnqruz] [-P pattern | -s source_file] off len",
      .summary = "writes a number of bytes at a specified offset",
      .help = "\n"
              " writes one range, filled with the byte 0xcd unless told otherwise\n"
              "\n"
              " Example:\n"
              " 'write 512 1k' - writes 1 KiB at 512 bytes into the disk\n"
              "\n"
              " -b, -- write to the VM state area instead of the disk\n"
              " -c, -- store compressed\n"
              " -C, -- print the statistics as one line for programs\n"
              " -f, -- the data is stable when the write ends (FUA)\n"
              " -n, -- with -z: fail rather than write zeroes the slow way\n"
              " -p, -- accepted without effect\n"
              " -P, -- the byte to write\n"
              " -q, -- print no statistics\n"
              " -r, -- accepted without effect\n"
              " -s, -- a file whose content is written, repeated as needed\n"
              " -u, -- with -z: may unmap\n"
              " -z, -- write zeroes as zeroes, without data\n"
              "\n",
      .run = write_run },
    { .name = "writev",
      .args_min = 2,
      .args_max = -1,
      .perm = PERM_WRITE,
      .args = "[-Cfqr] [-P pattern] off len [len..]",
      .summary = "writes a number of bytes at a specified offset",
      .help = "\n"
              " writes one range from several buffers\n"
              "\n"
              " Example:\n"
              " 'writev 512 1k 1k' - writes 2 KiB at 512 bytes into the disk\n"
              "\n"
              " -C, -- print the statistics as one line for programs\n"
              " -f, -- the data is stable when the write ends (FUA)\n"
              " -P, -- the byte to write\n"
              " -q, -- print no statistics\n"
              " -r, -- accepted without effect\n"
              "\n",
      .run = writev_run },
    { .name = "discard",
      .alias = "d",
      .args_min = 2,
      .args_max = -1,
      .perm = PERM_WRITE,
      .args = "[-Cq] off len",
      .summary = "discards a number of bytes at a specified offset",
      .help = "\n"
              " says that a range is no longer needed\n"
              "\n"
              " Example:\n"
              " 'discard 512 1k' - discards 1 KiB from 512 bytes into the disk\n"
              "\n"
              " -C, -- print the statistics as one line for programs\n"
              " -q, -- print no statistics\n"
              "\n",
      .run = discard_run },
    { 0 },
};
