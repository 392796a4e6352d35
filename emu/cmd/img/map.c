/* emu-img map */

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/attrs.h"
#include "emu/cmd/img/img.h"

static const char help[] =
    "Dump image metadata.  Usage:\n\n"
    "  %s map [-f FMT | --image-opts] [--output human|json]\n"
    "        [-s OFFSET] [-l LENGTH] [-U] FILENAME\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -f, --format FMT              format of the image\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "  -s, --start-offset OFFSET     first byte to look at\n"
    "  -l, --max-length LENGTH       how many bytes to look at\n"
    "  -U, --force-share             open the image although others write to it\n"
    "      --output human|json       form of the output\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "start-offset", required_argument, NULL, 's' },
    { "max-length", required_argument, NULL, 'l' },
    { "force-share", no_argument, NULL, 'U' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "output", required_argument, NULL, OPT_OUTPUT },
    { 0 },
};

struct mapping {
    uint64_t start, len;
    struct req_status status;
};

static bool same_kind(const struct mapping *a, const struct req_status *b)
{
    const uint32_t kinds =
        STATUS_DATA | STATUS_ZERO | STATUS_OFFSET_VALID | STATUS_ALLOCATED | STATUS_COMPRESSED;

    if ((a->status.flags & kinds) != (b->flags & kinds) || a->status.depth != b->depth ||
        a->status.file != b->file)
        return false;
    return !(b->flags & STATUS_OFFSET_VALID) || a->status.host_offset + a->len == b->host_offset;
}

static int print_human(struct tool *tool, const struct mapping *entry)
{
    bool data = (entry->status.flags & STATUS_DATA) && !(entry->status.flags & STATUS_ZERO);

    if (!data)
        return 0;
    if (!(entry->status.flags & STATUS_OFFSET_VALID) || !entry->status.file) {
        tool_error(tool, "File contains external, encrypted or compressed clusters.");
        return 1;
    }
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", entry->start, entry->len,
           entry->status.host_offset, entry->status.file->filename);
    return 0;
}

static const char *yes(bool value) { return value ? "true" : "false"; }

static void print_json(const struct mapping *entry, bool last)
{
    uint32_t flags = entry->status.flags;

    printf("{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
           ", \"depth\": %u, \"present\": %s, \"zero\": %s, "
           "\"data\": %s, \"compressed\": %s",
           entry->start, entry->len, entry->status.depth, yes(flags & STATUS_ALLOCATED),
           yes(flags & STATUS_ZERO), yes(flags & STATUS_DATA), yes(flags & STATUS_COMPRESSED));
    if (flags & STATUS_OFFSET_VALID)
        printf(", \"offset\": %" PRIu64, entry->status.host_offset);
    printf(last ? "}]\n" : "},\n");
}

static int print_map(struct tool *tool, struct image *image, uint64_t start, uint64_t len,
                     bool json)
{
    struct mapping current = { 0 };
    uint64_t end = image->node->size;
    uint64_t at = start;

    if (len < end - MIN(start, end))
        end = start + len;
    printf(json ? "[" : "%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    while (at < end) {
        struct req_status status;
        int result = image_status(image, at, end - at, REQ_WANT_ZERO, &status);

        if (result < 0) {
            tool_error(tool, "Failed to read image metadata: %s", strerror(-result));
            return 1;
        }
        if (current.len && same_kind(&current, &status)) {
            current.len += status.len;
        } else {
            if (current.len && json)
                print_json(&current, false);
            else if (current.len && print_human(tool, &current))
                return 1;
            current = (struct mapping){ .start = at, .len = status.len, .status = status };
        }
        at += status.len;
    }
    if (json && current.len)
        print_json(&current, true);
    else if (json)
        printf("]\n");
    else if (current.len)
        return print_human(tool, &current);
    return 0;
}

int img_map(struct tool *tool, int argc, char **argv)
{
    struct image_spec spec = { 0 };
    uint64_t start = 0, len = UINT64_MAX;
    struct image image;
    bool json = false;
    struct err *err;
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hf:s:l:U", long_options, help)) != -1) {
        switch (c) {
        case 'I': spec.image_opts = true; break;
        case 's': status = img_parse_size(tool, "start offset", optarg, &start); break;
        case 'l': status = img_parse_size(tool, "max length", optarg, &len); break;
        case OPT_OUTPUT: status = img_parse_output(tool, optarg, &json); break;
        default: status = img_image_option(tool, c, &spec);
        }
    }
    if (status == 0 && optind != argc - 1)
        status = tool_usage(tool, "Expecting one image file name");
    if (status)
        return status;
    spec.name = argv[optind];
    err = image_open(tool, &spec, &image);
    if (err) {
        tool_report(tool, err);
        return 1;
    }
    status = print_map(tool, &image, start, len, json);
    image_close(&image);
    return status;
}
