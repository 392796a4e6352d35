/* See fd.h. */
#include "emu/qmp/handlers/fd.h"

#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_misc.h" // Generated.
#include "emu/qmp/session.h"
#include "emu/storage/fdset.h"

static struct err *take_fd(struct qmp_call *call, int *fd)
{
    *fd = qmp_session_take_fd(call->session);
    return *fd >= 0 ? NULL : err_new("No file descriptor supplied via SCM_RIGHTS");
}

/* ---- Descriptors with names ---- */

static struct err *get(struct qmp_call *call, const char *name)
{
    int fd;

    TRY(take_fd(call, &fd));
    if (*name >= '0' && *name <= '9') {
        close(fd);
        return err_new("Parameter 'fdname' expects a name not starting with a digit");
    }
    fd_name_add(call->world->graph, name, fd);
    return NULL;
}

static void getfd_handler(struct qmp_call *call, const struct qapi_getfd_args *args)
{
    qmp_reply(call, get(call, args->fdname));
}

static void closefd_handler(struct qmp_call *call, const struct qapi_closefd_args *args)
{
    int fd = fd_name_take(call->world->graph, args->fdname);

    if (fd >= 0)
        close(fd);
    qmp_reply(call, fd >= 0 ? NULL : err_new("File descriptor named '%s' not found", args->fdname));
}

/* ---- Sets ---- */

static void add_fd(struct qmp_call *call, const struct qapi_add_fd_args *args)
{
    struct qapi_addfd_info info = { .fdset_id = args->fdset_id.set ? args->fdset_id.value : -1 };
    int fd;
    struct err *err = take_fd(call, &fd);

    if (!err && args->fdset_id.set && args->fdset_id.value < 0) {
        close(fd);
        err = err_new("Parameter 'fdset-id' expects a non-negative value");
    }
    if (err) {
        qmp_reply(call, err);
        return;
    }
    info.fd = fdset_add(call->world->graph, &info.fdset_id, fd, args->opaque)->fd;
    qmp_reply_add_fd(call, &info);
}

static void remove_fd(struct qmp_call *call, const struct qapi_remove_fd_args *args)
{
    qmp_reply(call, args->fd.set && args->fd.value < 0
                        ? err_new("File descriptor named 'fdset-id:%lld, fd:%lld' not found",
                                  (long long)args->fdset_id, (long long)args->fd.value)
                        : fdset_remove(call->world->graph, args->fdset_id,
                                       args->fd.set ? args->fd.value : -1));
}

static void query_fdsets(struct qmp_call *call)
{
    struct qapi_fdset_info_list list = { 0 };

    list_for_each(set, graph_fdsets(call->world->graph), struct fdset, link) {
        struct qapi_fdset_info *info = qapi_fdset_info_list_add(&list);

        info->fdset_id = set->id;
        list_for_each(member, &set->members, struct fdset_member, link) {
            struct qapi_fdset_fd_info *fd = qapi_fdset_fd_info_list_add(&info->fds);

            fd->fd = member->fd;
            fd->opaque = member->opaque ? xstrdup(member->opaque) : NULL;
        }
    }
    qmp_reply_query_fdsets(call, &list);
    qapi_fdset_info_list_fini(&list);
}

const struct qmp_command_set fd_commands = {
    .commands = {
        QMP_COMMAND(getfd, getfd_handler),
        QMP_COMMAND(closefd, closefd_handler),
        QMP_COMMAND(add_fd, add_fd),
        QMP_COMMAND(remove_fd, remove_fd),
        QMP_COMMAND(query_fdsets, query_fdsets),
        QMP_COMMAND_END,
    },
};
