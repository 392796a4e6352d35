/* See drive.h. */
#include "emu/storage/drive.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json.h"
#include "emu/base/keyval.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"
#include "emu/storage/driver.h"

/* Units on one bus; 0: there is no end. */
static const struct {
    const char *name;
    unsigned units;
} interfaces[DRIVE_INTERFACE_COUNT] = {
    [DRIVE_NONE] = { "none", 0 },     [DRIVE_IDE] = { "ide", 2 },
    [DRIVE_SCSI] = { "scsi", 7 },     [DRIVE_FLOPPY] = { "floppy", 0 },
    [DRIVE_PFLASH] = { "pflash", 0 }, [DRIVE_MTD] = { "mtd", 0 },
    [DRIVE_SD] = { "sd", 0 },         [DRIVE_VIRTIO] = { "virtio", 0 },
    [DRIVE_XEN] = { "xen", 0 },
};

const char *drive_interface_name(enum drive_interface interface)
{
    return interfaces[interface].name;
}

struct drive *drive_at(struct list *all, enum drive_interface interface, unsigned bus,
                       unsigned unit)
{
    list_for_each(drive, all, struct drive, link)
        if (drive->interface == interface && drive->bus == bus && drive->unit == unit)
            return drive;
    return NULL;
}

void drive_free(struct drive *drive)
{
    if (!drive)
        return;
    list_del(&drive->link);
    json_free(drive->options);
    xfree(drive->text);
    xfree(drive->id);
    xfree(drive->serial);
    xfree(drive->address);
    xfree(drive);
}

/* ---- The options that are not the node's ---- */

static struct err *take_number(struct json *from, const char *name, bool *there, unsigned *out)
{
    CLEANUP(json_free) struct json *value = json_object_take(from, name);
    uint64_t number;

    *there = value != NULL;
    if (!value)
        return NULL;
    if (!parse_u64(json_get_str(value), &number) || number > UINT32_MAX)
        return err_new("Parameter '%s' expects a number", name);
    *out = (unsigned)number;
    return NULL;
}

static struct err *take_bool(struct json *from, const char *name, bool *there, bool *out)
{
    CLEANUP(json_free) struct json *value = json_object_take(from, name);

    *there = value != NULL;
    if (value && !opts_parse_bool(json_get_str(value), out))
        return err_new("Parameter '%s' expects 'on' or 'off'", name);
    return NULL;
}

static char *take_text(struct json *from, const char *name)
{
    CLEANUP(json_free) struct json *value = json_object_take(from, name);

    return value ? xstrdup(json_get_str(value)) : NULL;
}

static struct err *take_error_action(struct json *from, const char *name, bool is_read,
                                     enum backend_on_error *out)
{
    static const char *const names[] = { "auto", "report", "ignore", "enospc", "stop" };
    CLEANUP(xfree) char *text = take_text(from, name);
    int i;

    if (!text)
        return NULL;
    i = str_index(text, names, ARRAY_LEN(names));
    if (i < 0 || (is_read && i == BACKEND_ERROR_ENOSPC))
        return err_new("'%s' invalid %s error action", text, is_read ? "read" : "write");
    *out = (enum backend_on_error)i;
    return NULL;
}

/* ---- Place ---- */

static struct err *choose_place(struct json *from, struct drive *drive,
                                const struct drive_defaults *defaults, struct list *all)
{
    bool has_index, has_bus, has_unit;
    unsigned index = 0, units = interfaces[drive->interface].units;

    if (drive->interface == DRIVE_IDE && defaults->ide_units)
        units = defaults->ide_units;

    TRY(take_number(from, "index", &has_index, &index));
    TRY(take_number(from, "bus", &has_bus, &drive->bus));
    TRY(take_number(from, "unit", &has_unit, &drive->unit));
    if (has_index) {
        if (has_bus || has_unit)
            return err_new("index cannot be used with bus and unit");
        drive->bus = units ? index / units : 0;
        drive->unit = units ? index % units : index;
    } else if (!has_unit) {
        while (drive_at(all, drive->interface, drive->bus, drive->unit)) {
            drive->unit++;
            if (units && drive->unit >= units) {
                drive->unit -= units;
                drive->bus++;
            }
        }
    }
    if (units && drive->unit >= units)
        return err_new("unit %u too big (max is %u)", drive->unit, units - 1);
    if (drive_at(all, drive->interface, drive->bus, drive->unit))
        return err_new("drive with bus=%u, unit=%u (index=%u) exists", drive->bus, drive->unit,
                       index);
    return NULL;
}

