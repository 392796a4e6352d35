/*
 * Units of time. A time is an int64_t of nanoseconds, a point on the reactor's clock or a duration;
 * there is no clock here. Names of times end in _ns.
 */
#ifndef EMU_BASE_NSTIME_H
#define EMU_BASE_NSTIME_H

#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_SEC INT64_C(1000000000)
#define US_PER_SEC INT64_C(1000000)
#define MS_PER_SEC INT64_C(1000)

/* A point in time that never comes. */
#define NSTIME_NEVER INT64_MAX

static inline int64_t nstime_from_us(int64_t us)
{
    return us > INT64_MAX / NS_PER_US ? NSTIME_NEVER : us * NS_PER_US;
}

static inline int64_t nstime_from_ms(int64_t ms)
{
    return ms > INT64_MAX / NS_PER_MS ? NSTIME_NEVER : ms * NS_PER_MS;
}

static inline int64_t nstime_from_sec(int64_t sec)
{
    return sec > INT64_MAX / NS_PER_SEC ? NSTIME_NEVER : sec * NS_PER_SEC;
}

/* now + delay for delay >= 0, or NSTIME_NEVER when that does not fit. */
static inline int64_t nstime_add(int64_t now_ns, int64_t delay_ns)
{
    int64_t sum;

    return __builtin_add_overflow(now_ns, delay_ns, &sum) ? NSTIME_NEVER : sum;
}

/* Rounded up, for kernel interfaces in milliseconds: a wait must not end early. */
static inline int64_t nstime_to_ms_up(int64_t ns) { return ns / NS_PER_MS + (ns % NS_PER_MS > 0); }

#endif
