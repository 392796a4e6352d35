/* See machine.h. */
#include "emu/machine/machine.h"

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/machine/bus/isa.h"

static void device_deleted(struct board *board, const char *id, const char *path)
{
    struct machine *machine = container_of(board, struct machine, board);

    notify_all(&machine->on_deleted, &(struct machine_deleted){ id, path });
}

struct machine *machine_new(struct reactor *reactor, const struct machine_class *class)
{
    struct machine *machine = NEW(struct machine);

    machine->class = class;
    runstate_init(&machine->run);
    notifier_list_init(&machine->on_event);
    notifier_list_init(&machine->on_deleted);
    board_init(&machine->board, reactor);
    (void)bus_new(&machine->board, &system_bus_type, NULL, "main-system-bus");
    machine->board.deleted = device_deleted;
    return machine;
}

void machine_free(struct machine *machine)
{
    if (!machine)
        return;
    board_fini(&machine->board);
    xfree(machine->name);
    xfree(machine);
}

struct err *machine_build(struct machine *machine)
{
    return machine->class->build ? machine->class->build(machine) : NULL;
}

void machine_ready(struct machine *machine) { machine->board.ready = true; }

void machine_stop(struct machine *machine, enum qapi_run_state why)
{
    if (runstate_is_running(&machine->run))
        runstate_enter(&machine->run, why);
}

void machine_start(struct machine *machine)
{
    if (!runstate_is_running(&machine->run))
        runstate_enter(&machine->run, QAPI_RUN_STATE_RUNNING);
}

void machine_reset(struct machine *machine, enum qapi_shutdown_cause cause)
{
    struct machine_event event = { .kind = MACHINE_RESET, .cause = cause };

    list_for_each_safe(dev, &machine->board.devices, struct device, board_link) {
        if (dev->unplugging)
            device_unplug(dev);
    }
    list_for_each(bus, &machine->board.buses, struct bus, link) {
        list_for_each(dev, &bus->devices, struct device, link)
            device_reset_tree(dev);
    }
    event.guest =
        cause >= QAPI_SHUTDOWN_CAUSE_GUEST_SHUTDOWN && cause <= QAPI_SHUTDOWN_CAUSE_GUEST_PANIC;
    if (cause != QAPI_SHUTDOWN_CAUSE_NONE)
        notify_all(&machine->on_event, &event);
}

void machine_powerdown(struct machine *machine)
{
    notify_all(&machine->on_event, &(struct machine_event){ .kind = MACHINE_POWERDOWN });
}
