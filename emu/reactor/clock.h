#ifndef EMU_REACTOR_CLOCK_H
#define EMU_REACTOR_CLOCK_H

/*
 * The clock by which a guest's disks are throttled: that of the reactor, or one that stands still until a test
 * steps it. Lives on its reactor's home thread.
 */

#include "emu/base/list.h"
#include "emu/reactor/reactor.h"

struct clock {
    struct reactor *reactor; /* Borrowed. */
    bool stepped;            /* Goes by clock_step_to() only. */
    int64_t now_ns;          /* When stepped. */
    struct list alarms;      /* struct alarm of a stepped clock, in order of time. */
};

/* A one-shot timer by a clock. Zeroed memory with fn set is an idle alarm. */
struct alarm {
    struct timer timer;
    struct list link;
    struct clock *clock;
    void (*fn)(struct alarm *alarm);
    int64_t deadline_ns;
    bool armed;
};

void clock_init(struct clock *clock, struct reactor *reactor);
/* From now on the clock stands still, at 0 ns. No alarm may be armed. */
void clock_set_stepped(struct clock *clock);
int64_t clock_now(const struct clock *clock);
/* Goes on to now_ns, if that is later, by way of all alarms until then. The clock must be a stepped one. */
void clock_step_to(struct clock *clock, int64_t now_ns);
/* Time of the next alarm of a stepped clock, or -1. */
int64_t clock_next(const struct clock *clock);

/* Arms or re-arms for the absolute time deadline_ns of clock_now(). */
void alarm_arm(struct clock *clock, struct alarm *alarm, int64_t deadline_ns);
void alarm_disarm(struct alarm *alarm); /* No effect on an idle alarm. */

#endif
