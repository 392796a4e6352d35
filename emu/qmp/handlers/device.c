/* See device.h. */
#include "emu/qmp/handlers/device.h"

#include "emu/base/alloc.h"
#include "emu/machine/machine.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_qdev.h" // Generated.

static void added(void *arg, struct err *err) { qmp_reply(arg, err); }

static void device_add(struct qmp_call *call, const struct json *args)
{
    machine_add_device(call->world->machine, args, added, call);
}

static void device_del(struct qmp_call *call, const struct qapi_device_del_args *args)
{
    qmp_reply(call, machine_del_device(call->world->machine, args->id));
}

static void device_list_properties(struct qmp_call *call,
                                   const struct qapi_device_list_properties_args *args)
{
    const struct device_class *class = class_find(&call->world->machine->board, args->typename);
    struct qapi_object_property_info_list list = { 0 };
    const struct prop *prop;

    if (!class) {
        qmp_reply(call,
                  err_new_class(ERR_DEVICE_NOT_FOUND, "Device '%s' not found", args->typename));
        return;
    }
    for (size_t i = 0; (prop = class_prop_at(class, i)); i++) {
        struct qapi_object_property_info *info = qapi_object_property_info_list_add(&list);

        info->name = xstrdup(prop->name);
        info->type = xstrdup(prop->kind->type);
        info->description = prop->desc ? xstrdup(prop->desc) : NULL;
    }
    qmp_reply_device_list_properties(call, &list);
    qapi_object_property_info_list_fini(&list);
}

const struct qmp_command_set device_commands = {
    .commands = {
        QMP_COMMAND(device_add, device_add),
        QMP_COMMAND(device_del, device_del),
        QMP_COMMAND(device_list_properties, device_list_properties),
        QMP_COMMAND_END,
    },
};
