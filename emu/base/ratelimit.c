#include "emu/base/ratelimit.h"

#include <string.h>

#include "emu/base/nstime.h"

void ratelimit_init(struct ratelimit *rl) { memset(rl, 0, sizeof(*rl)); }

/* The slice lasts its normal time, or as long as what was sent takes at this speed. */
static int64_t slice_end(const struct ratelimit *rl)
{
    unsigned __int128 ns = (unsigned __int128)rl->sent * (uint64_t)rl->slice_ns / rl->quota;

    if (ns <= (uint64_t)rl->slice_ns)
        return nstime_add(rl->slice_start_ns, rl->slice_ns);
    return ns > INT64_MAX ? NSTIME_NEVER : nstime_add(rl->slice_start_ns, (int64_t)ns);
}

void ratelimit_set_speed(struct ratelimit *rl, uint64_t speed, int64_t slice_ns)
{
    unsigned __int128 quota = (unsigned __int128)speed * (uint64_t)slice_ns / NS_PER_SEC;

    rl->speed = speed;
    rl->slice_ns = slice_ns;
    rl->quota = speed == 0 ? 0 : quota < 1 ? 1 : quota > UINT64_MAX ? UINT64_MAX : (uint64_t)quota;
    /* Bytes sent at the old speed must not hold up the new one for as long as they would have. */
    if (rl->speed && rl->sent)
        rl->slice_end_ns = slice_end(rl);
}

void ratelimit_account(struct ratelimit *rl, uint64_t bytes, int64_t now_ns)
{
    if (!rl->speed)
        return;
    if (rl->slice_end_ns <= now_ns) {
        rl->slice_start_ns = now_ns;
        rl->sent = 0;
    }
    rl->sent += bytes;
    rl->slice_end_ns = slice_end(rl);
}

int64_t ratelimit_wait_ns(const struct ratelimit *rl, int64_t now_ns)
{
    if (!rl->speed || now_ns >= rl->slice_end_ns || rl->sent < rl->quota)
        return 0;
    return rl->slice_end_ns - now_ns;
}

int64_t ratelimit_delay_ns(struct ratelimit *rl, uint64_t bytes, int64_t now_ns)
{
    ratelimit_account(rl, bytes, now_ns);
    return ratelimit_wait_ns(rl, now_ns);
}
