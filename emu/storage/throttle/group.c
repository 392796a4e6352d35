#include "emu/storage/throttle/group.h"

#include <inttypes.h>

#include "emu/base/attrs.h"
#include "emu/base/check.h"
#include "emu/base/str.h"

/* ---- Turns ---- */

static bool waits(const struct throttle_member *member, bool is_write)
{
    return !list_empty(&member->waiting[is_write]);
}

/* The next member after the one whose turn it was that has requests waiting, that one itself the last. */
static struct throttle_member *next_turn(const struct throttle_lane *lane)
{
    const struct list *head = &lane->group->members;
    struct throttle_member *first = NULL, *after = NULL;
    bool passed = !lane->turn;

    list_for_each(member, head, struct throttle_member, link) {
        if (waits(member, lane->is_write)) {
            if (!first)
                first = member;
            if (passed && !after)
                after = member;
        }
        passed |= member == lane->turn;
    }
    return after ? after : first;
}

static int64_t delay_now(struct throttle_lane *lane)
{
    struct throttle_group *group = lane->group;

    throttle_leak(&group->limits, &group->buckets, clock_now(group->clock));
    return throttle_delay(&group->limits, &group->buckets, lane->is_write);
}

static void start(struct throttle_lane *lane, struct throttle_member *member,
                  struct throttle_wait *wait)
{
    throttle_pour(&lane->group->limits, &lane->group->buckets, lane->is_write, wait->bytes);
    lane->turn = member;
    wait->go(wait);
}

/* Lets go what may, and sets the alarm for what may not. */
static void lane_run(struct throttle_lane *lane)
{
    struct throttle_member *member;
    int64_t delay;

    while (!lane->alarm.armed && (member = next_turn(lane))) {
        delay = delay_now(lane);
        if (delay > 0) {
            alarm_arm(lane->group->clock, &lane->alarm, clock_now(lane->group->clock) + delay);
            return;
        }
        start(lane, member,
              list_pop_head(&member->waiting[lane->is_write], struct throttle_wait, link));
    }
}

static void lane_woken(struct alarm *alarm)
{
    lane_run(container_of(alarm, struct throttle_lane, alarm));
}

void throttle_member_enter(struct throttle_member *member, struct throttle_wait *wait)
{
    struct throttle_lane *lane;

    if (!member->group) {
        wait->go(wait);
        return;
    }
    lane = &member->group->lanes[wait->is_write];
    if (!lane->alarm.armed && !waits(member, wait->is_write) && delay_now(lane) == 0) {
        start(lane, member, wait);
        return;
    }
    list_add_tail(&member->waiting[wait->is_write], &wait->link);
    lane_run(lane);
}

/* ---- Members ---- */

void throttle_member_init(struct throttle_member *member)
{
    *member = (struct throttle_member){ 0 };
    for (size_t i = 0; i < THROTTLE_DIRECTIONS; i++)
        list_init(&member->waiting[i]);
}

void throttle_member_join(struct throttle_member *member, struct throttle_group *group)
{
    check(!member->group);
    member->group = group;
    list_add_tail(&group->members, &member->link);
}

void throttle_member_release(struct throttle_member *member)
{
    struct throttle_wait *wait;

    for (size_t i = 0; i < THROTTLE_DIRECTIONS; i++) {
        while ((wait = list_pop_head(&member->waiting[i], struct throttle_wait, link)))
            wait->go(wait);
    }
}

void throttle_member_leave(struct throttle_member *member)
{
    struct throttle_group *group = member->group;

    if (!group)
        return;
    list_del(&member->link);
    member->group = NULL;
    for (size_t i = 0; i < THROTTLE_DIRECTIONS; i++) {
        if (group->lanes[i].turn == member)
            group->lanes[i].turn = NULL;
    }
    throttle_member_release(member);
    object_unref(&group->base);
}

/* ---- Groups ---- */

void throttle_group_set_limits(struct throttle_group *group, const struct throttle_limits *limits)
{
    group->limits = *limits;
    group->buckets = (struct throttle_buckets){ .leaked_ns = clock_now(group->clock) };
    for (size_t i = 0; i < THROTTLE_DIRECTIONS; i++) {
        alarm_disarm(&group->lanes[i].alarm);
        lane_run(&group->lanes[i]);
    }
}

struct err *throttle_group_find(struct objects *objects, const char *id,
                                struct throttle_group **out)
{
    struct object *object = objects_ref(objects, id, throttle_group_type.name);

    if (!object)
        return err_new("Throttle group '%s' does not exist", id);
    *out = container_of(object, struct throttle_group, base);
    return NULL;
}

