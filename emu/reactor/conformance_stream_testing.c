/* Conformance of streams and listeners. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/nstime.h"
#include "emu/base/rng.h"
#include "emu/reactor/conformance_testing.h"

static int64_t write_bytes(struct conf *c, struct reactor_stream *s, const void *buf, size_t len)
{
    struct iovec iov = { (void *)(uintptr_t)buf, len };
    struct probe p;

    probe_init(&p, NULL);
    stream_writev(s, &p.op, &iov, 1);
    return probe_wait(c, &p);
}

static int64_t read_bytes(struct conf *c, struct reactor_stream *s, void *buf, size_t len)
{
    struct probe p;

    probe_init(&p, NULL);
    stream_read(s, &p.op, buf, len);
    return probe_wait(c, &p);
}

static void close_both(struct reactor_stream *s[2])
{
    stream_close(s[0]);
    stream_close(s[1]);
}

void stream_moves_bytes(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    char buf[16] = "";

    conf_make(&c);
    conf_streams(&c, s);
    EXPECT_EQ(write_bytes(&c, s[0], "hello", 5), 5);
    EXPECT_EQ(conf_read_all(&c, s[1], buf, 5), 5);
    EXPECT_MEM(buf, "hello", 5);
    EXPECT_EQ(write_bytes(&c, s[1], "world!", 6), 6);
    EXPECT_EQ(conf_read_all(&c, s[0], buf, 3), 3);
    EXPECT_EQ(conf_read_all(&c, s[0], buf + 3, 3), 3);
    EXPECT_MEM(buf, "world!", 6);
    close_both(s);
    stream_close(NULL);
    conf_drop(&c);
}

void stream_writes_all(void)
{
    enum {
        SIZE = 4 << 20,
        PARTS = 1500
    }; /* More than buffers hold, more parts than one call takes. */
    struct conf c;
    struct reactor_stream *s[2];
    uint8_t *out = malloc(SIZE), *in = malloc(SIZE);
    static struct iovec iov[PARTS];
    struct probe p;
    struct rng rng;
    size_t at = 0;

    conf_make(&c);
    conf_streams(&c, s);
    rng_init(&rng, 3);
    rng_fill(&rng, out, SIZE);
    for (int i = 0; i < PARTS; i++) {
        size_t len = i == PARTS - 1 ? SIZE - at : rng_below(&rng, 4000);

        iov[i] = (struct iovec){ out + at, len };
        at += len;
    }
    probe_init(&p, NULL);
    stream_writev(s[0], &p.op, iov, PARTS);
    conf_settle(&c);
    EXPECT_EQ(p.calls, 0);
    EXPECT_EQ(conf_read_all(&c, s[1], in, SIZE), SIZE);
    EXPECT_EQ(probe_wait(&c, &p), SIZE);
    EXPECT(memcmp(in, out, SIZE) == 0);
    close_both(s);
    conf_drop(&c);
    free(in);
    free(out);
}

void stream_sees_end(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    struct probe p;
    char buf[8];

    conf_make(&c);
    conf_streams(&c, s);
    EXPECT_EQ(write_bytes(&c, s[0], "bye", 3), 3);
    stream_close(s[0]);
    EXPECT_EQ(conf_read_all(&c, s[1], buf, 3), 3);
    EXPECT_EQ(read_bytes(&c, s[1], buf, 8), 0);
    EXPECT_EQ(read_bytes(&c, s[1], buf, 8), 0);
    stream_close(s[1]);

    /* The same for a read that waits. */
    conf_streams(&c, s);
    probe_init(&p, NULL);
    stream_read(s[1], &p.op, buf, 8);
    conf_settle(&c);
    EXPECT_EQ(p.calls, 0);
    stream_close(s[0]);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    stream_close(s[1]);
    conf_drop(&c);
}

