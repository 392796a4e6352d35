/* See runstate.h. */
#include "emu/machine/runstate.h"

#include "emu/base/check.h"

#define S(name) (UINT32_C(1) << QAPI_RUN_STATE_##name)

/* What a running machine can turn into, and a stopped one. */
#define STOPPED                                                                                    \
    (S(PAUSED) | S(IO_ERROR) | S(INTERNAL_ERROR) | S(SHUTDOWN) | S(WATCHDOG) | S(GUEST_PANICKED) | \
     S(DEBUG))
#define COMMON                                                                                     \
    (S(RUNNING) | S(SUSPENDED) | S(FINISH_MIGRATE) | S(PRELAUNCH) | S(RESTORE_VM) | S(SAVE_VM))

/* Row: from; value: to. */
static const uint32_t edges[QAPI_RUN_STATE_COUNT] = {
    [QAPI_RUN_STATE_PRELAUNCH] = COMMON | STOPPED | S(INMIGRATE),
    [QAPI_RUN_STATE_INMIGRATE] = COMMON | STOPPED | S(POSTMIGRATE),
    [QAPI_RUN_STATE_RUNNING] = COMMON | STOPPED,
    [QAPI_RUN_STATE_SUSPENDED] = COMMON | STOPPED,
    [QAPI_RUN_STATE_PAUSED] = COMMON | S(POSTMIGRATE) | S(SHUTDOWN),
    [QAPI_RUN_STATE_IO_ERROR] = COMMON | S(PAUSED) | S(SHUTDOWN),
    [QAPI_RUN_STATE_INTERNAL_ERROR] = COMMON | S(PAUSED),
    [QAPI_RUN_STATE_SHUTDOWN] = COMMON | S(PAUSED),
    [QAPI_RUN_STATE_WATCHDOG] = COMMON | S(PAUSED),
    [QAPI_RUN_STATE_GUEST_PANICKED] = COMMON | S(PAUSED) | S(SHUTDOWN),
    [QAPI_RUN_STATE_DEBUG] = COMMON | S(PAUSED) | S(SHUTDOWN),
    [QAPI_RUN_STATE_POSTMIGRATE] = COMMON | S(PAUSED) | S(SHUTDOWN),
    [QAPI_RUN_STATE_FINISH_MIGRATE] = COMMON | STOPPED | S(POSTMIGRATE),
    [QAPI_RUN_STATE_RESTORE_VM] = COMMON | STOPPED | S(POSTMIGRATE),
    [QAPI_RUN_STATE_SAVE_VM] = COMMON | STOPPED | S(POSTMIGRATE),
};

#undef S
#undef STOPPED
#undef COMMON

static bool runs(enum qapi_run_state state)
{
    return state == QAPI_RUN_STATE_RUNNING || state == QAPI_RUN_STATE_SUSPENDED;
}

void runstate_init(struct runstate *rs)
{
    rs->state = QAPI_RUN_STATE_PRELAUNCH;
    notifier_list_init(&rs->on_change);
}

bool runstate_is_running(const struct runstate *rs) { return runs(rs->state); }

const char *runstate_name(const struct runstate *rs) { return qapi_run_state_name(rs->state); }

void runstate_enter(struct runstate *rs, enum qapi_run_state to)
{
    struct runstate_change change = {
        .from = rs->state,
        .to = to,
        .stops = runs(rs->state) && !runs(to),
        .starts = !runs(rs->state) && runs(to),
    };

    if (to == rs->state)
        return;
    check(edges[rs->state] & (UINT32_C(1) << to));
    rs->state = to;
    notify_all(&rs->on_change, &change);
}
