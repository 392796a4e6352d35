/*
 * See oob.h.
 *
 * Of struct qmp_remote, each field belongs to one side, or is atomic. Posts between two reactors
 * arrive in order, and this gives the end of a remote its safety: the main side asks for it;
 * the thread closes the channel, and its answer is the last post that names the remote.
 *
 * Input stops when QMP_QUEUE_MAX messages are on their way or wait in the session, so an exec-oob
 * behind them is not seen: as in the reference, a client keeps fewer than that outstanding.
 */
#include "emu/qmp/oob.h"

#include <stdatomic.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/json_write.h"
#include "emu/base/log.h"
#include "emu/qmp/dispatch.h"
#include "emu/qmp/framing.h"
#include "emu/qmp/session.h"

struct qmp_oob {
    struct reactor *main;           /* borrowed */
    struct reactor_thread *thread;  /* owned; NULL until needed */
    unsigned remotes;
    void (*empty)(void *arg);
    void *empty_arg;
};

struct qmp_remote {
    /* Constant. */
    const struct qmp_env *env;
    struct reactor *reactor; /* Of the thread. */
    unsigned layout;         /* For json_write. */
    /* Both sides. */
    atomic_uint queued;      /* Messages posted and not yet taken out of the session's queue. */
    atomic_size_t in_post;   /* Bytes of output on the way to the thread. */
    atomic_size_t unwritten; /* Bytes of output in the channel. */
    /* The main side. */
    struct qmp_session *session; /* NULL once closed */
    /* The thread's side. */
    struct channel_parts parts;
    struct channel *channel; /* owned */
    struct qmp_framing framing;
    struct str text; /* Scratch. */
    bool stopped;
    bool ended; /* The main side knows that no more will come. */
};

/* What travels: one remote and one thing. */
struct post {
    struct qmp_remote *remote;
    struct str text;    /* owned */
    struct json *value; /* owned */
    struct err *err;    /* owned */
    int fds[QMP_FDS_MAX]; /* owned; those before a message */
    unsigned fd_count;
    bool broken;
};

static struct post *post_new(struct qmp_remote *r)
{
    struct post *p = NEW(struct post);

    p->remote = r;
    return p;
}

static void to_thread(struct qmp_remote *r, void (*fn)(void *), struct post *p)
{
    reactor_post(r->reactor, fn, p);
}

static void to_main(struct qmp_remote *r, void (*fn)(void *), struct post *p)
{
    reactor_post(r->env->reactor, fn, p);
}

/* ---- On the main reactor, from the thread ---- */

static void main_message(void *arg)
{
    struct post *p = arg;

    if (p->remote->session) {
        qmp_session_fds(p->remote->session, p->fds, p->fd_count);
        qmp_session_message(p->remote->session, p->value, p->err);
    } else {
        while (p->fd_count)
            close(p->fds[--p->fd_count]);
        json_free(p->value);
        err_free(p->err);
    }
    xfree(p);
}

static void main_ended(void *arg)
{
    struct post *p = arg;

    if (p->remote->session)
        qmp_session_peer_ended(p->remote->session, p->broken);
    xfree(p);
}

static void main_sent(void *arg)
{
    struct post *p = arg;

    if (p->remote->session)
        qmp_session_sent(p->remote->session);
    xfree(p);
}

static void main_closed(void *arg)
{
    struct post *p = arg;
    struct qmp_oob *oob = p->remote->env->oob;

    check(!p->remote->session);
    xfree(p->remote);
    xfree(p);
    if (--oob->remotes == 0 && oob->empty)
        oob->empty(oob->empty_arg);
}

/* ---- On the monitor thread ---- */

static bool input_full(struct qmp_remote *r)
{
    return r->stopped || channel_pending(r->channel) > QMP_OUTPUT_HIGH ||
           atomic_load(&r->queued) >= QMP_QUEUE_MAX;
}

static void update_input(struct qmp_remote *r)
{
    if (input_full(r))
        channel_pause(r->channel);
    else
        channel_resume(r->channel);
}

static void thread_write(struct qmp_remote *r, const char *bytes, size_t len)
{
    channel_send(r->channel, bytes, len);
    atomic_store(&r->unwritten, channel_pending(r->channel));
}

static void thread_deliver(struct qmp_call *call, struct json *reply)
{
    struct qmp_remote *r = call->deliver_arg;

    str_clear(&r->text);
    json_write(&r->text, reply, JSON_HASH_ORDER | r->layout);
    str_add(&r->text, "\r\n");
    json_free(reply);
    thread_write(r, r->text.data, r->text.len);
}

static void thread_message(void *arg, struct json *value, struct err *err)
{
    struct qmp_remote *r = arg;
    struct post *p;

    if (qmp_wants_oob(value)) {
        struct qmp_dispatch d = {
            .registry = r->env->registry,
            .server = r->env->server,
            .world = r->env->world,
            .mode = QMP_WITH_OOB,
            .deliver = thread_deliver,
            .deliver_arg = r,
        };

        check(!qmp_dispatch(&d, value, err)); /* Its handler answers at once. */
        return;
    }
    p = post_new(r);
    p->value = value;
    p->err = err;
    p->fd_count = channel_take_fds(r->channel, p->fds, QMP_FDS_MAX);
    atomic_fetch_add(&r->queued, 1);
    to_main(r, main_message, p);
}

