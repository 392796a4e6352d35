/* See machine_query.h. */
#include "emu/qmp/handlers/machine_query.h"

#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/machine/machine.h"
#include "emu/object/iothread.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_machine.h" // Generated.
#include "emu/qmp/qmp_misc.h"    // Generated.
#include "emu/storage/node.h"

static char *copy(const char *text) { return text ? xstrdup(text) : NULL; }

static void query_machines(struct qmp_call *call)
{
    struct qapi_machine_info_list list = { 0 };

    for (size_t i = 0; all_machine_classes[i]; i++) {
        const struct machine_class *class = all_machine_classes[i];
        struct qapi_machine_info *info = qapi_machine_info_list_add(&list);

        info->name = xstrdup(class->name);
        info->alias = copy(class->alias);
        info->is_default.set = info->is_default.value = class->is_default;
        info->cpu_max = class->cpus_max;
        info->default_ram_id = copy(class->default_ram_id);
        info->acpi = class->acpi;
    }
    qmp_reply_query_machines(call, &list);
    qapi_machine_info_list_fini(&list);
}

static void query_uuid(struct qmp_call *call)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(&call->world->machine->uuid, text);
    qmp_reply_query_uuid(call, &(struct qapi_uuid_info){ .UUID = text });
}

static void query_name(struct qmp_call *call)
{
    qmp_reply_query_name(call, &(struct qapi_name_info){ .name = call->world->machine->name });
}

static void query_target(struct qmp_call *call)
{
    qmp_reply_query_target(call, &(struct qapi_target_info){ .arch = QAPI_SYS_EMU_TARGET_X86_64 });
}

static void query_kvm(struct qmp_call *call)
{
    qmp_reply_query_kvm(call, &(struct qapi_kvm_info){ 0 });
}

/* The work of all of them is done by the main reactor's thread, which runs this. */
static void query_iothreads(struct qmp_call *call)
{
    struct qapi_io_thread_info_list list = { 0 };

    list_for_each(object, objects_list(graph_objects(call->world->graph)), struct object, link) {
        struct iothread *iothread = iothread_find(object->registry, object->id);
        struct qapi_io_thread_info *info;

        if (!iothread)
            continue;
        info = qapi_io_thread_info_list_add(&list);
        info->id = xstrdup(object->id);
        info->thread_id = gettid();
        info->poll_max_ns = iothread->poll_max_ns;
        info->poll_grow = iothread->poll_grow;
        info->poll_shrink = iothread->poll_shrink;
        info->aio_max_batch = iothread->aio_max_batch;
    }
    qmp_reply_query_iothreads(call, &list);
    qapi_io_thread_info_list_fini(&list);
}

const struct qmp_command_set machine_query_commands = {
    .commands = {
        QMP_COMMAND(query_machines, query_machines),
        QMP_COMMAND(query_uuid, query_uuid),
        QMP_COMMAND(query_name, query_name),
        QMP_COMMAND(query_target, query_target),
        QMP_COMMAND(query_kvm, query_kvm),
        QMP_COMMAND(query_iothreads, query_iothreads),
        QMP_COMMAND_END,
    },
};
