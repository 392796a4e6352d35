/*
 * Sessions over pairs of simulated streams, which split and delay at will: what one end writes the other reads. The
 * oracle is the plain text; GnuTLS at both ends says whether they agree.
 */
#include "emu/crypto/tls_stream.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/crypto/authz.h"
#include "emu/reactor/sim.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

enum { DATA_BYTES = 700000, TURNS_MAX = 1000000 };

struct end {
    struct reactor_stream *stream;
    struct tls_creds *creds;
    struct err *err;
    bool over;
    struct op op;
};

struct world {
    struct sim *sim;
    struct reactor *reactor;
    struct objects *objects;
    struct end client, server;
};

static const struct object_type *const types[] = {
    &authz_list_type, &authz_simple_type, &tls_creds_anon_type, &tls_creds_psk_type, NULL,
};

static struct err *add(struct world *w, const char *text)
{
    CLEANUP(json_free) struct json *json = NULL;

    TRY(json_parse_text(text, &json));
    return objects_add(w->objects, json);
}

static void handshake_over(void *arg, struct err *err)
{
    struct end *end = arg;

    end->err = err;
    end->over = true;
}

static void ended(struct op *op) { (void)op; }

static void setup(struct world *w, uint64_t seed)
{
    const struct sim_options options = { .seed = seed, .split_streams = true };

    *w = (struct world){ .sim = sim_new(&options) };
    w->reactor = sim_reactor_new(w->sim);
    w->objects = objects_new(w->reactor, types);
    w->client.op.done = w->server.op.done = ended;
    EXPECT_OK(add(w, "{\"qom-type\":\"tls-creds-anon\",\"id\":\"c\",\"endpoint\":\"client\"}"));
    EXPECT_OK(add(w, "{\"qom-type\":\"tls-creds-anon\",\"id\":\"s\",\"endpoint\":\"server\"}"));
    EXPECT_OK(tls_creds_get(w->objects, "c", TLS_CLIENT, &w->client.creds));
    EXPECT_OK(tls_creds_get(w->objects, "s", TLS_SERVER, &w->server.creds));
}

static void start(struct world *w, const char *authz)
{
    struct reactor_stream *pair[2];

    EXPECT_OK(reactor_stream_pair(w->reactor, pair));
    EXPECT_OK(tls_start(pair[0], &(struct tls_options){ .creds = w->client.creds }, handshake_over,
                        &w->client, &w->client.stream));
    EXPECT_OK(tls_start(pair[1], &(struct tls_options){ .creds = w->server.creds, .authz = authz },
                        handshake_over, &w->server, &w->server.stream));
}

static void run_until(struct world *w, const bool *flag)
{
    for (unsigned i = 0; i < TURNS_MAX && !*flag; i++)
        reactor_run_once(w->reactor, -1);
    REQUIRE(*flag);
}

static void run_op(struct world *w, struct op *op)
{
    for (unsigned i = 0; i < TURNS_MAX && op_pending(op); i++)
        reactor_run_once(w->reactor, -1);
    REQUIRE(!op_pending(op));
}

static void teardown(struct world *w)
{
    stream_close(w->client.stream);
    stream_close(w->server.stream);
    while (reactor_ops_pending(w->reactor))
        reactor_run_once(w->reactor, -1);
    err_free(w->client.err);
    err_free(w->server.err);
    tls_creds_unref(w->client.creds);
    tls_creds_unref(w->server.creds);
    objects_free(w->objects);
    reactor_free(w->reactor);
    sim_free(w->sim);
}

static void what_one_end_writes_the_other_reads(void)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        uint8_t *data = xmalloc(DATA_BYTES), *in = xmalloc(DATA_BYTES);
        const struct iovec iov[] = { { data, 28 },
                                     { data + 28, 100000 },
                                     { data + 100028, 0 },
                                     { data + 100028, DATA_BYTES - 100028 } };
        size_t got = 0;
        struct world w;

        for (size_t i = 0; i < DATA_BYTES; i++)
            data[i] = (uint8_t)(i * 7 + i / 251 + seed);
        setup(&w, seed);
        start(&w, NULL);
        run_until(&w, &w.client.over);
        run_until(&w, &w.server.over);
        EXPECT_OK(w.client.err);
        EXPECT_OK(w.server.err);
        stream_writev(w.client.stream, &w.client.op, iov, ARRAY_LEN(iov));
        while (got < DATA_BYTES) {
            stream_read(w.server.stream, &w.server.op, in + got, DATA_BYTES - got);
            run_op(&w, &w.server.op);
            REQUIRE(w.server.op.result > 0);
            got += (size_t)w.server.op.result;
        }
        run_op(&w, &w.client.op);
        EXPECT_EQ(w.client.op.result, DATA_BYTES);
        EXPECT_MEM(in, data, DATA_BYTES);
        w.client.err = w.server.err = NULL;
        teardown(&w);
        xfree(data);
        xfree(in);
    }
}

