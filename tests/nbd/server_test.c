/* The NBD server's side of scripted conversations: every option, every refusal (specs: section 2). */
#include <errno.h>
#include <string.h>

#include "emu/base/bytes.h"
#include "emu/base/nstime.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"
#include "tests/nbd/peer.h"

enum { DISK = 1 << 20 };

static struct nbd_env env;
static struct peer peer;

#define GREETING               "'NBDMAGICIHAVEOPT' 0003"
#define OPTION(number, len)    "'IHAVEOPT' 000000" number " " len " "
#define REP(option, type, len) "0003e889045565a9 000000" option " " type " " len " "
#define GO                     OPTION("07", "00000007") "00000001 'x' 0000"
#define REQ(flags, type, cookie, off, len)                                                         \
    "25609513 " flags " " type " 00000000000000" cookie " " off " " len " "
#define OFF0 "0000000000000000"

static void setup(bool writable)
{
    struct sim_options options = { .seed = 7, .split_streams = true };

    env_init_sim(&env, &options);
    sim_file_create(env.sim, "/disk", DISK);
    sim_file_poke(env.sim, "/disk", 4096, "data", 4);
    sim_file_poke(env.sim, "/disk", DISK / 2, "data", 4);
    env_open_ok(&env, "{'driver':'file','node-name':'disk','filename':'/disk'}");
    env_serve(&env, "/srv");
    env_export(&env, &(struct export_options){ .id = "e",
                                               .node_name = "disk",
                                               .name = "x",
                                               .writable = writable,
                                               .description = "hi" });
    peer_connect(&peer, &env, "/srv");
    peer_expect(&peer, GREETING);
}

static void teardown(void)
{
    peer_close(&peer);
    env_fini(&env);
}

/* Takes the answer to GO: description, block sizes, export with these flags, ACK. */
static void expect_go(const char *flags)
{
    peer_expect(&peer, REP("07", "00000003", "00000004") "0002 'hi'");
    peer_expect(&peer, REP("07", "00000003", "0000000e") "0003 00000001 00001000 02000000");
    peer_expect(&peer, REP("07", "00000003", "0000000c") "0000 0000000000100000");
    peer_expect(&peer, flags);
    peer_expect(&peer, REP("07", "00000001", "00000000"));
}

static void start(bool writable, bool structured)
{
    setup(writable);
    peer_send_text(&peer, "00000003");
    if (structured) {
        peer_send_text(&peer, OPTION("08", "00000000"));
        peer_expect(&peer, REP("08", "00000001", "00000000"));
    }
    peer_send_text(&peer, GO);
    expect_go(writable ? structured ? "0ded" : "0d6d" : structured ? "058f" : "050f");
}

static void options_are_answered_one_by_one(void)
{
    setup(true);
    peer_send_text(&peer, "00000003" OPTION("63", "00000002") "abcd" OPTION("05", "00000000")
                              OPTION("03", "00000000"));
    peer_expect(&peer, REP("63", "80000001", "00000021") "'Unsupported option 99 (<unknown>)'");
    peer_expect(&peer, REP("05", "80000002", "00000012") "'TLS not configured'");
    peer_expect(&peer, REP("03", "00000002", "00000007") "00000001 'xhi'" REP("03", "00000001",
                                                                              "00000000"));
    peer_send_text(&peer, OPTION("02", "00000000"));
    peer_expect(&peer, REP("02", "00000001", "00000000"));
    EXPECT(peer_at_end(&peer));
    teardown();
}

static void structured_replies_are_negotiated_once(void)
{
    setup(true);
    peer_send_text(&peer, "00000003" OPTION("08", "00000000") OPTION("08", "00000000"));
    peer_expect(&peer, REP("08", "00000001", "00000000"));
    peer_expect(&peer, REP("08", "80000003", "00000023") "'structured reply already negotiated'");
    teardown();
}

static void unknown_exports_are_refused_and_may_be_asked_again(void)
{
    setup(true);
    peer_send_text(&peer, "00000003" OPTION("07", "00000007") "00000001 'y' 0000" GO);
    peer_expect(&peer, REP("07", "80000006", "00000016") "'export ' 27 'y' 27 ' not present'");
    expect_go("0d6d");
    teardown();
}

