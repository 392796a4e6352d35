#include "emu/storage/testing.h"

#include "emu/base/alloc.h"
#include "emu/base/json.h"
#include "emu/base/json_parse.h"
#include "tests/harness/test.h"

enum { EVENTS_MAX = 10000000 };

struct waiting {
    bool finished;
    struct node *node;
    struct err *err;
};

void storage_world_init(struct storage_world *w, uint64_t seed, const struct driver *const *drivers)
{
    struct sim_options options = { .seed = seed, .short_io_per_mille = 50 };

    w->sim = sim_new(&options);
    w->reactor = sim_reactor_new(w->sim);
    w->graph = graph_new(w->reactor, drivers);
}

bool storage_run_until(struct storage_world *w, const bool *flag)
{
    return sim_run_until(w->sim, flag, EVENTS_MAX);
}

static void finished(void *arg, struct err *err)
{
    struct waiting *waiting = arg;

    waiting->finished = true;
    waiting->err = err;
}

void storage_world_fini(struct storage_world *w)
{
    struct waiting waiting = { 0 };

    graph_close_all(w->graph, finished, &waiting);
    REQUIRE(storage_run_until(w, &waiting.finished));
    err_free(waiting.err);
    EXPECT(list_empty(graph_nodes(w->graph)));
    graph_free(w->graph);
    EXPECT_EQ(reactor_ops_pending(w->reactor), 0u);
    reactor_free(w->reactor);
    sim_free(w->sim);
}

static void opened(void *arg, struct node *node, struct err *err)
{
    struct waiting *waiting = arg;

    waiting->finished = true;
    waiting->node = node;
    waiting->err = err;
}

struct err *storage_open(struct storage_world *w, const char *text, struct node **out)
{
    struct waiting waiting = { 0 };
    struct json *options;

    TRY(json_parse_text(text, &options));
    node_open(w->graph, options, json_object_has(options, "node-name") ? NODE_OPEN_MONITOR : 0,
              opened, &waiting);
    json_free(options);
    REQUIRE(storage_run_until(w, &waiting.finished));
    EXPECT((waiting.node == NULL) == (waiting.err != NULL));
    *out = waiting.node;
    return waiting.err;
}

struct node *storage_must_open(struct storage_world *w, const char *options)
{
    struct node *node = NULL;
    struct err *err = storage_open(w, options, &node);

    if (err) {
        TEST_FAIL("cannot open %s: %s", options, err_text(err));
        err_free(err);
    }
    REQUIRE(node);
    return node;
}

struct err *storage_delete(struct storage_world *w, const char *name)
{
    struct waiting waiting = { 0 };

    TRY(node_delete(w->graph, name, finished, &waiting));
    REQUIRE(storage_run_until(w, &waiting.finished));
    return waiting.err;
}

struct err *storage_settle(struct storage_world *w, struct edge *edge)
{
    struct waiting waiting = { 0 };

    edge_settle(edge, finished, &waiting);
    REQUIRE(storage_run_until(w, &waiting.finished));
    return waiting.err;
}

struct edge *storage_edge(struct storage_world *w, struct node *node, uint32_t perm,
                          uint32_t shared)
{
    struct edge *edge = NULL;
    struct err *err = edge_attach(node, "root", NULL, NULL, perm, shared, &edge);

    if (!err)
        err = storage_settle(w, edge);
    if (err) {
        TEST_FAIL("cannot attach to %s: %s", node->name, err_text(err));
        err_free(err);
    }
    REQUIRE(edge);
    return edge;
}

struct io_wait {
    struct req req;
    bool finished;
};

static void io_finished(struct req *req)
{
    container_of(req, struct io_wait, req)->finished = true;
}

static int run(struct storage_world *w, struct edge *edge, struct io_wait *io)
{
    io->req.done = io_finished;
    edge_submit(edge, &io->req);
    EXPECT(!io->finished);
    REQUIRE(storage_run_until(w, &io->finished));
    EXPECT(!req_pending(&io->req));
    return io->req.result;
}

int storage_io(struct storage_world *w, struct edge *edge, enum req_kind kind, uint32_t flags,
               uint64_t offset, uint64_t len, void *buf)
{
    struct iovec iov = { buf, len };
    struct io_wait io = { .req = { .kind = kind, .flags = flags, .offset = offset, .len = len } };

    if (buf)
        io.req.data = iov_view(&iov, 1);
    return run(w, edge, &io);
}

int storage_status(struct storage_world *w, struct edge *edge, uint32_t flags, uint64_t offset,
                   uint64_t len, struct req_status *out)
{
    struct io_wait io = { .req = {
                              .kind = REQ_STATUS, .flags = flags, .offset = offset, .len = len } };
    int result = run(w, edge, &io);

    *out = io.req.status;
    return result;
}

struct err *storage_truncate(struct storage_world *w, struct edge *edge, uint64_t size)
{
    struct waiting waiting = { 0 };

    edge_truncate(edge, size, true, PREALLOC_OFF, finished, &waiting);
    REQUIRE(storage_run_until(w, &waiting.finished));
    return waiting.err;
}
