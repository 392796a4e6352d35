/* Raising and limiting of events. */
#include "emu/qmp/events.h"

#include <stdio.h>
#include <string.h>

#include "emu/base/nstime.h"
#include "emu/qmp/qmp_block_core.h" // Generated.
#include "emu/qmp/qmp_job.h"        // Generated.
#include "emu/qmp/testing/rig.h"
#include "tests/harness/test.h"

static void io_error(struct rig *rig, char *path, char *reason)
{
    struct qapi_block_io_error_event e = {
        .qom_path = path,
        .device = "d",
        .operation = QAPI_IO_OPERATION_TYPE_WRITE,
        .action = QAPI_BLOCK_ERROR_ACTION_STOP,
        .reason = reason,
    };

    qapi_event_block_io_error(rig->events, &e);
}

/* What arrived without letting time pass. */
static bool arrived(struct client *c, const char *text)
{
    sim_run_for(c->rig->sim, 10 * NS_PER_MS);
    return strstr(str_cstr(&c->text), text) != NULL;
}

static void sends_the_first_at_once_and_the_latest_later(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 0);
    client_connect(&c, &rig, CLIENT_PLAIN);
    io_error(&rig, "p", "one at once");
    EXPECT(arrived(&c, "one at once"));
    io_error(&rig, "p", "inner");
    io_error(&rig, "p", "latest");
    sim_run_for(rig.sim, 900 * NS_PER_MS);
    EXPECT(!arrived(&c, "latest"));
    sim_run_for(rig.sim, 200 * NS_PER_MS);
    EXPECT(arrived(&c, "latest"));
    EXPECT(!arrived(&c, "inner"));
    str_clear(&c.text);
    io_error(&rig, "p", "next"); /* Sending the third began another second. */
    EXPECT(!arrived(&c, "next"));
    sim_run_for(rig.sim, 2 * NS_PER_SEC);
    EXPECT(arrived(&c, "next"));
    sim_run_for(rig.sim, 2 * NS_PER_SEC);
    io_error(&rig, "p", "fifth");
    EXPECT(arrived(&c, "fifth"));
    client_close(&c);
    rig_fini(&rig);
}

static void limits_each_key_by_itself(void)
{
    struct rig rig;
    struct client c;

    rig_init(&rig, 0);
    client_connect(&c, &rig, CLIENT_PLAIN);
    io_error(&rig, "p", "one");
    io_error(&rig, "q", "two");
    EXPECT(arrived(&c, "one"));
    EXPECT(arrived(&c, "two"));
    client_close(&c);
    rig_fini(&rig);
}

static void keeps_the_time_of_raising(void)
{
    struct rig rig;
    struct client c;
    char stamp[64];
    int64_t raised;

    rig_init(&rig, 0);
    client_connect(&c, &rig, CLIENT_PLAIN);
    io_error(&rig, "p", "one at once");
    sim_run_for(rig.sim, 300 * NS_PER_MS);
    str_clear(&c.text);
    raised = reactor_wall_now(rig.reactor);
    io_error(&rig, "p", "inner");
    sim_run_for(rig.sim, 2 * NS_PER_SEC);
    snprintf(stamp, sizeof(stamp), "\"microseconds\": %lld}",
             (long long)(raised % NS_PER_SEC / NS_PER_US));
    EXPECT_CONTAINS(str_cstr(&c.text), stamp);
    client_close(&c);
    rig_fini(&rig);
}

static void does_not_limit_the_others(void)
{
    struct qapi_job_status_change_event e = { .id = "j", .status = QAPI_JOB_STATUS_RUNNING };
    struct rig rig;
    struct client c;
    int n = 0;

    rig_init(&rig, 0);
    client_connect(&c, &rig, CLIENT_PLAIN);
    for (int i = 0; i < 5; i++)
        qapi_event_job_status_change(rig.events, &e);
    while (*client_line(&c))
        n++;
    EXPECT_EQ(n, 5);
    client_close(&c);
    rig_fini(&rig);
}

TEST_LIST(TEST(sends_the_first_at_once_and_the_latest_later), TEST(limits_each_key_by_itself),
          TEST(keeps_the_time_of_raising), TEST(does_not_limit_the_others));
