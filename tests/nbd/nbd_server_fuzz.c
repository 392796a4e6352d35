/*
 * Bytes of a hostile client against the NBD server: it must neither crash nor leak nor hang, and the
 * connection must end when the client does.
 */
#include "emu/base/check.h"
#include "emu/base/json.h"
#include "emu/reactor/sim.h"
#include "emu/storage/driver.h"
#include "emu/storage/export/nbd_server.h"
#include "tests/harness/fuzz.h"

enum { EVENTS_MAX = 100000, DISK = 1 << 20, PIECE = 32 << 10 };

static const struct driver *const drivers[] = { &driver_null_co, NULL };

static struct exports *exports;

static void done(void *arg, struct err *err)
{
    err_free(err);
    if (arg)
        *(bool *)arg = true;
}

static void opened(void *arg, struct node *node, struct err *err)
{
    struct nbd_server_options server = { .addr = { .kind = ADDR_UNIX, .path = "/srv" },
                                         .handshake_max_seconds = 10 };
    struct export_options options = {
        .id = "e", .node_name = "n", .name = "x", .writable = true, .allocation_depth = true
    };

    check(!err && node);
    check(!exports_nbd_start(exports, &server));
    check(!export_add(exports, &options, done, arg));
}

/* The client: sends its bytes, then reads until nothing more comes. */
struct client {
    struct op rx, tx;
    struct reactor_stream *stream;
    uint8_t sink[4096];
    bool sent, closed;
};

static void client_got(struct op *op)
{
    struct client *c = container_of(op, struct client, rx);

    if (op->result > 0)
        stream_read(c->stream, &c->rx, c->sink, sizeof(c->sink));
    else
        c->closed = true;
}

static void client_sent(struct op *op) { container_of(op, struct client, tx)->sent = true; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_options sim_options = { .seed = size, .in_order = true };
    struct sim *sim = sim_new(&sim_options);
    struct reactor *reactor = sim_reactor_new(sim);
    struct graph *graph = graph_new(reactor, drivers);
    struct json *options = json_object();
    struct reactor_stream *pair[2];
    struct client client = { 0 };
    struct iovec iov = { (void *)(uintptr_t)data, size };
    bool ready = false, over = false, closed = false;

    exports = exports_new(graph);
    json_object_set_str(options, "driver", "null-co");
    json_object_set_str(options, "node-name", "n");
    json_object_set_uint(options, "size", DISK);
    node_open(graph, options, NODE_OPEN_MONITOR, opened, &ready);
    json_free(options);
    check(sim_run_until(sim, &ready, EVENTS_MAX));
    check(!reactor_stream_pair(reactor, pair));
    nbd_server_serve(exports->server, pair[0]);
    client.stream = pair[1];
    client.rx.done = client_got;
    client.tx.done = client_sent;
    stream_read(client.stream, &client.rx, client.sink, sizeof(client.sink));
    if (size)
        stream_writev(client.stream, &client.tx, &iov, 1);
    sim_run_for(sim, 1000000000);
    stream_close(client.stream);
    sim_run_for(sim, 1000000000);
    check(list_empty(&exports->server->conns) && exports->server->memory == 0);
    exports_close_all(exports, done, &over);
    check(sim_run_until(sim, &over, EVENTS_MAX));
    graph_close_all(graph, done, &closed);
    check(sim_run_until(sim, &closed, EVENTS_MAX));
    sim_run_for(sim, 1000000);
    exports_free(exports);
    graph_free(graph);
    reactor_free(reactor);
    sim_free(sim);
    return 0;
}
