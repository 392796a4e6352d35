/* Conversations of one or more clients with their sessions: every text of the wire, and order. */
#include "emu/qmp/session.h"

#include "emu/base/attrs.h"
#include "emu/base/json.h"
#include "emu/base/json_parse.h"
#include "emu/qmp/qmp_job.h" // Generated.
#include "emu/qmp/testing/rig.h"
#include "tests/harness/test.h"

static void raise_event(struct rig *rig, char *id)
{
    struct qapi_job_status_change_event e = { .id = id, .status = QAPI_JOB_STATUS_READY };

    qapi_event_job_status_change(rig->events, &e);
}

static void greets_and_negotiates(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 1);
    client_connect(&c, &rig, CLIENT_RAW);
    EXPECT_STR(client_line(&c),
               "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 0, \"major\": 10}, "
               "\"package\": \"rig\"}, \"capabilities\": [\"oob\"]}}");
    EXPECT_STR(client_ask(&c, "{\"execute\": \"query-version\", \"id\": 1}"),
               "{\"id\": 1, \"error\": {\"class\": \"CommandNotFound\", \"desc\": "
               "\"Expecting capabilities negotiation with 'qmp_capabilities'\"}}");
    EXPECT_STR(client_ask(&c, "{'execute':'nope'}"),
               "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": "
               "\"Expecting capabilities negotiation with 'qmp_capabilities'\"}}");
    EXPECT_STR(client_ask(&c, "{'execute':'qmp_capabilities','arguments':{'enable':['foo']}}"),
               "{\"error\": {\"class\": \"GenericError\", \"desc\": "
               "\"Parameter 'null' does not accept value 'foo'\"}}");
    EXPECT_STR(
        client_ask(&c, "{'execute':'qmp_capabilities','arguments':{'enable':['oob','oob']}}"),
        "{\"return\": {}}");
    EXPECT_STR(client_ask(&c, "{'execute':'qmp_capabilities','id':'x'}"),
               "{\"id\": \"x\", \"error\": {\"class\": \"CommandNotFound\", \"desc\": "
               "\"Capabilities negotiation is already complete, command ignored\"}}");
    client_close(&c);
    rig_fini(&rig);
}

/* What a negotiated client sends, and what is wrong with it. */
static const struct {
    const char *in, *class, *desc;
} wrong[] = {
    { "[]", "GenericError", "QMP input must be a JSON object" },
    { "5\n", "GenericError", "QMP input must be a JSON object" },
    { "{}", "GenericError", "QMP input lacks member 'execute'" },
    { "{'execute':1}", "GenericError", "QMP input member 'execute' must be a string" },
    { "{'execute':'query-version','arguments':[]}", "GenericError",
      "QMP input member 'arguments' must be an object" },
    { "{'execute':'query-version','arguments':null}", "GenericError",
      "QMP input member 'arguments' must be an object" },
    { "{'execute':'query-version','foo':1}", "GenericError",
      "QMP input member 'foo' is unexpected" },
    { "{'execute':'query-version','control':{'run-oob':true}}", "GenericError",
      "QMP input member 'control' is unexpected" },
    { "{'exec-oob':'query-yank'}", "GenericError", "QMP input member 'exec-oob' is unexpected" },
    { "{'execute':'nope'}", "CommandNotFound", "The command nope has not been found" },
    { "{'execute':'quit'}", "CommandNotFound", "The command quit has not been found" },
    { "{'execute':'query-version','arguments':{'a':1}}", "GenericError",
      "Parameter 'a' is unexpected" },
    { "{'execute':'job-resume'}", "GenericError", "Parameter 'id' is missing" },
    { "{'execute':'job-resume','arguments':{'id':1}}", "GenericError",
      "Invalid parameter type for 'id', expected: string" },
    { "{'execute':'block-job-set-speed','arguments':{'device':'d','speed':'1'}}", "GenericError",
      "Invalid parameter type for 'speed', expected: integer" },
    { "{'execute':'blockdev-mirror','arguments':{'device':'d','target':'t','sync':'zz'}}",
      "GenericError", "Parameter 'sync' does not accept value 'zz'" },
    { "{'execute':'blockdev-mirror','arguments':{'device':'d','target':'t','sync':'full',"
      "'granularity':4294967296}}",
      "GenericError", "Parameter 'granularity' expects uint32_t" },
    { "{'execute':'job-resume','arguments':{'id':'own text'}}", "GenericError", "own text" },
    { "{'execute':'query-version','execute':'query-version'}", "GenericError",
      "JSON parse error, duplicate key" },
    { "{'execute':tru}", "GenericError", "JSON parse error, invalid keyword 'tru'" },
    { "{'a'}", "GenericError", "JSON parse error, missing : in object pair" },
    { "{5:1}", "GenericError", "JSON parse error, key is not a string in object" },
    { "[1,]", "GenericError", "JSON parse error, expecting value" },
    { "\xff", "GenericError", "JSON parse error, stray '\\uFFFD'" },
};

