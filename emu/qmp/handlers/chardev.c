/* Character devices over QMP. */
#include "emu/qmp/handlers/chardev.h"

#include "emu/base/alloc.h"
#include "emu/base/err.h"
#include "emu/chardev/chardev.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_char.h" // Generated.

static void added(void *arg, struct err *err, struct chardev *chr)
{
    struct qmp_call *call = arg;
    const struct qapi_chardev_add_args *args = call->args;

    (void)chr;
    qmp_reply(call, err_prefix(err, "Failed to add chardev '%s': ", args->id));
}

static void chardev_add_handler(struct qmp_call *call, const struct qapi_chardev_add_args *args)
{
    if (chardev_exists(call->world->chardevs, args->id))
        qmp_reply(call, err_new("Chardev with id '%s' already exists", args->id));
    else
        chardev_add(call->world->chardevs, args->id, args->backend, added, call);
}

static void chardev_remove_handler(struct qmp_call *call,
                                   const struct qapi_chardev_remove_args *args)
{
    qmp_reply(call, chardev_remove(call->world->chardevs, args->id));
}

static void query_chardev(struct qmp_call *call)
{
    struct qapi_chardev_info_list list = { 0 };

    chardevs_query(call->world->chardevs, &list);
    qmp_reply_query_chardev(call, &list);
    qapi_chardev_info_list_fini(&list);
}

static void query_chardev_backends(struct qmp_call *call)
{
    struct qapi_chardev_backend_info_list list = { 0 };

    for (int i = 0; i < QAPI_CHARDEV_BACKEND_KIND_COUNT; i++)
        qapi_chardev_backend_info_list_add(&list)->name =
            xstrdup(qapi_chardev_backend_kind_name((enum qapi_chardev_backend_kind)i));
    qmp_reply_query_chardev_backends(call, &list);
    qapi_chardev_backend_info_list_fini(&list);
}

const struct qmp_command_set chardev_commands = {
    .commands = {
        QMP_COMMAND(chardev_add, chardev_add_handler),
        QMP_COMMAND(chardev_remove, chardev_remove_handler),
        QMP_COMMAND(query_chardev, query_chardev),
        QMP_COMMAND(query_chardev_backends, query_chardev_backends),
        QMP_COMMAND_END,
    },
};
