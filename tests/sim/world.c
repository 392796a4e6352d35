#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/storage/create.h"

struct wait {
    bool finished;
    struct node *node;
    struct err *err;
};

static void done(void *arg, struct err *err)
{
    struct wait *wait = arg;

    wait->finished = true;
    wait->err = err;
}

static void opened(void *arg, struct node *node, struct err *err)
{
    struct wait *wait = arg;

    wait->node = node;
    done(wait, err);
}

static void job_event(struct notifier *n, void *data)
{
    struct world *w = container_of(n, struct world, listener);
    const struct job_event *event = data;

    switch (event->kind) {
    case JOB_EVENT_COMPLETED:
        if (event->job->error)
            w->failed++;
        else
            w->completed++;
        break;
    case JOB_EVENT_CANCELLED: w->cancelled++; break;
    case JOB_EVENT_READY: w->ready++; break;
    case JOB_EVENT_STATUS:
    case JOB_EVENT_PENDING:
    case JOB_EVENT_ERROR: break;
    }
}

void world_init(struct world *w, struct sim *sim)
{
    memset(w, 0, sizeof(*w));
    w->sim = sim;
    w->reactor = sim_reactor_new(sim);
    w->graph = graph_new(w->reactor, all_drivers);
    w->exports = exports_new(w->graph);
    jobs_init(&w->jobs, w->reactor);
    w->listener.fn = job_event;
    notifier_add(&w->jobs.on_event, &w->listener);
}

void world_fail(struct world *w, const char *fmt, ...)
{
    va_list args;

    if (!world_ok(w))
        return;
    va_start(args, fmt);
    vsnprintf(w->failure, sizeof(w->failure), fmt, args);
    va_end(args);
}

static void note(struct world *w, struct err *err, const char *what)
{
    if (err)
        world_fail(w, "%s: %s", what, err_text(err));
    err_free(err);
}

bool world_until(struct world *w, const bool *flag, const char *what)
{
    if (sim_run_until(w->sim, flag, EVENTS_MAX))
        return true;
    world_fail(w, "%s does not end", what);
    return false;
}

void world_fini(struct world *w)
{
    struct wait exports = { 0 }, nodes = { 0 };

    exports_close_all(w->exports, done, &exports);
    if (world_until(w, &exports.finished, "closing the exports"))
        note(w, exports.err, "closing the exports");
    graph_close_all(w->graph, done, &nodes);
    if (world_until(w, &nodes.finished, "closing the nodes"))
        err_ignore(nodes.err);
    if (!sim_run(w->sim, EVENTS_MAX))
        world_fail(w, "the world does not come to rest");
    if (reactor_ops_pending(w->reactor))
        world_fail(w, "%u operations are left", reactor_ops_pending(w->reactor));
    if (!world_ok(w))
        return; /* What is left is evidence. */
    notifier_remove(&w->listener);
    jobs_fini(&w->jobs);
    exports_free(w->exports);
    graph_free(w->graph);
    reactor_free(w->reactor);
    sim_free(w->sim);
}

static struct json *parse(struct world *w, const char *fmt, va_list args)
{
    char *text = xvasprintf(fmt, args);
    struct json *out = NULL;

    note(w, json_parse_text(text, &out), text);
    xfree(text);
    return out;
}

void world_create(struct world *w, const char *fmt, ...)
{
    struct wait wait = { 0 };
    struct json *options;
    va_list args;

    va_start(args, fmt);
    options = parse(w, fmt, args);
    va_end(args);
    blockdev_create(w->graph, options, done, &wait);
    if (world_until(w, &wait.finished, "creating an image"))
        note(w, wait.err, "creating an image");
    json_free(options);
}

struct node *world_open(struct world *w, unsigned flags, const char *fmt, ...)
{
    struct wait wait = { 0 };
    struct json *options;
    va_list args;

    va_start(args, fmt);
    options = parse(w, fmt, args);
    va_end(args);
    node_open(w->graph, options, flags, opened, &wait);
    if (world_until(w, &wait.finished, "opening a node"))
        note(w, wait.err, "opening a node");
    json_free(options);
    return wait.node;
}

static const struct edge_parent_ops guest_parent = { .what = "guest" };

struct edge *world_edge(struct world *w, struct node *node, uint32_t perm, uint32_t shared)
{
    struct wait wait = { 0 };
    struct edge *edge = NULL;

    note(w, edge_attach(node, "root", &guest_parent, NULL, perm, shared, &edge),
         "attaching the guest");
    if (!edge)
        return NULL;
    edge_settle(edge, done, &wait);
    if (world_until(w, &wait.finished, "taking locks"))
        note(w, wait.err, "taking locks");
    return edge;
}

void world_serve(struct world *w, const char *node_name, const char *socket)
{
    struct nbd_server_options server = { .addr = { .kind = ADDR_UNIX, .path = socket } };
    struct export_options options = { .id = "export", .node_name = node_name, .writable = true };
    struct wait wait = { 0 };

    note(w, exports_nbd_start(w->exports, &server), "starting the server");
    note(w, export_add(w->exports, &options, done, &wait), "adding an export");
    if (world_ok(w) && world_until(w, &wait.finished, "adding an export"))
        note(w, wait.err, "adding an export");
}

struct io {
    struct req req;
    struct iovec iov;
    bool finished;
};

static void io_done(struct req *req) { container_of(req, struct io, req)->finished = true; }

int world_io(struct world *w, struct edge *edge, enum req_kind kind, uint64_t offset, uint64_t len,
             void *buf)
{
    struct io io = { .req = { .kind = kind, .offset = offset, .len = len, .done = io_done },
                     .iov = { buf, len } };

    io.req.data = (struct iov_view){ &io.iov, 1, 0 };
    edge_submit(edge, &io.req);
    return world_until(w, &io.finished, "a request") ? io.req.result : -1;
}

void world_check(struct world *w, struct node *node)
{
    struct check_result result = { 0 };
    struct wait wait = { 0 };

    if (!node->driver->check)
        return;
    (node->driver->check)(node, 0, &result, done, &wait);
    if (world_until(w, &wait.finished, "a check"))
        note(w, wait.err, "a check");
    if (result.corruptions || result.check_errors)
        world_fail(w, "%s has %llu corruptions: %s", node->name,
                   (unsigned long long)result.corruptions, result.report ? result.report : "");
    xfree(result.report);
}
