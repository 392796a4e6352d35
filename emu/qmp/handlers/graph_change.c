/* Commands that change the graph of nodes. */

#include "emu/qmp/handlers/graph_change.h"

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/jobs/block/chain.h"
#include "emu/object/iothread.h"
#include "emu/qmp/handlers/graph_picture.h"
#include "emu/qmp/handlers/transaction.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_block_chain.h" // Generated.
#include "emu/qmp/qmp_block_core.h"  // Generated.
#include "emu/storage/backend.h"
#include "emu/storage/driver.h"
#include "emu/storage/reopen.h"
#include "emu/storage/snapshot.h"
#include "emu/storage/write_threshold.h"

static void answer(void *arg, struct err *err) { qmp_reply(arg, err); }

/* ---- Transactions of one action. What args points to is the call's. ---- */

static void blockdev_snapshot_handler(struct qmp_call *call,
                                      const struct qapi_blockdev_snapshot *args)
{
    transaction_single(call, &(struct qapi_transaction_action){
                                 .type = QAPI_TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT,
                                 .u.blockdev_snapshot.data = (void *)(uintptr_t)args });
}

static void blockdev_snapshot_sync_handler(struct qmp_call *call,
                                           const struct qapi_blockdev_snapshot_sync *args)
{
    transaction_single(call, &(struct qapi_transaction_action){
                                 .type = QAPI_TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC,
                                 .u.blockdev_snapshot_sync.data = (void *)(uintptr_t)args });
}

static void blockdev_snapshot_internal_sync_handler(
    struct qmp_call *call, const struct qapi_blockdev_snapshot_internal *args)
{
    transaction_single(call,
                       &(struct qapi_transaction_action){
                           .type = QAPI_TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC,
                           .u.blockdev_snapshot_internal_sync.data = (void *)(uintptr_t)args });
}

static void drive_backup_handler(struct qmp_call *call, const struct qapi_drive_backup *args)
{
    transaction_single(
        call, &(struct qapi_transaction_action){ .type = QAPI_TRANSACTION_ACTION_KIND_DRIVE_BACKUP,
                                                 .u.drive_backup.data = (void *)(uintptr_t)args });
}

/* ---- Deleting a snapshot in an image ---- */

struct snapshot_deletion {
    struct qmp_call *call;
    struct node *node; /* Reference. */
    struct drain drain;
    struct snapshot_info info;
};

static void deleted(void *arg, struct err *err)
{
    struct snapshot_deletion *deletion = arg;
    const struct snapshot_info *info = &deletion->info;

    drain_end(&deletion->drain);
    if (err) {
        qmp_reply(deletion->call, err);
    } else {
        struct qapi_snapshot_info facts = {
            .id = deletion->info.id,
            .name = deletion->info.name,
            .vm_state_size = (int64_t)info->vm_state_size,
            .date_sec = info->date_sec,
            .date_nsec = info->date_nsec,
            .vm_clock_sec = (int64_t)(info->vm_clock_nsec / 1000000000),
            .vm_clock_nsec = (int64_t)(info->vm_clock_nsec % 1000000000),
            .icount = { .set = info->icount != UINT64_MAX, .value = (int64_t)info->icount },
        };

        qmp_reply_blockdev_snapshot_delete_internal_sync(deletion->call, &facts);
    }
    node_unref(deletion->node);
    xfree(deletion);
}

static void deletion_drained(struct drain *drain)
{
    struct snapshot_deletion *deletion = container_of(drain, struct snapshot_deletion, drain);

    node_snapshot_remove(deletion->node, deletion->info.id, deleted, deletion);
}

static struct err *find_snapshot(
    struct graph *graph, const struct qapi_blockdev_snapshot_delete_internal_sync_args *args,
    struct node **node, struct snapshot_info *out)
{
    const struct snapshot_info *info;

    TRY(graph_lookup_disk(graph, args->device, node));
    if (!args->id && !args->name)
        return err_new("Name or id must be provided");
    info = node_snapshot_find(*node, args->id, args->name);
    if (!info)
        return err_new("Snapshot with id '%s' and name '%s' does not exist on device '%s'",
                       args->id ? args->id : "null", args->name ? args->name : "null",
                       args->device);
    *out = *info;
    return NULL;
}

static void blockdev_snapshot_delete_internal_sync_handler(
    struct qmp_call *call, const struct qapi_blockdev_snapshot_delete_internal_sync_args *args)
{
    struct snapshot_info info;
    struct snapshot_deletion *deletion;
    struct node *node;
    struct err *err = find_snapshot(call->world->graph, args, &node, &info);

    if (err) {
        qmp_reply(call, err);
        return;
    }
    deletion = NEW(struct snapshot_deletion);
    deletion->call = call;
    deletion->node = node_ref(node);
    deletion->info = info;
    drain_begin(&deletion->drain, node, deletion_drained);
}

/* ---- The name of a backing file ---- */

struct renaming {
    struct qmp_call *call;
    struct chain_change change;
};

static void renamed(void *arg, struct err *err)
{
    struct renaming *renaming = arg;

    qmp_reply(renaming->call, err);
    xfree(renaming);
}

static struct err *find_image(struct graph *graph, const struct qapi_change_backing_file_args *args,
                              struct node **out)
{
    struct node *device;

    TRY(graph_lookup_disk(graph, args->device, &device));
    TRY(graph_lookup_either(graph, NULL, args->image_node_name, out));
    if (!(*out)->backing)
        return err_new("not allowing backing file change on an image without a backing file");
    if (!chain_contains(device, *out))
        return err_new("'%s' and image file are not in the same chain", args->device);
    return NULL;
}

