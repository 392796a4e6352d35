#include "emu/cmd/common/create.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/keyval.h"
#include "emu/base/str.h"
#include "emu/storage/create.h"
#include "emu/storage/open.h"

struct err *image_create_check_format(struct tool *tool, const char *format)
{
    const struct driver *driver = driver_find(tool->graph, format);

    if (!driver)
        return err_new("Unknown file format '%s'", format);
    if (!driver->create && strcmp(format, "raw") != 0)
        return err_new("Format driver '%s' does not support image creation", format);
    return NULL;
}

static const struct create_option *options_of(const struct tool *tool, const char *name)
{
    const struct driver *driver = driver_find(tool->graph, name);

    return driver ? driver->create_options : NULL;
}

/* The options of the protocol that a file name stands for (new), or "Unknown protocol 'x'". */
static struct err *find_protocol(const char *filename, struct json **out)
{
    CLEANUP(json_free) struct json *options = NULL;
    const struct json *file;

    if (str_has_prefix(filename, "json:"))
        return err_new("Unknown protocol 'json'");
    TRY(node_options_from_filename(filename, "raw", &options));
    file = json_object_get(options, "file");
    *out = json_copy(file ? file : options);
    json_object_add(*out, "driver", json_str("file")); /* What may be a disk. */
    return NULL;
}

struct err *image_create_tables(struct tool *tool, const char *format, const char *filename,
                                struct option_tables *out)
{
    CLEANUP(json_free) struct json *protocol = NULL;

    *out = (struct option_tables){ .format = options_of(tool, format) };
    if (!filename)
        return NULL;
    TRY(find_protocol(filename, &protocol));
    out->protocol = options_of(tool, json_object_get_str(protocol, "driver"));
    return NULL;
}

struct err *image_create_help(struct tool *tool, const char *format, const char *filename)
{
    const struct driver *driver = driver_find(tool->graph, format);
    struct option_tables tables;

    TRY(image_create_check_format(tool, format));
    TRY(image_create_tables(tool, format, filename, &tables));
    printf(filename ? "Supported options:\n" : "Supported %s options:\n", format);
    image_options_print(&tables);
    if (!filename && driver->is_format)
        printf("\nThe protocol level may support further options.\n"
               "Specify the target filename to include those options.\n");
    return NULL;
}

static struct err *set_backing_values(const struct create_spec *spec,
                                      const struct option_tables *tables, struct json *values)
{
    const char *backing = spec->backing, *format = spec->backing_format;

    if (backing) {
        if (!image_options_find(tables, "backing_file"))
            return err_new("Backing file not supported for file format '%s'", spec->format);
        json_object_set_str(values, "backing_file", backing);
    }
    if (format) {
        if (!image_options_find(tables, "backing_fmt"))
            return err_new("Backing format not supported for file format '%s'", spec->format);
        json_object_set_str(values, "backing_fmt", format);
    }
    backing = json_object_get_str(values, "backing_file");
    if (!backing)
        return NULL;
    if (strcmp(backing, spec->filename) == 0)
        return err_new(
            "Error: Trying to create an image with the same filename as the backing file");
    return *backing || spec->converting ? NULL
                                        : err_new("Expected backing file name, got empty string");
}

