/* See chardev.h and backend.h. */
#include "emu/chardev/chardev.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"
#include "emu/chardev/backend.h"
#include "emu/yank/yank.h"

struct chardevs {
    struct reactor *reactor; /* borrowed */
    struct yank *yank;       /* borrowed, or NULL */
    struct list list;        /* of struct chardev, oldest first */
};

static const struct chardev_ops *const backends[] = {
    [QAPI_CHARDEV_BACKEND_KIND_FILE] = &chardev_file_ops,
    [QAPI_CHARDEV_BACKEND_KIND_SOCKET] = &chardev_socket_ops,
    [QAPI_CHARDEV_BACKEND_KIND_NULL] = &chardev_null_ops,
    [QAPI_CHARDEV_BACKEND_KIND_STDIO] = &chardev_stdio_ops,
};

struct chardevs *chardevs_new(struct reactor *reactor, struct yank *yank)
{
    struct chardevs *all = NEW(struct chardevs);

    all->reactor = reactor;
    all->yank = yank;
    list_init(&all->list);
    return all;
}

static struct chardev *find(struct chardevs *all, const char *id)
{
    list_for_each(chr, &all->list, struct chardev, link)
        if (str_eq(chr->id, id))
            return chr;
    return NULL;
}

bool chardev_exists(struct chardevs *all, const char *id) { return find(all, id) != NULL; }

struct chardev *chardev_find(struct chardevs *all, const char *id)
{
    struct chardev *chr = find(all, id);

    return chr && chr->settled && !chr->error ? chr : NULL;
}

const char *chardev_id(const struct chardev *chr) { return chr->id; }

/* Takes the chardev out of sight; what is left of it ends by itself. */
static void stop(struct chardev *chr)
{
    check(!chr->frontend);
    list_del(&chr->link);
    reactor_undefer(&chr->task);
    channel_close(chr->waiting);
    chr->waiting = NULL;
    chr->ops->stop(chr);
}

void chardev_gone(struct chardev *chr)
{
    yank_unregister_instance(chr->yank);
    err_free(chr->error);
    xfree(chr->id);
    xfree(chr);
}

void chardevs_free(struct chardevs *all)
{
    if (!all)
        return;
    list_for_each_safe(chr, &all->list, struct chardev, link)
        stop(chr);
    xfree(all);
}

/* ---- Adding ---- */

/* What a chardev is when it could not be begun: a place for the error until the loop reports it. */
static const struct chardev_ops failed_ops = { .size = sizeof(struct chardev),
                                               .stop = chardev_gone };

static struct chardev *new_chardev(struct chardevs *all, const struct chardev_ops *ops,
                                   const char *id)
{
    struct chardev *chr = xcalloc(1, ops->size);

    chr->ops = ops;
    chr->reactor = all->reactor;
    chr->yank_root = all->yank;
    chr->id = xstrdup(id);
    list_add_tail(&all->list, &chr->link);
    return chr;
}

/* Tells what happened since the last turn of the loop. */
static void tell(struct task *task)
{
    struct chardev *chr = container_of(task, struct chardev, task);
    chardev_added *added = chr->added;
    struct err *err = chr->error;
    struct channel *ch;

    if (chr->settled && added) {
        chr->added = NULL;
        if (err) {
            void *arg = chr->added_arg;

            chr->error = NULL;
            stop(chr);
            added(arg, err, NULL);
            return;
        }
        added(chr->added_arg, NULL, chr); /* Often claims it. */
    }
    ch = chr->waiting;
    if (chr->frontend && ch) {
        chr->waiting = NULL;
        chr->frontend->opened(chr->frontend, ch);
    }
}

void chardev_ready(struct chardev *chr, struct err *err)
{
    check(!chr->settled);
    chr->settled = true;
    chr->error = err;
    reactor_defer(chr->reactor, &chr->task, tell);
}

void chardev_opened(struct chardev *chr, struct channel *ch)
{
    check(!chr->waiting);
    chr->waiting = ch;
    reactor_defer(chr->reactor, &chr->task, tell);
}

void chardev_add(struct chardevs *all, const char *id, const struct qapi_chardev_backend *backend,
                 chardev_added *added, void *arg)
{
    struct chardev *chr;
    struct err *err;

    check(backend->type < ARRAY_LEN(backends) && backends[backend->type]);
    if (find(all, id)) {
        chr = new_chardev(all, &failed_ops, NULL);
        chr->settled = true;
        chr->error = err_new("Chardev with id '%s' already exists", id);
        reactor_defer(all->reactor, &chr->task, tell);
    } else {
        chr = new_chardev(all, backends[backend->type], id);
        err = chr->ops->start(chr, backend);
        if (err) {
            chr->ops = &failed_ops;
            chardev_ready(chr, err);
        }
    }
    chr->added = added;
    chr->added_arg = arg;
}

struct err *chardev_remove(struct chardevs *all, const char *id)
{
    struct chardev *chr = chardev_find(all, id);

    if (!chr)
        return err_new("Chardev '%s' not found", id);
    if (chr->frontend)
        return err_new("Chardev '%s' is busy", id);
    stop(chr);
    return NULL;
}

/* ---- Front ends ---- */

struct err *chardev_claim(struct chardev *chr, struct chardev_frontend *fe)
{
    if (chr->frontend)
        return err_new("Device '%s' is in use", chr->id);
    chr->frontend = fe;
    if (chr->waiting)
        reactor_defer(chr->reactor, &chr->task, tell);
    return NULL;
}

void chardev_hangup(struct chardev *chr)
{
    if (chr->ops->hangup)
        chr->ops->hangup(chr);
}

void chardev_release(struct chardev *chr) { chr->frontend = NULL; }

/* ---- Facts ---- */

void chardevs_query(struct chardevs *all, struct qapi_chardev_info_list *out)
{
    list_for_each(chr, &all->list, struct chardev, link) {
        struct qapi_chardev_info *info;

        if (!chr->settled || chr->error)
            continue;
        info = qapi_chardev_info_list_add(out);
        info->label = xstrdup(chr->id);
        info->filename = chr->ops->filename(chr);
        info->frontend_open = chr->frontend != NULL;
    }
}
