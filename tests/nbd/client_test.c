/*
 * The NBD client against servers that say what a script tells them: refusals and their texts, broken
 * replies, and yanking and fencing in every phase.
 */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/base/nstime.h"
#include "emu/storage/drivers/nbd/handshake.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"
#include "tests/nbd/peer.h"

static struct nbd_env env;
static struct peer peer;
static struct node *opened_node;
static struct err *open_error;
static bool open_done;

#define GREETING               "'NBDMAGICIHAVEOPT' 0003"
#define REP(option, type, len) "0003e889045565a9 000000" option " " type " " len " "
#define NO_STRUCTURED          REP("08", "80000001", "00000000")
#define INFO(size, flags)      REP("07", "00000003", "0000000c") "0000 " size " " flags
#define GO_ACK                 REP("07", "00000001", "00000000")
#define STRUCTURED                                                                                 \
    REP("08", "00000001", "00000000")                                                              \
    REP("0a", "00000004", "00000013") "00000007 'base:allocation'" REP("0a", "00000001", "00000000")
#define MIB "0000000000100000"

/* ---- The handshake by itself ---- */

static unsigned hex_value(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

static size_t parse_hex(const char *text, uint8_t *out)
{
    size_t n = 0;

    for (; *text; text++) {
        if (*text == '\'')
            for (text++; *text != '\''; text++)
                out[n++] = (uint8_t)*text;
        else if (*text != ' ') {
            out[n++] = (uint8_t)(hex_value(text[0]) << 4 | hex_value(text[1]));
            text++;
        }
    }
    return n;
}

/* Feeds a script; at its end the stream breaks. Returns the text of the error, or NULL. */
static struct err *shake(const char *script, struct nbd_export_info *info)
{
    uint8_t bytes[4096];
    size_t len = parse_hex(script, bytes), pos = 0;
    struct nbd_handshake hs;
    struct err *err;

    nbd_handshake_init(&hs, "exp", "base:allocation", false);
    while (!nbd_handshake_over(&hs)) {
        size_t need = nbd_handshake_need(&hs);

        if (need > len - pos) {
            nbd_handshake_broken(&hs, 0, NULL);
            break;
        }
        nbd_handshake_input(&hs, bytes + pos);
        pos += need;
    }
    err = hs.err;
    hs.err = NULL;
    *info = hs.info;
    nbd_handshake_fini(&hs);
    return err;
}

static void refusals_have_the_reference_texts(void)
{
    static const struct {
        const char *script, *text;
    } rows[] = {
        { "", "Failed to read initial magic: Unexpected end-of-file before all data were read" },
        { "'XXXXXXXX'", "Bad initial magic received: 0x5858585858585858" },
        { "'NBDMAGICXXXXXXXX'", "Bad server magic received: 0x5858585858585858" },
        { GREETING REP("4d", "00000001", "00000000"),
          "Unexpected option type 77 (<unknown>), expected 8 (structured reply)" },
        { GREETING "58585858 58585858 58585858 58585858 58585858",
          "Unexpected option reply magic" },
        { GREETING NO_STRUCTURED REP("07", "80000006", "00000000"),
          "Requested export not available" },
        { GREETING NO_STRUCTURED REP("07", "80000002", "00000005") "'hello'",
          "Denied by server for option 7 (go)" },
        { GREETING NO_STRUCTURED REP("07", "80000003", "00000000"),
          "Invalid parameters for option 7 (go)" },
        { GREETING NO_STRUCTURED REP("07", "80000004", "00000000"),
          "Server lacks support for option 7 (go)" },
        { GREETING NO_STRUCTURED REP("07", "80000005", "00000000"),
          "TLS negotiation required before option 7 (go)" },
        { GREETING NO_STRUCTURED REP("07", "80000007", "00000000"),
          "Server shutting down before option 7 (go)" },
        { GREETING NO_STRUCTURED REP("07", "80000055", "00000000"),
          "Unknown error code when asking for option 7 (go)" },
        { GREETING NO_STRUCTURED GO_ACK, "broken server omitted NBD_INFO_EXPORT" },
        { GREETING NO_STRUCTURED REP("07", "00000005", "00000000"),
          "unexpected reply type 5 (<unknown>), expected 3 (info)" },
        { GREETING NO_STRUCTURED REP("07", "00000003", "00000003") "0000 00",
          "remaining export info len 1 is unexpected size" },
        { GREETING NO_STRUCTURED REP("07", "00000003",
                                     "0000000e") "0003 00000003 00001000 02000000",
          "server minimum block size 3 is not a power of two" },
        { GREETING NO_STRUCTURED REP("07", "00000003",
                                     "0000000e") "0003 00000001 00000003 02000000",
          "server preferred block size 3 is not valid" },
        { GREETING NO_STRUCTURED REP("07", "00000003",
                                     "0000000e") "0003 00000200 00000200 00000064",
          "server maximum block size 100 is not valid" },
        { GREETING NO_STRUCTURED REP(
              "07", "00000003",
              "0000000e") "0003 00001000 00001000 02000000" INFO("0000000000001388", "0001") GO_ACK,
          "export size 5000 is not multiple of minimum block size 4096" },
        { GREETING REP("08", "00000002", "00000000"),
          "Server answered option 8 (structured reply) with unexpected reply 2 (server)" },
        { GREETING REP("08", "00000001", "00000000")
              REP("0a", "00000004", "00000013") "00000000 'base:allocatiox'",
          "Failed to negotiate meta context 'base:allocation', server answered with different context "
          "'base:allocatiox'" },
    };
    struct nbd_export_info info;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        test_note("row %zu", i);
        EXPECT_ERR(shake(rows[i].script, &info), rows[i].text);
    }
}

