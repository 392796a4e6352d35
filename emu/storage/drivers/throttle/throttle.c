/* Driver "throttle": passes requests on within the limits of a throttle group. */
#include <errno.h>

#include "emu/base/attrs.h"
#include "emu/object/object.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/filter/filter.h"
#include "emu/storage/throttle/group.h"

struct throttle {
    struct throttle_member member;
    struct throttle_group *next; /* The one that a reopening goes to; owned. */
    bool fenced;
};

struct throttle_req {
    struct filter_req base;
    struct throttle_wait wait;
};

static struct err *find_group(struct node *node, struct opts *opts, struct throttle_group **out)
{
    const char *id = NULL;

    TRY(opts_str(opts, "throttle-group", &id));
    return throttle_group_find(graph_objects(node->graph), id, out);
}

static void throttle_open(struct node *node, struct opts *opts, unsigned flags,
                          driver_done_fn *done, void *arg)
{
    struct throttle *t = node->state;
    struct throttle_group *group;
    struct err *err;

    (void)flags;
    throttle_member_init(&t->member);
    err = find_group(node, opts, &group);
    if (!err) {
        throttle_member_join(&t->member, group);
        filter_follow(node);
    }
    done(arg, err);
}

static void throttle_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct throttle *t = node->state;

    throttle_member_leave(&t->member);
    done(arg, NULL);
}

static void go(struct throttle_wait *wait)
{
    struct throttle_req *tr = container_of(wait, struct throttle_req, wait);
    struct req *req = tr->base.req;
    const struct throttle *t = req->node->state;

    if (t->fenced)
        req_complete(req, -ECANCELED);
    else
        filter_pass(&tr->base, req);
}

static void throttle_submit(struct node *node, struct req *req)
{
    struct throttle *t = node->state;
    struct throttle_req *tr = req->ctx;

    tr->base.req = req;
    if (req->kind == REQ_FLUSH || req->kind == REQ_STATUS || node->gate) {
        filter_pass(&tr->base, req);
        return;
    }
    tr->wait.bytes = req->len;
    tr->wait.is_write = req->kind != REQ_READ;
    tr->wait.go = go;
    throttle_member_enter(&t->member, &tr->wait);
}

/* A drain does not wait for the limits. */
static void throttle_drained_begin(struct node *node)
{
    struct throttle *t = node->state;

    throttle_member_release(&t->member);
}

static void throttle_fence(struct node *node)
{
    struct throttle *t = node->state;

    t->fenced = true;
    throttle_member_release(&t->member);
}

/* ---- Reopening: to another group. ---- */

static const char *const reopen_options[] = { "throttle-group", NULL };

static void throttle_reopen_prepare(struct node *node, struct opts *opts,
                                    const struct node_options *open, driver_done_fn *done,
                                    void *arg)
{
    struct throttle *t = node->state;

    (void)open;
    done(arg, find_group(node, opts, &t->next));
}

static void throttle_reopen_abort(struct node *node)
{
    struct throttle *t = node->state;

    object_unref(&t->next->base);
    t->next = NULL;
}

static void throttle_reopen_commit(struct node *node)
{
    struct throttle *t = node->state;

    if (t->next == t->member.group) {
        throttle_reopen_abort(node);
        return;
    }
    throttle_member_leave(&t->member);
    throttle_member_join(&t->member, t->next);
    t->next = NULL;
}

const struct driver driver_throttle = {
    .name = "throttle",
    .is_filter = true,
    .has_variable_size = true,
    .can_grow = true,
    .state_size = sizeof(struct throttle),
    .req_size = sizeof(struct throttle_req),
    .children = filter_children,
    .open = throttle_open,
    .close = throttle_close,
    .submit = throttle_submit,
    .truncate = filter_truncate,
    .fence = throttle_fence,
    .drained_begin = throttle_drained_begin,
    .child_resized = filter_child_resized,
    .reopen_options = reopen_options,
    .reopen_prepare = throttle_reopen_prepare,
    .reopen_commit = throttle_reopen_commit,
    .reopen_abort = throttle_reopen_abort,
};