static size_t thread_received(void *arg, const char *bytes, size_t len)
{
    struct qmp_remote *r = arg;
    size_t used = 0;

    while (used < len && !input_full(r))
        used += qmp_framing_feed(&r->framing, bytes + used, len - used);
    update_input(r);
    return used;
}

static void thread_sent(void *arg)
{
    struct qmp_remote *r = arg;

    atomic_store(&r->unwritten, channel_pending(r->channel));
    update_input(r);
    if (r->ended && !channel_pending(r->channel))
        to_main(r, main_sent, post_new(r)); /* It may be all the session waits for. */
}

static void thread_ended(void *arg)
{
    struct qmp_remote *r = arg;
    struct post *p = post_new(r);

    p->broken = channel_is_broken(r->channel);
    r->ended = true;
    to_main(r, main_ended, p);
}

static void thread_start(void *arg)
{
    static const struct channel_user user = {
        .received = thread_received,
        .ended = thread_ended,
        .sent = thread_sent,
    };
    struct post *p = arg;
    struct qmp_remote *r = p->remote;

    qmp_framing_init(&r->framing, thread_message, r);
    r->channel = channel_adopt(r->reactor, &r->parts);
    channel_attach(r->channel, &user, r);
    channel_resume(r->channel);
    xfree(p);
}

static void thread_send(void *arg)
{
    struct post *p = arg;

    thread_write(p->remote, p->text.data, p->text.len);
    atomic_fetch_sub(&p->remote->in_post, p->text.len);
    if (channel_pending(p->remote->channel))
        update_input(p->remote);
    else
        thread_sent(p->remote); /* It went nowhere, the peer is gone. */
    str_fini(&p->text);
    xfree(p);
}

static void thread_resume(void *arg)
{
    struct post *p = arg;

    update_input(p->remote);
    xfree(p);
}

static void thread_stop_input(void *arg)
{
    struct post *p = arg;

    p->remote->stopped = true;
    update_input(p->remote);
    xfree(p);
}

static void thread_gone(void *arg)
{
    struct qmp_remote *r = arg;

    to_main(r, main_closed, post_new(r));
}

static void thread_close(void *arg)
{
    struct post *p = arg;
    struct qmp_remote *r = p->remote;

    qmp_framing_fini(&r->framing);
    str_fini(&r->text);
    channel_on_closed(r->channel, thread_gone, r);
    channel_close(r->channel);
    xfree(p);
}

/* ---- On the main reactor ---- */

struct qmp_oob *qmp_oob_new(struct reactor *main)
{
    struct qmp_oob *oob = NEW(struct qmp_oob);

    oob->main = main;
    return oob;
}

bool qmp_oob_start(struct qmp_oob *oob)
{
    struct err *err;

    if (oob->thread)
        return true;
    err = reactor_thread_new(oob->main, "monitor", &oob->thread);
    if (err)
        log_warn("exec-oob waits for the main thread: %s", err_text(err));
    err_free(err);
    return oob->thread != NULL;
}

void qmp_oob_free(struct qmp_oob *oob)
{
    if (!oob)
        return;
    check(!oob->remotes);
    if (oob->thread)
        reactor_thread_stop(oob->thread);
    xfree(oob);
}

unsigned qmp_oob_remotes(const struct qmp_oob *oob) { return oob->remotes; }

void qmp_oob_on_empty(struct qmp_oob *oob, void (*empty)(void *arg), void *arg)
{
    oob->empty = empty;
    oob->empty_arg = arg;
}

struct qmp_remote *qmp_remote_new(const struct qmp_env *env, struct qmp_session *session,
                                  bool pretty, struct channel_parts *parts)
{
    struct qmp_remote *r = NEW(struct qmp_remote);

    check(env->oob->thread);
    r->env = env;
    r->reactor = reactor_thread_reactor(env->oob->thread);
    r->layout = pretty ? JSON_PRETTY : JSON_COMPACT;
    r->session = session;
    r->parts = *parts;
    env->oob->remotes++;
    to_thread(r, thread_start, post_new(r));
    return r;
}

void qmp_remote_send(struct qmp_remote *r, struct str *text)
{
    struct post *p = post_new(r);

    atomic_fetch_add(&r->in_post, text->len);
    p->text = *text;
    *text = (struct str){ 0 };
    to_thread(r, thread_send, p);
}

size_t qmp_remote_pending(const struct qmp_remote *r)
{
    return atomic_load(&r->in_post) + atomic_load(&r->unwritten);
}

void qmp_remote_dequeued(struct qmp_remote *r)
{
    /* Only the step down from the limit finds the input stopped for it. */
    if (atomic_fetch_sub(&r->queued, 1) >= QMP_QUEUE_MAX)
        to_thread(r, thread_resume, post_new(r));
}

void qmp_remote_stop_input(struct qmp_remote *r) { to_thread(r, thread_stop_input, post_new(r)); }

void qmp_remote_close(struct qmp_remote *r)
{
    r->session = NULL;
    to_thread(r, thread_close, post_new(r));
}