static void servers_without_go_are_asked_by_name(void)
{
    struct nbd_export_info info;

    EXPECT_OK(shake(GREETING NO_STRUCTURED REP("07", "80000001", "00000000") MIB "0001", &info));
    EXPECT_EQ(info.size, 1 << 20);
    EXPECT(!info.structured);
    EXPECT_OK(shake(GREETING STRUCTURED INFO(MIB, "0001") GO_ACK, &info));
    EXPECT(info.structured && info.has_context);
    EXPECT_EQ(info.context_id, 7);
}

/* ---- On a connection ---- */

static void node_opened(void *arg, struct node *node, struct err *err)
{
    open_done = true;
    opened_node = node;
    open_error = err;
}

static void begin_open(void)
{
    struct json *options = json_object();
    struct json *server = json_object();

    json_object_set_str(server, "type", "unix");
    json_object_set_str(server, "path", "/peer");
    json_object_set_str(options, "driver", "nbd");
    json_object_set_str(options, "node-name", "n");
    json_object_set(options, "server", server);
    open_done = false;
    node_open(env.graph, options, NODE_OPEN_MONITOR, node_opened, NULL);
    json_free(options);
}

static void setup(void)
{
    struct sim_options options = { .seed = 3, .split_streams = true };

    env_init_sim(&env, &options);
    peer_listen(&peer, &env, "/peer");
    begin_open();
}

static struct edge *setup_open(bool structured, const char *flags)
{
    setup();
    peer_send_text(&peer, GREETING);
    peer_send_text(&peer, structured ? STRUCTURED : NO_STRUCTURED);
    peer_send_text(&peer, REP("07", "00000003", "0000000c") "0000 " MIB);
    peer_send_text(&peer, flags);
    peer_send_text(&peer, GO_ACK);
    REQUIRE(env_run_until(&env, &open_done));
    REQUIRE_OK(open_error);
    env_run_idle(&env);
    str_clear(&peer.in);
    return env_attach(opened_node, true);
}

static void teardown(struct edge *edge)
{
    if (edge)
        edge_detach(edge);
    peer_close(&peer);
    env_fini(&env);
}

static void yank_node(void)
{
    struct qapi_yank_instance_list list = { 0 };
    struct qapi_yank_instance *instance = qapi_yank_instance_list_add(&list);

    instance->type = QAPI_YANK_INSTANCE_TYPE_BLOCK_NODE;
    instance->u.block_node.node_name = xstrdup("n");
    EXPECT_OK(yank_run(env.yank, &list));
    qapi_yank_instance_list_fini(&list);
}