void stream_half_closes(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    char buf[8];

    conf_make(&c);
    conf_streams(&c, s);
    EXPECT_EQ(write_bytes(&c, s[0], "ask", 3), 3);
    stream_shutdown_write(s[0]);
    EXPECT_EQ(conf_read_all(&c, s[1], buf, 8), 3);
    EXPECT_EQ(write_bytes(&c, s[1], "reply", 5), 5);
    EXPECT_EQ(conf_read_all(&c, s[0], buf, 5), 5);
    EXPECT_MEM(buf, "reply", 5);
    EXPECT_EQ(write_bytes(&c, s[0], "x", 1), -EPIPE);
    close_both(s);
    conf_drop(&c);
}

void stream_shuts_down(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    struct probe p;
    char buf[8];

    conf_make(&c);
    conf_streams(&c, s);
    probe_init(&p, NULL);
    stream_read(s[0], &p.op, buf, 8);
    conf_settle(&c);
    stream_shutdown(s[0]);
    EXPECT_LE(probe_wait(&c, &p), 0);
    EXPECT_LT(write_bytes(&c, s[0], "x", 1), 0);
    EXPECT_LE(read_bytes(&c, s[0], buf, 8), 0);
    EXPECT_LE(read_bytes(&c, s[1], buf, 8), 0);
    close_both(s);
    conf_drop(&c);
}

void stream_fails_write_after_peer_closed(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    int64_t result = 1;

    conf_make(&c);
    conf_streams(&c, s);
    stream_close(s[1]);
    for (int i = 0; i < 100 && result > 0; i++) {
        result = write_bytes(&c, s[0], "x", 1);
        conf_sleep(&c, NS_PER_MS);
    }
    EXPECT(result == -EPIPE || result == -ECONNRESET);
    stream_close(s[0]);
    conf_drop(&c);
}

void stream_close_cancels_pending(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    static char big[4 << 20];
    struct iovec iov = { big, sizeof(big) };
    char buf[8];

    conf_make(&c);
    for (int settle = 0; settle < 3; settle++) {
        struct probe r, w;

        conf_streams(&c, s);
        probe_init(&r, NULL);
        probe_init(&w, NULL);
        stream_read(s[0], &r.op, buf, 8);
        stream_writev(s[0], &w.op, &iov, 1);
        for (int i = 0; i < settle; i++)
            conf_settle(&c);
        stream_close(s[0]);
        EXPECT(op_pending(&r.op) && op_pending(&w.op));
        EXPECT_EQ(probe_wait(&c, &r), -ECANCELED);
        EXPECT_EQ(probe_wait(&c, &w), -ECANCELED);
        conf_settle(&c);
        EXPECT_EQ(r.calls + w.calls, 2);
        stream_close(s[1]);
    }
    conf_drop(&c);
}

/* Closes the stream of another op from done: that op may be finished already. */
struct closer {
    struct probe probe;
    struct reactor_stream *stream;
};

static void close_other(struct op *op)
{
    struct closer *closer = container_of(op, struct closer, probe.op);

    closer->probe.calls++;
    stream_close(closer->stream);
}

void stream_close_cancels_finished(void)
{
    struct conf c;
    struct reactor_stream *a[2], *b[2];

    conf_make(&c);
    for (int i = 0; i < 20; i++) {
        struct closer closer = { .probe.op.done = close_other };
        struct probe p, w;
        struct iovec x = { "x", 1 };
        char buf1[4], buf2[4];

        conf_streams(&c, a);
        conf_streams(&c, b);
        closer.stream = b[1];
        probe_init(&p, NULL);
        probe_init(&w, NULL);
        stream_read(a[1], &closer.probe.op, buf1, 4);
        stream_read(b[1], &p.op, buf2, 4);
        stream_writev(a[0], &w.op, &x, 1);
        EXPECT_EQ(probe_wait(&c, &w), 1);
        stream_writev(b[0], &w.op, &x, 1);
        probe_wait(&c, &w);
        probe_wait(&c, &closer.probe);
        EXPECT(probe_wait(&c, &p) == -ECANCELED || p.op.result == 1);
        conf_settle(&c);
        EXPECT_EQ(p.calls, 1);
        EXPECT_EQ(closer.probe.calls, 1);
        close_both(a);
        stream_close(b[0]);
    }
    conf_drop(&c);
}

