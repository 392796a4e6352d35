/* The life of a FUSE export: mounting, reading messages, unmounting. */
#include "emu/storage/export/fuse_export.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"
#include "emu/base/trace.h"

/* A deleted export waits this long for requests that the storage does not finish. */
#define DRAIN_NS (500 * NS_PER_MS)

static const uint32_t fuse_edges[FUSE_STATE_COUNT] = {
    [FUSE_WAIT] = BIT(FUSE_LOOK) | BIT(FUSE_GONE),
    [FUSE_LOOK] = BIT(FUSE_MOUNT) | BIT(FUSE_GONE),
    [FUSE_MOUNT] = BIT(FUSE_SERVE) | BIT(FUSE_DRAIN) | BIT(FUSE_GONE),
    [FUSE_SERVE] = BIT(FUSE_DRAIN),
    [FUSE_DRAIN] = BIT(FUSE_UNMOUNT),
    [FUSE_UNMOUNT] = BIT(FUSE_GONE),
};

static void enter(struct fuse_export *fuse, enum fuse_state to);
static void pump_later(struct fuse_export *fuse);

struct err *fuse_export_new(struct export *export, const struct export_fuse_options *options,
                            struct fuse_export **out)
{
    struct fuse_export *fuse;

    list_for_each(other, &export->exports->list, struct export, link) {
        if (other->fuse && !other->fuse->ending &&
            str_eq(other->fuse->mountpoint, options->mountpoint))
            return err_new("There already is a FUSE export on '%s'", options->mountpoint);
    }
    fuse = NEW(struct fuse_export);
    fuse->export = export;
    fuse->reactor = export->exports->reactor;
    fuse->mountpoint = xstrdup(options->mountpoint);
    fuse->growable = options->growable;
    fuse->allow_other_wish = options->allow_other;
    fuse->mode = export->writable ? S_IRUSR | S_IWUSR : S_IRUSR;
    fuse->uid = getuid();
    fuse->gid = getgid();
    list_init(&fuse->resizes);
    for (unsigned i = 0; i < FUSE_SLOTS; i++) {
        fuse->slots[i].fuse = fuse;
        fuse->slots[i].next = fuse->free_slots;
        fuse->free_slots = &fuse->slots[i];
    }
    *out = fuse;
    return NULL;
}

void fuse_export_free(struct fuse_export *fuse)
{
    if (!fuse)
        return;
    check(fuse->in_flight == 0 && !fuse->watch && !op_pending(&fuse->call_op));
    reactor_undefer(&fuse->pump);
    timer_disarm(&fuse->drain_timer);
    if (fuse->session)
        fuse_session_destroy(fuse->session);
    for (unsigned i = 0; i < fuse->spare_count; i++)
        free(fuse->spares[i]);
    free(fuse->message.mem);
    xfree(fuse->mountpoint);
    xfree(fuse);
}

/* ---- Mounting ---- */

static void started(struct fuse_export *fuse, struct err *err)
{
    graph_done_fn *done = fuse->started;

    fuse->started = NULL;
    done(fuse->started_arg, err);
}

/* Whether a former export has to be taken off the mount point first. */
static bool mountpoint_taken(struct fuse_export *fuse)
{
    list_for_each(other, &fuse->export->exports->list, struct export, link) {
        if (other == fuse->export)
            return false; /* Those that come later wait for this one. */
        if (other->fuse && other->fuse->state != FUSE_GONE &&
            str_eq(other->fuse->mountpoint, fuse->mountpoint))
            return true;
    }
    return false;
}

static struct fuse_session *try_mount(struct fuse_export *fuse, bool allow_other)
{
    char *argv[] = { (char *)"fuse", (char *)"-o",
                     (char *)(allow_other ? "default_permissions,allow_other"
                                          : "default_permissions") };
    struct fuse_args args = FUSE_ARGS_INIT(ARRAY_LEN(argv), argv);
    struct fuse_session *session =
        fuse_session_new(&args, &fuse_operations, sizeof(fuse_operations), fuse);
    int fd;

    fuse_opt_free_args(&args);
    if (!session)
        return NULL;
    if (fuse_session_mount(session, fuse->mountpoint) != 0) {
        fuse_session_destroy(session);
        return NULL;
    }
    fd = fuse_session_fd(session);
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
        fuse_session_unmount(session);
        fuse_session_destroy(session);
        return NULL;
    }
    return session;
}

/* On a thread: starts a helper program when the user may not mount. */
static int64_t mount_work(void *arg)
{
    struct fuse_export *fuse = arg;

    fuse->allow_other = fuse->allow_other_wish != EXPORT_ALLOW_OTHER_OFF;
    fuse->session = try_mount(fuse, fuse->allow_other);
    if (!fuse->session && fuse->allow_other_wish == EXPORT_ALLOW_OTHER_AUTO) {
        fuse->allow_other = false;
        fuse->session = try_mount(fuse, false);
    }
    return fuse->session ? 0 : -EIO;
}

static void mounted(struct op *op)
{
    struct fuse_export *fuse = container_of(op, struct fuse_export, call_op);
    struct err *err = NULL;

    if (op->result == 0) {
        export_use(fuse->export);
        err = reactor_watch_new(fuse->reactor, fuse_session_fd(fuse->session), &fuse->watch);
        if (err)
            fuse->ending = true;
        enter(fuse, fuse->ending ? FUSE_DRAIN : FUSE_SERVE);
    } else {
        err = err_new("Failed to mount FUSE session to export");
        enter(fuse, FUSE_GONE);
    }
    started(fuse, err);
}

