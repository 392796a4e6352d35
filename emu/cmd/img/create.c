/* emu-img create */

#include "emu/cmd/common/create.h"

#include <getopt.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/cmd/img/img.h"

static const char help[] =
    "Create and format new image file.  Usage:\n\n"
    "  %s create [-f FMT] [-o FMT_OPTS] [-b BACKING_FILENAME [-F BACKING_FMT]]\n"
    "        [-u] [-q] FILENAME [SIZE[bkKMGTPE]]\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -q, --quiet                   quiet operations\n"
    "  -f, --format FMT              format of the new image, default is raw\n"
    "  -o, --options FMT_OPTS        format-specific options ('-o help' for the list)\n"
    "  -b, --backing FILENAME        stack the new image on top of FILENAME\n"
    "  -F, --backing-format FMT      format of the backing file\n"
    "  -u, --backing-unsafe          do not fail if the backing file cannot be read\n"
    "  FILENAME                      image file to create\n"
    "  SIZE                          virtual size; default: that of the backing file\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "format", required_argument, NULL, 'f' },
    { "options", required_argument, NULL, 'o' },
    { "backing", required_argument, NULL, 'b' },
    { "backing-format", required_argument, NULL, 'F' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "backing-unsafe", no_argument, NULL, 'u' },
    { 0 },
};

/* The operands: FILENAME and SIZE. 0, or the exit status after a message. */
static int take_operands(struct tool *tool, struct create_spec *spec, int count, char **operands)
{
    if (count < 1)
        return tool_usage(tool, "Expecting image file name");
    if (count > 2)
        return tool_usage(tool, "Unexpected argument: %s", operands[2]);
    spec->filename = operands[0];
    spec->have_size = count == 2;
    return spec->have_size ? img_parse_size(tool, "image size", operands[1], &spec->size) : 0;
}

int img_create(struct tool *tool, int argc, char **argv)
{
    struct create_spec spec = { .format = "raw" };
    char *options = NULL;
    struct err *err;
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hqf:o:b:F:u", long_options, help)) != -1) {
        switch (c) {
        case 'q': spec.quiet = true; break;
        case 'f': spec.format = optarg; break;
        case 'o': status = img_join_options(tool, &options, optarg); break;
        case 'b': spec.backing = optarg; break;
        case 'F': spec.backing_format = optarg; break;
        case 'u': spec.unsafe_backing = true; break;
        case OPT_OBJECT: status = img_image_option(tool, c, NULL); break;
        default: status = 1;
        }
    }
    spec.options = options;
    if (status == 0 && image_options_want_help(options)) {
        err = image_create_help(tool, spec.format, optind < argc ? argv[optind] : NULL);
    } else {
        if (status == 0)
            status = take_operands(tool, &spec, argc - optind, argv + optind);
        err = status == 0 ? image_create(tool, &spec) : NULL;
    }
    xfree(options);
    if (err) {
        tool_report(tool, err);
        status = 1;
    }
    return status;
}
