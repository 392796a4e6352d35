/* query-named-block-nodes, query-block, query-blockstats. */

#include "emu/qmp/handlers/node_query.h"

#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_block_core.h" // Generated.
#include "emu/storage/query.h"

static void nodes_known(void *arg, struct json *result) { qmp_reply_json(arg, result); }

static void query_named_block_nodes_handler(struct qmp_call *call,
                                            const struct qapi_query_named_block_nodes_args *args)
{
    query_nodes(call->world->graph, args->flat.set && args->flat.value, nodes_known, call);
}

static void query_block_handler(struct qmp_call *call)
{
    query_backends(call->world->graph, nodes_known, call);
}

static void query_blockstats_handler(struct qmp_call *call,
                                     const struct qapi_query_blockstats_args *args)
{
    bool nodes = args->query_nodes.set && args->query_nodes.value;

    qmp_reply_json(call, nodes ? query_node_stats(call->world->graph)
                               : query_backend_stats(call->world->graph));
}

const struct qmp_command_set node_query_commands = {
    .commands =
        {
            QMP_COMMAND(query_named_block_nodes, query_named_block_nodes_handler),
            QMP_COMMAND(query_block, query_block_handler),
            QMP_COMMAND(query_blockstats, query_blockstats_handler),
            QMP_COMMAND_END,
        },
};
