/* emu-img dd: blocks of one image into a new one. */

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/attrs.h"
#include "emu/base/buf.h"
#include "emu/base/str.h"
#include "emu/cmd/common/create.h"
#include "emu/cmd/img/img.h"

static const char help[] =
    "Copy input to output with optional format conversion.  Usage:\n\n"
    "  %s dd [-f FMT | --image-opts] [-O OUTPUT_FMT] [-U] [--object OBJDEF]\n"
    "        [bs=BLOCK_SIZE] [count=BLOCKS] [skip=BLOCKS] if=INPUT of=OUTPUT\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -f, --format FMT              format of INPUT\n"
    "      --image-opts              INPUT is a complete image specification\n"
    "  -O, --output-format FMT       format of OUTPUT (default is raw)\n"
    "  -U, --force-share             open INPUT although others write to it\n"
    "      --object OBJDEF           an object, such as a secret\n"
    "  bs=BLOCK_SIZE[bkKMGTP]        bytes in a block (512)\n"
    "  count=BLOCKS                  how many blocks to copy (all)\n"
    "  skip=BLOCKS                   how many blocks of INPUT to pass over first\n"
    "  if=INPUT                      input file\n"
    "  of=OUTPUT                     output file to create\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "output-format", required_argument, NULL, 'O' },
    { "force-share", no_argument, NULL, 'U' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { 0 },
};

enum { DD_CHUNK = 2 << 20 };

struct dd_options {
    struct image_spec input;
    const char *output, *output_format;
    uint64_t block_size, count, skip;
    bool have_count;
};

static int parse_operand(struct tool *tool, const char *text, struct dd_options *o)
{
    const char *value;

    if ((value = str_after_prefix(text, "if="))) {
        o->input.name = value;
    } else if ((value = str_after_prefix(text, "of="))) {
        o->output = value;
    } else if ((value = str_after_prefix(text, "bs="))) {
        return img_parse_number(tool, "bs", value, 1, INT32_MAX, &o->block_size);
    } else if ((value = str_after_prefix(text, "count="))) {
        o->have_count = true;
        return img_parse_size(tool, "count", value, &o->count);
    } else if ((value = str_after_prefix(text, "skip="))) {
        return img_parse_size(tool, "skip", value, &o->skip);
    } else {
        int len = (int)strcspn(text, "=");

        tool_error(tool, "unrecognized operand %.*s", len, text);
        return 1;
    }
    return 0;
}

/* What of [0, size) is copied. */
static void find_range(struct tool *tool, const struct dd_options *o, uint64_t size,
                       uint64_t *start, uint64_t *len)
{
    uint64_t wanted;

    if (__builtin_mul_overflow(o->skip, o->block_size, start) || *start > size) {
        tool_error(tool, "%s: cannot skip to specified offset", o->input.name);
        *start = size;
    }
    *len = size - *start;
    if (o->have_count && !__builtin_mul_overflow(o->count, o->block_size, &wanted))
        *len = MIN(*len, wanted);
}

static struct err *copy(struct image *in, struct image *out, uint64_t start, uint64_t len)
{
    struct buf *buf = buf_try_new(DD_CHUNK, 4096);
    struct err *err = buf ? NULL : err_new("Out of memory for a buffer of %d bytes", DD_CHUNK);

    for (uint64_t done = 0; done < len && !err;) {
        uint64_t part = MIN(len - done, (uint64_t)DD_CHUNK);
        int result = image_read(in, start + done, buf->data, part);

        if (result < 0) {
            err = err_new_errno(result, "error while reading from input image file");
            break;
        }
        result = image_write(out, done, buf->data, part);
        if (result < 0)
            err = err_new_errno(result, "error while writing to output image file");
        done += part;
    }
    buf_unref(buf);
    return err;
}

static struct err *write_output(struct image *in, const struct dd_options *o)
{
    struct tool *tool = in->tool;
    struct create_spec create = {
        .filename = o->output, .format = o->output_format, .have_size = true, .quiet = true
    };
    struct image_spec spec = {
        .name = o->output, .format = o->output_format, .writable = true, .cache = "writeback"
    };
    struct image out;
    struct err *err;
    uint64_t start;

    find_range(tool, o, in->node->size, &start, &create.size);
    TRY(image_create(tool, &create));
    TRY(image_open(tool, &spec, &out));
    err = copy(in, &out, start, create.size);
    image_close(&out);
    return err;
}

static int run(struct tool *tool, const struct dd_options *o)
{
    struct image in;
    struct err *err = image_create_check_format(tool, o->output_format);

    if (!err)
        err = image_open(tool, &o->input, &in);
    if (!err) {
        err = write_output(&in, o);
        image_close(&in);
    }
    if (!err)
        return 0;
    tool_report(tool, err);
    return 1;
}

int img_dd(struct tool *tool, int argc, char **argv)
{
    struct dd_options o = { .output_format = "raw", .block_size = 512 };
    int c, status = 0;

    while (status == 0 && (c = img_getopt(tool, argc, argv, ":hf:O:U", long_options, help)) != -1) {
        if (c == 'O')
            o.output_format = optarg;
        else
            status = img_image_option(tool, c, &o.input);
    }
    for (int i = optind; i < argc && status == 0; i++)
        status = parse_operand(tool, argv[i], &o);
    if (status == 0 && !(o.input.name && o.output)) {
        tool_error(tool, "Must specify both input and output files");
        status = 1;
    }
    return status ? status : run(tool, &o);
}
