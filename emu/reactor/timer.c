/* Timers: a heap by deadline per reactor. */
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/reactor/backend.h"

void timer_arm(struct reactor *r, struct timer *timer, int64_t deadline_ns)
{
    check(reactor_is_home(r));
    check(timer->fn);
    if (timer->armed)
        check(timer->reactor == r);
    timer->reactor = r;
    timer->deadline_ns = deadline_ns;
    timer->armed = true;
    heap_update(&r->timers, &timer->node, deadline_ns < 0 ? 0 : (uint64_t)deadline_ns);
}

void timer_disarm(struct timer *timer)
{
    if (!timer->armed)
        return;
    check(reactor_is_home(timer->reactor));
    heap_remove(&timer->reactor->timers, &timer->node);
    timer->armed = false;
}

int64_t reactor_next_deadline(const struct reactor *r)
{
    const struct heap_node *first = heap_min(&r->timers);

    return first ? (int64_t)first->key : NSTIME_NEVER;
}

bool reactor_run_timer_one(struct reactor *r, int64_t now_ns)
{
    struct timer *timer;

    if (heap_empty(&r->timers) || reactor_next_deadline(r) > now_ns)
        return false;
    timer = container_of(heap_pop_min(&r->timers), struct timer, node);
    timer->armed = false;
    timer->fn(timer);
    return true;
}
