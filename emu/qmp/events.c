/* See events.h. */
#include "emu/qmp/events.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/json_write.h"
#include "emu/base/map.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"

#define RATE_WINDOW_NS (1 * NS_PER_SEC)

struct qmp_events {
    struct reactor *reactor; /* borrowed */
    struct list sinks;
    struct map windows; /* Key of a rate-limited event to struct window; open ones only. */
};

/* The second after an event of one kind was sent. */
struct window {
    struct timer timer;
    struct qmp_events *events;
    char *key;
    struct json *latest; /* owned; to be sent at the end, or NULL */
};

struct qmp_events *qmp_events_new(struct reactor *reactor)
{
    struct qmp_events *events = NEW(struct qmp_events);

    events->reactor = reactor;
    list_init(&events->sinks);
    map_init(&events->windows);
    return events;
}

static void window_free(void *value)
{
    struct window *w = value;

    timer_disarm(&w->timer);
    json_free(w->latest);
    xfree(w->key);
    xfree(w);
}

void qmp_events_free(struct qmp_events *events)
{
    if (!events)
        return;
    check(list_empty(&events->sinks));
    map_fini_values(&events->windows, window_free);
    xfree(events);
}

void qmp_events_add_sink(struct qmp_events *events, struct qmp_event_sink *sink)
{
    list_add_tail(&events->sinks, &sink->link);
}

void qmp_events_remove_sink(struct qmp_event_sink *sink) { list_del(&sink->link); }

static void broadcast(struct qmp_events *events, const struct json *event)
{
    list_for_each(sink, &events->sinks, struct qmp_event_sink, link)
        sink->send(sink, event);
}

static struct json *make_event(struct qmp_events *events, const struct qmp_event_spec *spec,
                               const void *data)
{
    struct json *event = json_object(), *stamp = json_object();
    int64_t now = reactor_wall_now(events->reactor);

    json_object_set_int(stamp, "seconds", now / NS_PER_SEC);
    json_object_set_int(stamp, "microseconds", now % NS_PER_SEC / NS_PER_US);
    json_object_set(event, "timestamp", stamp);
    json_object_set_str(event, "event", spec->name);
    if (spec->data->count)
        json_object_set(event, "data", qapi_encode(spec->data, data));
    return event;
}

static void window_over(struct timer *timer)
{
    struct window *w = container_of(timer, struct window, timer);
    struct qmp_events *events = w->events;
    struct json *event = w->latest;

    if (!event) {
        map_remove(&events->windows, w->key);
        window_free(w);
        return;
    }
    w->latest = NULL;
    timer_arm(events->reactor, timer, reactor_now(events->reactor) + RATE_WINDOW_NS);
    broadcast(events, event);
    json_free(event);
}

/* Returns new text that is equal for events that share a window. */
static char *window_key(const struct qmp_event_spec *spec, const struct json *event)
{
    const struct json *data = json_object_get(event, "data");
    struct str key = { 0 };

    str_add(&key, spec->name);
    for (const char *const *name = spec->rate_keys; *name; name++) {
        const struct json *value = json_object_get(data, *name);

        str_addc(&key, ' ');
        if (value)
            json_write(&key, value, JSON_TIGHT);
    }
    return str_steal(&key);
}

/* Sends the event now when no window is open for it, else keeps it for the end. Takes event. */
static void emit_limited(struct qmp_events *events, const struct qmp_event_spec *spec,
                         struct json *event)
{
    char *key = window_key(spec, event);
    struct window *w = map_get(&events->windows, key);

    if (w) {
        json_free(w->latest);
        w->latest = event;
        xfree(key);
        return;
    }
    w = NEW(struct window);
    w->events = events;
    w->key = key;
    w->timer.fn = window_over;
    map_put(&events->windows, key, w);
    timer_arm(events->reactor, &w->timer, reactor_now(events->reactor) + RATE_WINDOW_NS);
    broadcast(events, event);
    json_free(event);
}

void qmp_events_emit(struct qmp_events *events, const struct qmp_event_spec *spec, const void *data)
{
    struct json *event = make_event(events, spec, data);

    check(reactor_is_home(events->reactor));
    if (spec->rate_keys) {
        emit_limited(events, spec, event);
        return;
    }
    broadcast(events, event);
    json_free(event);
}
