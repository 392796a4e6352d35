/* The thread pool: growth, limit, revocation, stuck threads, orphans. */
#include "emu/reactor/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "emu/base/attrs.h"
#include "emu/base/nstime.h"
#include "tests/harness/test.h"

struct pool_test {
    struct workers *w;
    atomic_uint ran, finished, dropped, inside, inside_max;
    atomic_bool gate; /* Jobs that wait go on when it opens. */
};

struct test_job {
    struct job job;
    struct pool_test *test;
    bool waits;
};

static void run(struct job *job)
{
    struct test_job *t = (struct test_job *)job;
    unsigned inside = atomic_fetch_add(&t->test->inside, 1) + 1;
    unsigned max = atomic_load(&t->test->inside_max);

    while (inside > max && !atomic_compare_exchange_weak(&t->test->inside_max, &max, inside))
        ;
    while (t->waits && !atomic_load(&t->test->gate))
        usleep(100);
    atomic_fetch_sub(&t->test->inside, 1);
    atomic_fetch_add(&t->test->ran, 1);
}

static void finished(void *arg, struct job *job)
{
    atomic_fetch_add(&((struct pool_test *)arg)->finished, 1);
}

static void drop(struct job *job) { atomic_fetch_add(&((struct test_job *)job)->test->dropped, 1); }

static void submit(struct pool_test *test, struct test_job *job, bool waits)
{
    *job = (struct test_job){ .job = { .run = run, .drop = drop }, .test = test, .waits = waits };
    workers_submit(test->w, &job->job);
}

static void wait_for(atomic_uint *value, unsigned at_least)
{
    for (int i = 0; i < 20000 && atomic_load(value) < at_least; i++)
        usleep(500);
    REQUIRE(atomic_load(value) >= at_least);
}

static void runs_every_job(void)
{
    struct pool_test test = { .w = NULL };
    struct test_job jobs[200];

    test.w = workers_new("emu-test", 4, finished, &test);
    EXPECT_EQ(workers_threads(test.w), 0);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        submit(&test, &jobs[i], false);
    wait_for(&test.finished, ARRAY_LEN(jobs));
    EXPECT_LE(workers_threads(test.w), 4);
    EXPECT_LE(atomic_load(&test.inside_max), 4);
    workers_free(test.w);
}

static void keeps_its_limit(void)
{
    struct pool_test test = { .w = NULL };
    struct test_job jobs[10];

    test.w = workers_new("emu-test", 3, finished, &test);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        submit(&test, &jobs[i], true);
    wait_for(&test.inside, 3);
    EXPECT(workers_backlog(test.w));
    EXPECT_EQ(workers_threads(test.w), 3);
    atomic_store(&test.gate, true);
    wait_for(&test.finished, ARRAY_LEN(jobs));
    EXPECT_EQ(atomic_load(&test.inside_max), 3);
    EXPECT(!workers_backlog(test.w));
    workers_free(test.w);
}

static void revokes_what_has_not_started(void)
{
    struct pool_test test = { .w = NULL };
    struct test_job busy, waiting;

    test.w = workers_new("emu-test", 1, finished, &test);
    submit(&test, &busy, true);
    wait_for(&test.inside, 1);
    submit(&test, &waiting, false);
    EXPECT(workers_revoke(test.w, &waiting.job));
    EXPECT(!workers_revoke(test.w, &busy.job));
    atomic_store(&test.gate, true);
    wait_for(&test.finished, 1);
    workers_free(test.w);
    EXPECT_EQ(atomic_load(&test.ran), 1);
}

/* Jobs behind stuck threads get threads of their own, without a new submission. */
static void works_around_stuck_threads(void)
{
    struct pool_test test = { .w = NULL };
    struct test_job stuck[2], quick[2];

    test.w = workers_new("emu-test", 2, finished, &test);
    workers_set_stuck_ns(test.w, 5 * NS_PER_MS);
    submit(&test, &stuck[0], true);
    submit(&test, &stuck[1], true);
    wait_for(&test.inside, 2);
    submit(&test, &quick[0], false);
    submit(&test, &quick[1], false);
    EXPECT_EQ(atomic_load(&test.ran), 0);
    for (int i = 0; i < 2000 && atomic_load(&test.finished) < 2; i++) {
        usleep(1000);
        workers_pump(test.w);
    }
    EXPECT_EQ(atomic_load(&test.finished), 2);
    atomic_store(&test.gate, true);
    wait_for(&test.finished, 4);
    workers_free(test.w);
}

static void leaves_stuck_threads_behind(void)
{
    static struct pool_test test; /* Outlives the pool. */
    static struct test_job job;

    test.w = workers_new("emu-test", 2, finished, &test);
    submit(&test, &job, true);
    wait_for(&test.inside, 1);
    workers_free(test.w); /* Waits a while, then goes. */
    EXPECT_EQ(atomic_load(&test.finished), 0);
    atomic_store(&test.gate, true);
    wait_for(&test.dropped, 1);
    EXPECT_EQ(atomic_load(&test.finished), 0);
}

static void runs_the_queue_before_it_ends(void)
{
    struct pool_test test = { .w = NULL };
    struct test_job jobs[30];

    test.w = workers_new("emu-test", 2, finished, &test);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        submit(&test, &jobs[i], false);
    workers_free(test.w);
    EXPECT_EQ(atomic_load(&test.ran), ARRAY_LEN(jobs));
    workers_free(NULL);
}

TEST_LIST(TEST(runs_every_job), TEST(keeps_its_limit), TEST(revokes_what_has_not_started),
          TEST(works_around_stuck_threads), TEST(leaves_stuck_threads_behind),
          TEST(runs_the_queue_before_it_ends));
