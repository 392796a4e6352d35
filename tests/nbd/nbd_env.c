/* The world of NBD tests. */
#include "tests/nbd/nbd_env.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/base/nstime.h"
#include "emu/storage/driver.h"
#include "tests/harness/expect_err.h"

#define LIMIT_NS   (20 * NS_PER_SEC)
#define EVENTS_MAX 2000000

static const struct driver *const drivers[] = { &driver_file, &driver_raw, &driver_nbd,
                                                &driver_null_co, NULL };

static void env_init(struct nbd_env *env)
{
    env->graph = graph_new(env->reactor, drivers);
    env->yank = yank_new();
    graph_set_yank(env->graph, env->yank);
    env->exports = exports_new(env->graph);
}

void env_init_sim(struct nbd_env *env, const struct sim_options *options)
{
    *env = (struct nbd_env){ .sim = sim_new(options) };
    env->reactor = sim_reactor_new(env->sim);
    env_init(env);
}

void env_init_real(struct nbd_env *env)
{
    *env = (struct nbd_env){ 0 };
    REQUIRE_OK(reactor_new(REACTOR_AUTO, &env->reactor));
    env_init(env);
}

bool env_run_until(struct nbd_env *env, const bool *flag)
{
    int64_t limit;

    if (env->sim)
        return sim_run_until(env->sim, flag, EVENTS_MAX);
    limit = reactor_now(env->reactor) + LIMIT_NS;
    while (!*flag && reactor_now(env->reactor) < limit)
        reactor_run_once(env->reactor, 10 * NS_PER_MS);
    return *flag;
}

void env_run_idle(struct nbd_env *env)
{
    if (env->sim)
        sim_run_for(env->sim, 100 * NS_PER_MS);
    else
        for (int i = 0; i < 20; i++)
            reactor_run_once(env->reactor, 1 * NS_PER_MS);
}

/* ---- Waiting for callbacks ---- */

struct waiter {
    bool done;
    struct err *err;
    struct node *node;
};

static void wait_done(void *arg, struct err *err)
{
    struct waiter *w = arg;

    w->done = true;
    w->err = err;
}

static void wait_node(void *arg, struct node *node, struct err *err)
{
    struct waiter *w = arg;

    w->node = node;
    wait_done(arg, err);
}

const char *q(const char *text)
{
    enum { OUT_MAX = 1024 };
    static char out[OUT_MAX];
    size_t i = 0;

    for (; text[i] && i < OUT_MAX - 1; i++)
        out[i] = text[i] == '\'' ? '"' : text[i];
    out[i] = '\0';
    return out;
}

struct node *env_open(struct nbd_env *env, const char *json_text, struct err **err)
{
    struct json *options;
    struct waiter w = { 0 };

    REQUIRE_OK(json_parse(q(json_text), strlen(json_text), &options));
    node_open(env->graph, options, NODE_OPEN_MONITOR, wait_node, &w);
    REQUIRE(env_run_until(env, &w.done));
    json_free(options);
    *err = w.err;
    return w.node;
}

struct node *env_open_ok(struct nbd_env *env, const char *json_text)
{
    struct err *err;
    struct node *node = env_open(env, json_text, &err);

    REQUIRE_OK(err);
    REQUIRE(node != NULL);
    return node;
}

void env_fini(struct nbd_env *env)
{
    struct waiter w = { 0 }, exports = { 0 };

    graph_close_all(env->graph, wait_done, &w);
    exports_close_all(env->exports, wait_done, &exports);
    /* The nodes wait for the exports; both end. */
    EXPECT(env_run_until(env, &exports.done));
    EXPECT(env_run_until(env, &w.done));
    err_free(w.err);
    env_run_idle(env);
    exports_free(env->exports);
    graph_free(env->graph);
    yank_free(env->yank);
    EXPECT_EQ(reactor_ops_pending(env->reactor), 0);
    reactor_free(env->reactor);
    sim_free(env->sim);
}

void env_serve(struct nbd_env *env, const char *socket_path)
{
    struct nbd_server_options options = {
        .addr = { .kind = ADDR_UNIX, .path = socket_path },
        .max_connections = NBD_MAX_CONNECTIONS_DEFAULT,
        .handshake_max_seconds = NBD_HANDSHAKE_SECONDS_DEFAULT,
    };

    REQUIRE_OK(exports_nbd_start(env->exports, &options));
}

void env_export(struct nbd_env *env, const struct export_options *options)
{
    struct waiter w = { 0 };

    REQUIRE_OK(export_add(env->exports, options, wait_done, &w));
    REQUIRE(env_run_until(env, &w.done));
    REQUIRE_OK(w.err);
}

/* ---- Requests ---- */

struct io_wait {
    struct req *req;
    bool done;
};

static struct io_wait *io_waiting;

static void io_done(struct req *req)
{
    if (io_waiting && io_waiting->req == req)
        io_waiting->done = true;
}

int env_io(struct nbd_env *env, struct edge *edge, struct req *req)
{
    struct io_wait w = { .req = req };

    io_waiting = &w;
    req->done = io_done;
    edge_submit(edge, req);
    REQUIRE(env_run_until(env, &w.done));
    io_waiting = NULL;
    return req->result;
}

int env_rw(struct nbd_env *env, struct edge *edge, enum req_kind kind, uint64_t offset, void *buf,
           uint64_t len)
{
    struct iovec iov = { buf, len };
    struct req req = { .kind = kind, .offset = offset, .len = len };

    if (buf)
        req.data = iov_view(&iov, 1);
    return env_io(env, edge, &req);
}

static const struct edge_parent_ops parent_ops = { .what = "test" };

struct edge *env_attach(struct node *node, bool write)
{
    struct edge *edge;
    uint32_t perm = PERM_CONSISTENT_READ | (write ? PERM_WRITE : 0);

    REQUIRE_OK(edge_attach(node, "test", &parent_ops, NULL, perm, PERM_ALL, &edge));
    return edge;
}
