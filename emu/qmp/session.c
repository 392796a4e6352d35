/* See session.h. */
#include "emu/qmp/session.h"

#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/json_write.h"
#include "emu/base/log.h"
#include "emu/base/queue.h"
#include "emu/base/str.h"
#include "emu/qmp/dispatch.h"
#include "emu/qmp/framing.h"
#include "emu/qmp/version.h"

/* A message that waits for its turn: a value, or what was wrong with the bytes. */
struct message {
    struct queue_link link;
    struct json *value; /* owned */
    struct err *err;    /* owned */
};

/* Where the bytes come and go. */
enum place {
    PLACE_HERE,   /* Through s->channel on the main reactor. */
    PLACE_MOVING, /* The same, without input, until the channel can be moved. */
    PLACE_REMOTE, /* Through s->remote on the monitor thread. */
};

struct qmp_session {
    const struct qmp_env *env;
    enum place place;
    struct channel *channel;   /* owned; NULL when remote */
    struct qmp_remote *remote; /* owned */
    struct qmp_framing framing;
    struct queue queue; /* of struct message */
    unsigned queued;
    struct qmp_call *running; /* Awaits its reply; owned by its handler. */
    struct task task; /* Pumps. */
    struct qmp_event_sink sink; /* Linked once negotiated. */
    int fds[QMP_FDS_MAX]; /* owned; sent by the client, oldest first */
    unsigned fd_count;
    bool negotiated, oob;
    bool pretty;
    bool input_stopped;
    bool detaching;
    bool input_over; /* The client sends nothing more. */
    bool broken;     /* Nor does it read. */
    struct list link; /* In env->lingering once the owner has let it go. */
    bool lingering;
    uint64_t events_lost;
    struct str text; /* Scratch for output. */
    void (*ended)(void *arg);
    void *ended_arg;
};

static void pump(struct qmp_session *s);
static void deliver(struct qmp_call *call, struct json *reply);

/* ---- Output ---- */

static void send_json(struct qmp_session *s, const struct json *value)
{
    str_clear(&s->text);
    json_write(&s->text, value, JSON_HASH_ORDER | (s->pretty ? JSON_PRETTY : JSON_COMPACT));
    str_add(&s->text, "\r\n");
    if (s->remote)
        qmp_remote_send(s->remote, &s->text);
    else
        channel_send(s->channel, s->text.data, s->text.len);
}

size_t qmp_session_pending(const struct qmp_session *s)
{
    return s->remote ? qmp_remote_pending(s->remote) : channel_pending(s->channel);
}

static void send_event(struct qmp_event_sink *sink, const struct json *event)
{
    struct qmp_session *s = container_of(sink, struct qmp_session, sink);

    if (qmp_session_pending(s) < QMP_OUTPUT_MAX) {
        send_json(s, event);
        s->events_lost = 0;
    } else if (s->events_lost++ == 0) {
        log_warn("a monitor's client does not read, its events are dropped");
    }
}

/* As in the reference, what counts is whether the character device has a connection to move. */
static bool offers_oob(const struct qmp_session *s) { return channel_stream(s->channel) != NULL; }

static void send_greeting(struct qmp_session *s)
{
    struct json *greeting = json_object(), *qmp = json_object(), *capabilities = json_array();

    if (offers_oob(s))
        json_array_add_str(capabilities, "oob");
    json_object_set(qmp, "version", qmp_version_json(s->env->package));
    json_object_set(qmp, "capabilities", capabilities);
    json_object_set(greeting, "QMP", qmp);
    send_json(s, greeting);
    json_free(greeting);
}

/* ---- Descriptors ---- */

void qmp_session_fds(struct qmp_session *s, const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (s->fd_count < QMP_FDS_MAX)
            s->fds[s->fd_count++] = fds[i];
        else
            close(fds[i]);
    }
}

int qmp_session_take_fd(struct qmp_session *s)
{
    int fd = s->fd_count ? s->fds[0] : -1;

    if (fd >= 0)
        memmove(s->fds, s->fds + 1, --s->fd_count * sizeof(*s->fds));
    return fd;
}