void stream_cancels_read_and_write(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    static char big[4 << 20];
    struct iovec iov = { big, sizeof(big) };
    struct probe r, w;
    char buf[8];

    conf_make(&c);
    conf_streams(&c, s);
    for (int i = 0; i < 10; i++) {
        probe_init(&r, NULL);
        stream_read(s[0], &r.op, buf, 8);
        if (i % 2)
            conf_settle(&c);
        op_cancel(&r.op);
        EXPECT_EQ(r.calls, 0);
        EXPECT_EQ(probe_wait(&c, &r), -ECANCELED);
        EXPECT_EQ(r.calls, 1);
    }
    /* The stream still works. */
    EXPECT_EQ(write_bytes(&c, s[1], "abc", 3), 3);
    EXPECT_EQ(conf_read_all(&c, s[0], buf, 3), 3);
    probe_init(&w, NULL);
    stream_writev(s[0], &w.op, &iov, 1);
    conf_settle(&c);
    op_cancel(&w.op);
    EXPECT_EQ(probe_wait(&c, &w), -ECANCELED);
    EXPECT_EQ(w.calls, 1);
    close_both(s);
    conf_drop(&c);
}

void stream_connect_refused(void)
{
    struct conf c;
    struct reactor_stream *s = NULL;
    struct probe p;
    struct addr addr = { .kind = ADDR_UNIX };

    conf_make(&c);
    addr.path = conf_path(&c, "nobody");
    probe_init(&p, NULL);
    reactor_connect(c.r, &p.op, &addr, &s);
    EXPECT(probe_wait(&c, &p) == -ENOENT || p.op.result == -ECONNREFUSED);
    EXPECT(s == NULL);
    addr = (struct addr){
        .kind = ADDR_INET, .host = "127.0.0.1", .port = "1", .ipv4 = -1, .ipv6 = -1
    };
    reactor_connect(c.r, &p.op, &addr, &s);
    EXPECT_EQ(probe_wait(&c, &p), -ECONNREFUSED);
    EXPECT(s == NULL);
    conf_drop(&c);
}

void stream_accepts_later(void)
{
    struct conf c;
    struct addr addr = { .kind = ADDR_UNIX };
    struct reactor_listener *l = NULL;
    struct reactor_stream *client[3], *server[3];
    struct probe p;
    char buf[2];

    conf_make(&c);
    addr.path = conf_path(&c, "sock");
    REQUIRE(!reactor_listen(c.r, &addr, 10, &l));
    probe_init(&p, NULL);
    for (int i = 0; i < 3; i++) {
        reactor_connect(c.r, &p.op, &addr, &client[i]);
        EXPECT_EQ(probe_wait(&c, &p), 0);
        EXPECT_EQ(write_bytes(&c, client[i], &"012"[i], 1), 1);
    }
    for (int i = 0; i < 3; i++) {
        listener_accept(l, &p.op, &server[i]);
        EXPECT_EQ(probe_wait(&c, &p), 0);
        EXPECT_EQ(read_bytes(&c, server[i], buf, 2), 1);
        EXPECT_EQ(buf[0], '0' + i);
        stream_close(client[i]);
        stream_close(server[i]);
    }
    listener_close(l);
    listener_close(NULL);
    /* The path is free again. */
    REQUIRE(!reactor_listen(c.r, &addr, 10, &l));
    listener_close(l);
    conf_drop(&c);
}

void stream_connects_by_port(void)
{
    struct conf c;
    struct addr addr = {
        .kind = ADDR_INET, .host = "127.0.0.1", .port = "0", .ipv4 = -1, .ipv6 = -1
    };
    struct reactor_listener *l = NULL;
    struct reactor_stream *s[2];
    struct probe p, q;
    char port[16], buf[4];

    conf_make(&c);
    REQUIRE(!reactor_listen(c.r, &addr, 1, &l));
    EXPECT_NE(listener_port(l), 0);
    snprintf(port, sizeof(port), "%u", listener_port(l));
    addr.port = port;
    probe_init(&p, NULL);
    probe_init(&q, NULL);
    listener_accept(l, &q.op, &s[1]);
    reactor_connect(c.r, &p.op, &addr, &s[0]);
    REQUIRE_EQ(probe_wait(&c, &p), 0);
    REQUIRE_EQ(probe_wait(&c, &q), 0);
    stream_set_nodelay(s[0], true);
    EXPECT_EQ(write_bytes(&c, s[0], "tcp", 3), 3);
    EXPECT_EQ(conf_read_all(&c, s[1], buf, 3), 3);
    close_both(s);
    listener_close(l);
    conf_drop(&c);
}

