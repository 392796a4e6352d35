/* emu-img info */

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/json_write.h"
#include "emu/cmd/img/img.h"
#include "emu/cmd/img/info_print.h"

static const char help[] =
    "Display information about image.  Usage:\n\n"
    "  %s info [-f FMT | --image-opts] [-b] [-U] [--output human|json] FILENAME\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -f, --format FMT              format of the image\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "  -b, --backing-chain           show every image of the backing chain\n"
    "  -U, --force-share             open the image although others write to it\n"
    "      --output human|json       form of the output\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "backing-chain", no_argument, NULL, 'b' },
    { "force-share", no_argument, NULL, 'U' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "output", required_argument, NULL, OPT_OUTPUT },
    { 0 },
};

enum { CHAIN_MAX = 1000 };

/* Collects the info of an image and, with chain, of what backs it. *out is an array. */
static struct err *collect(struct tool *tool, const struct image_spec *first, bool chain,
                           struct json *out)
{
    struct image_spec spec = *first;
    struct json *previous = NULL;
    const char *next, *format;

    for (unsigned i = 0; i < CHAIN_MAX; i++) {
        struct json *info;
        struct image image;
        struct err *err;

        for (size_t k = 0; k < json_array_len(out); k++) {
            if (strcmp(json_object_get_str(json_array_get(out, k), "filename"), spec.name) == 0)
                return err_new("Backing file '%s' creates an infinite loop.", spec.name);
        }
        TRY(image_open(tool, &spec, &image));
        err = info_collect(&image, &info);
        image_close(&image);
        if (err)
            return err;
        json_array_add(out, info);
        previous = info;
        next = json_object_get_str(previous, "full-backing-filename");
        if (!chain || !next)
            return NULL;
        format = json_object_get_str(previous, "backing-filename-format");
        spec.name = next;
        spec.format = format;
        spec.image_opts = false;
    }
    return err_new("The backing chain of '%s' is longer than %d images", first->name, CHAIN_MAX);
}

static void print_all(const struct json *infos, bool chain, bool json)
{
    if (json) {
        info_print_json(chain ? infos : json_array_get(infos, 0));
        return;
    }
    for (size_t i = 0; i < json_array_len(infos); i++) {
        if (i)
            printf("\n");
        info_print_human(json_array_get(infos, i));
    }
}

int img_info(struct tool *tool, int argc, char **argv)
{
    CLEANUP(json_free) struct json *infos = json_array();
    struct image_spec spec = { .flags = NODE_OPEN_NO_BACKING | NODE_OPEN_NO_IO | NODE_OPEN_CHECK };
    bool json = false, chain = false;
    struct err *err;
    int c, status = 0;

    while (status == 0 && (c = img_getopt(tool, argc, argv, ":hf:bU", long_options, help)) != -1) {
        switch (c) {
        case 'I': spec.image_opts = true; break;
        case 'b': chain = true; break;
        case OPT_OUTPUT: status = img_parse_output(tool, optarg, &json); break;
        default: status = img_image_option(tool, c, &spec);
        }
    }
    if (status == 0 && optind != argc - 1)
        status = tool_usage(tool, "Expecting one image file name");
    if (status)
        return status;
    spec.name = argv[optind];
    err = collect(tool, &spec, chain, infos);
    if (err) {
        tool_report(tool, err);
        return 1;
    }
    print_all(infos, chain, json);
    return 0;
}
