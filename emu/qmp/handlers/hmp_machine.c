/* Commands for people about the machine as a whole. */
#include <inttypes.h>

#include "emu/base/alloc.h"
#include "emu/machine/bus/board.h"
#include "emu/machine/machine.h"
#include "emu/qmp/handlers/hmp.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/version.h"

static void quit(struct hmp_call *call)
{
    struct world *world = call->world;

    hmp_set_ending(call->hmp);
    hmp_end(call);
    world->quit(world, NULL, NULL);
}

static void stop(struct hmp_call *call) { hmp_pass(call, "stop"); }
static void cont(struct hmp_call *call) { hmp_pass(call, "cont"); }
static void system_reset(struct hmp_call *call) { hmp_pass(call, "system_reset"); }
static void system_powerdown(struct hmp_call *call) { hmp_pass(call, "system_powerdown"); }
static void device_del(struct hmp_call *call) { hmp_pass(call, "device_del"); }

static void device_added(void *arg, struct err *err) { hmp_end_err(arg, err); }

static void device_add(struct hmp_call *call)
{
    struct json *options = NULL;
    struct err *err = device_options_parse(hmp_word(call, "device"), &options);

    if (err)
        hmp_end_err(call, err);
    else
        machine_add_device(call->world->machine, options, device_added, call);
    json_free(options);
}

const struct hmp_command hmp_machine_commands[] = {
    { "quit|q", "", "", "quit the emulator", quit },
    { "stop|s", "", "", "stop emulation", stop },
    { "cont|c", "", "", "resume emulation", cont },
    { "system_reset", "", "", "reset the system", system_reset },
    { "system_powerdown", "", "", "send system power down event", system_powerdown },
    { "device_add", "device:S", "driver[,prop=value][,...]",
      "add device, like -device on the command line", device_add },
    { "device_del", "id:s", "device", "remove device", device_del },
    { 0 },
};

/* ---- info ---- */

static void info_status(struct hmp_call *call)
{
    const struct runstate *run = &call->world->machine->run;

    hmp_print(call, "VM status: %s", runstate_is_running(run) ? "running" : "paused");
    if (!runstate_is_running(run) && run->state != QAPI_RUN_STATE_PAUSED)
        hmp_print(call, " (%s)", runstate_name(run));
    hmp_print(call, "\n");
    hmp_end(call);
}

static void info_version(struct hmp_call *call)
{
    hmp_print(call, "%d.%d.%d\n", QMP_VERSION_MAJOR, QMP_VERSION_MINOR, QMP_VERSION_MICRO);
    hmp_end(call);
}

static void info_name(struct hmp_call *call)
{
    if (call->world->machine->name)
        hmp_print(call, "%s\n", call->world->machine->name);
    hmp_end(call);
}

static void uuid_known(struct hmp_call *call, struct json *ret)
{
    hmp_print(call, "%s\n", json_object_get_str(ret, "UUID"));
    hmp_end(call);
}

static void info_uuid(struct hmp_call *call) { hmp_qmp(call, "query-uuid", NULL, uuid_known); }

static void info_kvm(struct hmp_call *call)
{
    hmp_print(call, "kvm support: not compiled\n");
    hmp_end(call);
}

static void chardevs_known(struct hmp_call *call, struct json *ret)
{
    for (size_t i = 0; i < json_array_len(ret); i++) {
        const struct json *chr = json_array_get(ret, i);

        hmp_print(call, "%s: filename=%s\n", json_object_get_str(chr, "label"),
                  json_object_get_str(chr, "filename"));
    }
    hmp_end(call);
}

static void info_chardev(struct hmp_call *call)
{
    hmp_qmp(call, "query-chardev", NULL, chardevs_known);
}

/* ---- info qtree ---- */

static void print_bus(struct hmp_call *call, struct bus *bus, int indent);

static void print_device(struct hmp_call *call, struct device *dev, int indent)
{
    struct prop_ref ref;

    hmp_print(call, "%*sdev: %s, id \"%s\"\n", indent, "", dev->class->name,
              dev->id ? dev->id : "");
    indent += 2;
    for (size_t i = 0; device_prop_at(dev, i, &ref); i++) {
        if (ref.prop->hidden)
            continue;
        hmp_print(call, "%*s%s = ", indent, "", ref.prop->name);
        device_print_prop(&ref, &call->out);
        hmp_print(call, "\n");
    }
    if (dev->bus && dev->bus->type->print)
        dev->bus->type->print(dev, indent, &call->out);
    list_for_each(bus, &dev->buses, struct bus, link)
        print_bus(call, bus, indent);
}

static void print_bus(struct hmp_call *call, struct bus *bus, int indent)
{
    hmp_print(call, "%*sbus: %s\n", indent, "", bus->name);
    indent += 2;
    hmp_print(call, "%*stype %s\n", indent, "", bus->type->qom ? bus->type->qom : bus->type->name);
    list_for_each_reverse(dev, &bus->devices, struct device, link)
        print_device(call, dev, indent);
}

static void info_qtree(struct hmp_call *call)
{
    list_for_each(bus, &call->world->machine->board.buses, struct bus, link)
        print_bus(call, bus, 0);
    hmp_end(call);
}

const struct hmp_command hmp_machine_info[] = {
    { "version", "", "", "show the version of the emulator", info_version },
    { "status", "", "", "show the current VM status (running|paused)", info_status },
    { "name", "", "", "show the current VM name", info_name },
    { "uuid", "", "", "show the current VM UUID", info_uuid },
    { "kvm", "", "", "show KVM information", info_kvm },
    { "chardev", "", "", "show the character devices", info_chardev },
    { "qtree", "", "", "show device tree", info_qtree },
    { 0 },
};
