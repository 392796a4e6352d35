/*
 * Speed limit of a job: so many bytes per slice of time. Pure: the caller passes the time.
 *
 * A slice begins with the first bytes after the previous slice ended. Bytes beyond the quota
 * stretch the slice in proportion, so the average speed holds for any size of request.
 */
#ifndef EMU_BASE_RATELIMIT_H
#define EMU_BASE_RATELIMIT_H

#include <stdint.h>

#include "emu/base/attrs.h"

#define RATELIMIT_SLICE_NS INT64_C(100000000)

/* Zeroed memory is no limit. */
struct ratelimit {
    uint64_t speed; /* Bytes per second; 0: no limit. */
    uint64_t quota; /* Bytes per slice, at least 1 when there is a limit. */
    int64_t slice_ns;
    int64_t slice_start_ns;
    int64_t slice_end_ns;
    uint64_t sent; /* Bytes in this slice. */
};

void ratelimit_init(struct ratelimit *rl);

/* speed in bytes per second, 0 for none; slice_ns is normally RATELIMIT_SLICE_NS. The slice under
 * way goes on with the new quota. */
void ratelimit_set_speed(struct ratelimit *rl, uint64_t speed, int64_t slice_ns);

/* Counts bytes as sent at now_ns and returns how long to wait before the next request (0: go on).
 */
int64_t ratelimit_delay_ns(struct ratelimit *rl, uint64_t bytes, int64_t now_ns);

/* Counts bytes as sent, without asking. */
void ratelimit_account(struct ratelimit *rl, uint64_t bytes, int64_t now_ns);

/* How long to wait at now_ns before the next request, counting nothing. */
int64_t ratelimit_wait_ns(const struct ratelimit *rl, int64_t now_ns);

#endif
