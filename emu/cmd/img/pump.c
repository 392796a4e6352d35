#include "emu/cmd/img/pump.h"

#include <inttypes.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/ratelimit.h"

enum {
    CHUNK = 2 << 20,
    BUFFERS_MAX = 32 << 20,
    INFLIGHT_DEFAULT = 8,
    RANGE_MAX = 64 << 20, /* Of one range, so that progress is seen. */
};

struct pump {
    struct tool *tool;
    struct pump_options options;
    struct copy *copy;
    struct ratelimit limit;
    struct timer timer;
    bool waiting; /* For the timer. */
    int result;
    bool read_failed;
    uint64_t failed_at;
};

static void count(struct pump *pump, uint64_t len)
{
    pump->options.done += len;
    progress_update(pump->options.progress, pump->options.done, pump->options.total);
}

static void range_done(struct copy *copy, const struct copy_range *range)
{
    struct pump *pump = copy_owner(copy);

    count(pump, range->len);
    if (range->result == 0 || pump->result < 0)
        return;
    pump->result = range->result;
    pump->read_failed = range->read_failed;
    pump->failed_at = range->offset;
}

static void timer_done(struct timer *timer)
{
    container_of(timer, struct pump, timer)->waiting = false;
}

struct pump *pump_new(struct tool *tool, const struct pump_options *options)
{
    struct pump *pump = NEW(struct pump);
    struct copy_options copy = options->copy;

    if (!copy.chunk_bytes)
        copy.chunk_bytes = CHUNK;
    if (!copy.max_bytes)
        copy.max_bytes = BUFFERS_MAX;
    if (!copy.max_inflight)
        copy.max_inflight = INFLIGHT_DEFAULT;
    copy.range_done = range_done;
    copy.owner = pump;
    pump->tool = tool;
    pump->options = *options;
    pump->options.copy = copy;
    pump->copy = copy_new(tool->reactor, &copy);
    pump->timer.fn = timer_done;
    ratelimit_init(&pump->limit);
    ratelimit_set_speed(&pump->limit, options->rate, RATELIMIT_SLICE_NS);
    return pump;
}

static struct err *failure(const struct pump *pump)
{
    if (pump->result == 0)
        return NULL;
    return err_new_errno(pump->result, "error while %s at byte %" PRIu64,
                         pump->read_failed ? "reading" : "writing", pump->failed_at);
}

static void keep_speed(struct pump *pump, uint64_t len)
{
    struct reactor *reactor = pump->tool->reactor;
    int64_t now = reactor_now(reactor), delay;

    if (!pump->options.rate)
        return;
    delay = ratelimit_wait_ns(&pump->limit, now);
    if (delay > 0) {
        pump->waiting = true;
        timer_arm(reactor, &pump->timer, now + delay);
        while (pump->waiting)
            reactor_run_once(reactor, -1);
    }
    ratelimit_account(&pump->limit, len, reactor_now(reactor));
}

struct err *pump_copy(struct pump *pump, uint64_t offset, uint64_t len)
{
    /* Whole chunks, so that compressed clusters are not cut. */
    uint64_t most = pump->options.rate || (pump->options.copy.write_flags & REQ_COMPRESSED)
                        ? pump->options.copy.chunk_bytes
                        : (uint64_t)RANGE_MAX;

    while (len) {
        uint64_t part = MIN(len, most - offset % most);

        while (!copy_has_room(pump->copy) && pump->result == 0)
            reactor_run_once(pump->tool->reactor, -1);
        if (pump->result == 0)
            keep_speed(pump, part);
        if (pump->result < 0)
            return failure(pump);
        copy_start(pump->copy, offset, part, 0);
        offset += part;
        len -= part;
    }
    return NULL;
}

void pump_skip(struct pump *pump, uint64_t len) { count(pump, len); }

struct err *pump_end(struct pump *pump, struct err *err)
{
    while (copy_inflight(pump->copy))
        reactor_run_once(pump->tool->reactor, -1);
    if (!err)
        err = failure(pump);
    copy_free(pump->copy);
    xfree(pump);
    return err;
}
