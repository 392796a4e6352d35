/* Run states: who is told what, and when. Oracle: the table of transitions and the order written down in runstate.h. */
#include "emu/machine/runstate.h"

#include "emu/base/check.h"
#include "tests/harness/test.h"

struct listener {
    struct notifier notifier;
    const struct runstate *run;
    unsigned stops, starts, told;
    enum qapi_run_state seen; /* The state while it was told. */
};

static void told(struct notifier *notifier, void *data)
{
    struct listener *l = container_of(notifier, struct listener, notifier);
    const struct runstate_change *change = data;

    l->told++;
    l->stops += change->stops;
    l->starts += change->starts;
    l->seen = l->run->state;
}

static void listen(struct listener *l, struct runstate *run)
{
    *l = (struct listener){ .notifier = { .fn = told }, .run = run };
    runstate_init(run);
    notifier_add(&run->on_change, &l->notifier);
}

static void stopping_and_starting_are_told_once(void)
{
    struct runstate run;
    struct listener l;

    listen(&l, &run);
    runstate_enter(&run, QAPI_RUN_STATE_RUNNING);
    runstate_enter(&run, QAPI_RUN_STATE_RUNNING);
    EXPECT_EQ(l.starts, 1);
    EXPECT_EQ(l.told, 1);
    runstate_enter(&run, QAPI_RUN_STATE_IO_ERROR);
    EXPECT_EQ(l.stops, 1);
    EXPECT_EQ(l.seen, QAPI_RUN_STATE_IO_ERROR);
    EXPECT_STR(runstate_name(&run), "io-error");
}

static void another_reason_to_stand_still_is_no_stop(void)
{
    struct runstate run;
    struct listener l;

    listen(&l, &run);
    runstate_enter(&run, QAPI_RUN_STATE_PAUSED);
    runstate_enter(&run, QAPI_RUN_STATE_POSTMIGRATE);
    EXPECT_EQ(l.told, 2);
    EXPECT_EQ(l.stops, 0);
    EXPECT(!runstate_is_running(&run));
}

static void a_suspended_guest_counts_as_running(void)
{
    struct runstate run;
    struct listener l;

    listen(&l, &run);
    runstate_enter(&run, QAPI_RUN_STATE_RUNNING);
    runstate_enter(&run, QAPI_RUN_STATE_SUSPENDED);
    EXPECT_EQ(l.stops, 0);
    EXPECT(runstate_is_running(&run));
}

static void skip_states(void)
{
    struct runstate run;

    runstate_init(&run);
    runstate_enter(&run, QAPI_RUN_STATE_PAUSED);
    runstate_enter(&run, QAPI_RUN_STATE_WATCHDOG);
}

static void an_illegal_change_is_a_bug(void) { EXPECT_DEATH(skip_states(), "check"); }

TEST_LIST(TEST(stopping_and_starting_are_told_once), TEST(another_reason_to_stand_still_is_no_stop),
          TEST(a_suspended_guest_counts_as_running), TEST(an_illegal_change_is_a_bug));
