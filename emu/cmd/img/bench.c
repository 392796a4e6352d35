/* emu-img bench: a run of equal requests, and how long it took. */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/buf.h"
#include "emu/cmd/img/img.h"

static const char help[] =
    "Run simple image benchmark.  Usage:\n\n"
    "  %s bench [-f FMT | --image-opts] [-t CACHE] [-c COUNT] [-d DEPTH]\n"
    "        [-o OFFSET] [-s BUFFER_SIZE] [-S STEP_SIZE] [-i AIO] [-n] [-q] [-U]\n"
    "        [-w [--pattern PATTERN] [--flush-interval INTERVAL [--no-drain]]] FILENAME\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -q, --quiet                   quiet operations\n"
    "  -f, --format FMT              format of the image\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "  -t, --cache CACHE             cache mode (writeback)\n"
    "  -c, --count COUNT             number of requests (75000)\n"
    "  -s, --buffer-size SIZE        bytes of each request (4096)\n"
    "  -d, --depth DEPTH             requests in flight (64)\n"
    "  -o, --offset OFFSET           where the first request starts\n"
    "  -S, --step-size STEP          from one request to the next (the size of one)\n"
    "  -i, --aio AIO                 threads, native or io_uring\n"
    "  -n, --native                  the same as -i native\n"
    "  -w, --write                   write instead of reading\n"
    "      --pattern PATTERN         byte to write (0)\n"
    "      --flush-interval N        flush after this many writes\n"
    "      --no-drain                go on while a flush is under way\n"
    "  -U, --force-share             open the image although others write to it\n";

enum { OPT_PATTERN = OPT_IMG_LAST, OPT_FLUSH_INTERVAL, OPT_NO_DRAIN };

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "cache", required_argument, NULL, 't' },
    { "count", required_argument, NULL, 'c' },
    { "buffer-size", required_argument, NULL, 's' },
    { "depth", required_argument, NULL, 'd' },
    { "offset", required_argument, NULL, 'o' },
    { "step-size", required_argument, NULL, 'S' },
    { "aio", required_argument, NULL, 'i' },
    { "native", no_argument, NULL, 'n' },
    { "write", no_argument, NULL, 'w' },
    { "pattern", required_argument, NULL, OPT_PATTERN },
    { "flush-interval", required_argument, NULL, OPT_FLUSH_INTERVAL },
    { "no-drain", no_argument, NULL, OPT_NO_DRAIN },
    { "force-share", no_argument, NULL, 'U' },
    { 0 },
};

enum { MEMORY_MAX = 1 << 30 };

struct bench_options {
    struct image_spec image;
    const char *aio;
    uint64_t count, depth, size, step, offset, pattern, flush_interval;
    bool write, quiet, no_drain;
};

struct slot {
    struct bench *bench;
    struct iovec iov;
    struct req req;
    bool busy;
};

struct bench {
    const struct bench_options *o;
    struct image *image;
    struct slot *slots; /* o->depth of them; owned. */
    struct buf *buf;    /* All slots share what is written or read. */
    struct req flush;
    bool flushing;
    uint64_t started, finished, at;
    uint64_t to_flush; /* Writes until the next flush. */
    int result;
};

static void slot_done(struct req *req)
{
    struct slot *slot = container_of(req, struct slot, req);

    slot->busy = false;
    slot->bench->finished++;
    if (req->result < 0 && slot->bench->result == 0)
        slot->bench->result = req->result;
}

static void flush_done(struct req *req)
{
    struct bench *b = container_of(req, struct bench, flush);

    b->flushing = false;
    if (req->result < 0 && b->result == 0)
        b->result = req->result;
}

static void start_slot(struct bench *b, struct slot *slot)
{
    const struct bench_options *o = b->o;

    if (b->at > INT64_MAX || b->at + o->size > b->image->node->size)
        b->at = o->offset;
    slot->bench = b;
    slot->iov = (struct iovec){ b->buf->data, o->size };
    slot->req = (struct req){ .kind = o->write ? REQ_WRITE : REQ_READ,
                              .offset = b->at,
                              .len = o->size,
                              .data = { &slot->iov, 1, 0 },
                              .done = slot_done };
    slot->busy = true;
    b->at += o->step;
    b->started++;
    b->to_flush -= b->to_flush ? 1 : 0;
    edge_submit(b->image->edge, &slot->req);
}

static void start_flush(struct bench *b)
{
    b->flush = (struct req){ .kind = REQ_FLUSH, .done = flush_done };
    b->flushing = true;
    b->to_flush = b->o->flush_interval;
    edge_submit(b->image->edge, &b->flush);
}

/* Starts what may start now. */
static void pump(struct bench *b)
{
    const struct bench_options *o = b->o;

    for (uint64_t i = 0; i < o->depth && b->started < o->count && b->result == 0; i++) {
        bool flush_due = o->flush_interval && b->to_flush == 0;

        if (flush_due && !b->flushing && (o->no_drain || b->started == b->finished))
            start_flush(b);
        if ((flush_due || b->flushing) && !o->no_drain)
            return;
        if (flush_due && b->to_flush == 0)
            return;
        if (!b->slots[i].busy)
            start_slot(b, &b->slots[i]);
    }
}

