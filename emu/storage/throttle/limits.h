#ifndef EMU_STORAGE_THROTTLE_LIMITS_H
#define EMU_STORAGE_THROTTLE_LIMITS_H

/*
 * Limits of I/O: bytes and operations per second, in total or of reads and writes apart, each a leaky bucket.
 *
 * A bucket leaks at its rate; a request pours in its bytes, or one operation, when it starts, and none may start
 * while the bucket is over its size. The size is a tenth of a second's worth of the rate or, with a burst rate,
 * burst rate x burst length. Bursts longer than a second have a second bucket that leaks at the burst rate, of the
 * size of a tenth of a second's worth of it, so that nobody uses up the whole burst at once.
 * All pure: time is a parameter.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/opts.h"

enum throttle_bucket {
    THROTTLE_BPS_TOTAL,
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_IOPS_TOTAL,
    THROTTLE_IOPS_READ,
    THROTTLE_IOPS_WRITE,
    THROTTLE_BUCKET_COUNT,
};

struct throttle_rate {
    uint64_t rate;   /* Per second; 0: no limit. */
    uint64_t burst;  /* Per second; 0: no bursts. */
    uint64_t length; /* Seconds of a burst; 1 unless set. */
};

struct throttle_limits {
    struct throttle_rate rates[THROTTLE_BUCKET_COUNT];
    uint64_t iops_size; /* Bytes that count as one operation; 0: a request is one. */
};

struct throttle_level {
    double level, burst_level; /* Bytes or operations. */
};

struct throttle_buckets {
    struct throttle_level levels[THROTTLE_BUCKET_COUNT];
    int64_t leaked_ns; /* When it last leaked. */
};

extern const char *const throttle_bucket_names[THROTTLE_BUCKET_COUNT]; /* "bps-total" ... */

void throttle_limits_init(struct throttle_limits *limits); /* No limits. */
bool throttle_limits_any(const struct throttle_limits *limits);
/* Whether the limits make sense; texts of the reference. */
struct err *throttle_limits_check(const struct throttle_limits *limits) MUST_USE;
/*
 * Reads "PREFIXbps-total", "PREFIXbps-total-max", "PREFIXbps-total-max-length", ..., "PREFIXiops-size"; what is
 * missing stays as it is. Does not check them against each other.
 */
struct err *throttle_limits_read(struct throttle_limits *limits, struct opts *opts,
                                 const char *prefix) MUST_USE;
/* A ThrottleLimits with all members, new. */
struct json *throttle_limits_json(const struct throttle_limits *limits);
/* One of the numbers by its name without prefix ("bps-read-max"); NULL when there is none. */
const uint64_t *throttle_limit(const struct throttle_limits *limits, const char *name);

/* Lets leak what has leaked until now. */
void throttle_leak(const struct throttle_limits *limits, struct throttle_buckets *buckets,
                   int64_t now_ns);
/* How long a request must wait from the time of the last leak, ns; 0: not at all. */
int64_t throttle_delay(const struct throttle_limits *limits, const struct throttle_buckets *buckets,
                       bool is_write);
/* A request starts. */
void throttle_pour(const struct throttle_limits *limits, struct throttle_buckets *buckets,
                   bool is_write, uint64_t bytes);

#endif