static void collect_fds(struct qmp_session *s)
{
    int fds[QMP_FDS_MAX];

    qmp_session_fds(s, fds, channel_take_fds(s->channel, fds, QMP_FDS_MAX));
}

static void drop_fds(struct qmp_session *s)
{
    while (s->fd_count)
        close(s->fds[--s->fd_count]);
}

/* ---- Input ---- */

/* Whether no further message may be read now. */
static bool input_full(const struct qmp_session *s)
{
    if (s->input_stopped || s->env->held || s->place != PLACE_HERE)
        return true;
    if (channel_pending(s->channel) > QMP_OUTPUT_HIGH)
        return true;
    return s->oob ? s->queued >= QMP_QUEUE_MAX : s->queued || s->running;
}

static void update_input(struct qmp_session *s)
{
    if (!s->channel)
        return;
    if (input_full(s))
        channel_pause(s->channel);
    else
        channel_resume(s->channel);
}

static void push(struct qmp_session *s, struct json *value, struct err *err)
{
    struct message *m = NEW(struct message);

    m->value = value;
    m->err = err;
    queue_push(&s->queue, &m->link);
    s->queued++;
}

static struct message *pop(struct qmp_session *s)
{
    struct message *m = queue_pop(&s->queue, struct message, link);

    if (!m)
        return NULL;
    s->queued--;
    if (s->remote)
        qmp_remote_dequeued(s->remote);
    return m;
}

static struct qmp_dispatch dispatch_of(struct qmp_session *s)
{
    return (struct qmp_dispatch){
        .registry = s->env->registry,
        .server = s->env->server,
        .world = s->env->world,
        .session = s,
        .mode = !s->negotiated ? QMP_NEGOTIATING
                : s->oob       ? QMP_WITH_OOB
                               : QMP_IN_BAND,
        .deliver = deliver,
        .deliver_arg = s,
    };
}

static void message_parsed(void *arg, struct json *value, struct err *err)
{
    struct qmp_session *s = arg;

    collect_fds(s);
    /* Without a monitor thread (in the simulator) it is done here, as far ahead as it can be. */
    if (s->oob && qmp_wants_oob(value)) {
        struct qmp_dispatch d = dispatch_of(s);

        d.session = NULL;
        check(!qmp_dispatch(&d, value, err));
        return;
    }
    push(s, value, err);
}

static size_t received(void *arg, const char *bytes, size_t len)
{
    struct qmp_session *s = arg;
    size_t used = 0;

    while (used < len && !input_full(s))
        used += qmp_framing_feed(&s->framing, bytes + used, len - used);
    pump(s);
    return used;
}

static void channel_ended(void *arg)
{
    struct qmp_session *s = arg;

    qmp_session_peer_ended(s, channel_is_broken(s->channel));
}

/* ---- Requests in order ---- */

static void moved(void *arg, struct channel_parts *parts)
{
    struct qmp_session *s = arg;

    s->channel = NULL;
    s->remote = qmp_remote_new(s->env, s, s->pretty, parts);
    s->place = PLACE_REMOTE;
}

/* Once all is answered, the client's bytes can go to the monitor thread. */
static void begin_move(struct qmp_session *s)
{
    if (s->place != PLACE_MOVING || s->detaching || s->running || s->queued || s->input_over)
        return;
    s->detaching = true;
    channel_detach(s->channel, moved, s);
}

/* The owner is told as soon as there is nothing more to begin; the session goes when there is
 * nothing more to say. May free s. */
static void settle_end(struct qmp_session *s)
{
    if (!s->input_over || s->queued)
        return;
    if (!s->lingering) {
        s->lingering = true;
        list_add_tail(s->env->lingering, &s->link);
        s->ended(s->ended_arg);
    }
    if (s->broken || (!s->running && !qmp_session_pending(s)))
        qmp_session_close(s);
}

static void pump_task(struct task *task) { pump(container_of(task, struct qmp_session, task)); }

static void pump_later(struct qmp_session *s)
{
    reactor_defer(s->env->reactor, &s->task, pump_task);
}

