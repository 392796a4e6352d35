#include "emu/cmd/common/create.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/keyval.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"
#include "emu/storage/create.h"

struct err *image_create_check_format(struct tool *tool, const char *format)
{
    const struct driver *driver = driver_find(tool->graph, format);

    if (!driver)
        return err_new("Unknown file format '%s'", format);
    if (!driver->create && strcmp(format, "raw") != 0)
        return err_new("Format driver '%s' does not support image creation", format);
    return NULL;
}

static const struct create_option *find_option(const struct driver *driver, const char *name)
{
    for (const struct create_option *o = driver->create_options; o && o->name; o++) {
        if (strcmp(o->name, name) == 0)
            return o;
    }
    return NULL;
}

static void print_option(const struct create_option *option)
{
    static const char *const types[] = {
        [CREATE_OPT_STR] = "str",
        [CREATE_OPT_SIZE] = "size",
        [CREATE_OPT_BOOL] = "bool (on/off)",
        [CREATE_OPT_NUMBER] = "num",
    };
    CLEANUP(str_fini) struct str head = { 0 };

    str_addf(&head, "  %s=<%s>", option->name, types[option->type]);
    printf("%-24s - %s\n", str_cstr(&head), option->help);
}

struct err *image_create_help(struct tool *tool, const char *format, const char *filename)
{
    const struct driver *driver = driver_find(tool->graph, format);

    TRY(image_create_check_format(tool, format));
    printf(filename ? "Supported options:\n" : "Supported %s options:\n", format);
    for (const struct create_option *o = driver->create_options; o && o->name; o++)
        print_option(o);
    if (!filename && driver->is_format && strcmp(format, "raw") != 0)
        printf("\nThe protocol level may support further options.\n"
               "Specify the target filename to include those options.\n");
    return NULL;
}

/* Gives the values of -o one form: sizes and numbers as integers, switches as booleans. */
static struct err *typed_value(const struct create_option *option, struct json *values)
{
    struct opts opts;
    struct err *err = NULL;
    uint64_t number;
    bool flag;

    opts_init(&opts, values);
    switch (option->type) {
    case CREATE_OPT_STR: break;
    case CREATE_OPT_SIZE:
        err = opts_size(&opts, option->name, &number);
        if (!err)
            json_object_set_uint(values, option->name, number);
        break;
    case CREATE_OPT_NUMBER:
        err = opts_u64(&opts, option->name, &number);
        if (!err)
            json_object_set_uint(values, option->name, number);
        break;
    case CREATE_OPT_BOOL:
        err = opts_bool(&opts, option->name, &flag);
        if (!err)
            json_object_set_bool(values, option->name, flag);
        break;
    }
    opts_fini(&opts);
    return err;
}

/* Parses -o into typed values by the driver's table. *out is new. */
static struct err *parse_values(const struct driver *driver, const char *text, struct json **out)
{
    CLEANUP(json_free) struct json *values = NULL;
    const char *key;
    struct json *value;

    TRY(keyval_parse_flags(text ? text : "", NULL, KEYVAL_FLAT | KEYVAL_LEGACY_BOOL, NULL,
                           &values));
    json_object_for_each(values, i, key, value) {
        if (!find_option(driver, key))
            return err_new("Invalid parameter '%s'", key);
    }
    for (const struct create_option *o = driver->create_options; o && o->name; o++) {
        if (json_object_has(values, o->name))
            TRY(typed_value(o, values));
    }
    *out = values;
    values = NULL;
    return NULL;
}

static struct err *set_backing_values(const struct driver *driver, const struct create_spec *spec,
                                      struct json *values)
{
    if (spec->backing) {
        if (!find_option(driver, "backing_file"))
            return err_new("Backing file not supported for file format '%s'", driver->name);
        if (json_object_has(values, "backing_file"))
            return err_new("The backing file must be specified only once");
        json_object_set_str(values, "backing_file", spec->backing);
    }
    if (spec->backing_format) {
        if (!find_option(driver, "backing_fmt"))
            return err_new("Backing format not supported for file format '%s'", driver->name);
        json_object_set_str(values, "backing_fmt", spec->backing_format);
    }
    return NULL;
}

