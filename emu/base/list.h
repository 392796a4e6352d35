/*
 * Intrusive doubly linked list.
 *
 * The same struct is the head and the link embedded in each element. A list owns nothing; an
 * element is in at most one list per link. A link that was list_init-ed or list_del-ed is its own
 * list, so list_empty(&element->link) asks whether the element is in no list.
 */
#ifndef EMU_BASE_LIST_H
#define EMU_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "emu/base/attrs.h"

struct list {
    struct list *prev, *next;
};

#define LIST_INIT(name)                                                                            \
    {                                                                                              \
        &(name), &(name)                                                                           \
    }

static inline void list_init(struct list *l) { l->prev = l->next = l; }

static inline bool list_empty(const struct list *l) { return l->next == l; }

static inline void list_insert_between(struct list *link, struct list *prev, struct list *next)
{
    link->prev = prev;
    link->next = next;
    prev->next = link;
    next->prev = link;
}

static inline void list_add_head(struct list *l, struct list *link)
{
    list_insert_between(link, l, l->next);
}

static inline void list_add_tail(struct list *l, struct list *link)
{
    list_insert_between(link, l->prev, l);
}

/* Puts link right before / after another link that is in a list. */
static inline void list_add_before(struct list *where, struct list *link)
{
    list_insert_between(link, where->prev, where);
}

static inline void list_add_after(struct list *where, struct list *link)
{
    list_insert_between(link, where, where->next);
}

/* Takes link out of its list and re-inits it; harmless on a link that is in no list. */
static inline void list_del(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* Moves all elements of `from` to the tail of `to`; `from` is then empty. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* Number of elements; walks the list. */
static inline size_t list_count(const struct list *l)
{
    size_t n = 0;

    for (const struct list *link = l->next; link != l; link = link->next)
        n++;
    return n;
}

/* Takes out and returns the first link, NULL when the list is empty. */
static inline struct list *list_pop_head_link(struct list *l)
{
    struct list *link = l->next;

    if (link == l)
        return NULL;
    list_del(link);
    return link;
}

static inline void *list_container_or_null(struct list *link, size_t offset)
{
    return link ? (char *)link - offset : NULL;
}

/* The element that embeds `link` as `member`. */
#define list_entry(link, type, member) container_of(link, type, member)

/* First / last element, NULL when the list is empty. */
#define list_first(l, type, member)                                                                \
    ((type *)list_container_or_null(list_empty(l) ? NULL : (l)->next, offsetof(type, member)))
#define list_last(l, type, member)                                                                 \
    ((type *)list_container_or_null(list_empty(l) ? NULL : (l)->prev, offsetof(type, member)))

/* The element after `pos` (never NULL itself), NULL after the last. */
#define list_next(l, pos, type, member)                                                            \
    ((type *)list_container_or_null((pos)->member.next == (l) ? NULL : (pos)->member.next,         \
                                    offsetof(type, member)))

/* Takes out and returns the first element, NULL when the list is empty. */
#define list_pop_head(l, type, member)                                                             \
    ((type *)list_container_or_null(list_pop_head_link(l), offsetof(type, member)))

/*
 * Walks the list: `list_for_each(job, &jobs, struct job, link) { ... }`. Declares `pos` itself. The
 * body must not remove any element; see list_for_each_safe.
 */
#define list_for_each(pos, l, type, member)                                                        \
    for (type *pos = list_entry((l)->next, type, member); &pos->member != (l);                     \
         pos = list_entry(pos->member.next, type, member))

#define list_for_each_reverse(pos, l, type, member)                                                \
    for (type *pos = list_entry((l)->prev, type, member); &pos->member != (l);                     \
         pos = list_entry(pos->member.prev, type, member))

/* The body may remove (and free) `pos`, but no other element. */
#define list_for_each_safe(pos, l, type, member)                                                   \
    for (type *pos = list_entry((l)->next, type, member),                                          \
              *pos##_next_ = list_entry(pos->member.next, type, member);                           \
         &pos->member != (l);                                                                      \
         pos = pos##_next_, pos##_next_ = list_entry(pos->member.next, type, member))

#endif
