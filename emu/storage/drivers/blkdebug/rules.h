#ifndef EMU_STORAGE_DRIVERS_BLKDEBUG_RULES_H
#define EMU_STORAGE_DRIVERS_BLKDEBUG_RULES_H

/*
 * The rules of a blkdebug node: what happens when a driver above comes by an event.
 *
 * A node is in a state, a number that begins at 1. When an event comes, its rules that are meant for that state (or for
 * any, 0) act: inject-error arms errors for the requests that follow, until the next event that arms some; suspend
 * stops the next request; set-state changes the state after all rules of the event have been looked at. Rules of the
 * event "none" are armed from the start.
 */

#include "emu/base/err.h"
#include "emu/base/list.h"
#include "emu/base/opts.h"
#include "emu/storage/req.h"

enum { BLKDEBUG_CONFIG_MAX = 1 << 20 /* Bytes of a configuration file. */ };

struct blkdebug_rules {
    struct list rules;  /* struct rule, in the order given. */
    uint64_t state;
    char *pending;      /* Tag that stops the next request; owned, or NULL. */
    bool armed;         /* Some error is. */
};

void blkdebug_rules_init(struct blkdebug_rules *rules);
void blkdebug_rules_fini(struct blkdebug_rules *rules);
/* The members inject-error and set-state of the node's options. */
struct err *blkdebug_rules_from_options(struct blkdebug_rules *rules, struct opts *opts) MUST_USE;
/* The text of a configuration file: [inject-error] and [set-state] sections with key = "value" lines. */
struct err *blkdebug_rules_from_text(struct blkdebug_rules *rules, const char *text) MUST_USE;
/* To be called when all rules are there. */
void blkdebug_rules_start(struct blkdebug_rules *rules);

/* Stops the request after the event, once. -ENOENT: no such event. */
int blkdebug_rules_break(struct blkdebug_rules *rules, const char *event, const char *tag);
/* Removes the breakpoints of that tag; whether there was one. */
bool blkdebug_rules_unbreak(struct blkdebug_rules *rules, const char *tag);

void blkdebug_rules_event(struct blkdebug_rules *rules, const char *event);
/* 0, or the -errno that the armed rules have for the request. */
int blkdebug_rules_check(struct blkdebug_rules *rules, const struct req *req);

#endif