static void meta_contexts_are_chosen(void)
{
    setup(true);
    peer_send_text(&peer, "00000003" OPTION("08", "00000000"));
    peer_expect(&peer, REP("08", "00000001", "00000000"));
    peer_send_text(
        &peer,
        OPTION("0a", "00000020") "00000001 'x' 00000002 0000000f 'base:allocation' 00000000");
    peer_expect(&peer, REP("0a", "00000004", "00000013") "00000000 'base:allocation'" REP(
                           "0a", "00000001", "00000000"));
    peer_send_text(&peer, OPTION("09", "00000009") "00000001 'x' 00000000");
    peer_expect(&peer, REP("09", "00000004", "00000013") "00000000 'base:allocation'" REP(
                           "09", "00000001", "00000000"));
    peer_send_text(&peer, GO);
    expect_go("0ded");
    peer_send_text(&peer, REQ("0000", "0007", "05", OFF0, "00100000"));
    EXPECT_EQ(load_be32(peer_take(&peer, 4)), 0x668e33ef);
    peer_expect(&peer, "0001 0005 0000000000000005");
    teardown();
}

static void block_status_tells_data_from_holes(void)
{
    uint8_t reply[64];
    uint32_t len;

    setup(true);
    peer_send_text(
        &peer, "00000003" OPTION("08", "00000000")
                   OPTION("0a", "0000001c") "00000001 'x' 00000001 0000000f 'base:allocation'" GO);
    peer_take(&peer, 20 + 20 + 19 + 20);
    expect_go("0ded");
    peer_send_text(&peer, REQ("0008", "0007", "05", "0000000000040000", "000c0000"));
    memcpy(reply, peer_take(&peer, 32), 32);
    len = load_be32(reply + 24);
    EXPECT(len > 0 && len <= DISK / 4);
    EXPECT_EQ(load_be32(reply + 28), 3); /* HOLE and ZERO */
    peer_send_text(&peer, REQ("0008", "0007", "06", "0000000000080000", "00001000"));
    memcpy(reply, peer_take(&peer, 32), 32);
    EXPECT_EQ(load_be32(reply + 28), 0);
    teardown();
}

static void export_name_without_no_zeroes_is_padded(void)
{
    const uint8_t *pad;

    setup(true);
    peer_send_text(&peer, "00000001" OPTION("01", "00000001") "'x'");
    peer_expect(&peer, "0000000000100000 0d6d");
    pad = peer_take(&peer, 124);
    for (int i = 0; i < 124; i++)
        EXPECT_EQ(pad[i], 0);
    teardown();
}

static void bad_beginnings_end_the_connection(void)
{
    static const char *const scripts[] = {
        "00000004",                                /* A flag nobody knows. */
        "00000003 'IHAVEOPX' 00000003 00000000",   /* Magic. */
        "00000003" OPTION("01", "00000001") "'y'", /* EXPORT_NAME of nothing. */
        "00000003" OPTION("03", "7fffffff"),       /* An endless option. */
        "00000000" OPTION("03", "00000000"),       /* Not fixed newstyle, yet an option. */
    };

    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        test_note("script %zu", i);
        setup(true);
        peer_send_text(&peer, scripts[i]);
        EXPECT(peer_at_end(&peer));
        teardown();
    }
}

static void slow_handshakes_end(void)
{
    setup(true);
    peer_send_text(&peer, "0000");
    sim_run_for(env.sim, 9 * NS_PER_SEC);
    EXPECT(!peer.closed);
    sim_run_for(env.sim, 2 * NS_PER_SEC);
    EXPECT(peer.closed);
    teardown();
}

static void plain_requests_get_simple_replies(void)
{
    start(true, false);
    peer_send_text(&peer, REQ("0000", "0000", "01", "0000000000001000", "00000004"));
    peer_expect(&peer, "67446698 00000000 0000000000000001 'data'");
    peer_send_text(&peer, REQ("0001", "0001", "02", OFF0, "00000003") "'abc'");
    peer_expect(&peer, "67446698 00000000 0000000000000002");
    peer_send_text(&peer, REQ("0000", "0000", "03", OFF0, "00000004"));
    peer_expect(&peer, "67446698 00000000 0000000000000003 'abc' 00");
    peer_send_text(&peer, REQ("0000", "0003", "04", OFF0, "00000000")
                              REQ("0000", "0002", "05", OFF0, "00000000"));
    peer_expect(&peer, "67446698 00000000 0000000000000004");
    EXPECT(peer_at_end(&peer));
    teardown();
}