static void says_what_is_wrong(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 2);
    client_connect(&c, &rig, CLIENT_PLAIN);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        CLEANUP(str_fini) struct str expected = { 0 };

        test_note("for %s", wrong[i].in);
        str_addf(&expected, "{\"error\": {\"class\": \"%s\", \"desc\": \"%s\"}}", wrong[i].class,
                 wrong[i].desc);
        EXPECT_STR(client_ask(&c, wrong[i].in), expected.data);
        while (*client_line(&c)) /* A broken request may cost more than one error. */
            ;
    }
    EXPECT_STR(
        client_ask(&c, "{'execute':'block-job-set-speed','arguments':{'device':'d','speed':1}}"),
        "{\"return\": {}}");
    client_close(&c);
    rig_fini(&rig);
}

static void echoes_any_id(void)
{
    static const char *const ids[] = { "1",     "\"x\"", "null", "[1, {\"a\": null}]",
                                       "-1.5", "{}",    "true" };
    struct rig rig;
    struct client c;

    rig_init(&rig, 3);
    client_connect(&c, &rig, CLIENT_PLAIN);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        CLEANUP(str_fini) struct str request = { 0 }, expected = { 0 };

        str_addf(&request, "{'id':%s,'execute':'job-resume','foo':1}", ids[i]);
        str_addf(&expected,
                 "{\"id\": %s, \"error\": {\"class\": \"GenericError\", \"desc\": "
                 "\"QMP input member 'foo' is unexpected\"}}",
                 ids[i]);
        EXPECT_STR(client_ask(&c, request.data), expected.data);
    }
    client_close(&c);
    rig_fini(&rig);
}

static void prints_pretty(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 4);
    client_connect(&c, &rig, CLIENT_PRETTY_RAW);
    client_line(&c);
    EXPECT_STR(client_ask(&c, "{'execute':'qmp_capabilities'}"), "{\n    \"return\": {\n    }\n}");
    client_close(&c);
    rig_fini(&rig);
}

static void resynchronises_after_ff(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 5);
    client_connect(&c, &rig, CLIENT_PLAIN);
    client_send(&c, "{'execute': [[[ \xff{'execute':'query-version','id':7}");
    EXPECT_CONTAINS(client_line(&c), "JSON parse error");
    EXPECT_CONTAINS(client_line(&c), "\"id\": 7");
    client_close(&c);
    rig_fini(&rig);
}

static void does_requests_in_order_also_when_one_waits(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 6);
    client_connect(&c, &rig, CLIENT_PLAIN);
    client_send(&c, "{'execute':'job-pause','arguments':{'id':'a'},'id':1}"
                    "{'execute':'query-version','id':2} 77 {'execute':'job-resume',"
                    "'arguments':{'id':'b'},'id':3}");
    EXPECT_STR(client_line(&c), "");
    EXPECT_EQ(rig.in_band_calls, 1); /* Without oob the next one is not begun before the reply. */
    rig_release(&rig);
    EXPECT_CONTAINS(client_line(&c), "\"desc\": \"a\"");
    EXPECT_CONTAINS(client_line(&c), "\"id\": 2");
    EXPECT_CONTAINS(client_line(&c), "QMP input must be a JSON object");
    EXPECT_CONTAINS(client_line(&c), "\"id\": 3");
    EXPECT_STR(client_line(&c), "");
    client_close(&c);
    rig_fini(&rig);
}

static void a_waiting_request_does_not_stop_other_clients(void)
{
    struct rig rig;
    struct client a, b;

    rig_init(&rig, 7);
    client_connect(&a, &rig, CLIENT_PLAIN);
    client_connect(&b, &rig, CLIENT_PLAIN);
    EXPECT_STR(client_ask(&a, "{'execute':'job-pause','arguments':{'id':'a'}}"), "");
    EXPECT_CONTAINS(client_ask(&b, "{'execute':'query-version'}"), "return");
    rig_release(&rig);
    EXPECT_CONTAINS(client_line(&a), "\"a\"");
    client_close(&a);
    client_close(&b);
    rig_fini(&rig);
}

static void the_reply_of_a_client_that_left_goes_nowhere(void)
{
    struct rig rig;
    struct client a, b;

    rig_init(&rig, 8);
    client_connect(&a, &rig, CLIENT_PLAIN);
    EXPECT_STR(client_ask(&a, "{'execute':'job-pause','arguments':{'id':'a'},'id':'OLD'}"), "");
    client_drop(&a);
    rig_run(&rig);
    EXPECT_PTR(a.session, NULL);
    client_connect(&b, &rig, CLIENT_RAW);
    client_line(&b);
    rig_release(&rig);
    EXPECT_STR(client_line(&b), "");
    EXPECT(list_empty(&rig.lingering));
    client_close(&b);
    client_close(&a);
    rig_fini(&rig);
}

static void only_negotiated_clients_get_events(void)
{
    struct rig rig;
    struct client a, b;

    rig_init(&rig, 9);
    client_connect(&a, &rig, CLIENT_PLAIN);
    client_connect(&b, &rig, CLIENT_RAW);
    client_line(&b);
    raise_event(&rig, "j");
    EXPECT_CONTAINS(client_line(&a), "\"event\": \"JOB_STATUS_CHANGE\", \"data\": "
                                     "{\"status\": \"ready\", \"id\": \"j\"}}");
    EXPECT_STR(client_line(&b), "");
    client_ask(&b, "{'execute':'qmp_capabilities'}");
    raise_event(&rig, "k");
    EXPECT_CONTAINS(client_line(&b), "\"k\"");
    client_close(&a);
    client_close(&b);
    rig_fini(&rig);
}

