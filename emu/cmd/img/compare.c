/* emu-img compare */

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/buf.h"
#include "emu/base/iov.h"
#include "emu/cmd/img/img.h"
#include "emu/cmd/img/progress.h"

static const char help[] =
    "Check if two images have the same contents.  Usage:\n\n"
    "  %s compare [--image-opts | [-f FMT] [-F FMT]] [-s] [-p] [-q]\n"
    "        [-T CACHE] [-U] FILENAME1 FILENAME2\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -q, --quiet                   quiet operation\n"
    "  -p, --progress                show operation progress\n"
    "  -f, --a-format FMT            format of FILENAME1\n"
    "  -F, --b-format FMT            format of FILENAME2\n"
    "      --image-opts              the names are complete image specifications\n"
    "  -s, --strict                  also compare sizes and what is allocated\n"
    "  -T, --cache CACHE_MODE        images caching mode (writeback)\n"
    "  -U, --force-share             open the images although others write to them\n\n"
    "Exit status: 0 identical, 1 different, larger: an error.\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "progress", no_argument, NULL, 'p' },
    { "a-format", required_argument, NULL, 'f' },
    { "b-format", required_argument, NULL, 'F' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "strict", no_argument, NULL, 's' },
    { "cache", required_argument, NULL, 'T' },
    { "force-share", no_argument, NULL, 'U' },
    { 0 },
};

enum { COMPARE_CHUNK = 2 << 20, STATUS_MAX = 1 << 30 };
/* What --strict wants equal. */
enum { STRICT_FLAGS = STATUS_ALLOCATED | STATUS_DATA | STATUS_ZERO };
enum { EXIT_DIFFERENT = 1, EXIT_OPEN = 2, EXIT_STATUS = 3, EXIT_READ = 4 };

struct comparison {
    struct tool *tool;
    struct image image[2];
    const char *name[2];
    struct buf *buf[2];
    struct progress progress;
    bool strict, quiet;
};

static void say(const struct comparison *c, const char *text)
{
    if (!c->quiet)
        printf("%s\n", text);
}

static int mismatch(const struct comparison *c, uint64_t offset)
{
    if (!c->quiet)
        printf("Content mismatch at offset %" PRIu64 "!\n", offset);
    return EXIT_DIFFERENT;
}

static int strict_mismatch(struct comparison *c, uint64_t offset)
{
    if (!c->quiet)
        printf("Strict mode: Offset %" PRIu64 " block status mismatch!\n", offset);
    return EXIT_DIFFERENT;
}

