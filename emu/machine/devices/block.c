/* See block.h. */
#include "emu/machine/devices/block.h"

#include "emu/base/alloc.h"
#include "emu/base/str.h"

/* ---- The property drive: the name of a backend or of a node ---- */

static struct err *cannot_find(struct device *dev, const struct prop *prop, const char *text)
{
    return err_new("Property '%s.%s' can't find value '%s'", dev->class->name, prop->name, text);
}

/* A node gets a backend that is the device's own. */
static struct err *backend_for_node(struct device *dev, const struct prop *prop, const char *text,
                                    struct backend **out)
{
    struct node *node = graph_find(dev->board->graph, text);
    struct backend *backend;
    struct err *err;

    if (!node)
        return cannot_find(dev, prop, text);
    TRY(backend_new(dev->board->graph, "", &backend));
    backend->perm = 0;
    err = backend_insert(backend, node);
    if (err) {
        backend_free(backend);
        return err;
    }
    *out = backend;
    return NULL;
}

static struct err *set_drive(struct device *dev, const struct prop *prop, void *field,
                             const struct json *value)
{
    struct backend **at = field, *backend;
    const char *text = json_as_str(value);

    if (!text)
        return err_new("Invalid parameter type for '%s', expected: string", prop->name);
    if (!*text)
        return NULL;
    if (*at)
        return err_new("-global %s.%s=... conflicts with %s=%s", dev->class->name, prop->name,
                       prop->name, text);
    backend = backend_find(dev->board->graph, text);
    if (backend && backend->ops && backend->automatic)
        return err_new("Drive '%s' is already in use because it has been automatically connected "
                       "to another device (did you need 'if=none' in the drive options?)",
                       text);
    if (backend && backend->ops)
        return err_new("Drive '%s' is already in use by another device", text);
    if (!backend)
        TRY(backend_for_node(dev, prop, text, &backend));
    *at = backend;
    return NULL;
}

static struct json *get_drive(struct device *dev, const struct prop *prop, const void *field)
{
    const struct backend *backend = *(struct backend *const *)field;

    if (!backend)
        return json_str("");
    return json_str(*backend->name || !backend->root ? backend->name : backend->root->node->name);
}

static void fini_drive(void *field)
{
    struct backend **at = field;

    if (*at && !(*at)->legacy)
        backend_free(*at);
    *at = NULL;
}

const struct prop_kind prop_drive = {
    .type = "str", .set = set_drive, .get = get_drive, .fini = fini_drive
};

/* ---- Error actions ---- */

static const char *const actions[] = { "auto", "report", "ignore", "enospc", "stop", NULL };

static struct err *set_action(struct device *dev, const struct prop *prop, void *field,
                              const struct json *value)
{
    struct prop named = *prop;

    named.names = actions;
    return prop_enum.set(dev, &named, field, value);
}

static struct json *get_action(struct device *dev, const struct prop *prop, const void *field)
{
    return json_str(actions[*(const int *)field]);
}

const struct prop_kind prop_on_error = { .type = "BlockdevOnError",
                                         .set = set_action,
                                         .get = get_action };

/* ---- Tables ---- */

const struct prop block_drive_props[] = {
    PROP("drive", drive, struct block_conf, backend, 0),
    PROP_HIDDEN("bootindex", i32, struct block_conf, bootindex, -1),
    PROP_END,
};

const struct prop block_size_props[] = {
    PROP("backend_defaults", on_off_auto, struct block_conf, backend_defaults, ON_OFF_AUTO_AUTO),
    PROP("logical_block_size", blocksize, struct block_conf, logical_block_size, 0),
    PROP("physical_block_size", blocksize, struct block_conf, physical_block_size, 0),
    PROP("min_io_size", size32, struct block_conf, min_io_size, 0),
    PROP("opt_io_size", size32, struct block_conf, opt_io_size, 0),
    PROP("discard_granularity", size32, struct block_conf, discard_granularity, UINT32_MAX),
    PROP("write-cache", on_off_auto, struct block_conf, write_cache, ON_OFF_AUTO_AUTO),
    PROP("share-rw", bool, struct block_conf, share_rw, false),
    PROP("account-invalid", on_off_auto, struct block_conf, account_invalid, ON_OFF_AUTO_AUTO),
    PROP("account-failed", on_off_auto, struct block_conf, account_failed, ON_OFF_AUTO_AUTO),
    PROP_END,
};

const struct prop block_error_props[] = {
    PROP("rerror", on_error, struct block_conf, rerror, BACKEND_ERROR_AUTO),
    PROP("werror", on_error, struct block_conf, werror, BACKEND_ERROR_AUTO),
    PROP_END,
};