static void a_client_that_does_not_read_loses_events_but_bounds_memory(void)
{
    struct rig rig;
    struct client slow, other;

    rig_init(&rig, 0);
    client_connect(&slow, &rig, CLIENT_PLAIN);
    client_connect(&other, &rig, CLIENT_PLAIN);
    client_read(&slow, false);
    for (int i = 0; i < 120000; i++) {
        raise_event(&rig, "a job with a rather long name, so that this does not take for ever");
        if (i % 1000 == 0) {
            rig_run(&rig);
            str_clear(&other.text);
        }
    }
    EXPECT_LE(qmp_session_pending(slow.session), QMP_OUTPUT_MAX + 4096);
    EXPECT_GE(qmp_session_pending(slow.session), QMP_OUTPUT_MAX / 2);
    rig_run(&rig);
    str_clear(&other.text);
    EXPECT_CONTAINS(client_ask(&other, "{'execute':'query-version'}"), "return");
    client_read(&slow, true);
    rig_run(&rig);
    str_clear(&slow.text);
    EXPECT_CONTAINS(client_ask(&slow, "{'execute':'query-version'}"), "return");
    client_close(&slow);
    client_close(&other);
    rig_fini(&rig);
}

static void replies_that_are_not_read_stop_requests(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 0);
    client_connect(&c, &rig, CLIENT_PLAIN);
    client_read(&c, false);
    for (int i = 0; i < 2000; i++)
        client_send(&c, "{'execute':'query-qmp-schema'}");
    rig_run(&rig);
    EXPECT_LT(rig.in_band_calls, 200);
    EXPECT_LT(qmp_session_pending(c.session), UINT64_C(1) << 20);
    client_read(&c, true);
    rig_run(&rig);
    EXPECT_EQ(rig.in_band_calls, 2000);
    client_close(&c);
    rig_fini(&rig);
}

/* Both have much to say when their first command is answered. */
static void pipelining_clients_take_turns(void)
{
    static const char hold[] = "{'execute':'job-pause','arguments':{'id':'h'}}";
    struct rig rig;
    struct client a, b;
    CLEANUP(str_fini) struct str many = { 0 };

    rig_init(&rig, 0);
    client_connect(&a, &rig, CLIENT_PLAIN);
    client_connect(&b, &rig, CLIENT_PLAIN);
    str_add(&many, hold);
    for (int i = 0; i < 300; i++)
        str_add(&many, "{'execute':'query-version'}");
    client_send(&a, many.data);
    client_send(&b, hold);
    client_send(&b, "{'execute':'job-resume','arguments':{'id':'done'}}");
    rig_run(&rig);
    REQUIRE_EQ(rig.held.len, 2);
    rig_release(&rig);
    rig_release(&rig);
    rig_run(&rig);
    EXPECT_EQ(rig.in_band_calls, 303);
    EXPECT_LT(rig.resumed_at, 10); /* Not after all that the other sent. */
    client_close(&a);
    client_close(&b);
    rig_fini(&rig);
}

static void answers_a_client_that_only_ended_its_input(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 10);
    client_connect(&c, &rig, CLIENT_PLAIN);
    client_send(&c, "{'execute':'job-pause','arguments':{'id':'a'}}{'execute':'query-version'}"
                    "{'execute':'job-pause','arguments':{'id':'b'}}");
    rig_run(&rig);
    stream_shutdown_write(channel_stream(c.channel));
    rig_run(&rig);
    EXPECT(c.session); /* Something waits behind the first. */
    rig_release(&rig);
    rig_run(&rig);
    EXPECT_PTR(c.session, NULL); /* The last is running: the next client may come. */
    EXPECT(!c.ended);
    rig_release(&rig);
    EXPECT_CONTAINS(client_line(&c), "\"a\"");
    EXPECT_CONTAINS(client_line(&c), "\"package\"");
    EXPECT_CONTAINS(client_line(&c), "\"b\"");
    EXPECT(c.ended);
    EXPECT(list_empty(&rig.lingering));
    client_close(&c);
    rig_fini(&rig);
}

TEST_LIST(TEST(greets_and_negotiates), TEST(says_what_is_wrong), TEST(echoes_any_id),
          TEST(prints_pretty), TEST(resynchronises_after_ff),
          TEST(does_requests_in_order_also_when_one_waits),
          TEST(a_waiting_request_does_not_stop_other_clients),
          TEST(the_reply_of_a_client_that_left_goes_nowhere),
          TEST(only_negotiated_clients_get_events),
          TEST(a_client_that_does_not_read_loses_events_but_bounds_memory),
          TEST(replies_that_are_not_read_stop_requests), TEST(pipelining_clients_take_turns),
          TEST(answers_a_client_that_only_ended_its_input));
