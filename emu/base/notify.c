#include "emu/base/notify.h"

#include <string.h>

#include "emu/base/check.h"

/* A round under way: which notifier is next, so that removing it moves the round on. */
struct notify_walk {
    struct list *next;
    struct notify_walk *outer;
};

void notifier_list_init(struct notifier_list *l)
{
    list_init(&l->notifiers);
    l->walks = NULL;
    l->added = 0;
}

void notifier_list_fini(struct notifier_list *l)
{
    check(!l->walks);
    list_for_each_safe(n, &l->notifiers, struct notifier, list)
        notifier_remove(n);
}

void notifier_add(struct notifier_list *l, struct notifier *n)
{
    check(!n->owner);
    n->owner = l;
    n->number = ++l->added;
    list_add_tail(&l->notifiers, &n->list);
}

void notifier_remove(struct notifier *n)
{
    if (!n->owner)
        return;
    for (struct notify_walk *walk = n->owner->walks; walk; walk = walk->outer) {
        if (walk->next == &n->list)
            walk->next = n->list.next;
    }
    list_del(&n->list);
    n->owner = NULL;
}

void notify_all(struct notifier_list *l, void *data)
{
    struct notify_walk walk = { .next = l->notifiers.next, .outer = l->walks };
    uint64_t last = l->added;

    l->walks = &walk;
    while (walk.next != &l->notifiers) {
        struct notifier *n = container_of(walk.next, struct notifier, list);

        walk.next = n->list.next;
        if (n->number <= last)
            n->fn(n, data);
    }
    l->walks = walk.outer;
}
