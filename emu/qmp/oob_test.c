/* Requests out of band: what they overtake, and how many requests may wait. */
#include "emu/qmp/oob.h"

#include "emu/qmp/testing/rig.h"
#include "tests/harness/test.h"

static const char hold[] = "{'execute':'job-pause','arguments':{'id':'h'}}";
static const char query[] = "{'exec-oob':'query-yank','id':'oob'}";

static void overtakes_what_waits(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 1);
    client_connect(&c, &rig, CLIENT_OOB);
    EXPECT_STR(client_ask(&c, hold), "");
    EXPECT_STR(client_ask(&c, "{'execute':'query-version'}"), "");
    EXPECT_STR(client_ask(&c, query), "{\"return\": [], \"id\": \"oob\"}");
    EXPECT_EQ(rig.oob_calls, 1);
    rig_release(&rig);
    EXPECT_CONTAINS(client_line(&c), "\"h\"");
    EXPECT_CONTAINS(client_line(&c), "\"package\"");
    client_close(&c);
    rig_fini(&rig);
}

static void refuses_what_cannot_be_out_of_band(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 2);
    client_connect(&c, &rig, CLIENT_OOB);
    EXPECT_STR(client_ask(&c, "{'exec-oob':'query-version','id':1}"),
               "{\"id\": 1, \"error\": {\"class\": \"GenericError\", \"desc\": "
               "\"The command query-version does not support OOB\"}}");
    EXPECT_STR(client_ask(&c, "{'exec-oob':'nope'}"),
               "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": "
               "\"The command nope has not been found\"}}");
    EXPECT_STR(client_ask(&c, "{'execute':'query-yank','exec-oob':'query-yank'}"),
               "{\"error\": {\"class\": \"GenericError\", \"desc\": "
               "\"QMP input member 'exec-oob' clashes with 'execute'\"}}");
    EXPECT_STR(client_ask(&c, "{'exec-oob':5}"),
               "{\"error\": {\"class\": \"GenericError\", \"desc\": "
               "\"QMP input member 'exec-oob' must be a string\"}}");
    EXPECT_CONTAINS(client_ask(&c, "{'execute':'query-yank'}"), "return");
    EXPECT_EQ(rig.oob_calls, 0); /* The last one was in band. */
    client_close(&c);
    rig_fini(&rig);
}

/* The model of the queue: one runs, `waiting` wait behind it. */
static void holds_back_input_at(int waiting, bool answered)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 3);
    client_connect(&c, &rig, CLIENT_OOB);
    client_send(&c, hold);
    rig_run(&rig);
    for (int i = 0; i < waiting; i++)
        client_send(&c, hold);
    client_send(&c, query);
    rig_run(&rig);
    EXPECT_EQ(rig.oob_calls, answered ? 1 : 0);
    EXPECT_EQ(rig.held.len, 1);
    rig_release(&rig); /* Makes room for one. */
    rig_run(&rig);
    EXPECT_EQ(rig.oob_calls, 1);
    for (int i = 0; i < waiting; i++) {
        EXPECT_EQ(rig.held.len, 1);
        rig_release(&rig);
        rig_run(&rig);
    }
    client_close(&c);
    rig_fini(&rig);
}

static void reads_on_with_seven_waiting(void) { holds_back_input_at(7, true); }
static void stops_reading_with_eight_waiting(void) { holds_back_input_at(8, false); }

static void is_not_there_for_a_client_that_did_not_ask(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 4);
    client_connect(&c, &rig, CLIENT_PLAIN);
    EXPECT_CONTAINS(client_ask(&c, query), "'exec-oob' is unexpected");
    client_close(&c);
    rig_fini(&rig);
}

TEST_LIST(TEST(overtakes_what_waits), TEST(refuses_what_cannot_be_out_of_band),
          TEST(reads_on_with_seven_waiting), TEST(stops_reading_with_eight_waiting),
          TEST(is_not_there_for_a_client_that_did_not_ask));
