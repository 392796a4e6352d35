/* nbd-server-start, -stop, -add, -remove. */
#include "emu/qmp/handlers/nbd.h"

#include "emu/chardev/sockaddr.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_block_export.h" // Generated.
#include "emu/storage/backend.h"

/* The two forms of the options have the same members beside the address. */
#define START_OPTIONS(args)                                                                        \
    {                                                                                              \
        .max_connections = (args)->max_connections.set ? (args)->max_connections.value             \
                                                       : NBD_MAX_CONNECTIONS_DEFAULT,              \
        .handshake_max_seconds = (args)->handshake_max_seconds.set                                 \
                                     ? (args)->handshake_max_seconds.value                         \
                                     : NBD_HANDSHAKE_SECONDS_DEFAULT,                              \
        .tls_creds = (args)->tls_creds, .tls_authz = (args)->tls_authz,                            \
    }

struct err *nbd_server_start_options(struct exports *exports,
                                     const struct qapi_nbd_server_options *options)
{
    struct nbd_server_options server = START_OPTIONS(options);

    TRY(sockaddr_to_addr(options->addr, &server.addr));
    return exports_nbd_start(exports, &server);
}

static void start_handler(struct qmp_call *call, const struct qapi_nbd_server_options_legacy *args)
{
    struct nbd_server_options server = START_OPTIONS(args);
    struct err *err = sockaddr_legacy_to_addr(args->addr, &server.addr);

    if (!err)
        err = exports_nbd_start(call->world->exports, &server);
    qmp_reply(call, err);
}

static void done(void *arg, struct err *err) { qmp_reply(arg, err); }

static void stop_handler(struct qmp_call *call)
{
    struct err *err = exports_nbd_stop(call->world->exports, done, call);

    if (err)
        qmp_reply(call, err);
}

static struct err *add(struct qmp_call *call, const struct qapi_nbd_server_add_options *args)
{
    struct exports *exports = call->world->exports;
    const char *name = args->name ? args->name : args->device;
    struct export_options options = {
        .id = name,
        .name = name,
        .description = args->description,
        .bitmaps = { { .name = args->bitmap } },
        .bitmap_count = args->bitmap ? 1 : 0,
    };
    struct node *node;

    if (!exports->server)
        return err_new("NBD server not running");
    TRY(graph_lookup_disk(exports->graph, args->device, &node));
    options.node_name = node->name;
    /* This command makes the export read-only where block-export-add refuses. */
    options.writable = args->writable.set && args->writable.value && !node->read_only;
    return export_add(exports, &options, done, call);
}

static void add_handler(struct qmp_call *call, const struct qapi_nbd_server_add_options *args)
{
    struct err *err = add(call, args);

    if (err)
        qmp_reply(call, err);
}

static void remove_handler(struct qmp_call *call, const struct qapi_nbd_server_remove_args *args)
{
    bool hard = args->mode.set && args->mode.value == QAPI_BLOCK_EXPORT_REMOVE_MODE_HARD;

    struct err *err = export_del(call->world->exports, args->name,
                                 hard ? EXPORT_DEL_HARD : EXPORT_DEL_SAFE, done, call);

    if (err)
        qmp_reply(call, err);
}

const struct qmp_command_set nbd_commands = {
    .commands = {
        QMP_COMMAND(nbd_server_start, start_handler),
        QMP_COMMAND(nbd_server_stop, stop_handler),
        QMP_COMMAND(nbd_server_add, add_handler),
        QMP_COMMAND(nbd_server_remove, remove_handler),
        QMP_COMMAND_END,
    },
};