static bool yankable(void)
{
    struct qapi_yank_instance_list list = { 0 };
    bool any;

    yank_query(env.yank, &list);
    any = list.len > 0;
    qapi_yank_instance_list_fini(&list);
    return any;
}

static void an_absent_server_is_named(void)
{
    struct sim_options options = { .seed = 3 };
    struct err *err;

    env_init_sim(&env, &options);
    EXPECT(!env_open(
        &env, "{'driver':'nbd','node-name':'n','server':{'type':'unix','path':'/nope'}}", &err));
    EXPECT_CONTAINS(err_text(err), "Failed to connect to '/nope'");
    err_free(err);
    EXPECT(!env_open(&env, "{'driver':'nbd','node-name':'n'}", &err));
    EXPECT_ERR(err, "NBD server address missing");
    env_fini(&env);
}

static void yank_ends_an_open_in_every_phase(void)
{
    static const char *const scripts[] = { NULL,
                                           "",
                                           "'NBDMAGIC'",
                                           GREETING,
                                           GREETING NO_STRUCTURED,
                                           GREETING NO_STRUCTURED INFO(MIB, "0001") };

    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        test_note("script %zu", i);
        setup();
        if (scripts[i]) {
            peer_send_text(&peer, scripts[i]);
            env_run_idle(&env);
        }
        while (!yankable()) /* The open begins from the loop. */
            REQUIRE(sim_step(env.sim));
        EXPECT(!open_done);
        yank_node();
        EXPECT(env_run_until(&env, &open_done));
        EXPECT(!opened_node);
        err_free(open_error);
        teardown(NULL);
    }
}

static struct req req;
static bool req_over;
static unsigned req_completions;
static uint8_t data[65536];
static struct iovec data_iov;

static void req_ended(struct req *r)
{
    req_over = true;
    req_completions++;
}

static void submit(struct edge *edge, enum req_kind kind, uint64_t len)
{
    data_iov = (struct iovec){ data, len };
    req =
        (struct req){ .kind = kind, .len = len, .data = iov_view(&data_iov, 1), .done = req_ended };
    req_over = false;
    req_completions = 0;
    edge_submit(edge, &req);
}

/* Replies to a read of 512 bytes at 0, the first request, whose cookie is 0x40. */
static void broken_replies_fail_the_request(void)
{
    static const char *const scripts[] = {
        "67446699 00000000 0000000000000040",                                     /* Magic. */
        "668e33ef 0001 0002 0000000000000080 0000000c 0000000000000000 00000200", /* Slot of another. */
        "67446698 00000000 0000000000000041",                                     /* Cookie. */
        "67446698 00000000 0000000000000040",                            /* Simple for a read. */
        "668e33ef 0001 0003 0000000000000040 00000000",                  /* Unknown content. */
        "668e33ef 0001 0000 0000000000000040 00000000",                  /* Nothing was sent. */
        "668e33ef 0000 0000 0000000000000040 00000000",                  /* NONE without DONE. */
        "668e33ef 0001 0001 0000000000000040 00000008 0000000000000000", /* No data. */
        "668e33ef 0001 0002 0000000000000040 0000000c 0000000000000000 00000201", /* Beyond the end. */
        /* Twice. */
        ("668e33ef 0000 0002 0000000000000040 0000000c 0000000000000000 00000200"
         "668e33ef 0001 0002 0000000000000040 0000000c 0000000000000000 00000200"),
        "668e33ef 0001 0002 0000000000000040 0000000c 0000000000000000 00000100",  /* Half. */
        "668e33ef 0001 0005 0000000000000040 0000000c 00000007 00000200 00000000", /* Status. */
        "668e33ef 0001 8001 0000000000000040 00000006 00000000 0000",              /* Error 0. */
        "668e33ef 0001 8001 0000000000000040 00000006 00000005 0001", /* Text too long. */
    };

    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct edge *edge = setup_open(true, "0001");

        test_note("script %zu", i);
        submit(edge, REQ_READ, 512);
        peer_take(&peer, 28);
        peer_send_text(&peer, scripts[i]);
        EXPECT(env_run_until(&env, &req_over));
        EXPECT_EQ(req.result, -EIO);
        EXPECT_EQ(env_rw(&env, edge, REQ_READ, 0, data, 512), -EIO);
        teardown(edge);
    }
}