/* The path of a backing file named in an image: relative names count from the image's folder. */
static char *resolve_backing(const char *image, const char *backing)
{
    const char *slash = strrchr(image, '/');

    if (!slash || backing[0] == '/' || strchr(backing, ':'))
        return xstrdup(backing);
    return xasprintf("%.*s/%s", (int)(slash - image), image, backing);
}

/* Opens the backing file to see that it is there and how large it is. */
static struct err *examine_backing(struct tool *tool, const struct create_spec *spec,
                                   const char *backing, const char *format, uint64_t *size)
{
    char *path = resolve_backing(spec->filename, backing);
    struct image_spec image_spec = {
        .name = path, .format = format, .force_share = true, .flags = NODE_OPEN_NO_IO
    };
    struct image image;
    struct err *err;

    if (format && !driver_find(tool->graph, format))
        err = err_new("Unknown driver '%s'", format);
    else
        err = image_open(tool, &image_spec, &image);
    if (err) {
        err_hint_append(err, "Could not open backing image.\n");
    } else {
        *size = image.node->size;
        if (!format) {
            err = err_new("Backing file specified without backing format");
            err_hint_append(err, "Detected format of %s.\n", image.node->driver->name);
        }
        image_close(&image);
    }
    xfree(path);
    return err;
}

static struct err *find_size(struct tool *tool, const struct create_spec *spec, struct json *values)
{
    const char *backing = json_object_get_str(values, "backing_file");
    uint64_t backing_size = 0;

    if (spec->have_size) {
        if (json_object_has(values, "size"))
            return err_new("The image size must be specified only once");
        json_object_set_uint(values, "size", spec->size);
    }
    if (backing && *backing && spec->unsafe_backing && !json_object_has(values, "backing_fmt"))
        return err_new("Backing file specified without backing format");
    if (backing && *backing && !spec->unsafe_backing) {
        TRY(examine_backing(tool, spec, backing, json_object_get_str(values, "backing_fmt"),
                            &backing_size));
        if (!json_object_has(values, "size"))
            json_object_set_uint(values, "size", backing_size);
    }
    if (!json_object_has(values, "size"))
        return err_new("Image creation needs a size parameter");
    return NULL;
}

/* "Formatting 'x', fmt=qcow2 cluster_size=65536 ...": every option given or with a default, in the table's order. */
static void print_formatting(const struct create_spec *spec, const struct driver *driver,
                             const struct json *values)
{
    printf("Formatting '%s', fmt=%s", spec->filename, spec->format);
    for (const struct create_option *o = driver->create_options; o && o->name; o++) {
        const struct json *value = json_object_get(values, o->name);
        uint64_t number;
        bool flag;

        if (!value) {
            if (o->default_text)
                printf(" %s=%s", o->name, o->default_text);
        } else if (json_as_bool(value, &flag)) {
            printf(" %s=%s", o->name, flag ? "on" : "off");
        } else if (json_as_uint64(value, &number)) {
            printf(" %s=%llu", o->name, (unsigned long long)number);
        } else {
            printf(" %s=%s", o->name, json_as_str(value));
        }
    }
    printf("\n");
}

/* The tools' names of versions in the words of the schema. */
static const char *version_of(const char *compat)
{
    if (strcmp(compat, "0.10") == 0)
        return "v2";
    if (strcmp(compat, "1.1") == 0)
        return "v3";
    return compat;
}

/* Turns the tool's values into BlockdevCreateOptions: '_' becomes '-', and a few names differ. */
static struct json *create_options(const struct driver *driver, const struct json *values)
{
    static const struct {
        const char *tool, *schema;
    } renamed[] = { { "compat", "version" },
                    { "backing_file", "backing-file" },
                    { "backing_fmt", "backing-fmt" } };
    struct json *options = json_object();
    const char *key;
    struct json *value;
    bool on;

