/*
 * Events: raised by generated qapi_event_<name>() and broadcast to all monitors that finished their
 * negotiation. Others miss them; nothing is kept for later.
 *
 * Events whose schema has 'rate-limit' are sent at most once a second for each value of the named
 * members: the first at once, and of those that follow within the second only the latest, when the
 * second is over. Its time stamp is that of its raising.
 *
 * Home: the main reactor.
 */
#ifndef EMU_QMP_EVENTS_H
#define EMU_QMP_EVENTS_H

#include "emu/base/json.h"
#include "emu/base/list.h"
#include "emu/qmp/spec.h"
#include "emu/reactor/reactor.h"

struct qmp_events;

/* Someone who gets all events. send may not raise events. */
struct qmp_event_sink {
    struct list link;
    void (*send)(struct qmp_event_sink *sink, const struct json *event);
};

struct qmp_events *qmp_events_new(struct reactor *reactor);
/* All sinks must be gone. Drops what waits. NULL is fine. */
void qmp_events_free(struct qmp_events *events);

void qmp_events_add_sink(struct qmp_events *events, struct qmp_event_sink *sink);
void qmp_events_remove_sink(struct qmp_event_sink *sink);

/* Raises an event; data is of the event's type, or NULL. Use the generated qapi_event_<name>(). */
void qmp_events_emit(struct qmp_events *events, const struct qmp_event_spec *spec,
                     const void *data);

#endif