static void a_cut_connection_is_no_end_of_stream(void)
{
    struct world w;
    uint8_t byte;

    setup(&w, 3);
    start(&w, NULL);
    run_until(&w, &w.client.over);
    run_until(&w, &w.server.over);
    stream_read(w.server.stream, &w.server.op, &byte, 1);
    stream_close(w.client.stream);
    w.client.stream = NULL;
    run_op(&w, &w.server.op);
    EXPECT_EQ(w.server.op.result, -EIO);
    EXPECT_STR(stream_error(w.server.stream),
               "Cannot read from TLS channel: The TLS connection was non-properly terminated.");
    teardown(&w);
}

static void closing_ends_a_session_at_any_time(void)
{
    for (unsigned turns = 0; turns < 60; turns++) {
        struct world w;
        uint8_t byte;

        setup(&w, turns + 1);
        start(&w, NULL);
        for (unsigned i = 0; i < turns && !(w.client.over && w.server.over); i++)
            reactor_run_once(w.reactor, 1000000);
        if (w.client.over && !w.client.err)
            stream_read(w.client.stream, &w.client.op, &byte, 1);
        stream_close(w.client.stream);
        w.client.stream = NULL;
        run_until(&w, &w.server.over);
        if (op_pending(&w.client.op))
            run_op(&w, &w.client.op);
        EXPECT(w.client.op.result == 0 || w.client.op.result == -ECANCELED);
        teardown(&w);
    }
}

static void who_is_not_authorized_is_refused(void)
{
    struct world w;

    setup(&w, 5);
    EXPECT_OK(add(&w, "{\"qom-type\":\"authz-simple\",\"id\":\"a\",\"identity\":\"me\"}"));
    start(&w, "a");
    run_until(&w, &w.server.over);
    EXPECT(w.server.err);
    EXPECT_STR(err_text(w.server.err), "TLS anon authz check for  is denied");
    teardown(&w);
}

static bool allowed(struct world *w, const char *identity)
{
    bool result = false;

    EXPECT_OK(authz_check(w->objects, "l", identity, &result));
    return result;
}

static void the_first_rule_that_matches_decides(void)
{
    struct world w;
    bool result;

    setup(&w, 6);
    EXPECT_OK(add(&w, "{\"qom-type\":\"authz-list\",\"id\":\"l\",\"policy\":\"deny\",\"rules\":["
                      "{\"match\":\"fred\",\"policy\":\"allow\"},"
                      "{\"match\":\"danb\",\"policy\":\"deny\",\"format\":\"exact\"},"
                      "{\"match\":\"dan*\",\"policy\":\"allow\",\"format\":\"glob\"},"
                      "{\"match\":\"*a?c*e\",\"policy\":\"allow\",\"format\":\"glob\"}]}"));
    EXPECT(allowed(&w, "fred") && !allowed(&w, "fre") && !allowed(&w, "danb"));
    EXPECT(allowed(&w, "dan") && allowed(&w, "danger") && !allowed(&w, "xdan"));
    EXPECT(allowed(&w, "xxabcyye") && allowed(&w, "aaacee") && !allowed(&w, "ace"));
    EXPECT_ERR(authz_check(w.objects, "nobody", "x", &result),
               "Cannot find QAuthZ object ID nobody");
    EXPECT_ERR(authz_check(w.objects, "c", "x", &result), "Object 'c' is not a QAuthZ subclass");
    EXPECT_ERR(tls_creds_get(w.objects, "l", TLS_CLIENT, &w.client.creds),
               "Object with id 'l' is not TLS credentials");
    EXPECT_ERR(tls_creds_get(w.objects, "s", TLS_CLIENT, &w.client.creds),
               "Expected TLS credentials for a client endpoint");
    EXPECT_ERR(add(&w, "{\"qom-type\":\"tls-creds-psk\",\"id\":\"p\"}"),
               "Missing 'dir' property value");
    EXPECT_ERR(add(&w, "{\"qom-type\":\"tls-creds-psk\",\"id\":\"p\",\"dir\":\"/nonexistent\"}"),
               "Unable to access credentials /nonexistent/keys.psk: No such file or directory");
    teardown(&w);
}

TEST_LIST(TEST(what_one_end_writes_the_other_reads), TEST(a_cut_connection_is_no_end_of_stream),
          TEST(closing_ends_a_session_at_any_time), TEST(who_is_not_authorized_is_refused),
          TEST(the_first_rule_that_matches_decides));