static struct reactor_listener *listen_at(struct conf *c, struct addr *addr)
{
    struct reactor_listener *l = NULL;

    *addr = (struct addr){ .kind = ADDR_UNIX, .path = conf_path(c, "sock") };
    REQUIRE(!reactor_listen(c->r, addr, 5, &l));
    return l;
}

void stream_cancels_accept(void)
{
    struct conf c;
    struct addr addr;
    struct reactor_listener *l;
    struct reactor_stream *client, *server;
    struct probe p;

    conf_make(&c);
    l = listen_at(&c, &addr);
    for (int i = 0; i < 6; i++) {
        probe_init(&p, NULL);
        listener_accept(l, &p.op, &server);
        if (i % 2)
            conf_settle(&c);
        op_cancel(&p.op);
        EXPECT_EQ(probe_wait(&c, &p), -ECANCELED);
        EXPECT(server == NULL);
        EXPECT_EQ(p.calls, 1);
    }
    reactor_connect(c.r, &p.op, &addr, &client);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    listener_accept(l, &p.op, &server);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    stream_close(client);
    stream_close(server);
    listener_close(l);
    conf_drop(&c);
}

void stream_listener_close_cancels_accept(void)
{
    struct conf c;
    struct addr addr;
    struct reactor_listener *l;
    struct reactor_stream *client, *server;
    struct probe p, q;

    conf_make(&c);
    for (int i = 0; i < 2; i++) {
        l = listen_at(&c, &addr);
        probe_init(&p, NULL);
        listener_accept(l, &p.op, &server);
        if (i)
            conf_settle(&c);
        listener_close(l);
        EXPECT(op_pending(&p.op));
        EXPECT_EQ(probe_wait(&c, &p), -ECANCELED);
        EXPECT(server == NULL);
    }
    /* A connection accepted but not handed over yet does not leak. */
    l = listen_at(&c, &addr);
    probe_init(&q, NULL);
    reactor_connect(c.r, &q.op, &addr, &client);
    EXPECT_EQ(probe_wait(&c, &q), 0);
    listener_accept(l, &p.op, &server);
    listener_close(l);
    EXPECT_EQ(probe_wait(&c, &p), -ECANCELED);
    EXPECT(server == NULL);
    stream_close(client);
    conf_drop(&c);
}

void stream_cancels_connect(void)
{
    struct conf c;
    struct addr addr;
    struct addr named = {
        .kind = ADDR_INET, .host = "name.invalid", .port = "80", .ipv4 = -1, .ipv6 = -1
    };
    struct reactor_listener *l;

    conf_make(&c);
    l = listen_at(&c, &addr);
    for (int i = 0; i < 4; i++) {
        struct reactor_stream *s;
        struct probe p;

        probe_init(&p, NULL);
        reactor_connect(c.r, &p.op, i % 2 ? &named : &addr, &s);
        if (i / 2)
            conf_settle(&c);
        op_cancel(&p.op);
        EXPECT(probe_wait(&c, &p) <= 0);
        EXPECT_EQ(p.op.result == 0, s != NULL);
        conf_settle(&c);
        EXPECT_EQ(p.calls, 1);
        stream_close(s);
    }
    listener_close(l);
    conf_drop(&c);
}

void stream_names(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    char *name;

    conf_make(&c);
    conf_streams(&c, s);
    name = stream_name(s[0], true);
    EXPECT_CONTAINS(name, "sock");
    EXPECT_CONTAINS(name, "unix:");
    free(name);
    name = stream_name(s[1], true);
    EXPECT(name != NULL);
    free(name);
    if (c.world)
        EXPECT_EQ(stream_fd(s[0]), -1);
    else
        EXPECT_GE(stream_fd(s[0]), 0);
    close_both(s);
    conf_drop(&c);
}

