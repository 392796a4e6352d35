/* human-monitor-command, help, and the list of tables. */
#include "emu/qmp/handlers/hmp.h"

#include "emu/base/alloc.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_misc.h" // Generated.
#include "emu/qmp/server.h"

void hmp_pass(struct hmp_call *call, const char *command)
{
    hmp_qmp(call, command, hmp_args(call), NULL);
}

/* ---- help ---- */

static void print_command(void *arg, const struct hmp_command *command)
{
    struct hmp_call *call = arg;
    const char *wanted = hmp_word(call, "name");

    if (!wanted || str_eq(command->name, wanted))
        hmp_print(call, "%s %s -- %s\n", command->name, command->params, command->help);
}

static void print_topic(void *arg, const struct hmp_command *command)
{
    struct hmp_call *call = arg;

    hmp_print(call, "info %s %s -- %s\n", command->name, command->params, command->help);
}

static void help(struct hmp_call *call)
{
    const struct hmp_config *config = hmp_config(call->hmp);
    const char *wanted = hmp_word(call, "name");

    if (!str_eq(wanted, "info"))
        hmp_for_each(config->commands, print_command, call);
    if (!wanted || str_eq(wanted, "info"))
        hmp_for_each(config->info, print_topic, call);
    hmp_end(call);
}

static const struct hmp_command own_commands[] = {
    { "help|?", "name:s?", "[cmd]", "show the help", help },
    { 0 },
};

static const struct hmp_command *const commands[] = { own_commands, hmp_block_commands,
                                                      hmp_machine_commands, NULL };
static const struct hmp_command *const topics[] = { hmp_block_info, hmp_machine_info, NULL };

const struct hmp_config hmp_machine_config = { .commands = commands, .info = topics };

/* ---- human-monitor-command ---- */

static void done(void *arg, const char *text)
{
    struct qmp_call *call = arg;
    struct str out = { 0 };

    for (; *text; text++) {
        if (*text == '\n')
            str_addc(&out, '\r');
        str_addc(&out, *text);
    }
    qmp_reply_json(call, json_str(str_cstr(&out)));
    str_fini(&out);
}

static void human_monitor_command(struct qmp_call *call,
                                  const struct qapi_human_monitor_command_args *args)
{
    if (args->cpu_index.set) {
        qmp_reply(call, err_new("Parameter 'cpu-index' expects a CPU number"));
        return;
    }
    hmp_run(qmp_server_hmp(call->world->server), args->command_line, done, call);
}

const struct qmp_command_set hmp_commands = {
    .commands = { QMP_COMMAND(human_monitor_command, human_monitor_command), QMP_COMMAND_END },
};
