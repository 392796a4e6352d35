#include "emu/reactor/clock.h"

#include "emu/base/check.h"

void clock_init(struct clock *clock, struct reactor *reactor)
{
    clock->reactor = reactor;
    clock->stepped = false;
    clock->now_ns = 0;
    list_init(&clock->alarms);
}

void clock_set_stepped(struct clock *clock) { clock->stepped = true; }

int64_t clock_now(const struct clock *clock)
{
    return clock->stepped ? clock->now_ns : reactor_now(clock->reactor);
}

static void ring(struct alarm *alarm)
{
    alarm->armed = false;
    alarm->fn(alarm);
}

static void timer_rang(struct timer *timer) { ring(container_of(timer, struct alarm, timer)); }

int64_t clock_next(const struct clock *clock)
{
    if (list_empty(&clock->alarms))
        return -1;
    return container_of(clock->alarms.next, struct alarm, link)->deadline_ns;
}

void clock_step_to(struct clock *clock, int64_t now_ns)
{
    struct alarm *alarm;

    check(clock->stepped);
    while (!list_empty(&clock->alarms) && clock_next(clock) <= now_ns) {
        alarm = container_of(clock->alarms.next, struct alarm, link);
        if (alarm->deadline_ns > clock->now_ns)
            clock->now_ns = alarm->deadline_ns;
        list_del(&alarm->link);
        ring(alarm);
    }
    if (now_ns > clock->now_ns)
        clock->now_ns = now_ns;
}

static void insert(struct clock *clock, struct alarm *alarm)
{
    list_for_each(other, &clock->alarms, struct alarm, link) {
        if (other->deadline_ns > alarm->deadline_ns) {
            list_add_before(&other->link, &alarm->link);
            return;
        }
    }
    list_add_tail(&clock->alarms, &alarm->link);
}

void alarm_arm(struct clock *clock, struct alarm *alarm, int64_t deadline_ns)
{
    alarm_disarm(alarm);
    alarm->clock = clock;
    alarm->deadline_ns = deadline_ns;
    alarm->armed = true;
    if (clock->stepped) {
        insert(clock, alarm);
        return;
    }
    alarm->timer.fn = timer_rang;
    timer_arm(clock->reactor, &alarm->timer, deadline_ns);
}

void alarm_disarm(struct alarm *alarm)
{
    if (!alarm->armed)
        return;
    alarm->armed = false;
    if (alarm->clock->stepped)
        list_del(&alarm->link);
    else
        timer_disarm(&alarm->timer);
}
