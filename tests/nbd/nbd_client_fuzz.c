/*
 * Bytes of a hostile server against the NBD client: opening ends one way or the other, every request
 * completes exactly once, and nothing is leaked.
 */
#include <string.h>

#include "emu/base/check.h"
#include "emu/base/json.h"
#include "emu/reactor/sim.h"
#include "emu/storage/driver.h"
#include "tests/harness/fuzz.h"

enum { EVENTS_MAX = 100000, REQUESTS = 4, BYTES = 16 << 10 };

static const struct driver *const drivers[] = { &driver_nbd, NULL };

struct server {
    struct reactor_listener *listener;
    struct reactor_stream *stream;
    struct op accept, rx, tx;
    uint8_t sink[4096];
    struct iovec iov;
};

static void server_got(struct op *op)
{
    struct server *s = container_of(op, struct server, rx);

    if (op->result > 0)
        stream_read(s->stream, &s->rx, s->sink, sizeof(s->sink));
}

static void server_sent(struct op *op) {}

static void accepted(struct op *op)
{
    struct server *s = container_of(op, struct server, accept);

    if (op->result < 0)
        return;
    s->rx.done = server_got;
    s->tx.done = server_sent;
    stream_read(s->stream, &s->rx, s->sink, sizeof(s->sink));
    if (s->iov.iov_len)
        stream_writev(s->stream, &s->tx, &s->iov, 1);
}

static struct node *node;
static bool open_over;
static unsigned completed;

static void opened(void *arg, struct node *n, struct err *err)
{
    err_free(err);
    node = n;
    open_over = true;
}

static void done(void *arg, struct err *err)
{
    err_free(err);
    *(bool *)arg = true;
}

static void req_done(struct req *req) { completed++; }

static void begin_open(struct graph *graph)
{
    struct json *options = json_object(), *server = json_object();

    json_object_set_str(server, "type", "unix");
    json_object_set_str(server, "path", "/peer");
    json_object_set_str(options, "driver", "nbd");
    json_object_set_str(options, "node-name", "n");
    json_object_set_bool(options, "read-only", true);
    json_object_set(options, "server", server);
    node = NULL;
    open_over = false;
    node_open(graph, options, NODE_OPEN_MONITOR, opened, NULL);
    json_free(options);
}

/* Reads and status requests; the replies are in the input already. */
static void requests(struct sim *sim, struct server *s)
{
    static uint8_t buf[REQUESTS][BYTES];
    struct req reqs[REQUESTS] = { 0 };
    struct iovec iov[REQUESTS];
    unsigned started = 0;

    completed = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        iov[i] = (struct iovec){ buf[i], BYTES };
        reqs[i] = (struct req){ .kind = i & 1 ? REQ_STATUS : REQ_READ,
                                .len = MIN((uint64_t)BYTES, node->size),
                                .data = iov_view(&iov[i], 1),
                                .done = req_done };
        if (!reqs[i].len)
            continue;
        started++;
        node_submit(node, &reqs[i]);
    }
    sim_run_for(sim, 1000000);
    stream_close(s->stream);
    s->stream = NULL;
    sim_run_for(sim, 1000000000);
    check(completed == started);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_options sim_options = { .seed = size, .in_order = true };
    struct sim *sim = sim_new(&sim_options);
    struct reactor *reactor = sim_reactor_new(sim);
    struct graph *graph = graph_new(reactor, drivers);
    struct addr addr = { .kind = ADDR_UNIX, .path = "/peer" };
    struct server s = { .iov = { (void *)(uintptr_t)data, size }, .accept.done = accepted };
    bool closed = false;

    check(!reactor_listen(reactor, &addr, 1, &s.listener));
    listener_accept(s.listener, &s.accept, &s.stream);
    begin_open(graph);
    sim_run_for(sim, 1000000000);
    if (node) {
        requests(sim, &s);
    } else {
        if (s.stream)
            stream_close(s.stream);
        s.stream = NULL;
        check(sim_run_until(sim, &open_over, EVENTS_MAX));
    }
    listener_close(s.listener);
    graph_close_all(graph, done, &closed);
    check(sim_run_until(sim, &closed, EVENTS_MAX));
    sim_run_for(sim, 1000000);
    graph_free(graph);
    reactor_free(reactor);
    sim_free(sim);
    return 0;
}