/* ---- The object ---- */

/* The properties x-bps-total and so on; their texts are not those of "limits". */
static struct err *read_properties(struct throttle_limits *limits, struct opts *props)
{
    const char *name;
    struct json *value;
    int64_t number;

    json_object_for_each(props->obj, i, name, value) {
        if (!str_has_prefix(name, "x-") || !throttle_limit(limits, name + 2))
            continue;
        number = 0;
        TRY(opts_i64_opt(props, name, &number));
        if (number < 0)
            return err_new("Property values cannot be negative");
        /* "therange" is how the reference says it. */
        if (str_has_suffix(name, "-max-length") && number > UINT32_MAX)
            return err_new("%s value must be in therange [0, %" PRIu32 "]", name, UINT32_MAX);
    }
    return throttle_limits_read(limits, props, "x-");
}

static struct err *read_limits(struct throttle_limits *limits, const struct json *value)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };

    opts_init_prefix(&opts, value, "limits.");
    TRY(throttle_limits_read(limits, &opts, ""));
    TRY(opts_check_unused(&opts));
    return NULL;
}

static struct err *group_complete(struct object *object, struct opts *props)
{
    struct throttle_group *group = container_of(object, struct throttle_group, base);
    struct throttle_limits limits;
    const struct json *value = NULL;

    group->clock = objects_clock(object->registry);
    list_init(&group->members);
    for (size_t i = 0; i < THROTTLE_DIRECTIONS; i++)
        group->lanes[i] =
            (struct throttle_lane){ .alarm.fn = lane_woken, .group = group, .is_write = i == 1 };
    throttle_limits_init(&limits);
    TRY(read_properties(&limits, props));
    TRY(opts_object_opt(props, "limits", &value));
    if (value)
        TRY(read_limits(&limits, value));
    TRY(throttle_limits_check(&limits));
    throttle_group_set_limits(group, &limits);
    return NULL;
}

static void group_finalize(struct object *object)
{
    struct throttle_group *group = container_of(object, struct throttle_group, base);

    for (size_t i = 0; i < THROTTLE_DIRECTIONS; i++)
        alarm_disarm(&group->lanes[i].alarm);
}

static struct err *group_set(struct object *object, const char *name, const struct json *value)
{
    struct throttle_group *group = container_of(object, struct throttle_group, base);
    struct throttle_limits limits = group->limits;

    if (str_has_prefix(name, "x-") && throttle_limit(&limits, name + 2))
        return err_new("Property cannot be set after initialization");
    if (!str_eq(name, "limits"))
        return err_new("Property 'throttle-group.%s' not found", name);
    if (json_type_of(value) != JSON_OBJECT)
        return err_new("Invalid parameter type for 'limits', expected: object");
    TRY(read_limits(&limits, value));
    TRY(throttle_limits_check(&limits));
    throttle_group_set_limits(group, &limits);
    return NULL;
}

static struct err *group_get(struct object *object, const char *name, struct json **out)
{
    struct throttle_group *group = container_of(object, struct throttle_group, base);
    const uint64_t *limit;

    if (str_eq(name, "limits"))
        *out = throttle_limits_json(&group->limits);
    else if (str_has_prefix(name, "x-") && (limit = throttle_limit(&group->limits, name + 2)))
        *out = json_uint(*limit);
    return NULL;
}

static const struct object_property properties[] = {
    { "limits", "ThrottleLimits" },
    { "x-bps-read-max-length", "int" },
    { "x-bps-read-max", "int" },
    { "x-bps-read", "int" },
    { "x-bps-total-max-length", "int" },
    { "x-bps-total-max", "int" },
    { "x-bps-total", "int" },
    { "x-bps-write-max-length", "int" },
    { "x-bps-write-max", "int" },
    { "x-bps-write", "int" },
    { "x-iops-read-max-length", "int" },
    { "x-iops-read-max", "int" },
    { "x-iops-read", "int" },
    { "x-iops-size", "int" },
    { "x-iops-total-max-length", "int" },
    { "x-iops-total-max", "int" },
    { "x-iops-total", "int" },
    { "x-iops-write-max-length", "int" },
    { "x-iops-write-max", "int" },
    { "x-iops-write", "int" },
    { 0 },
};

const struct object_type throttle_group_type = {
    .name = "throttle-group",
    .properties = properties,
    .size = sizeof(struct throttle_group),
    .complete = group_complete,
    .finalize = group_finalize,
    .set = group_set,
    .get = group_get,
};