/* Opens the backing file to see that it is there and how large it is. */
static struct err *examine_backing(struct tool *tool, const struct create_spec *spec,
                                   const char *backing, const char *format, uint64_t *size)
{
    char *path = filename_resolve(spec->filename, backing);
    struct image_spec image_spec = {
        .name = path, .format = format, .force_share = true, .flags = NODE_OPEN_NO_IO
    };
    struct image image;
    struct err *err;

    if (format && !driver_find(tool->graph, format))
        err = err_new("Unknown driver '%s'", format);
    else
        err = image_open_plain(tool, &image_spec, &image);
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

    if (spec->have_size)
        json_object_set_uint(values, "size", spec->size);
    if (spec->converting)
        return NULL;
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

static void print_table(const struct create_option *table, const struct create_option *hidden,
                        const struct json *values)
{
    const struct option_tables first = { .format = hidden };

    for (const struct create_option *o = table; o && o->name; o++) {
        const struct json *value = json_object_get(values, o->name);
        char *text;

        if (image_options_find(&first, o->name))
            continue;
        if (!value) {
            if (o->default_text)
                printf(" %s=%s", o->name, o->default_text);
            continue;
        }
        text = image_options_text(o->name, value);
        printf(" %s", text);
        xfree(text);
    }
}

/* "Formatting 'x', fmt=qcow2 cluster_size=65536 ...": what was given or has a default, in the order of the tables. */
static void print_formatting(const struct create_spec *spec, const struct option_tables *tables,
                             const struct json *values)
{
    printf("Formatting '%s', fmt=%s", spec->filename, spec->format);
    print_table(tables->format, NULL, values);
    print_table(tables->protocol, tables->format, values);
    printf("\n");
    fflush(stdout);
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

/* The schema's name of an option; returns new. */
static char *schema_name(const char *key)
{
    static const struct {
        const char *tool, *schema;
    } renamed[] = { { "compat", "version" },
                    { "backing_file", "backing-file" },
                    { "backing_fmt", "backing-fmt" } };
    char *name;

    for (size_t i = 0; i < ARRAY_LEN(renamed); i++) {
        if (strcmp(key, renamed[i].tool) == 0)
            return xstrdup(renamed[i].schema);
    }
    name = xstrdup(key);
    for (char *c = name; *c; c++)
        *c = *c == '_' ? '-' : *c;
    return name;
}

/* Turns the tool's values into BlockdevCreateOptions: '_' becomes '-', dots nest, and a few names differ. */
static struct err *create_options(const struct driver *driver, const struct json *values,
                                  struct json **out)
{
    CLEANUP(json_free) struct json *flat = json_object();
    const char *key;
    struct json *value;
    bool flag;

    json_object_set_str(flat, "driver", driver->name);
    json_object_for_each(values, i, key, value) {
        char *name;

        /* What only the protocol knows was for its own creation. */
        if (!image_options_find(&(struct option_tables){ .format = driver->create_options }, key))
            continue;
        if (strcmp(key, "encryption") == 0) {
            if (json_as_bool(value, &flag) && flag)
                json_object_set_str(flat, "encrypt.format", "aes");
            continue;
        }
        name = schema_name(key);
        if (strcmp(key, "static") == 0)
            json_object_set_str(flat, "preallocation",
                                json_as_bool(value, &flag) && flag ? "metadata" : "off");
        else if (strcmp(key, "compat") == 0)
            json_object_set_str(flat, name, version_of(json_as_str(value)));
        else
            json_object_set(flat, name, json_ref(value));
        xfree(name);
    }
    return keyval_nest(flat, out);
}

static struct err *run_create(struct tool *tool, struct json *options)
{
    struct waiter waiter = { 0 }, settled = { 0 };
    struct err *err;

    blockdev_create(tool->graph, options, wait_done, &waiter);
    err = wait_for(tool->reactor, &waiter);
    /* What it opened may still be closing, and hold locks that whoever opens the image next would meet. */
    graph_settle(tool->graph, wait_done, &settled);
    err_keep_first(&err, wait_for(tool->reactor, &settled));
    return err;
}

/*
 * A protocol without files to make (a server's export, a device): what is there already is cut or grown to size and
 * its first sector cleared, so that no old format is found in it.
 */
static struct err *reuse_existing(struct tool *tool, const char *protocol, const char *filename,
                                  uint64_t size)
{
    struct image_spec spec = { .name = filename, .format = "raw", .writable = true };
    static const uint8_t zeroes[512];
    struct waiter waiter = { 0 };
    struct image image;
    struct err *err = image_open_plain(tool, &spec, &image);

    if (err)
        return err_prefix(err,
                          "Protocol driver '%s' does not support creating new images, so an "
                          "existing image must be selected as the target; however, opening the "
                          "given target as an existing image failed: ",
                          protocol);
    if (image.node->size < size) {
        edge_truncate(image.edge, size, false, PREALLOC_OFF, wait_done, &waiter);
        err = err_prefix(wait_for(tool->reactor, &waiter), "Could not resize image: ");
    }
    if (!err && image.node->size) {
        int result = image_write(&image, 0, zeroes, MIN(image.node->size, sizeof(zeroes)));

        if (result < 0)
            err = err_new_errno(result, "Failed to clear the new image's first sector");
    }
    image_close(&image);
    return err;
}

/* The file below: of the given size, 0 for what a format will fill. values: options of the protocol, or NULL. */
static struct err *create_file(struct tool *tool, const char *filename, uint64_t size,
                               const struct json *values)
{
    CLEANUP(json_free) struct json *protocol = NULL;
    CLEANUP(json_free) struct json *options = NULL;
    CLEANUP(json_free) struct json *none = json_object();
    const struct driver *driver;

    TRY(find_protocol(filename, &protocol));
    driver = driver_find(tool->graph, json_object_get_str(protocol, "driver"));
    if (!driver || !driver->create)
        return reuse_existing(tool, json_object_get_str(protocol, "driver"), filename, size);
    TRY(create_options(driver, values ? values : none, &options));
    json_object_set_str(options, "filename", json_object_get_str(protocol, "filename"));
    json_object_set_uint(options, "size", size);
    return run_create(tool, options);
}

/* The file of data beside the image: made anew, and told to the format by name. */
static struct err *create_data_file(struct tool *tool, const struct json *values,
                                    struct json *options)
{
    const char *name = json_object_get_str(values, "data_file");
    CLEANUP(json_free) struct json *none = NULL;
    struct json *protocol = NULL;

    if (!name)
        return NULL;
    none = json_object();
    TRY(create_file(tool, name, 0, none));
    TRY(find_protocol(name, &protocol));
    json_object_set(options, "data-file", protocol);
    return NULL;
}

/* The extents of a VMware image that has them in files of their own: made, and named in options. */
static struct err *create_vmdk_extents(struct tool *tool, const char *filename,
                                       struct json *options)
{
    const char *subformat = json_object_get_str(options, "subformat");
    const char *slash = strrchr(filename, '/'), *dot = strrchr(filename, '.');
    const uint64_t split = UINT64_C(2) << 30;
    bool two = subformat && str_has_prefix(subformat, "twoGbMaxExtent");
    bool flat = subformat && strstr(subformat, "Flat");
    struct json *extents;
    uint64_t size = 0, count;
    struct err *err = NULL;

    if (!flat && !two)
        return NULL;
    if (!dot || (slash && dot < slash))
        dot = filename + strlen(filename);
    if (!json_as_uint64(json_object_get(options, "size"), &size))
        size = 0;
    count = two ? (size + split - 1) / split : 1;
    if (count > 4096)
        return err_new_errno(EFBIG, "The image size is too large for vmdk");
    extents = json_array();
    for (uint64_t i = 1; i <= count && !err; i++) {
        char *name = two ? xasprintf("%.*s-%c%03llu%s", (int)(dot - filename), filename,
                                     flat ? 'f' : 's', (unsigned long long)i, dot)
                         : xasprintf("%.*s-flat%s", (int)(dot - filename), filename, dot);
        struct json *file = json_object();

        err = create_file(tool, name, 0, NULL);
        json_object_set_str(file, "driver", "file");
        json_object_set_str(file, "filename", name);
        json_array_add(extents, file);
        xfree(name);
    }
    json_object_set(options, "extents", extents);
    return err;
}

/* What the tool's options of VMware images mean. */
static struct err *adapt_vmdk(struct json *options)
{
    const char *backing_format = json_object_get_str(options, "backing-fmt");
    const char *hwversion = json_object_get_str(options, "hwversion");
    bool compat6 = false;

    if (backing_format && strcmp(backing_format, "vmdk") != 0)
        return err_new("backing_file must be a vmdk image");
    if (!json_as_bool(json_object_get(options, "compat6"), &compat6))
        compat6 = false;
    if (hwversion && strcmp(hwversion, "undefined") == 0)
        hwversion = NULL;
    if (compat6 && hwversion)
        return err_new("compat6 cannot be enabled with hwversion set");
    if (!hwversion)
        json_object_set_str(options, "hwversion", compat6 ? "6" : "4");
    json_object_del(options, "backing-fmt");
    json_object_del(options, "compat6");
    return NULL;
}

static struct err *create_format(struct tool *tool, const struct create_spec *spec,
                                 const struct driver *driver, const struct json *values)
{
    CLEANUP(json_free) struct json *options = NULL;
    CLEANUP(json_free) struct json *below = json_copy(values);
    struct json *file = NULL;
    struct err *err;

    /* The format does that on its own. */
    json_object_del(below, "preallocation");
    TRY(create_options(driver, values, &options));
    if (strcmp(driver->name, "vmdk") == 0) {
        TRY(adapt_vmdk(options));
        TRY(create_vmdk_extents(tool, spec->filename, options));
    }
    TRY(create_file(tool, spec->filename, 0, below));
    TRY(find_protocol(spec->filename, &file));
    json_object_set(options, "file", file);
    err = create_data_file(tool, values, options);
    if (!err)
        err = run_create(tool, options);
    /* Half an image helps nobody. */
    if (err && str_eq(json_object_get_str(file, "driver"), "file"))
        unlink(json_object_get_str(file, "filename"));
    return err;
}

/* The tools round the size of these images up to whole sectors, where QMP refuses it. */
static void round_size(const struct driver *driver, struct json *values)
{
    static const char *const rounded[] = { "parallels", "qcow", "qcow2", "qed" };
    uint64_t size;
    bool rounds = false;

    for (size_t i = 0; i < ARRAY_LEN(rounded); i++)
        rounds |= strcmp(driver->name, rounded[i]) == 0;
    if (rounds && json_as_uint64(json_object_get(values, "size"), &size) && size <= INT64_MAX)
        json_object_set_uint(values, "size", (size + 511) / 512 * 512);
}

static struct err *create_checked(struct tool *tool, const struct create_spec *spec,
                                  const struct driver *driver)
{
    CLEANUP(json_free) struct json *values = NULL;
    struct option_tables tables;
    uint64_t size = 0;

    TRY(image_create_tables(tool, spec->format, spec->filename, &tables));
    TRY(image_options_parse(&tables, spec->options, &values));
    if (spec->have_size && json_object_has(values, "size"))
        return err_new("The image size must be specified only once");
    TRY(set_backing_values(spec, &tables, values));
    TRY(find_size(tool, spec, values));
    if (!spec->quiet)
        print_formatting(spec, &tables, values);
    round_size(driver, values);
    if (strcmp(driver->name, "raw") != 0)
        return create_format(tool, spec, driver, values);
    if (!json_as_uint64(json_object_get(values, "size"), &size))
        return err_new("Image creation needs a size parameter");
    /* As for qcow2, whole sectors. */
    size += size <= INT64_MAX ? (512 - size % 512) % 512 : 0;
    return create_file(tool, spec->filename, size, values);
}

/* Words the error of a size that the format cannot hold for people. Takes err. */
static struct err *too_large(const struct driver *driver, struct err *err)
{
    struct option_tables tables = { .format = driver->create_options };
    const char *hint =
        image_options_find(&tables, "cluster_size") ? " (try using a larger cluster size)" : "";

    if (err_errnum(err) != EFBIG)
        return err;
    err_free(err);
    return err_set_errnum(
        err_new("The image size is too large for file format '%s'%s", driver->name, hint), EFBIG);
}

struct err *image_create(struct tool *tool, const struct create_spec *spec)
{
    const struct driver *driver = driver_find(tool->graph, spec->format);
    struct err *err;

    err = driver ? image_create_check_format(tool, spec->format)
                 : err_new("Unknown file format '%s'", spec->format);
    if (!err)
        err = create_checked(tool, spec, driver);
    if (!err)
        return NULL;
    if (driver)
        err = too_large(driver, err);
    if (spec->converting)
        err = err_prefix(err, "error while converting %s: ", spec->format);
    return err_prefix(err, "%s: ", spec->filename);
}