static struct err *look_result(struct fuse_export *fuse, int64_t result)
{
    if (fuse->ending)
        return err_new("Block export '%s' was deleted meanwhile", fuse->export->id);
    if (result < 0)
        return err_new_errno((int)result, "Failed to stat '%s'", fuse->mountpoint);
    if (!fuse->stat.is_regular)
        return err_new("'%s' is not a regular file", fuse->mountpoint);
    return NULL;
}

static void looked(struct op *op)
{
    struct fuse_export *fuse = container_of(op, struct fuse_export, call_op);
    struct err *err = look_result(fuse, op->result);

    enter(fuse, err ? FUSE_GONE : FUSE_MOUNT);
    if (err)
        started(fuse, err);
}

void fuse_export_start(struct fuse_export *fuse, graph_done_fn *done, void *arg)
{
    fuse->started = done;
    fuse->started_arg = arg;
    if (!mountpoint_taken(fuse))
        enter(fuse, FUSE_LOOK);
}

/* ---- Serving ---- */

static void readable(struct op *op)
{
    struct fuse_export *fuse = container_of(op, struct fuse_export, watch_op);

    if (fuse->state == FUSE_SERVE)
        pump_later(fuse);
    else
        fuse_export_slot_freed(fuse);
}

/* The message buffer belongs to libfuse's allocator. */
static void provide_buffer(struct fuse_export *fuse)
{
    if (!fuse->message.mem && fuse->spare_count)
        fuse->message.mem = fuse->spares[--fuse->spare_count];
}

/* Messages are read while there are slots for them, and some of them in one turn. */
static void pump(struct task *task)
{
    struct fuse_export *fuse = container_of(task, struct fuse_export, pump);

    if (fuse->state != FUSE_SERVE || op_pending(&fuse->watch_op))
        return;
    for (unsigned i = 0; i < FUSE_TURN_MESSAGES && fuse->free_slots; i++) {
        provide_buffer(fuse);
        int n = fuse_session_receive_buf(fuse->session, &fuse->message);

        if (n == -EAGAIN) {
            fuse->watch_op.done = readable;
            reactor_watch_read(fuse->watch, &fuse->watch_op);
            return;
        }
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return; /* Somebody else has unmounted it: nothing will ever come again. */
        fuse_session_process_buf(fuse->session, &fuse->message);
    }
    if (fuse->free_slots)
        pump_later(fuse);
}

static void pump_later(struct fuse_export *fuse)
{
    reactor_defer(fuse->reactor, &fuse->pump, pump);
}

/* ---- The end ---- */

static void step_end(struct fuse_export *fuse)
{
    if (fuse->state == FUSE_DRAIN && !op_pending(&fuse->watch_op) &&
        (fuse->in_flight == 0 || fuse->drain_over))
        enter(fuse, FUSE_UNMOUNT);
    else if (fuse->state == FUSE_GONE && fuse->in_flight == 0)
        export_unuse(fuse->export);
}

void fuse_export_slot_freed(struct fuse_export *fuse)
{
    if (fuse->state == FUSE_SERVE)
        pump_later(fuse);
    else
        step_end(fuse);
}

static void drain_timeout(struct timer *timer)
{
    struct fuse_export *fuse = container_of(timer, struct fuse_export, drain_timer);

    fuse->drain_over = true;
    step_end(fuse);
}

/* On a thread: may start a helper program. Closes the descriptor, too. */
static int64_t unmount_work(void *arg)
{
    struct fuse_export *fuse = arg;

    fuse_session_unmount(fuse->session);
    return 0;
}

static void unmounted(struct op *op)
{
    struct fuse_export *fuse = container_of(op, struct fuse_export, call_op);

    enter(fuse, FUSE_GONE);
    step_end(fuse);
}

/* The mount point is free for an export that was added while this one was ending. */
static void wake_next(struct fuse_export *fuse)
{
    list_for_each(other, &fuse->export->exports->list, struct export, link) {
        if (other->fuse && other->fuse->state == FUSE_WAIT && other->fuse->started &&
            !mountpoint_taken(other->fuse))
            enter(other->fuse, FUSE_LOOK);
    }
}

void fuse_export_end(struct fuse_export *fuse)
{
    fuse->ending = true;
    if (fuse->state == FUSE_SERVE)
        enter(fuse, FUSE_DRAIN);
}

/* The only writer of fuse->state; starts the work of the new one. */
static void enter(struct fuse_export *fuse, enum fuse_state to)
{
    fsm_check_edge(fuse_edges, fuse->state, to);
    trace(fuse_export_state, "%s from %d to %d", fuse->mountpoint, fuse->state, to);
    fuse->state = to;
    switch (to) {
    case FUSE_LOOK:
        fuse->call_op.done = looked;
        reactor_path_stat(fuse->reactor, &fuse->call_op, fuse->mountpoint, &fuse->stat);
        break;
    case FUSE_MOUNT:
        fuse->call_op.done = mounted;
        reactor_call(fuse->reactor, &fuse->call_op, mount_work, fuse);
        break;
    case FUSE_SERVE: pump_later(fuse); break;
    case FUSE_DRAIN:
        op_cancel(&fuse->watch_op);
        fuse->drain_timer.fn = drain_timeout;
        timer_arm(fuse->reactor, &fuse->drain_timer,
                  nstime_add(reactor_now(fuse->reactor), DRAIN_NS));
        step_end(fuse);
        break;
    case FUSE_UNMOUNT:
        timer_disarm(&fuse->drain_timer);
        reactor_watch_free(fuse->watch);
        fuse->watch = NULL;
        fuse->call_op.done = unmounted;
        reactor_call(fuse->reactor, &fuse->call_op, unmount_work, fuse);
        break;
    case FUSE_GONE: wake_next(fuse); break;
    case FUSE_WAIT:
    case FUSE_STATE_COUNT: unreachable();
    }
}