static struct err *run_requests(struct bench *b)
{
    while (b->started != b->finished || b->flushing ||
           (b->started < b->o->count && b->result == 0)) {
        pump(b);
        reactor_run_once(b->image->tool->reactor, -1);
    }
    return b->result < 0 ? err_new("Failed request: %s", strerror(-b->result)) : NULL;
}

static struct err *bench(struct image *image, const struct bench_options *o)
{
    struct bench b = { .o = o, .image = image, .at = o->offset, .to_flush = o->flush_interval };
    struct err *err = NULL;
    int64_t start;

    b.slots = try_calloc(o->depth, sizeof(*b.slots));
    b.buf = o->size <= MEMORY_MAX ? buf_try_new(o->size, 4096) : NULL;
    if (!b.slots || !b.buf)
        err = err_new("Out of memory for %" PRIu64 " requests of %" PRIu64 " bytes", o->depth,
                      o->size);
    if (!err) {
        memset(b.buf->data, (int)o->pattern, o->size);
        if (!o->quiet)
            printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64
                   " in parallel (starting at offset %" PRIu64 ", step size %" PRIu64 ")\n",
                   o->count, o->write ? "write" : "read", o->size, o->depth, o->offset, o->step);
        if (!o->quiet && o->flush_interval)
            printf("Sending flush every %" PRIu64 " requests\n", o->flush_interval);
        fflush(stdout);
        start = reactor_now(image->tool->reactor);
        err = run_requests(&b);
        if (!err && !o->quiet)
            printf("Run completed in %3.3f seconds.\n",
                   (double)(reactor_now(image->tool->reactor) - start) / 1e9);
    }
    buf_unref(b.buf);
    xfree(b.slots);
    return err;
}

static int parse_option(struct tool *tool, int c, struct bench_options *o)
{
    switch (c) {
    case 'q': o->quiet = true; return 0;
    case 'w': o->write = o->image.writable = true; return 0;
    case 't': o->image.cache = optarg; return 0;
    case 'i': o->aio = optarg; return 0;
    case 'n': o->aio = "native"; return 0;
    case OPT_NO_DRAIN: o->no_drain = true; return 0;
    case 'c': return img_parse_number(tool, "request count", optarg, 1, INT32_MAX, &o->count);
    case 'd': return img_parse_number(tool, "queue depth", optarg, 1, INT32_MAX, &o->depth);
    case 'o': return img_parse_size(tool, "offset", optarg, &o->offset);
    case 's': return img_parse_number(tool, "buffer size", optarg, 1, INT32_MAX, &o->size);
    case 'S': return img_parse_number(tool, "step size", optarg, 0, INT32_MAX, &o->step);
    case OPT_PATTERN: return img_parse_number(tool, "pattern byte", optarg, 0, 0xff, &o->pattern);
    case OPT_FLUSH_INTERVAL:
        return img_parse_number(tool, "flush interval", optarg, 0, INT32_MAX, &o->flush_interval);
    default: return img_image_option(tool, c, &o->image);
    }
}

static struct err *check_options(const struct bench_options *o)
{
    if (o->aio && strcmp(o->aio, "native") != 0 && strcmp(o->aio, "threads") != 0 &&
        strcmp(o->aio, "io_uring") != 0)
        return err_new("Invalid aio option: %s", o->aio);
    if (!tool_cache_valid(o->image.cache))
        return err_new("Invalid cache mode");
    if (!o->write && o->flush_interval)
        return err_new("--flush-interval is only available in write tests");
    if (o->flush_interval && o->flush_interval < o->depth)
        return err_new("Flush interval can't be smaller than depth");
    if (o->aio && strcmp(o->aio, "native") == 0 &&
        !(o->image.cache &&
          (strcmp(o->image.cache, "none") == 0 || strcmp(o->image.cache, "off") == 0 ||
           strcmp(o->image.cache, "directsync") == 0)))
        return err_new("Could not open '%s': aio=native was specified, but it requires "
                       "cache.direct=on, which was not specified.",
                       o->image.name);
    return NULL;
}

static struct err *run(struct tool *tool, const struct bench_options *o)
{
    struct image image;
    struct err *err;

    TRY(check_options(o));
    TRY(image_open(tool, &o->image, &image));
    err = bench(&image, o);
    image_close(&image);
    return err;
}

int img_bench(struct tool *tool, int argc, char **argv)
{
    struct bench_options o = { .count = 75000, .depth = 64, .size = 4096 };
    struct err *err;
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hc:d:f:ni:o:qs:S:t:wU", long_options, help)) != -1)
        status = parse_option(tool, c, &o);
    if (status == 0 && optind != argc - 1)
        status = tool_usage(tool, "Expecting one image file name");
    if (status)
        return status;
    o.image.name = argv[optind];
    if (!o.step)
        o.step = o.size;
    err = run(tool, &o);
    if (!err)
        return 0;
    tool_report(tool, err);
    return 1;
}