/* Errors leave the connection in order: a good request follows each. */
static void bad_requests_are_refused_in_order(void)
{
    static const struct {
        const char *request, *error;
    } rows[] = {
        { REQ("0000", "0063", "01", OFF0, "00000000"), "00000016" },
        { REQ("0000", "0000", "01", "00000000000ffffe", "00000004"), "00000016" },
        { REQ("0000", "0001", "01", "00000000000ffffe", "00000004") "'abcd'", "0000001c" },
        { REQ("0000", "0000", "01", OFF0, "02000001"), "00000016" },
        { REQ("0080", "0000", "01", OFF0, "00000001"), "00000016" },
        { REQ("0002", "0001", "01", OFF0, "00000004") "'abcd'", "00000016" },
        { REQ("0000", "0004", "01", "ffffffffffffffff", "00000004"), "00000016" },
        { REQ("0000", "0007", "01", OFF0, "00001000"), "00000016" },
    };

    start(true, false);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        test_note("row %zu", i);
        peer_send_text(&peer, rows[i].request);
        peer_expect(&peer, "67446698");
        peer_expect(&peer, rows[i].error);
        peer_expect(&peer, "0000000000000001");
        peer_send_text(&peer, REQ("0000", "0000", "02", "0000000000001000", "00000004"));
        peer_expect(&peer, "67446698 00000000 0000000000000002 'data'");
    }
    teardown();
}

static void read_only_exports_refuse_writes(void)
{
    start(false, false);
    peer_send_text(&peer, REQ("0000", "0001", "01", OFF0,
                              "00000004") "'abcd'" REQ("0000", "0006", "02", OFF0, "00000004"));
    peer_expect(&peer, "67446698 00000001 0000000000000001 67446698 00000001 0000000000000002");
    teardown();
}

static void structured_reads_say_holes(void)
{
    start(true, true);
    peer_send_text(&peer, REQ("0000", "0000", "01", "0000000000002000", "00002000"));
    peer_expect(&peer, "668e33ef 0001 0002 0000000000000001 0000000c 0000000000002000 00002000");
    peer_send_text(&peer, REQ("0004", "0000", "02", "0000000000001000", "00000004"));
    peer_expect(&peer, "668e33ef 0001 0001 0000000000000002 0000000c 0000000000001000 'data'");
    peer_send_text(&peer, REQ("0000", "0000", "03", "0000000000100000", "00000004"));
    peer_expect(&peer,
                "668e33ef 0001 8001 0000000000000003 00000018 00000016 0012 'operation past EOF'");
    teardown();
}

static void a_wrong_request_magic_ends_the_connection(void)
{
    start(true, false);
    peer_send_text(&peer, "25609514 0000 0000 0000000000000001 0000000000000000 00000001");
    EXPECT(peer_at_end(&peer));
    teardown();
}

static void count_end(void *arg, struct err *err)
{
    EXPECT_OK(err);
    ++*(int *)arg;
}

static void exports_in_use_are_deleted_only_hard(void)
{
    int ended = 0;

    start(true, false);
    EXPECT_ERR(export_del(env.exports, "e", EXPORT_DEL_SAFE, count_end, &ended),
               "export 'e' still in use");
    EXPECT_ERR(export_del(env.exports, "f", EXPORT_DEL_HARD, count_end, &ended),
               "Export 'f' is not found");
    EXPECT_OK(export_del(env.exports, "e", EXPORT_DEL_HARD, count_end, &ended));
    EXPECT(peer_at_end(&peer));
    env_run_idle(&env);
    EXPECT(list_empty(&env.exports->list));
    EXPECT_EQ(ended, 1);
    teardown();
}

/* A connection that is cut in the middle of a payload gives everything back. */
static void a_half_written_payload_does_not_keep_the_export(void)
{
    static const uint8_t zeroes[8192];

    for (int lens = 0; lens < 2; lens++) {
        int ended = 0;

        start(true, false);
        peer_send_text(&peer, lens ? REQ("0000", "0001", "01", OFF0, "00010000")
                                   : REQ("0000", "0001", "01", OFF0, "00003000"));
        peer_send(&peer, zeroes, sizeof(zeroes));
        env_run_idle(&env);
        EXPECT_OK(export_del(env.exports, "e", EXPORT_DEL_HARD, count_end, &ended));
        env_run_idle(&env);
        EXPECT(list_empty(&env.exports->list));
        teardown();
    }
}

TEST_LIST(TEST(a_half_written_payload_does_not_keep_the_export),
          TEST(block_status_tells_data_from_holes), TEST(structured_replies_are_negotiated_once),
          TEST(meta_contexts_are_chosen), TEST(export_name_without_no_zeroes_is_padded),
          TEST(bad_beginnings_end_the_connection), TEST(slow_handshakes_end),
          TEST(plain_requests_get_simple_replies), TEST(bad_requests_are_refused_in_order),
          TEST(read_only_exports_refuse_writes), TEST(structured_reads_say_holes),
          TEST(a_wrong_request_magic_ends_the_connection),
          TEST(exports_in_use_are_deleted_only_hard), TEST(options_are_answered_one_by_one),
          TEST(unknown_exports_are_refused_and_may_be_asked_again));