void stream_pair_works(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    char buf[4];

    conf_make(&c);
    REQUIRE(!reactor_stream_pair(c.r, s));
    EXPECT_EQ(write_bytes(&c, s[1], "ab", 2), 2);
    EXPECT_EQ(conf_read_all(&c, s[0], buf, 2), 2);
    EXPECT_MEM(buf, "ab", 2);
    EXPECT_EQ(write_bytes(&c, s[0], "cd", 2), 2);
    EXPECT_EQ(conf_read_all(&c, s[1], buf, 2), 2);
    EXPECT_MEM(buf, "cd", 2);
    stream_shutdown(s[1]);
    EXPECT_LE(read_bytes(&c, s[0], buf, 4), 0);
    close_both(s);
    conf_drop(&c);
}

/* Random sizes in both directions at once, checked by a running pattern. */
struct traffic {
    struct probe read, write;
    struct reactor_stream *stream;
    struct rng rng;
    struct iovec iov[3];
    uint8_t out[3][5000], in[5000];
    uint64_t sent, received, total;
};

static uint8_t pattern(uint64_t at) { return (uint8_t)(at * 7 + (at >> 8)); }

static void traffic_write(struct traffic *t)
{
    uint64_t at = t->sent;

    for (int i = 0; i < 3; i++) {
        size_t len = 1 + rng_below(&t->rng, sizeof(t->out[0]));

        if (len > t->total - at)
            len = t->total - at;
        for (size_t k = 0; k < len; k++)
            t->out[i][k] = pattern(at + k);
        t->iov[i] = (struct iovec){ t->out[i], len };
        at += len;
    }
    stream_writev(t->stream, &t->write.op, t->iov, 3);
}

static void traffic_wrote(struct op *op)
{
    struct traffic *t = container_of(op, struct traffic, write.op);

    t->write.calls++;
    EXPECT_EQ(op->result, t->iov[0].iov_len + t->iov[1].iov_len + t->iov[2].iov_len);
    t->sent += (uint64_t)op->result;
    if (op->result > 0 && t->sent < t->total)
        traffic_write(t);
}

static void traffic_read(struct traffic *t)
{
    stream_read(t->stream, &t->read.op, t->in, 1 + rng_below(&t->rng, sizeof(t->in)));
}

static void traffic_got(struct op *op)
{
    struct traffic *t = container_of(op, struct traffic, read.op);

    t->read.calls++;
    for (int64_t i = 0; i < op->result; i++) {
        if (t->in[i] != pattern(t->received + (uint64_t)i)) {
            TEST_FAIL("wrong byte %llu", (unsigned long long)t->received + (uint64_t)i);
            return;
        }
    }
    EXPECT_GT(op->result, 0);
    t->received += op->result > 0 ? (uint64_t)op->result : 0;
    if (op->result > 0 && t->received < t->total)
        traffic_read(t);
}

void stream_passes_random_traffic(void)
{
    struct conf c;
    static struct traffic t[2];
    struct reactor_stream *s[2];

    conf_make(&c);
    conf_streams(&c, s);
    memset(t, 0, sizeof(t));
    for (int i = 0; i < 2; i++) {
        t[i].read.op.done = traffic_got;
        t[i].write.op.done = traffic_wrote;
        t[i].stream = s[i];
        t[i].total = 1000000;
        rng_init(&t[i].rng, 40 + (unsigned)i);
        traffic_write(&t[i]);
        traffic_read(&t[i]);
    }
    while (reactor_ops_pending(c.r) > 0 && !test_has_failed())
        reactor_run_once(c.r, NS_PER_SEC);
    EXPECT_EQ(t[0].received, t[1].sent);
    EXPECT_EQ(t[1].received, t[0].sent);
    EXPECT_EQ(t[0].sent, 1000000);
    close_both(s);
    conf_drop(&c);
}
