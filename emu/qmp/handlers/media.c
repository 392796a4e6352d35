/* See media.h. Texts of errors are the reference's. */
#include "emu/qmp/handlers/media.h"

#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_block.h"      // Generated.
#include "emu/qmp/qmp_block_core.h" // Generated.
#include "emu/storage/backend.h"

/* ---- The drive an argument names ---- */

static struct err *find_drive(struct qmp_call *call, const char *device, const char *id,
                              struct backend **out)
{
    struct graph *graph = call->world->graph;

    if (!device == !id)
        return err_new("Need exactly one of 'device' and 'id'");
    *out = device ? backend_find(graph, device) : backend_find_device(graph, id);
    if (!*out)
        return err_new_class(ERR_DEVICE_NOT_FOUND, "Device '%s' not found", device ? device : id);
    return NULL;
}

static struct err *check_removable(const struct backend *backend, const char *name)
{
    return backend_is_removable(backend) ? NULL : err_new("Device '%s' is not removable", name);
}

/* ---- Trays ---- */

/* errno of an error that only means that there is nothing to open, or that the guest has to. */
static struct err *open_tray(struct backend *backend, const char *name, bool force)
{
    bool locked;

    TRY(check_removable(backend, name));
    if (!backend_has_tray(backend))
        return err_set_errnum(err_new("Device '%s' does not have a tray", name), ENOSYS);
    if (backend_tray_is_open(backend))
        return NULL;
    locked = backend->ops->is_locked && backend->ops->is_locked(backend->owner);
    if (locked && backend->ops->eject_request)
        backend->ops->eject_request(backend->owner, force);
    if (!locked || force)
        TRY(backend_media_changed(backend, false));
    if (locked && !force)
        return err_set_errnum(err_new("Device '%s' is locked and force was not specified, "
                                      "wait for tray to open and try again",
                                      name),
                              EINPROGRESS);
    return NULL;
}

/* Drops an error with that errno. */
static struct err *unless(struct err *err, int errnum)
{
    if (err && err_errnum(err) == errnum) {
        err_free(err);
        return NULL;
    }
    return err;
}

static void open_tray_handler(struct qmp_call *call,
                              const struct qapi_blockdev_open_tray_args *args)
{
    struct backend *backend = NULL;
    struct err *err = find_drive(call, args->device, args->id, &backend);

    if (!err)
        err = open_tray(backend, args->device ? args->device : args->id,
                        args->force.set && args->force.value);
    qmp_reply(call, unless(unless(err, ENOSYS), EINPROGRESS));
}

static struct err *close_tray(struct backend *backend, const char *name)
{
    TRY(check_removable(backend, name));
    if (backend_has_tray(backend) && backend_tray_is_open(backend))
        return backend_media_changed(backend, true);
    return NULL;
}

static void close_tray_handler(struct qmp_call *call,
                               const struct qapi_blockdev_close_tray_args *args)
{
    struct backend *backend = NULL;
    struct err *err = find_drive(call, args->device, args->id, &backend);

    if (!err)
        err = close_tray(backend, args->device ? args->device : args->id);
    qmp_reply(call, err);
}

/* ---- Taking media out ---- */

static struct err *remove_medium(struct backend *backend, const char *name)
{
    TRY(check_removable(backend, name));
    if (backend_has_tray(backend) && !backend_tray_is_open(backend))
        return err_new("Tray of device '%s' is not open", name);
    if (!backend->root)
        return NULL;
    TRY(node_check_not_busy(backend->root->node));
    if (!backend_has_tray(backend))
        TRY(backend_media_changed(backend, false));
    backend_remove(backend);
    return NULL;
}

static void closed(void *arg, struct err *err)
{
    err_ignore(err);
    qmp_reply(arg, NULL);
}

/* A disk that nobody else uses is closed with the reply. */
static void reply_when_closed(struct qmp_call *call, struct err *err)
{
    if (err)
        qmp_reply(call, err);
    else
        graph_settle(call->world->graph, closed, call);
}

static void remove_medium_handler(struct qmp_call *call,
                                  const struct qapi_blockdev_remove_medium_args *args)
{
    struct backend *backend = NULL;
    struct err *err = find_drive(call, NULL, args->id, &backend);

    if (!err)
        err = remove_medium(backend, args->id);
    reply_when_closed(call, err);
}

