#include "emu/qmp/handlers/object.h"

#include "emu/base/attrs.h"
#include "emu/object/object.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_qom.h" // Generated.
#include "emu/storage/node.h"

static void object_add_handler(struct qmp_call *call, const struct qapi_object_options *args)
{
    CLEANUP(json_free) struct json *options = qapi_encode_object_options(args);

    qmp_reply(call, objects_add(graph_objects(call->world->graph), options));
}

static void object_del_handler(struct qmp_call *call, const struct qapi_object_del_args *args)
{
    qmp_reply(call, objects_del(graph_objects(call->world->graph), args->id));
}

const struct qmp_command_set object_commands = {
    .commands = {
        QMP_COMMAND(object_add, object_add_handler),
        QMP_COMMAND(object_del, object_del_handler),
        QMP_COMMAND_END,
    },
};
