/* A file name together with options given beside it: -o of emu-io, file= of -drive. */
#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/open.h"

/* How deep options may say what is below what before they get to the file. */
enum { LEVELS_MAX = 32 };

/* The drivers that take a name themselves; every other one leaves it to its file. */
static bool takes_name(const char *driver)
{
    static const char *const names[] = { "blkdebug",   "blkverify", "file",    "host_cdrom",
                                         "host_device", "nbd",       "null-aio", "null-co" };

    return str_index(driver, names, ARRAY_LEN(names)) >= 0;
}

void node_options_merge(struct json *into, const struct json *from)
{
    struct json *value, *mine;
    const char *key;

    json_object_for_each(from, i, key, value) {
        mine = json_object_get(into, key);
        if (mine && json_type_of(mine) == JSON_OBJECT && json_type_of(value) == JSON_OBJECT)
            node_options_merge(mine, value);
        else
            json_object_set(into, key, json_ref(value));
    }
}

/* The options of the driver that takes the name; driver: what the user said it is, or NULL. */
static struct err *named(const char *filename, const char *driver, struct json **out)
{
    const char *implied;
    struct json *options = NULL, *file, *outer;

    TRY(node_options_from_filename(filename, "raw", &options));
    file = json_ref(json_object_get(options, "file"));
    json_free(options);
    if (!file)
        return err_new("'%s' does not name a file", filename);
    implied = json_object_get_str(file, "driver");
    if (str_eq(driver, "blkdebug") && !str_eq(implied, "blkdebug")) {
        outer = json_object();
        json_object_set(outer, "image", file);
        file = outer;
    }
    *out = file;
    return NULL;
}

/* Goes down from the options of a format to those of the file below that takes the name. */
static struct err *place(const char *filename, const struct json *given, unsigned level,
                         struct json **out)
{
    const char *driver = given ? json_object_get_str(given, "driver") : NULL;
    struct json *options = NULL, *file, *below;

    if (level > LEVELS_MAX)
        return err_new("The options of '%s' nest deeper than %d levels", filename, LEVELS_MAX);
    if ((level && !driver) || (driver && takes_name(driver))) {
        TRY(named(filename, driver, &options));
    } else {
        file = given ? json_object_get(given, "file") : NULL;
        options = json_object();
        if (!file || json_type_of(file) == JSON_OBJECT) {
            struct err *err = place(filename, file, level + 1, &below);

            if (err) {
                json_free(options);
                return err;
            }
            json_object_set(options, "file", below);
        }
    }
    if (given)
        node_options_merge(options, given);
    *out = options;
    return NULL;
}

struct err *node_options_from_both(const char *filename, const struct json *given,
                                   struct json **out)
{
    if (!str_has_prefix(filename, "json:") && !str_has_prefix(filename, "raw:"))
        return place(filename, given, 0, out);
    TRY(node_options_from_filename(filename, json_object_get_str(given, "driver"), out));
    node_options_merge(*out, given);
    return NULL;
}