static void change_backing_file_handler(struct qmp_call *call,
                                        const struct qapi_change_backing_file_args *args)
{
    struct node *node;
    struct err *err = find_image(call->world->graph, args, &node);
    struct renaming *renaming;

    if (err) {
        qmp_reply(call, err);
        return;
    }
    renaming = NEW(struct renaming);
    renaming->call = call;
    chain_change_start(&renaming->change,
                       &(struct chain_change_options){
                           .node = node, .base = node->backing->node, .name = args->backing_file },
                       renamed, renaming);
}

/* ---- Reopening ---- */

static void blockdev_reopen_handler(struct qmp_call *call,
                                    const struct qapi_blockdev_reopen_args *args)
{
    struct reopen *reopen = reopen_new(call->world->graph);
    struct err *err = NULL;

    for (size_t i = 0; i < args->options.len && !err; i++) {
        struct json *options = qapi_encode_blockdev_options(&args->options.items[i]);

        err = reopen_add(reopen, options);
        json_free(options);
    }
    if (err) {
        reopen_free(reopen);
        qmp_reply(call, err);
        return;
    }
    reopen_run(reopen, answer, call);
}

/* ---- Watermarks, and children by name ---- */

static void block_set_write_threshold_handler(
    struct qmp_call *call, const struct qapi_block_set_write_threshold_args *args)
{
    struct node *node = graph_find(call->world->graph, args->node_name);

    if (node)
        node_set_write_threshold(node, args->write_threshold);
    qmp_reply(call, node ? NULL : err_new("Device '%s' not found", args->node_name));
}

static struct err *change_child(struct graph *graph, const struct qapi_x_blockdev_change_args *args)
{
    struct node *parent, *node = args->node ? graph_find(graph, args->node) : NULL;
    struct edge *child = NULL;

    TRY(graph_lookup_disk(graph, args->parent, &parent));
    if (!args->child && !args->node)
        return err_new("Either child or node must be specified");
    if (args->child && args->node)
        return err_new("The parameters child and node are in conflict");
    if (args->node) {
        if (!node)
            return err_new("Node '%s' not found", args->node);
        if (!parent->driver->add_child)
            return err_new("The node %s does not support adding a child", parent->name);
        return parent->driver->add_child(parent, node);
    }
    list_for_each(edge, &parent->children, struct edge, child_link) {
        if (str_eq(edge->name, args->child))
            child = edge;
    }
    if (!child)
        return err_new("Node '%s' does not have child '%s'", parent->name, args->child);
    if (!parent->driver->remove_child)
        return err_new("The node %s does not support removing a child", parent->name);
    return parent->driver->remove_child(parent, child);
}

static void x_blockdev_change_handler(struct qmp_call *call,
                                      const struct qapi_x_blockdev_change_args *args)
{
    qmp_reply(call, change_child(call->world->graph, args));
}

static bool has_user(const struct node *node)
{
    list_for_each(edge, &node->parents, struct edge, parent_link)
        if (!edge->parent)
            return true;
    return false;
}

/* A device keeps the thread that it was made with. */
static bool has_device_elsewhere(struct graph *graph, const struct node *node, const void *iothread)
{
    list_for_each(backend, graph_backends(graph), struct backend, link)
        if (backend->root && backend->root->node == node && backend->ops &&
            backend->iothread != iothread)
            return true;
    return false;
}

/* What may be chosen; the nodes' requests run in the one loop that all I/O threads share. */
static struct err *set_iothread(struct graph *graph,
                                const struct qapi_x_blockdev_set_iothread_args *args)
{
    const char *id = args->iothread->kind == QAPI_STR_OR_NULL_S ? args->iothread->u.s : NULL;
    struct node *node = graph_find(graph, args->node_name);
    struct iothread *iothread = NULL;

    if (!node)
        return err_new("Failed to find node with node-name='%s'", args->node_name);
    if (!(args->force.set && args->force.value) && has_user(node))
        return err_new("Node %s is associated with a BlockBackend and could be in use (use "
                       "force=true to override this check)",
                       node->name);
    if (id && !(iothread = iothread_find(graph_objects(graph), id)))
        return err_new("Cannot find iothread %s", id);
    if (has_device_elsewhere(graph, node, iothread ? &iothread->base : NULL))
        return err_new("Cannot change iothread of active block backend");
    return NULL;
}

static void x_blockdev_set_iothread_handler(struct qmp_call *call,
                                            const struct qapi_x_blockdev_set_iothread_args *args)
{
    qmp_reply(call, set_iothread(call->world->graph, args));
}

static void x_debug_query_block_graph_handler(struct qmp_call *call)
{
    qmp_reply_json(call, graph_picture(call->world->graph));
}

const struct qmp_command_set graph_change_commands = {
    .commands = { QMP_COMMAND(blockdev_snapshot, blockdev_snapshot_handler),
                  QMP_COMMAND(blockdev_snapshot_sync, blockdev_snapshot_sync_handler),
                  QMP_COMMAND(blockdev_snapshot_internal_sync,
                              blockdev_snapshot_internal_sync_handler),
                  QMP_COMMAND(blockdev_snapshot_delete_internal_sync,
                              blockdev_snapshot_delete_internal_sync_handler),
                  QMP_COMMAND(change_backing_file, change_backing_file_handler),
                  QMP_COMMAND(blockdev_reopen, blockdev_reopen_handler),
                  QMP_COMMAND(block_set_write_threshold, block_set_write_threshold_handler),
                  QMP_COMMAND(x_blockdev_change, x_blockdev_change_handler),
                  QMP_COMMAND(x_blockdev_set_iothread, x_blockdev_set_iothread_handler),
                  QMP_COMMAND(x_debug_query_block_graph, x_debug_query_block_graph_handler),
                  QMP_COMMAND(drive_backup, drive_backup_handler), QMP_COMMAND_END },
    .events = { NULL },
};
