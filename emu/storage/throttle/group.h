#ifndef EMU_STORAGE_THROTTLE_GROUP_H
#define EMU_STORAGE_THROTTLE_GROUP_H

/*
 * Throttle groups: members that share limits of I/O. Requests that must wait queue in their member; when the buckets
 * let one go, the members with waiting requests take turns. Reads and writes queue apart.
 *
 * A group is an object of the type throttle-group; its members hold references to it.
 */

#include "emu/object/object.h"
#include "emu/reactor/clock.h"
#include "emu/storage/throttle/limits.h"

enum { THROTTLE_DIRECTIONS = 2 /* Reads and writes. */ };

/* One direction of a group. */
struct throttle_lane {
    struct alarm alarm;
    struct throttle_group *group;
    struct throttle_member *turn; /* Whose request went last; NULL: nobody's. */
    bool is_write;
};

struct throttle_group {
    struct object base;
    struct throttle_limits limits;
    struct throttle_buckets buckets;
    struct list members; /* struct throttle_member by link. */
    struct throttle_lane lanes[THROTTLE_DIRECTIONS];
    struct clock *clock; /* Borrowed from the registry. */
};

/* A request that wants to start; embedded in its owner's. */
struct throttle_wait {
    struct list link;
    uint64_t bytes;
    bool is_write;
    void (*go)(struct throttle_wait *wait); /* It may start now. */
};

struct throttle_member {
    struct list link;             /* In group->members. */
    struct throttle_group *group; /* Holds a reference; NULL: no limits. */
    struct list waiting[THROTTLE_DIRECTIONS]; /* struct throttle_wait. */
};

extern const struct object_type throttle_group_type;

/* The group of that id, with a new reference: "Throttle group 'x' does not exist". */
struct err *throttle_group_find(struct objects *objects, const char *id,
                                struct throttle_group **out) MUST_USE;
/* Checked limits take effect; the buckets are empty. */
void throttle_group_set_limits(struct throttle_group *group, const struct throttle_limits *limits);

void throttle_member_init(struct throttle_member *member);
/* Takes the reference to the group. */
void throttle_member_join(struct throttle_member *member, struct throttle_group *group);
/* Lets all waiting requests go and drops the reference. No effect without a group. */
void throttle_member_leave(struct throttle_member *member);
/* Lets all waiting requests go, limits or not. */
void throttle_member_release(struct throttle_member *member);
/* Calls wait->go, now or when the limits allow it. */
void throttle_member_enter(struct throttle_member *member, struct throttle_wait *wait);

#endif
