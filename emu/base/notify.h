/*
 * Listener lists: how a lower layer tells upper ones that something happened.
 *
 *     struct notifier_list on_change;             in the object, notifier_list_init
 *     struct notifier n = {.fn = changed};        in the listener; notifier_add(&x->on_change, &n)
 *     notify_all(&x->on_change, &event);          calls changed(&n, &event)
 *
 * While listeners are called, any of them may be removed (also freed after that) or added, and the
 * list may be notified again. A listener added during a round is not called in it. Single thread.
 */
#ifndef EMU_BASE_NOTIFY_H
#define EMU_BASE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/list.h"

struct notify_walk;

struct notifier_list {
    struct list notifiers;
    struct notify_walk *walks; /* Rounds under way, innermost first; they live on the stack. */
    uint64_t added;            /* Listeners ever added. */
};

/* Zeroed except fn is a notifier in no list. */
struct notifier {
    struct list list;
    void (*fn)(struct notifier *self, void *data);
    struct notifier_list *owner; /* NULL: in no list. */
    uint64_t number;             /* Value of owner->added when it came. */
};

void notifier_list_init(struct notifier_list *l);

/* Takes all listeners out; they stay with their owners. Must not run inside a round. */
void notifier_list_fini(struct notifier_list *l);

static inline bool notifier_list_empty(const struct notifier_list *l)
{
    return list_empty(&l->notifiers);
}

/* Adds at the end; n (with fn set) must be in no list. */
void notifier_add(struct notifier_list *l, struct notifier *n);

/* Harmless when n is in no list. */
void notifier_remove(struct notifier *n);

/* Calls every listener in the order they were added. data is passed through. */
void notify_all(struct notifier_list *l, void *data);

#endif
