/* Conformance of the loop: tasks, posts, timers, CPU work, rules. */
#include <errno.h>
#include <string.h>

#include "emu/base/nstime.h"
#include "emu/reactor/conformance_testing.h"

struct counting_task {
    struct task task;
    struct conf *conf;
    unsigned runs, order;
    unsigned *counter;
    struct task *other;
};

static void count_task(struct task *task)
{
    struct counting_task *t = container_of(task, struct counting_task, task);

    t->runs++;
    t->order = (*t->counter)++;
}

void loop_defers_tasks(void)
{
    struct conf c;
    unsigned counter = 0;
    struct counting_task a = { .counter = &counter }, b = { .counter = &counter };

    conf_make(&c);
    reactor_defer(c.r, &a.task, count_task);
    reactor_defer(c.r, &b.task, count_task);
    EXPECT_EQ(a.runs, 0);
    while (counter < 2)
        EXPECT(reactor_run_once(c.r, 0));
    EXPECT_EQ(a.order, 0);
    EXPECT_EQ(b.order, 1);
    EXPECT(!a.task.queued);
    EXPECT(!reactor_run_once(c.r, 0));
    conf_drop(&c);
}

static void undefer_other(struct task *task)
{
    struct counting_task *t = container_of(task, struct counting_task, task);

    t->runs++;
    reactor_undefer(t->other);
    if (t->runs == 1)
        reactor_defer(t->conf->r, task, undefer_other);
}

void loop_runs_deferred_once(void)
{
    struct conf c;
    unsigned counter = 0;
    struct counting_task b = { .counter = &counter };
    struct counting_task a = { .counter = &counter, .other = &b.task };

    conf_make(&c);
    a.conf = &c;
    reactor_defer(c.r, &b.task, count_task);
    reactor_defer(c.r, &b.task, count_task);
    while (reactor_run_once(c.r, 0))
        ;
    EXPECT_EQ(b.runs, 1);
    /* Taken back by a task that runs in the same turn; that task comes again by itself. */
    reactor_defer(c.r, &a.task, undefer_other);
    reactor_defer(c.r, &b.task, count_task);
    while (reactor_run_once(c.r, 0))
        ;
    EXPECT_EQ(b.runs, 1);
    EXPECT_EQ(a.runs, 2);
    reactor_undefer(&a.task);
    conf_drop(&c);
}

static void stop_task(struct task *task)
{
    struct counting_task *t = container_of(task, struct counting_task, task);

    t->runs++;
    reactor_stop(t->conf->r);
}

void loop_stops_after_current(void)
{
    struct conf c;
    unsigned counter = 0;
    struct counting_task a = { .conf = &c }, b = { .counter = &counter };

    conf_make(&c);
    reactor_defer(c.r, &a.task, stop_task);
    reactor_defer(c.r, &b.task, count_task);
    reactor_run(c.r);
    EXPECT_EQ(a.runs, 1);
    EXPECT_EQ(b.runs, 0);
    reactor_defer(c.r, &a.task, stop_task);
    reactor_run(c.r);
    EXPECT_EQ(b.runs, 1);
    reactor_stop(c.r); /* Before the run: it returns at once. */
    reactor_run(c.r);
    conf_drop(&c);
}

struct post_log {
    char text[8];
    unsigned len;
};

static void log_letter(struct post_log *log, char letter) { log->text[log->len++] = letter; }

static void log_a(void *arg) { log_letter(arg, 'a'); }

static void log_b(void *arg) { log_letter(arg, 'b'); }

void loop_runs_posts_in_order(void)
{
    struct conf c;
    struct post_log log = { .len = 0 };

    conf_make(&c);
    reactor_post(c.r, log_a, &log);
    reactor_post(c.r, log_b, &log);
    reactor_post(c.r, log_a, &log);
    EXPECT_STR(log.text, "");
    while (strlen(log.text) < 3)
        EXPECT(reactor_run_once(c.r, NS_PER_SEC));
    EXPECT_STR(log.text, "aba");
    reactor_post(c.r, log_b, &log); /* Never runs; must not leak. */
    if (c.world)
        conf_settle(&c);
    conf_drop(&c);
}

struct counting_timer {
    struct timer timer;
    struct conf *conf;
    unsigned runs, order;
    unsigned *counter;
    int64_t at;
};

static void count_timer(struct timer *timer)
{
    struct counting_timer *t = container_of(timer, struct counting_timer, timer);

    t->runs++;
    t->order = (*t->counter)++;
    t->at = reactor_now(t->conf->r);
}

