/*
 * The loop: ready ops, deferred tasks, timers, and the functions that only pass on to the body.
 *
 * One turn runs the ops that were finished when it began, then the tasks, then the timers that are
 * due; what these start or queue belongs to the next turn. Between turns the body is polled once, so
 * that everything a turn started is submitted together.
 */
#include "emu/reactor/backend.h"

#include "emu/base/check.h"
#include "emu/base/nstime.h"

/* How many turns reactor_run_once() takes at most, should something always be ready. */
#define RUN_ONCE_TURNS_MAX 1000

void reactor_init(struct reactor *r, const struct backend *backend)
{
    r->backend = backend;
    list_init(&r->ready);
    list_init(&r->tasks);
    heap_init(&r->timers);
    r->ops_pending = 0;
    r->handles = 0;
    r->running = false;
    atomic_init(&r->stop, false);
    r->now_ns = backend->now(r);
}

void reactor_fini(struct reactor *r)
{
    check(!r->running);
    check(r->ops_pending == 0);
    check(r->handles == 0);
    check(heap_empty(&r->timers));
    check(list_empty(&r->tasks));
    heap_fini(&r->timers);
}

void reactor_free(struct reactor *r)
{
    if (r)
        r->backend->free(r);
}

void reactor_adopt(struct reactor *r) { r->backend->adopt(r); }

bool reactor_is_home(const struct reactor *r) { return r->backend->is_home(r); }

const char *reactor_kind_name(const struct reactor *r) { return r->backend->name(r); }

unsigned reactor_ops_pending(const struct reactor *r) { return r->ops_pending; }

int64_t reactor_now(struct reactor *r) { return r->now_ns; }

int64_t reactor_wall_now(struct reactor *r) { return r->backend->wall_now(r); }

void reactor_post(struct reactor *r, void (*fn)(void *arg), void *arg)
{
    r->backend->post(r, fn, arg);
}

void reactor_stop(struct reactor *r)
{
    atomic_store(&r->stop, true);
    r->backend->wake(r);
}

static bool reactor_stopping(const struct reactor *r)
{
    return atomic_load_explicit(&r->stop, memory_order_relaxed);
}

/* ---- Tasks ---- */

void reactor_defer(struct reactor *r, struct task *task, void (*fn)(struct task *task))
{
    check(reactor_is_home(r));
    if (task->queued)
        return;
    task->fn = fn;
    task->queued = true;
    list_add_tail(&r->tasks, &task->link);
}

void reactor_undefer(struct task *task)
{
    if (!task->queued)
        return;
    task->queued = false;
    list_del(&task->link);
}

static void run_task(struct task *task)
{
    list_del(&task->link);
    task->queued = false;
    task->fn(task);
}

/* ---- Turns ---- */

/* Puts what a stop left over back in front. */
static void put_back(struct list *queue, struct list *rest)
{
    list_splice_tail(rest, queue);
    list_splice_tail(queue, rest);
}

static bool run_ops(struct reactor *r)
{
    struct list batch = LIST_INIT(batch);
    struct op *op;
    bool ran = false;

    list_splice_tail(&batch, &r->ready);
    while (!reactor_stopping(r) && (op = list_pop_head(&batch, struct op, link))) {
        op_complete(op);
        ran = true;
    }
    put_back(&r->ready, &batch);
    return ran;
}

static bool run_tasks(struct reactor *r)
{
    struct list batch = LIST_INIT(batch);
    bool ran = false;

    list_splice_tail(&batch, &r->tasks);
    while (!reactor_stopping(r) && !list_empty(&batch)) {
        run_task(list_first(&batch, struct task, link));
        ran = true;
    }
    put_back(&r->tasks, &batch);
    return ran;
}

static bool run_timers(struct reactor *r)
{
    bool ran = false;

    /* A timer may re-arm itself for now: each gets one run per turn. */
    for (size_t budget = heap_len(&r->timers); budget && !reactor_stopping(r); budget--) {
        if (!reactor_run_timer_one(r, r->now_ns))
            break;
        ran = true;
    }
    return ran;
}

static bool run_turn(struct reactor *r)
{
    bool ran = run_ops(r);

    ran |= run_tasks(r);
    ran |= run_timers(r);
    return ran;
}

bool reactor_run_ready_one(struct reactor *r)
{
    struct op *op = list_pop_head(&r->ready, struct op, link);

    if (op) {
        op_complete(op);
        return true;
    }
    if (list_empty(&r->tasks))
        return false;
    run_task(list_first(&r->tasks, struct task, link));
    return true;
}

/* How long a poll may wait: until the first timer, at most limit_ns (-1: no limit). */
static int64_t wait_time(struct reactor *r, int64_t limit_ns)
{
    int64_t deadline = reactor_next_deadline(r);
    int64_t until_timer;

    if (limit_ns == 0 || reactor_has_ready(r))
        return 0;
    if (deadline == NSTIME_NEVER)
        return limit_ns;
    until_timer = deadline - r->backend->now(r);
    if (until_timer <= 0)
        return 0;
    return limit_ns < 0 ? until_timer : MIN(limit_ns, until_timer);
}

static void poll_body(struct reactor *r, int64_t limit_ns)
{
    r->backend->poll(r, wait_time(r, limit_ns));
    r->now_ns = r->backend->now(r);
}

void reactor_run(struct reactor *r)
{
    check(reactor_is_home(r));
    check(!r->running);
    r->running = true;
    while (!reactor_stopping(r)) {
        if (r->backend->run_once) {
            if (!r->backend->run_once(r, -1))
                check(reactor_stopping(r)); /* Nothing can ever happen any more. */
            continue;
        }
        poll_body(r, -1);
        run_turn(r);
    }
    atomic_store(&r->stop, false);
    r->running = false;
}

bool reactor_run_once(struct reactor *r, int64_t timeout_ns)
{
    bool ran = false;

    check(reactor_is_home(r));
    check(!r->running);
    r->running = true;
    if (r->backend->run_once) {
        ran = r->backend->run_once(r, timeout_ns);
    } else {
        poll_body(r, timeout_ns);
        for (int turn = 0; turn < RUN_ONCE_TURNS_MAX && !reactor_stopping(r); turn++) {
            if (!run_turn(r))
                break;
            ran = true;
            poll_body(r, 0);
        }
    }
    atomic_store(&r->stop, false);
    r->running = false;
    return ran;
}