static void eject(struct qmp_call *call, const struct qapi_eject_args *args)
{
    const char *name = args->device ? args->device : args->id;
    struct backend *backend = NULL;
    struct err *err = find_drive(call, args->device, args->id, &backend);

    if (!err)
        err = unless(open_tray(backend, name, args->force.set && args->force.value), ENOSYS);
    if (!err)
        err = remove_medium(backend, name);
    reply_when_closed(call, err);
}

/* ---- Putting media in ---- */

static struct err *insert_medium(struct backend *backend, struct node *node)
{
    struct err *err = NULL;

    if (backend->ops && !backend_is_removable(backend))
        return err_new("Device is not removable");
    if (backend_has_tray(backend) && !backend_tray_is_open(backend))
        return err_new("Tray of the device is not open");
    if (backend->root)
        return err_new("There already is a medium in the device");
    TRY(backend_insert(backend, node));
    if (!backend_has_tray(backend))
        err = backend_media_changed(backend, true);
    if (err)
        backend_remove(backend);
    return err;
}

/* An insertion that waits for locks. */
struct inserting {
    struct qmp_call *call;
    struct backend *backend;
    bool close; /* The tray, in the end. */
};

static void inserted(void *arg, struct err *err)
{
    struct inserting *in = arg;

    if (err)
        backend_remove(in->backend);
    else if (in->close)
        err = close_tray(in->backend, "");
    qmp_reply(in->call, err);
    xfree(in);
}

static void settle(struct qmp_call *call, struct backend *backend, bool close, struct err *err)
{
    struct inserting *in;

    if (err) {
        qmp_reply(call, err);
        return;
    }
    in = NEW(struct inserting);
    *in = (struct inserting){ call, backend, close };
    edge_settle(backend->root, inserted, in);
}

static void insert_medium_handler(struct qmp_call *call,
                                  const struct qapi_blockdev_insert_medium_args *args)
{
    struct node *node = graph_find(call->world->graph, args->node_name);
    struct backend *backend = NULL;
    struct err *err = find_drive(call, NULL, args->id, &backend);

    if (!err && !node)
        err = err_new("Node '%s' not found", args->node_name);
    if (!err && backend_of_node(node))
        err = err_new("Node '%s' is already in use", args->node_name);
    if (!err)
        err = insert_medium(backend, node);
    settle(call, backend, false, err);
}

static void opened(void *arg, struct node *node, struct err *err)
{
    struct qmp_call *call = arg;
    const struct qapi_blockdev_change_medium_args *args = call->args;
    const char *name = args->device ? args->device : args->id;
    struct backend *backend = NULL;

    if (!err)
        err = find_drive(call, args->device, args->id, &backend);
    if (!err)
        err = unless(open_tray(backend, name, args->force.set && args->force.value), ENOSYS);
    if (!err)
        err = remove_medium(backend, name);
    if (!err)
        err = insert_medium(backend, node);
    if (node)
        node_unref(node);
    settle(call, backend, true, err);
}

static struct err *change_medium(struct qmp_call *call,
                                 const struct qapi_blockdev_change_medium_args *args)
{
    CLEANUP(json_free) struct json *options = NULL;
    struct backend *backend;
    bool read_only;

    TRY(find_drive(call, args->device, args->id, &backend));
    read_only = backend->root ? backend->root->node->read_only : backend->read_only;
    if (args->read_only_mode.set &&
        args->read_only_mode.value != QAPI_BLOCKDEV_CHANGE_READ_ONLY_MODE_RETAIN)
        read_only = args->read_only_mode.value == QAPI_BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_ONLY;
    TRY(node_options_from_filename(args->filename, args->format, &options));
    json_object_set_bool(options, "read-only", read_only);
    node_open(call->world->graph, options, 0, opened, call);
    return NULL;
}

static void change_medium_handler(struct qmp_call *call,
                                  const struct qapi_blockdev_change_medium_args *args)
{
    struct err *err = change_medium(call, args);

    if (err)
        qmp_reply(call, err);
}

const struct qmp_command_set media_commands = {
    .commands = {
        QMP_COMMAND(eject, eject),
        QMP_COMMAND(blockdev_open_tray, open_tray_handler),
        QMP_COMMAND(blockdev_close_tray, close_tray_handler),
        QMP_COMMAND(blockdev_remove_medium, remove_medium_handler),
        QMP_COMMAND(blockdev_insert_medium, insert_medium_handler),
        QMP_COMMAND(blockdev_change_medium, change_medium_handler),
        QMP_COMMAND_END,
    },
    .events = { &qmp_event_device_tray_moved, &qmp_event_block_io_error, NULL },
};