void loop_fires_timers_in_order(void)
{
    struct conf c;
    unsigned counter = 0;
    struct counting_timer t[5];
    int64_t start;

    conf_make(&c);
    conf_settle(&c);
    start = reactor_now(c.r);
    for (int i = 0; i < 5; i++)
        t[i] = (struct counting_timer){ .timer.fn = count_timer, .conf = &c, .counter = &counter };
    timer_arm(c.r, &t[0].timer, start + 3 * NS_PER_MS);
    timer_arm(c.r, &t[1].timer, start + 1 * NS_PER_MS);
    timer_arm(c.r, &t[2].timer, start + 2 * NS_PER_MS);
    timer_arm(c.r, &t[3].timer, start + 1 * NS_PER_MS);
    timer_arm(c.r, &t[4].timer, start + 1 * NS_PER_MS);
    timer_disarm(&t[4].timer);
    timer_disarm(&t[4].timer);
    while (counter < 4)
        reactor_run_once(c.r, -1);
    EXPECT_EQ(t[1].order, 0);
    EXPECT_EQ(t[3].order, 1);
    EXPECT_EQ(t[2].order, 2);
    EXPECT_EQ(t[0].order, 3);
    EXPECT_EQ(t[4].runs, 0);
    for (int i = 0; i < 4; i++)
        EXPECT_GE(t[i].at, t[i].timer.deadline_ns);
    EXPECT(!t[0].timer.armed);
    conf_drop(&c);
}

static void rearm_timer(struct timer *timer)
{
    struct counting_timer *t = container_of(timer, struct counting_timer, timer);

    if (++t->runs < 3)
        timer_arm(t->conf->r, timer, t->runs == 1 ? 0 : reactor_now(t->conf->r) + NS_PER_MS);
}

void loop_rearms_timers(void)
{
    struct conf c;
    struct counting_timer t = { .timer.fn = rearm_timer, .conf = &c };
    int64_t start;

    conf_make(&c);
    start = reactor_now(c.r);
    timer_arm(c.r, &t.timer, start + NS_PER_SEC);
    timer_arm(c.r, &t.timer, start); /* Earlier now; still one timer. */
    while (t.runs < 3)
        reactor_run_once(c.r, -1);
    EXPECT(!reactor_run_once(c.r, 0));
    EXPECT_GE(reactor_now(c.r), start + NS_PER_MS);
    EXPECT_LT(reactor_now(c.r), start + NS_PER_SEC);
    conf_drop(&c);
}

void loop_waits_no_longer_than_asked(void)
{
    struct conf c;
    int64_t start;

    conf_make(&c);
    conf_settle(&c);
    start = reactor_now(c.r);
    EXPECT(!reactor_run_once(c.r, 5 * NS_PER_MS));
    EXPECT_GE(reactor_now(c.r), start + 5 * NS_PER_MS);
    EXPECT_LT(reactor_now(c.r), start + 5 * NS_PER_SEC);
    EXPECT_GT(reactor_wall_now(c.r), 1600000000 * NS_PER_SEC);
    conf_drop(&c);
}

static int64_t sum_to(void *arg)
{
    int64_t sum = 0;

    for (int64_t i = 1; i <= *(const int *)arg; i++)
        sum += i;
    return sum;
}

void loop_works_off_thread(void)
{
    struct conf c;
    struct probe p[20];
    int n[20];

    conf_make(&c);
    for (int i = 0; i < 20; i++) {
        n[i] = i * 1000;
        probe_init(&p[i], NULL);
        reactor_work(c.r, &p[i].op, sum_to, &n[i]);
    }
    EXPECT_EQ(reactor_ops_pending(c.r), 20);
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(probe_wait(&c, &p[i]), (int64_t)n[i] * (n[i] + 1) / 2);
    EXPECT_EQ(reactor_ops_pending(c.r), 0);
    conf_drop(&c);
}

void loop_cancels_work_once(void)
{
    struct conf c;
    struct probe p[50];
    int n = 100000;

    conf_make(&c);
    for (int i = 0; i < 50; i++) {
        probe_init(&p[i], NULL);
        reactor_work(c.r, &p[i].op, sum_to, &n);
    }
    for (int i = 0; i < 50; i++)
        op_cancel(&p[i].op);
    for (int i = 0; i < 50; i++) {
        int64_t result = probe_wait(&c, &p[i]);

        EXPECT(result == -ECANCELED || result == (int64_t)n * (n + 1) / 2);
        op_cancel(&p[i].op); /* Idle: no effect. */
    }
    conf_settle(&c);
    for (int i = 0; i < 50; i++)
        EXPECT_EQ(p[i].calls, 1);
    conf_drop(&c);
}

static void run_nested(struct task *task)
{
    struct counting_task *t = container_of(task, struct counting_task, task);

    reactor_run_once(t->conf->r, 0);
}

void loop_refuses_nesting(void)
{
    struct conf c;
    struct counting_task t = { .conf = &c };

    conf_make(&c);
    reactor_defer(c.r, &t.task, run_nested);
    EXPECT_DEATH(reactor_run_once(c.r, 0), "running");
    reactor_undefer(&t.task);
    conf_drop(&c);
}

void loop_refuses_busy_op(void)
{
    struct conf c;
    struct probe p;
    int n = 1;

    conf_make(&c);
    probe_init(&p, NULL);
    reactor_work(c.r, &p.op, sum_to, &n);
    EXPECT_DEATH(reactor_work(c.r, &p.op, sum_to, &n), "OP_IDLE");
    EXPECT_DEATH(reactor_free(c.r), "ops_pending");
    probe_wait(&c, &p);
    conf_drop(&c);
}
