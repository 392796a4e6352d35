/*
 * Intrusive FIFO: push at the tail, pop at the head, nothing else. Half the pointers of a list.
 *
 * Owns nothing. A link is in at most one queue; a zeroed link is in none.
 */
#ifndef EMU_BASE_QUEUE_H
#define EMU_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "emu/base/attrs.h"

struct queue_link {
    struct queue_link *next;
};

/* Zeroed memory is an empty queue. */
struct queue {
    struct queue_link *head, *tail; /* tail is meaningful only while head is set. */
};

static inline void queue_init(struct queue *q) { q->head = q->tail = NULL; }

static inline bool queue_empty(const struct queue *q) { return !q->head; }

static inline void queue_push(struct queue *q, struct queue_link *link)
{
    link->next = NULL;
    if (q->head)
        q->tail->next = link;
    else
        q->head = link;
    q->tail = link;
}

/* Puts link in front of all others: for an element that was popped and must be retried. */
static inline void queue_push_head(struct queue *q, struct queue_link *link)
{
    link->next = q->head;
    if (!q->head)
        q->tail = link;
    q->head = link;
}

/* Takes out the oldest link; NULL when empty. */
static inline struct queue_link *queue_pop_link(struct queue *q)
{
    struct queue_link *link = q->head;

    if (link) {
        q->head = link->next;
        link->next = NULL;
    }
    return link;
}

/* Moves all of `from` behind the elements of `to`. */
static inline void queue_append(struct queue *to, struct queue *from)
{
    if (!from->head)
        return;
    if (to->head)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    queue_init(from);
}

static inline void *queue_container_or_null(struct queue_link *link, size_t offset)
{
    return link ? (char *)link - offset : NULL;
}

/* Oldest element without taking it; NULL when empty. */
#define queue_first(q, type, member)                                                               \
    ((type *)queue_container_or_null((q)->head, offsetof(type, member)))

/* Takes out and returns the oldest element; NULL when empty. */
#define queue_pop(q, type, member)                                                                 \
    ((type *)queue_container_or_null(queue_pop_link(q), offsetof(type, member)))

#endif
