/* Helpers of the conformance tests. */
#include "emu/reactor/conformance_testing.h"

#include <stdio.h>
#include <string.h>

#include "emu/base/nstime.h"

#define WAIT_LIMIT_NS (20 * NS_PER_SEC)

static void probe_done(struct op *op)
{
    struct probe *p = container_of(op, struct probe, op);

    p->calls++;
    if (p->counter)
        p->order = (*p->counter)++;
}

void probe_init(struct probe *p, unsigned *counter)
{
    *p = (struct probe){ .op.done = probe_done, .counter = counter };
}

int64_t probe_wait(struct conf *c, struct probe *p)
{
    int64_t limit = reactor_now(c->r) + WAIT_LIMIT_NS;

    while (op_pending(&p->op)) {
        reactor_run_once(c->r, NS_PER_SEC);
        REQUIRE(reactor_now(c->r) < limit);
    }
    return p->op.result;
}

void conf_settle(struct conf *c) { reactor_run_once(c->r, 0); }

static void set_flag(struct timer *timer) { timer->fn = NULL; }

void conf_sleep(struct conf *c, int64_t ns)
{
    struct timer timer = { .fn = set_flag };

    timer_arm(c->r, &timer, reactor_now(c->r) + ns);
    while (timer.fn)
        reactor_run_once(c->r, -1);
}

const char *conf_path(struct conf *c, const char *name)
{
    static _Thread_local char paths[3][300];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 3];

    snprintf(path, sizeof(paths[0]), "%s/%s", c->dir, name);
    return path;
}

struct reactor_file *conf_file(struct conf *c, const char *name, unsigned flags)
{
    struct reactor_file *file = NULL;
    struct probe p;

    probe_init(&p, NULL);
    reactor_file_open(c->r, &p.op, conf_path(c, name), flags, &file);
    REQUIRE_EQ(probe_wait(c, &p), 0);
    return file;
}

int64_t conf_pread(struct conf *c, struct reactor_file *f, void *buf, size_t len, uint64_t offset)
{
    struct iovec iov = { buf, len };
    struct probe p;

    probe_init(&p, NULL);
    reactor_file_readv(f, &p.op, &iov, 1, offset);
    return probe_wait(c, &p);
}

int64_t conf_pwrite(struct conf *c, struct reactor_file *f, const void *buf, size_t len,
                    uint64_t offset)
{
    struct iovec iov = { (void *)(uintptr_t)buf, len };
    struct probe p;

    probe_init(&p, NULL);
    reactor_file_writev(f, &p.op, &iov, 1, offset);
    return probe_wait(c, &p);
}

void conf_streams(struct conf *c, struct reactor_stream *out[2])
{
    struct addr addr = { .kind = ADDR_UNIX, .path = conf_path(c, "sock") };
    struct reactor_listener *l = NULL;
    struct probe accepted, connected;

    REQUIRE(!reactor_listen(c->r, &addr, 5, &l));
    probe_init(&accepted, NULL);
    probe_init(&connected, NULL);
    listener_accept(l, &accepted.op, &out[1]);
    reactor_connect(c->r, &connected.op, &addr, &out[0]);
    REQUIRE_EQ(probe_wait(c, &connected), 0);
    REQUIRE_EQ(probe_wait(c, &accepted), 0);
    listener_close(l);
}

size_t conf_read_all(struct conf *c, struct reactor_stream *s, void *buf, size_t len)
{
    size_t got = 0;

    while (got < len) {
        struct probe p;
        int64_t n;

        probe_init(&p, NULL);
        stream_read(s, &p.op, (char *)buf + got, len - got);
        n = probe_wait(c, &p);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}
