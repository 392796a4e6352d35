/* The other end of an NBD connection. */
#include "tests/nbd/peer.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "tests/harness/expect_err.h"

static void read_more(struct peer *p);

static void got(struct op *op)
{
    struct peer *p = container_of(op, struct peer, rx_op);

    if (op->result <= 0) {
        p->closed = true;
        return;
    }
    str_addn(&p->in, p->buf, (size_t)op->result);
    read_more(p);
}

static void read_more(struct peer *p)
{
    p->rx_op.done = got;
    stream_read(p->stream, &p->rx_op, p->buf, sizeof(p->buf));
}

static void opened(struct op *op)
{
    struct peer *p = container_of(op, struct peer, open_op);

    if (op->result < 0)
        return;
    p->open = true;
    read_more(p);
}

void peer_connect(struct peer *p, struct nbd_env *env, const char *path)
{
    struct addr addr = { .kind = ADDR_UNIX, .path = path };

    *p = (struct peer){ .env = env };
    p->open_op.done = opened;
    reactor_connect(env->reactor, &p->open_op, &addr, &p->stream);
    REQUIRE(env_run_until(env, &p->open));
}

void peer_listen(struct peer *p, struct nbd_env *env, const char *path)
{
    struct addr addr = { .kind = ADDR_UNIX, .path = path };

    *p = (struct peer){ .env = env };
    REQUIRE_OK(reactor_listen(env->reactor, &addr, 1, &p->listener));
    p->open_op.done = opened;
    listener_accept(p->listener, &p->open_op, &p->stream);
}

static void sent(struct op *op) { container_of(op, struct peer, tx_op)->sent = true; }

void peer_send(struct peer *p, const void *bytes, size_t len)
{
    struct iovec iov = { (void *)bytes, len };

    REQUIRE(env_run_until(p->env, &p->open));
    p->sent = false;
    p->tx_op.done = sent;
    stream_writev(p->stream, &p->tx_op, &iov, 1);
    REQUIRE(env_run_until(p->env, &p->sent));
}

static unsigned digit(char c)
{
    const char *digits = "0123456789abcdef", *at = strchr(digits, c);

    REQUIRE(c && at);
    return (unsigned)(at - digits);
}

static struct str parse(const char *hex)
{
    struct str out = { 0 };

    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        if (*hex == '\'') {
            for (hex++; *hex != '\''; hex++)
                str_addc(&out, *hex);
            continue;
        }
        str_addc(&out, (char)(digit(hex[0]) << 4 | digit(hex[1])));
        hex++;
    }
    return out;
}

void peer_send_text(struct peer *p, const char *hex)
{
    struct str bytes = parse(hex);

    peer_send(p, bytes.data, bytes.len);
    str_fini(&bytes);
}

const uint8_t *peer_take(struct peer *p, size_t len)
{
    static uint8_t out[65536];

    for (int i = 0; i < 2000 && p->in.len < len && !p->closed; i++) {
        if (p->env->sim)
            sim_run_for(p->env->sim, 1000000);
        else
            reactor_run_once(p->env->reactor, 1000000);
    }
    REQUIRE(len <= sizeof(out));
    memset(out, 0xee, len);
    EXPECT_MSG(p->in.len >= len, "only %zu of %zu bytes came", p->in.len, len);
    len = MIN(len, p->in.len);
    memcpy(out, str_cstr(&p->in), len);
    memmove(p->in.data, p->in.data + len, p->in.len - len);
    p->in.len -= len;
    return out;
}

void peer_expect(struct peer *p, const char *hex)
{
    struct str want = parse(hex);

    EXPECT_MEM(peer_take(p, want.len), want.data, want.len);
    str_fini(&want);
}

bool peer_at_end(struct peer *p) { return env_run_until(p->env, &p->closed) && p->in.len == 0; }

void peer_close(struct peer *p)
{
    if (p->stream)
        stream_close(p->stream);
    listener_close(p->listener);
    env_run_idle(p->env);
    str_fini(&p->in);
}