static char *automatic_id(const struct drive *drive)
{
    const char *name = interfaces[drive->interface].name;
    const char *media = "";

    if (drive->interface == DRIVE_IDE || drive->interface == DRIVE_SCSI)
        media = drive->cdrom ? "-cd" : "-hd";
    if (interfaces[drive->interface].units)
        return xasprintf("%s%u%s%u", name, drive->bus, media, drive->unit);
    return xasprintf("%s%s%u", name, media, drive->unit);
}

/* ---- The options of the node ---- */

struct cache_mode {
    const char *name;
    bool writeback, direct, no_flush;
};

static const struct cache_mode cache_modes[] = {
    { "none", true, true, false },         { "off", true, true, false },
    { "writeback", true, false, false },   { "writethrough", false, false, false },
    { "directsync", false, true, false },  { "unsafe", true, false, true },
};

static struct err *take_cache(struct json *from, struct drive *drive)
{
    CLEANUP(xfree) char *mode = take_text(from, "cache");
    const struct cache_mode *found = NULL;
    bool there, writeback;

    drive->write_cache = true;
    if (mode) {
        for (size_t i = 0; i < ARRAY_LEN(cache_modes); i++)
            if (str_eq(cache_modes[i].name, mode))
                found = &cache_modes[i];
        if (!found)
            return err_new("invalid cache option");
        drive->write_cache = found->writeback;
        if (!json_object_has(from, "cache.direct"))
            json_object_set_str(from, "cache.direct", found->direct ? "on" : "off");
        if (!json_object_has(from, "cache.no-flush"))
            json_object_set_str(from, "cache.no-flush", found->no_flush ? "on" : "off");
    }
    TRY(take_bool(from, "cache.writeback", &there, &writeback));
    if (there)
        drive->write_cache = writeback;
    return NULL;
}

static struct err *check_aio(const char *aio)
{
    if (!aio || str_eq(aio, "threads") || str_eq(aio, "native") || str_eq(aio, "io_uring"))
        return NULL;
    return err_new("invalid aio option");
}

/* What is left of the text are options of the node. */
static struct err *node_options(struct json *flat, struct drive *drive, char *file)
{
    CLEANUP(json_free) struct json *nested = NULL;
    CLEANUP(json_free) struct json *options = NULL;
    CLEANUP(xfree) char *format = take_text(flat, "format");
    const char *driver = json_object_get_str(flat, "driver"), *key;
    struct json *value;
    bool tree = false;

    if (format && driver)
        return err_new("Cannot specify both 'driver' and 'format'");
    if (format)
        json_object_set_str(flat, "driver", format);
    json_object_for_each(flat, i, key, value)
        tree |= str_has_prefix(key, "file") || str_eq(key, "driver") || str_eq(key, "node-name");
    if (!file && !tree) {
        drive->empty = true;
        return NULL;
    }
    if (!json_object_has(flat, "read-only"))
        json_object_set_str(flat, "read-only", drive->read_only ? "on" : "off");
    TRY(keyval_nest(flat, &nested));
    if (file && *file) {
        TRY(node_options_from_both(file, nested, &options));
    } else {
        options = json_ref(nested);
    }
    drive->options = json_ref(options);
    return NULL;
}

static struct err *parse_rest(struct json *flat, struct drive *drive)
{
    CLEANUP(xfree) char *file = take_text(flat, "file");
    CLEANUP(xfree) char *aio = take_text(flat, "aio");
    bool there, ro = false, snapshot;

    TRY(take_cache(flat, drive));
    TRY(check_aio(aio));
    TRY(take_bool(flat, "snapshot", &there, &snapshot));
    if (there)
        drive->snapshot = snapshot;
    if (drive->snapshot)
        return err_new("snapshot=on is not supported");
    TRY(take_bool(flat, "readonly", &there, &ro));
    if (there && json_object_has(flat, "read-only"))
        return err_new("'readonly' and its alias 'read-only' can't be used at the same time");
    if (json_object_has(flat, "read-only"))
        TRY(take_bool(flat, "read-only", &there, &ro));
    drive->read_only = ro || drive->cdrom;
    TRY(take_error_action(flat, "werror", false, &drive->werror));
    TRY(take_error_action(flat, "rerror", true, &drive->rerror));
    return node_options(flat, drive, file);
}

static struct err *parse_interface(struct json *flat, const struct drive_defaults *defaults,
                                   struct drive *drive)
{
    CLEANUP(xfree) char *text = take_text(flat, "if");
    CLEANUP(xfree) char *media = take_text(flat, "media");