/* Does at most one request, so that other sessions get their turn. May free s. */
static void pump(struct qmp_session *s)
{
    struct message *m = s->running ? NULL : pop(s);

    if (m) {
        struct qmp_dispatch d = dispatch_of(s);

        s->running = qmp_dispatch(&d, m->value, m->err);
        xfree(m);
    }
    begin_move(s);
    if (s->queued && !s->running)
        pump_later(s);
    update_input(s);
    settle_end(s);
}

static void deliver(struct qmp_call *call, struct json *reply)
{
    struct qmp_session *s = call->deliver_arg;

    send_json(s, reply);
    json_free(reply);
    if (s->running != call)
        return; /* Answered from within qmp_dispatch(), or out of band. */
    s->running = NULL;
    pump_later(s);
}

void qmp_session_sent(struct qmp_session *s) { pump(s); }

static void channel_sent(void *arg) { pump(arg); }

void qmp_session_message(struct qmp_session *s, struct json *value, struct err *err)
{
    push(s, value, err);
    pump(s);
}

struct err *qmp_session_negotiate(struct qmp_session *s, bool oob)
{
    if (s->negotiated)
        return err_new_class(ERR_COMMAND_NOT_FOUND,
                             "Capabilities negotiation is already complete, command ignored");
    if (oob && !offers_oob(s))
        return err_new("Capability oob not available");
    s->negotiated = true;
    s->oob = oob;
    if (oob && channel_is_movable(s->channel) && qmp_oob_start(s->env->oob))
        s->place = PLACE_MOVING;
    qmp_events_add_sink(s->env->events, &s->sink);
    return NULL;
}

/* ---- Life ---- */

struct qmp_session *qmp_session_new(const struct qmp_env *env, struct channel *ch, bool pretty,
                                    void (*ended)(void *arg), void *arg)
{
    static const struct channel_user user = {
        .received = received,
        .ended = channel_ended,
        .sent = channel_sent,
    };
    struct qmp_session *s = NEW(struct qmp_session);

    s->env = env;
    s->channel = ch;
    s->pretty = pretty;
    s->ended = ended;
    s->ended_arg = arg;
    s->sink.send = send_event;
    qmp_framing_init(&s->framing, message_parsed, s);
    channel_attach(ch, &user, s);
    send_greeting(s);
    update_input(s);
    return s;
}

void qmp_session_held(struct qmp_session *s) { update_input(s); }

static void drop_queue(struct qmp_session *s)
{
    struct message *m;

    while ((m = queue_pop(&s->queue, struct message, link))) {
        json_free(m->value);
        err_free(m->err);
        xfree(m);
    }
    s->queued = 0;
}

void qmp_session_stop_input(struct qmp_session *s)
{
    s->input_stopped = true;
    drop_queue(s);
    update_input(s);
    if (s->remote)
        qmp_remote_stop_input(s->remote);
}

void qmp_session_peer_ended(struct qmp_session *s, bool broken)
{
    s->input_over = true;
    s->broken = broken;
    if (broken)
        drop_queue(s);
    pump(s);
}

void qmp_session_close(struct qmp_session *s)
{
    if (!s)
        return;
    if (s->running)
        qmp_call_abandon(s->running);
    if (s->negotiated)
        qmp_events_remove_sink(&s->sink);
    if (s->remote)
        qmp_remote_close(s->remote);
    channel_close(s->channel);
    reactor_undefer(&s->task);
    if (s->lingering)
        list_del(&s->link);
    drop_queue(s);
    drop_fds(s);
    qmp_framing_fini(&s->framing);
    str_fini(&s->text);
    xfree(s);
}

void qmp_sessions_close_lingering(const struct qmp_env *env)
{
    list_for_each_safe(s, env->lingering, struct qmp_session, link)
        qmp_session_close(s);
}

size_t qmp_sessions_lingering_pending(const struct qmp_env *env)
{
    size_t pending = 0;

    list_for_each(s, env->lingering, struct qmp_session, link)
        pending += qmp_session_pending(s);
    return pending;
}
