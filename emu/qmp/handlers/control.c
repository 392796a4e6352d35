/* qmp_capabilities, query-version, query-commands, query-qmp-schema and quit. */
#include "emu/qmp/handlers/control.h"

#include "emu/base/alloc.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_control.h"    // Generated.
#include "emu/qmp/qmp_introspect.h" // Generated.
#include "emu/qmp/server.h"
#include "emu/qmp/session.h"
#include "emu/qmp/version.h"

static void negotiate(struct qmp_call *call, const struct qapi_qmp_capabilities_args *args)
{
    bool oob = false;

    for (size_t i = 0; args->enable.set && i < args->enable.value.len; i++)
        oob |= args->enable.value.items[i] == QAPI_QMP_CAPABILITY_OOB;
    qmp_reply(call, qmp_session_negotiate(call->session, oob));
}

static void query_version(struct qmp_call *call)
{
    qmp_reply_json(call, qmp_version_json(qmp_server_package(call->server)));
}

static void query_commands(struct qmp_call *call)
{
    const struct qmp_command *const *commands;
    struct qapi_command_info_list list = { 0 };

    /* The last comes first; nobody should care, but scripts compare. */
    for (size_t i = qmp_registry_commands(qmp_server_registry(call->server), &commands); i-- > 0;)
        qapi_command_info_list_add(&list)->name = xstrdup(commands[i]->spec->name);
    qmp_reply_query_commands(call, &list);
    qapi_command_info_list_fini(&list);
}

static void query_qmp_schema(struct qmp_call *call)
{
    qmp_reply_json(call, json_ref(qmp_server_schema(call->server)));
}

static void quit_done(void *arg) { qmp_reply(arg, NULL); }

/* What ends with the program is told in events before the reply. */
static void quit(struct qmp_call *call) { call->world->quit(call->world, quit_done, call); }

const struct qmp_command_set control_commands = {
    .commands = {
        QMP_COMMAND(qmp_capabilities, negotiate),
        QMP_COMMAND(query_version, query_version),
        QMP_COMMAND(query_commands, query_commands),
        QMP_COMMAND(query_qmp_schema, query_qmp_schema),
        QMP_COMMAND(quit, quit),
        QMP_COMMAND_END,
    },
};