/* Reads len bytes at offset of the images in mask, both at once. 0 or the exit status after a message. */
static int read_chunk(struct comparison *c, unsigned mask, uint64_t offset, uint64_t len)
{
    struct iovec iov[2];
    struct req req[2];
    int result[2] = { 0, 0 };

    memset(req, 0, sizeof(req));
    for (unsigned i = 0; i < 2; i++) {
        if (!(mask & BIT(i)))
            continue;
        iov[i] = (struct iovec){ c->buf[i]->data, len };
        req[i] = (struct req){
            .kind = REQ_READ, .offset = offset, .len = len, .data = { &iov[i], 1, 0 }
        };
        start_request(c->image[i].edge, &req[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (mask & BIT(i))
            result[i] = finish_request(c->tool->reactor, &req[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (result[i] < 0) {
            tool_error(c->tool, "Error while reading offset %" PRIu64 " of %s: %s", offset,
                       c->name[i], strerror(-result[i]));
            return EXIT_READ;
        }
    }
    return 0;
}

static uint64_t first_difference(const uint8_t *a, const uint8_t *b, uint64_t len)
{
    uint64_t i = 0;

    while (i + 512 <= len && memcmp(a + i, b + i, 512) == 0)
        i += 512;
    while (i < len && a[i] == b[i])
        i++;
    return i;
}

/* As the reference reports it: a sector that must be zero counts from its start. */
static uint64_t first_nonzero_sector(const uint8_t *data, uint64_t len)
{
    uint64_t i = 0;

    while (i < len && mem_is_zero(data + i, MIN((uint64_t)512, len - i)))
        i += 512;
    return i;
}

/* Both hold data in [offset, offset + len). */
static int compare_data(struct comparison *c, uint64_t offset, uint64_t len)
{
    int status = read_chunk(c, 3, offset, len);

    if (status)
        return status;
    if (memcmp(c->buf[0]->data, c->buf[1]->data, len) == 0)
        return 0;
    return mismatch(
        c, offset + (first_difference(c->buf[0]->data, c->buf[1]->data, len) & ~UINT64_C(511)));
}

/* Image i must read as zeroes in [offset, offset + len). */
static int compare_zero(struct comparison *c, unsigned i, uint64_t offset, uint64_t len)
{
    int status = read_chunk(c, BIT(i), offset, len);

    if (status)
        return status;
    if (mem_is_zero(c->buf[i]->data, len))
        return 0;
    return mismatch(c, offset + first_nonzero_sector(c->buf[i]->data, len));
}

static int get_status(struct comparison *c, unsigned i, uint64_t offset, uint64_t len,
                      struct req_status *out)
{
    int result =
        image_status(&c->image[i], offset, MIN(len, (uint64_t)STATUS_MAX), REQ_WANT_ZERO, out);

    if (result == 0)
        return 0;
    tool_error(c->tool, "Sector allocation test failed for %s", c->name[i]);
    return EXIT_STATUS;
}

/* Compares where both images have content. */
static int compare_common(struct comparison *c, uint64_t end)
{
    struct req_status s[2];
    uint64_t left[2] = { 0, 0 };
    uint64_t at = 0;

    while (at < end) {
        uint64_t len;
        bool zero[2];
        int status = 0;

        for (unsigned i = 0; i < 2 && !status; i++) {
            if (left[i] == 0) {
                status = get_status(c, i, at, end - at, &s[i]);
                left[i] = s[i].len;
            }
            zero[i] = s[i].flags & STATUS_ZERO;
        }
        if (status)
            return status;
        len = MIN(left[0], left[1]);
        if (c->strict && (s[0].flags ^ s[1].flags) & STRICT_FLAGS)
            return strict_mismatch(c, at);
        if (!(zero[0] && zero[1])) {
            len = MIN(len, (uint64_t)COMPARE_CHUNK);
            if (zero[0] || zero[1])
                status = compare_zero(c, zero[0] ? 1 : 0, at, len);
            else
                status = compare_data(c, at, len);
            if (status)
                return status;
        }
        at += len;
        left[0] -= len;
        left[1] -= len;
        progress_update(&c->progress, at, MAX(c->image[0].node->size, c->image[1].node->size));
    }
    return 0;
}

/* What the larger image has beyond the smaller must be zeroes. */
static int compare_rest(struct comparison *c, unsigned i, uint64_t at, uint64_t end)
{
    say(c, "Warning: Image size mismatch!");
    while (at < end) {
        struct req_status s;
        uint64_t len;
        int status = get_status(c, i, at, end - at, &s);

        if (status)
            return status;
        len = s.len;
        if (!(s.flags & STATUS_ZERO) && (s.flags & STATUS_ALLOCATED)) {
            len = MIN(len, (uint64_t)COMPARE_CHUNK);
            status = compare_zero(c, i, at, len);
            if (status)
                return status;
        }
        at += len;
        progress_update(&c->progress, at, end);
    }
    return 0;
}

static int compare(struct comparison *c)
{
    uint64_t size[2] = { c->image[0].node->size, c->image[1].node->size };
    int status;

    if (c->strict && size[0] != size[1]) {
        say(c, "Strict mode: Image size mismatch!");
        return EXIT_DIFFERENT;
    }
    status = compare_common(c, MIN(size[0], size[1]));
    if (status == 0 && size[0] != size[1])
        status = compare_rest(c, size[0] > size[1] ? 0 : 1, MIN(size[0], size[1]),
                              MAX(size[0], size[1]));
    if (status == 0)
        say(c, "Images are identical.");
    return status;
}

static int open_and_compare(struct comparison *c, const struct image_spec spec[2], bool progress)
{
    int status = 0;

    for (unsigned i = 0; i < 2 && status == 0; i++) {
        struct err *err = image_open(c->tool, &spec[i], &c->image[i]);

        if (err) {
            tool_report(c->tool, err);
            status = EXIT_OPEN;
        }
        c->name[i] = spec[i].name;
        c->buf[i] = buf_try_new(COMPARE_CHUNK, 4096);
        if (!c->buf[i] && status == 0) {
            tool_error(c->tool, "Out of memory for buffers of %d bytes", COMPARE_CHUNK);
            status = EXIT_READ;
        }
    }
    if (status == 0) {
        progress_start(&c->progress, c->tool, progress);
        status = compare(c);
        progress_end(&c->progress);
    }
    for (unsigned i = 0; i < 2; i++) {
        image_close(&c->image[i]);
        buf_unref(c->buf[i]);
    }
    return status;
}

int img_compare(struct tool *tool, int argc, char **argv)
{
    struct comparison comparison = { .tool = tool };
    struct image_spec spec[2] = { { 0 }, { 0 } };
    bool progress = false;
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hqpf:F:sT:U", long_options, help)) != -1) {
        switch (c) {
        case 'q': comparison.quiet = true; break;
        case 'p': progress = true; break;
        case 'f': spec[0].format = optarg; break;
        case 'F': spec[1].format = optarg; break;
        case OPT_IMAGE_OPTS: spec[0].image_opts = spec[1].image_opts = true; break;
        case 's': comparison.strict = true; break;
        case 'T': spec[0].cache = spec[1].cache = optarg; break;
        case 'U': spec[0].force_share = spec[1].force_share = true; break;
        default: status = img_image_option(tool, c, &spec[0]);
        }
    }
    if (status == 0 && optind != argc - 2)
        status = tool_usage(tool, "Expecting two image file names");
    if (status)
        return status;
    spec[0].name = argv[optind];
    spec[1].name = argv[optind + 1];
    return open_and_compare(&comparison, spec, progress && !comparison.quiet);
}