static void errors_of_the_server_arrive(void)
{
    struct edge *edge = setup_open(true, "006d");

    submit(edge, REQ_READ, 512);
    peer_take(&peer, 28);
    peer_send_text(&peer, "668e33ef 0000 8044 0000000000000040 00000002 abcd"
                          "668e33ef 0001 0000 0000000000000040 00000000");
    EXPECT(env_run_until(&env, &req_over));
    EXPECT_EQ(req.result, -EINVAL);
    submit(edge, REQ_WRITE, 512);
    peer_take(&peer, 28 + 512);
    peer_send_text(&peer, "67446698 0000001c 0000000000000080");
    EXPECT(env_run_until(&env, &req_over));
    EXPECT_EQ(req.result, -ENOSPC);
    teardown(edge);
}

static void pieces_may_come_in_any_order(void)
{
    struct edge *edge = setup_open(true, "0001");

    submit(edge, REQ_READ, 512);
    memset(data, 0xff, 512);
    peer_take(&peer, 28);
    peer_send_text(&peer, "668e33ef 0000 0002 0000000000000040 0000000c 0000000000000004 000001fc"
                          "668e33ef 0000 0001 0000000000000040 0000000a 0000000000000002 'cd'"
                          "668e33ef 0001 0001 0000000000000040 0000000a 0000000000000000 'ab'");
    EXPECT(env_run_until(&env, &req_over));
    EXPECT_EQ(req.result, 0);
    EXPECT_MEM(data, "abcd\0\0", 6);
    teardown(edge);
}

static void one_status_reply_answers_many_requests(void)
{
    struct edge *edge = setup_open(true, "006d");

    submit(edge, REQ_STATUS, 4096);
    EXPECT_EQ(load_be16(peer_take(&peer, 28) + 6), 7);
    peer_send_text(
        &peer,
        "668e33ef 0001 0005 0000000000000040 00000014 00000007 00000200 00000000 000ffe00 00000003");
    EXPECT(env_run_until(&env, &req_over));
    EXPECT_EQ(req.status.len, 512);
    EXPECT(req.status.flags & STATUS_DATA);
    req = (struct req){ .kind = REQ_STATUS, .offset = 512, .len = 1 << 19 };
    EXPECT_EQ(env_io(&env, edge, &req), 0);
    EXPECT_EQ(req.status.len, 1 << 19);
    EXPECT(req.status.flags & STATUS_ZERO);
    teardown(edge);
}

/* What the peer never takes or never answers ends at once, exactly once. */
static void fence_and_yank_end_what_is_stuck(void)
{
    for (int round = 0; round < 8; round++) {
        struct edge *edge = setup_open(round & 1, "006d");

        test_note("round %d", round);
        if (round & 4)
            sim_stream_stall(env.sim, "/peer", true); /* Half written. */
        submit(edge, round & 4 ? REQ_WRITE : REQ_READ, sizeof(data));
        env_run_idle(&env);
        EXPECT(!req_over);
        if (!(round & 4)) /* Half read. */
            peer_send_text(&peer,
                           round & 1
                               ? "668e33ef 0001 0001 0000000000000040 00010008 0000000000000000 00"
                               : "67446698 00000000 0000000000000040 0000");
        if (round & 2)
            yank_node();
        else
            node_fence(edge->node);
        EXPECT(env_run_until(&env, &req_over));
        EXPECT_EQ(req.result, -EIO);
        EXPECT_EQ(req_completions, 1);
        sim_release(env.sim, NULL);
        teardown(edge);
    }
}

TEST_LIST(TEST(refusals_have_the_reference_texts), TEST(servers_without_go_are_asked_by_name),
          TEST(an_absent_server_is_named), TEST(yank_ends_an_open_in_every_phase),
          TEST(broken_replies_fail_the_request), TEST(errors_of_the_server_arrive),
          TEST(pieces_may_come_in_any_order), TEST(one_status_reply_answers_many_requests),
          TEST(fence_and_yank_end_what_is_stuck));
