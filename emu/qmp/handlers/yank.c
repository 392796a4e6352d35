/* yank and query-yank. Both may run on the monitor thread: they touch call->world->yank only. */
#include "emu/qmp/handlers/yank.h"

#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_yank.h" // Generated.
#include "emu/yank/yank.h"

static void yank_handler(struct qmp_call *call, const struct qapi_yank_args *args)
{
    qmp_reply(call, yank_run(call->world->yank, &args->instances));
}

static void query_yank(struct qmp_call *call)
{
    struct qapi_yank_instance_list list = { 0 };

    yank_query(call->world->yank, &list);
    qmp_reply_query_yank(call, &list);
    qapi_yank_instance_list_fini(&list);
}

const struct qmp_command_set yank_commands = {
    .commands = {
        QMP_COMMAND(yank, yank_handler),
        QMP_COMMAND(query_yank, query_yank),
        QMP_COMMAND_END,
    },
};