    drive->interface = defaults->interface;
    if (text) {
        int i = 0;

        while (i < DRIVE_INTERFACE_COUNT && !str_eq(interfaces[i].name, text))
            i++;
        if (i == DRIVE_INTERFACE_COUNT)
            return err_new("unsupported bus type '%s'", text);
        drive->interface = (enum drive_interface)i;
    }
    if (media && !str_eq(media, "disk") && !str_eq(media, "cdrom"))
        return err_new("'%s' invalid media", media);
    drive->cdrom = str_eq(media, "cdrom");
    return NULL;
}

static struct err *check_id(const char *id)
{
    struct err *err;

    for (const char *c = id; *c; c++) {
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z'))
            continue;
        if (c > id && ((*c >= '0' && *c <= '9') || strchr("-._", *c)))
            continue;
        id = "";
        break;
    }
    if (*id)
        return NULL;
    err = err_new("Parameter 'id' expects an identifier");
    err_hint_append(err, "Identifiers consist of letters, digits, '-', '.', '_', starting with a "
                         "letter.\n");
    return err;
}

static struct err *parse(struct json *flat, const struct drive_defaults *defaults, struct list *all,
                         struct drive *drive)
{
    drive->snapshot = defaults->snapshot;
    drive->id = take_text(flat, "id");
    if (drive->id)
        TRY(check_id(drive->id));
    drive->serial = take_text(flat, "serial");
    drive->address = take_text(flat, "addr");
    TRY(parse_interface(flat, defaults, drive));
    TRY(choose_place(flat, drive, defaults, all));
    if (!drive->id)
        drive->id = automatic_id(drive);
    if (drive->interface != DRIVE_VIRTIO && drive->address)
        return err_new("addr is not supported by this bus type");
    return parse_rest(flat, drive);
}

struct err *drive_parse(const char *text, const char *file, const char *implied,
                        const struct drive_defaults *defaults, struct list *all, struct drive **out)
{
    CLEANUP(json_free) struct json *flat = NULL;
    CLEANUP(json_free) struct json *more = NULL;
    struct drive *drive;
    struct err *err;

    *out = NULL;
    TRY(keyval_parse_flags(text, NULL, KEYVAL_LEGACY_BOOL | KEYVAL_FLAT, NULL, &flat));
    if (implied) {
        TRY(keyval_parse_flags(implied, NULL, KEYVAL_LEGACY_BOOL | KEYVAL_FLAT, NULL, &more));
        node_options_merge(flat, more);
    }
    if (file)
        json_object_set_str(flat, "file", file);
    drive = NEW(struct drive);
    list_init(&drive->link);
    drive->text = xstrdup(text);
    err = parse(flat, defaults, all, drive);
    if (err) {
        drive_free(drive);
        return err;
    }
    list_add_tail(all, &drive->link);
    *out = drive;
    return NULL;
}

/* ---- Opening ---- */

struct drive_opening {
    struct drive *drive;
    graph_done_fn *done;
    void *arg;
};

static void finish(struct drive_opening *o, struct err *err)
{
    graph_done_fn *done = o->done;
    void *arg = o->arg;

    if (err) {
        backend_free(o->drive->backend);
        o->drive->backend = NULL;
    }
    xfree(o);
    done(arg, err);
}

static void settled(void *arg, struct err *err) { finish(arg, err); }

static void opened(void *arg, struct node *node, struct err *err)
{
    struct drive_opening *o = arg;
    struct backend *backend = o->drive->backend;

    if (!err) {
        err = backend_insert(backend, node);
        node_unref(node);
    }
    if (err)
        finish(o, err);
    else
        edge_settle(backend->root, settled, o);
}

void drive_open(struct graph *graph, struct drive *drive, graph_done_fn *done, void *arg)
{
    struct drive_opening *o = NEW(struct drive_opening);
    struct err *err = backend_new(graph, drive->id, &drive->backend);
    struct backend *backend = drive->backend;

    *o = (struct drive_opening){ drive, done, arg };
    if (err) {
        finish(o, err);
        return;
    }
    backend->rerror = drive->rerror;
    backend->werror = drive->werror;
    backend->write_cache = drive->write_cache;
    backend->read_only = drive->read_only;
    backend->legacy = true;
    backend->automatic = drive->interface != DRIVE_NONE;
    if (drive->options)
        node_open(graph, drive->options, 0, opened, o);
    else
        finish(o, NULL);
}