    json_object_set_str(options, "driver", driver->name);
    json_object_for_each(values, i, key, value) {
        char *name = xstrdup(key);

        for (char *c = name; *c; c++)
            *c = *c == '_' ? '-' : *c;
        for (size_t k = 0; k < ARRAY_LEN(renamed); k++) {
            if (strcmp(key, renamed[k].tool) == 0) {
                xfree(name);
                name = xstrdup(renamed[k].schema);
            }
        }
        if (strcmp(key, "static") == 0)
            json_object_set_str(options, "preallocation",
                                json_as_bool(value, &on) && on ? "metadata" : "off");
        else if (strcmp(key, "compat") == 0)
            json_object_set_str(options, name, version_of(json_as_str(value)));
        else
            json_object_set(options, name, json_ref(value));
        xfree(name);
    }
    return options;
}

static struct err *run_create(struct tool *tool, struct json *options)
{
    struct waiter waiter = { 0 };

    blockdev_create(tool->graph, options, wait_done, &waiter);
    return wait_for(tool->reactor, &waiter);
}

/* A file of the given size (0 for what a format will fill). */
static struct err *create_file(struct tool *tool, const char *filename, uint64_t size,
                               const char *prealloc)
{
    CLEANUP(json_free) struct json *options = json_object();

    json_object_set_str(options, "driver", "file");
    json_object_set_str(options, "filename", filename);
    json_object_set_uint(options, "size", size);
    if (prealloc)
        json_object_set_str(options, "preallocation", prealloc);
    return run_create(tool, options);
}

/* Words the error of a size that the format cannot hold for people. Takes err. */
static struct err *too_large(const struct driver *driver, struct err *err)
{
    const char *hint =
        find_option(driver, "cluster_size") ? " (try using a larger cluster size)" : "";

    if (!err || err_errnum(err) != EFBIG)
        return err;
    err_free(err);
    return err_set_errnum(
        err_new("The image size is too large for file format '%s'%s", driver->name, hint), EFBIG);
}

static struct err *create_format(struct tool *tool, const struct create_spec *spec,
                                 const struct driver *driver, const struct json *values)
{
    CLEANUP(json_free) struct json *options = create_options(driver, values);
    struct json *file;

    TRY(create_file(tool, spec->filename, 0, NULL));
    file = json_object();
    json_object_set_str(file, "driver", "file");
    json_object_set_str(file, "filename", spec->filename);
    json_object_set(options, "file", file);
    return too_large(driver, run_create(tool, options));
}

static bool same_as_backing(const struct create_spec *spec, const struct json *values)
{
    const char *backing = json_object_get_str(values, "backing_file");

    return backing && strcmp(backing, spec->filename) == 0;
}

/* The tools round the size of qcow2 images up to whole sectors, where QMP refuses it. */
static void round_size(const struct driver *driver, struct json *values)
{
    uint64_t size;

    if (strcmp(driver->name, "qcow2") == 0 &&
        json_as_uint64(json_object_get(values, "size"), &size) && size <= INT64_MAX)
        json_object_set_uint(values, "size", (size + 511) / 512 * 512);
}

static struct err *create_checked(struct tool *tool, const struct create_spec *spec,
                                  const struct driver *driver)
{
    CLEANUP(json_free) struct json *values = NULL;
    uint64_t size = 0;

    TRY(parse_values(driver, spec->options, &values));
    TRY(set_backing_values(driver, spec, values));
    if (same_as_backing(spec, values))
        return err_new(
            "Error: Trying to create an image with the same filename as the backing file");
    TRY(find_size(tool, spec, values));
    if (!spec->quiet)
        print_formatting(spec, driver, values);
    round_size(driver, values);
    if (strcmp(driver->name, "raw") != 0)
        return create_format(tool, spec, driver, values);
    if (!json_as_uint64(json_object_get(values, "size"), &size))
        return err_new("Image creation needs a size parameter");
    return create_file(tool, spec->filename, size, json_object_get_str(values, "preallocation"));
}

struct err *image_create(struct tool *tool, const struct create_spec *spec)
{
    const struct driver *driver = driver_find(tool->graph, spec->format);
    struct err *err;

    err = driver ? image_create_check_format(tool, spec->format)
                 : err_new("Unknown file format '%s'", spec->format);
    if (!err)
        err = create_checked(tool, spec, driver);
    if (err && spec->converting)
        err = err_prefix(err, "error while converting %s: ", spec->format);
    return err ? err_prefix(err, "%s: ", spec->filename) : NULL;
}