/* ---- Attaching ---- */

static uint32_t needed(bool read_only)
{
    return PERM_CONSISTENT_READ | (read_only ? 0 : PERM_WRITE);
}

struct err *block_take_medium(struct block_conf *conf)
{
    struct backend *backend = conf->backend;
    uint32_t shared = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;

    return backend_set_perm(backend, needed(backend->root->node->read_only),
                            conf->share_rw ? shared | PERM_WRITE : shared);
}

void block_leave_medium(struct block_conf *conf)
{
    err_ignore(backend_set_perm(conf->backend, 0, PERM_ALL)); /* Taking less cannot conflict. */
}

static struct err *choose_sizes(struct block_conf *conf)
{
    if (!conf->logical_block_size)
        conf->logical_block_size = 512;
    if (!conf->physical_block_size)
        conf->physical_block_size = 512;
    if (conf->logical_block_size > conf->physical_block_size) {
        if (device_was_set(conf->dev, "physical_block_size"))
            return err_new("logical_block_size > physical_block_size not supported");
        conf->physical_block_size = conf->logical_block_size;
    }
    if (conf->min_io_size % conf->logical_block_size)
        return err_new("min_io_size must be a multiple of logical_block_size");
    if (conf->opt_io_size % conf->logical_block_size)
        return err_new("opt_io_size must be a multiple of logical_block_size");
    if (conf->discard_granularity != UINT32_MAX &&
        conf->discard_granularity % conf->logical_block_size)
        return err_new("discard_granularity must be a multiple of logical_block_size");
    return NULL;
}

/* All devices of a disk use it in one thread. */
static struct err *check_thread(const struct block_conf *conf, const struct block_need *need)
{
    const struct backend *backend = conf->backend;

    if (!backend->root || (need->any_thread && !need->iothread))
        return NULL;
    list_for_each(other, graph_backends(backend->graph), struct backend, link)
        if (other != backend && other->ops && other->root &&
            other->root->node == backend->root->node && other->iothread &&
            other->iothread != need->iothread)
            return err_new("Cannot change iothread of active block backend");
    return NULL;
}

static struct err *take_permissions(struct block_conf *conf, const struct block_need *need)
{
    struct backend *backend = conf->backend;
    struct node *node = backend->root ? backend->root->node : NULL;
    bool read_only = need->read_only;
    uint32_t shared = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;

    if (node && node->read_only) {
        if (need->writes)
            return err_new("Block node is read-only");
        read_only = true;
    }
    if (need->resizable)
        shared |= PERM_RESIZE;
    if (conf->share_rw)
        shared |= PERM_WRITE;
    if (!node && !need->read_only)
        return NULL; /* Until there is a medium nobody knows what is needed of it. */
    return backend_set_perm(backend, needed(read_only), shared);
}

struct err *block_attach(struct block_conf *conf, const struct block_need *need)
{
    struct backend *backend = conf->backend;

    conf->dev = need->dev;
    if (!backend && !need->makes_backend)
        return err_new("drive property not set");
    if (!backend) {
        TRY(backend_new(need->dev->board->graph, "", &conf->backend));
        backend = conf->backend;
    } else if (!*backend->name)
        backend->read_only = need->read_only;
    if (!backend->root && !need->removable)
        return err_new("Device needs media, but drive is empty");
    TRY(choose_sizes(conf));
    TRY(check_thread(conf, need));
    TRY(take_permissions(conf, need));
    TRY(backend_attach(backend, need->ops, need->owner,
                       need->dev->id ? need->dev->id : need->dev->path, need->dev->path,
                       need->dev->owner ? need->dev->owner->id : NULL));
    backend->iothread = need->iothread;
    if (conf->rerror != BACKEND_ERROR_AUTO)
        backend->rerror = (enum backend_on_error)conf->rerror;
    if (conf->werror != BACKEND_ERROR_AUTO)
        backend->werror = (enum backend_on_error)conf->werror;
    if (conf->write_cache != ON_OFF_AUTO_AUTO)
        backend->write_cache = conf->write_cache == ON_OFF_AUTO_ON;
    return NULL;
}

void block_settle(struct block_conf *conf, device_done_fn *done, void *arg)
{
    if (conf->backend && conf->backend->root)
        edge_settle(conf->backend->root, done, arg);
    else
        done(arg, NULL);
}

void block_detach(struct block_conf *conf)
{
    struct backend *backend = conf->backend;

    if (!backend || !backend->ops)
        return;
    backend_detach(backend);
    conf->backend = NULL;
    backend_free(backend); /* A drive of the command line goes with its device. */
}
