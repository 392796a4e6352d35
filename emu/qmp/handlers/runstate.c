/* See runstate.h. */
#include "emu/qmp/handlers/runstate.h"

#include "emu/base/check.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_machine.h"   // Generated.
#include "emu/qmp/qmp_misc.h"      // Generated.
#include "emu/qmp/qmp_qdev.h"      // Generated.
#include "emu/qmp/qmp_run_state.h" // Generated.
#include "emu/storage/backend.h"

/* ---- Events ---- */

static void run_changed(struct notifier *notifier, void *data)
{
    struct machine_events *me = container_of(notifier, struct machine_events, run);
    const struct runstate_change *change = data;

    if (change->stops)
        qapi_event_stop(me->events);
    if (change->starts)
        qapi_event_resume(me->events);
}

static void machine_told(struct notifier *notifier, void *data)
{
    struct machine_events *me = container_of(notifier, struct machine_events, machine);
    const struct machine_event *event = data;

    switch (event->kind) {
    case MACHINE_POWERDOWN: qapi_event_powerdown(me->events); break;
    case MACHINE_RESET:
        qapi_event_reset(me->events, &(struct qapi_reset_event){ .guest = event->guest,
                                                                 .reason = event->cause });
        break;
    }
}

static void device_deleted(struct notifier *notifier, void *data)
{
    struct machine_events *me = container_of(notifier, struct machine_events, deleted);
    const struct machine_deleted *gone = data;

    qapi_event_device_deleted(
        me->events, &(struct qapi_device_deleted_event){ .device = (char *)(uintptr_t)gone->id,
                                                         .path = (char *)(uintptr_t)gone->path });
}

void machine_events_init(struct machine_events *me, struct machine *machine,
                         struct qmp_events *events)
{
    *me = (struct machine_events){ .run = { .fn = run_changed },
                                   .machine = { .fn = machine_told },
                                   .deleted = { .fn = device_deleted },
                                   .events = events };
    notifier_add(&machine->run.on_change, &me->run);
    notifier_add(&machine->on_event, &me->machine);
    notifier_add(&machine->on_deleted, &me->deleted);
}

void machine_events_fini(struct machine_events *me)
{
    notifier_remove(&me->run);
    notifier_remove(&me->machine);
    notifier_remove(&me->deleted);
}

/* ---- Commands ---- */

static void query_status(struct qmp_call *call)
{
    const struct runstate *run = &call->world->machine->run;

    qmp_reply_query_status(call, &(struct qapi_status_info){ .running = runstate_is_running(run),
                                                             .status = run->state });
}

static void stop(struct qmp_call *call)
{
    struct machine *machine = call->world->machine;

    if (runstate_is_running(&machine->run))
        machine_stop(machine, QAPI_RUN_STATE_PAUSED);
    qmp_reply(call, NULL);
}

/* What an error of a disk has left is forgotten: the guest tries again. */
static void clear_io_status(struct world *world)
{
    list_for_each(backend, graph_backends(world->graph), struct backend, link)
        backend->io_status = BACKEND_IO_OK;
}

struct err *runstate_cont(struct world *world)
{
    struct machine *machine = world->machine;

    switch (machine->run.state) {
    case QAPI_RUN_STATE_INTERNAL_ERROR:
    case QAPI_RUN_STATE_SHUTDOWN: return err_new("Resetting the Virtual Machine is required");
    case QAPI_RUN_STATE_FINISH_MIGRATE: return err_new("Migration is not finalized yet");
    default: break;
    }
    clear_io_status(world);
    machine_start(machine);
    return NULL;
}

static void cont(struct qmp_call *call) { qmp_reply(call, runstate_cont(call->world)); }

static void system_reset(struct qmp_call *call)
{
    machine_reset(call->world->machine, QAPI_SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
    qmp_reply(call, NULL);
}

static void system_powerdown(struct qmp_call *call)
{
    machine_powerdown(call->world->machine);
    qmp_reply(call, NULL);
}

const struct qmp_command_set runstate_commands = {
    .commands = {
        QMP_COMMAND(query_status, query_status),
        QMP_COMMAND(stop, stop),
        QMP_COMMAND(cont, cont),
        QMP_COMMAND(system_reset, system_reset),
        QMP_COMMAND(system_powerdown, system_powerdown),
        QMP_COMMAND_END,
    },
    .events = { &qmp_event_stop, &qmp_event_resume, &qmp_event_reset, &qmp_event_powerdown,
                &qmp_event_shutdown, &qmp_event_device_deleted, NULL },
};
