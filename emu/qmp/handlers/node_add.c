/* blockdev-add, blockdev-del, block_resize. */

#include "emu/qmp/handlers/node_add.h"

#include "emu/base/alloc.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_block_core.h" // Generated.
#include "emu/storage/backend.h"
#include "emu/storage/node.h"

static void added(void *arg, struct node *node, struct err *err) { qmp_reply(arg, err); }

static void blockdev_add_handler(struct qmp_call *call, const struct qapi_blockdev_options *args)
{
    struct json *options = qapi_encode_blockdev_options(args);

    node_open(call->world->graph, options, NODE_OPEN_MONITOR, added, call);
    json_free(options);
}

/* Errors of writing back metadata are logged; the node is gone all the same. */
static void deleted(void *arg, struct err *err)
{
    err_ignore(err);
    qmp_reply(arg, NULL);
}

static void blockdev_del_handler(struct qmp_call *call, const struct qapi_blockdev_del_args *args)
{
    struct err *err = node_delete(call->world->graph, args->node_name, deleted, call);

    if (err)
        qmp_reply(call, err);
}

/* ---- block_resize: an edge that may resize, the locks it needs, a drain, and then the resize. ---- */

struct resize {
    struct qmp_call *call;
    struct edge *edge;
    struct drain drain;
    uint64_t size;
};

static void resize_end(struct resize *resize, struct err *err)
{
    drain_end(&resize->drain);
    edge_detach(resize->edge);
    qmp_reply(resize->call, err);
    xfree(resize);
}

static void resized(void *arg, struct err *err) { resize_end(arg, err); }

static void resize_drained(struct drain *drain)
{
    struct resize *resize = container_of(drain, struct resize, drain);

    edge_truncate(resize->edge, resize->size, true, PREALLOC_OFF, resized, resize);
}

static void resize_settled(void *arg, struct err *err)
{
    struct resize *resize = arg;

    if (err)
        resize_end(resize, err);
    else
        drain_begin(&resize->drain, resize->edge->node, resize_drained);
}

static struct err *find_device(struct graph *graph, const struct qapi_block_resize_args *args,
                               struct node **out)
{
    return graph_lookup_either(graph, args->device, args->node_name, out);
}

static void block_resize_handler(struct qmp_call *call, const struct qapi_block_resize_args *args)
{
    struct node *node;
    struct edge *edge = NULL;
    struct resize *resize;
    struct err *err = find_device(call->world->graph, args, &node);

    if (!err && args->size < 0)
        err = err_new("Parameter 'size' expects a >0 size");
    if (!err)
        err = edge_attach(node, "root", NULL, NULL, PERM_RESIZE, PERM_ALL, &edge);
    if (err) {
        qmp_reply(call, err);
        return;
    }
    resize = NEW(struct resize);
    resize->call = call;
    resize->edge = edge;
    resize->size = (uint64_t)args->size;
    edge_settle(edge, resize_settled, resize);
}

const struct qmp_command_set node_add_commands = {
    .commands =
        {
            QMP_COMMAND(blockdev_add, blockdev_add_handler),
            QMP_COMMAND(blockdev_del, blockdev_del_handler),
            QMP_COMMAND(block_resize, block_resize_handler),
            QMP_COMMAND_END,
        },
};
