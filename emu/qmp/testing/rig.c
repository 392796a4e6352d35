/* See rig.h. */
#include "emu/qmp/testing/rig.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/qmp/dispatch.h"
#include "emu/qmp/introspect.h"
#include "emu/qmp/qmp_block_core.h" // Generated.
#include "emu/qmp/qmp_control.h"    // Generated.
#include "emu/qmp/qmp_introspect.h" // Generated.
#include "emu/qmp/qmp_job.h"        // Generated.
#include "emu/qmp/qmp_yank.h"       // Generated.
#include "emu/qmp/version.h"

/* Handlers see the rig as their world. */
static struct rig *rig_of(struct qmp_call *call)
{
    struct rig *rig = (struct rig *)call->world;

    rig->in_band_calls += call->session != NULL;
    return rig;
}

static void capabilities(struct qmp_call *call, const struct qapi_qmp_capabilities_args *args)
{
    qmp_reply(call,
              qmp_session_negotiate(call->session, args->enable.set && args->enable.value.len > 0));
}

static void version(struct qmp_call *call)
{
    rig_of(call);
    qmp_reply_json(call, qmp_version_json("rig"));
}

static void hold(struct qmp_call *call, const struct qapi_job_pause_args *args)
{
    struct rig *rig = rig_of(call);

    (void)args;
    vec_push(&rig->held, call);
}

static void fail(struct qmp_call *call, const struct qapi_job_resume_args *args)
{
    struct rig *rig = rig_of(call);

    rig->resumed_at = rig->in_band_calls;
    qmp_reply(call, err_new("%s", args->id));
}

static void set_speed(struct qmp_call *call, const struct qapi_block_job_set_speed_args *args)
{
    (void)args;
    rig_of(call);
    qmp_reply(call, NULL);
}

static void mirror(struct qmp_call *call, const struct qapi_blockdev_mirror_args *args)
{
    (void)args;
    rig_of(call);
    qmp_reply(call, NULL);
}

static void schema(struct qmp_call *call)
{
    qmp_reply_json(call, qmp_introspect(rig_of(call)->env.registry));
}

static void query_yank(struct qmp_call *call)
{
    struct qapi_yank_instance_list list = { 0 };

    ((struct rig *)call->world)->oob_calls += !call->session;
    qmp_reply_query_yank(call, &list);
}

const struct qmp_command_set rig_commands = {
    .commands = {
        QMP_COMMAND(qmp_capabilities, capabilities),
        QMP_COMMAND(query_version, version),
        QMP_COMMAND(job_pause, hold),
        QMP_COMMAND(job_resume, fail),
        QMP_COMMAND(block_job_set_speed, set_speed),
        QMP_COMMAND(blockdev_mirror, mirror),
        QMP_COMMAND(query_qmp_schema, schema),
        QMP_COMMAND(query_yank, query_yank),
        QMP_COMMAND_END,
    },
    .events = { &qmp_event_job_status_change, &qmp_event_block_io_error, NULL },
};

const struct qmp_command_set *const rig_sets[] = { &rig_commands, NULL };

void rig_init(struct rig *rig, uint64_t seed)
{
    struct sim_options options = { .seed = seed, .split_streams = seed != 0 };

    *rig = (struct rig){ 0 };
    rig->sim = sim_new(&options);
    rig->reactor = sim_reactor_new(rig->sim);
    rig->events = qmp_events_new(rig->reactor);
    list_init(&rig->lingering);
    rig->env = (struct qmp_env){
        .reactor = rig->reactor,
        .registry = qmp_registry_new(rig_sets),
        .events = rig->events,
        .oob = qmp_oob_new(rig->reactor),
        .lingering = &rig->lingering,
        .world = (struct world *)rig,
        .package = "rig",
    };
}

void rig_fini(struct rig *rig)
{
    rig_run(rig);
    check(rig->held.len == 0);
    vec_fini(&rig->held);
    qmp_events_free(rig->events);
    qmp_oob_free(rig->env.oob);
    qmp_registry_free((struct qmp_registry *)rig->env.registry);
    reactor_free(rig->reactor);
    sim_free(rig->sim);
}

void rig_run(struct rig *rig) { check(sim_run(rig->sim, RIG_EVENTS_MAX)); }

void rig_release(struct rig *rig)
{
    struct qmp_call *call = vec_at(&rig->held, 0);
    const struct qapi_job_pause_args *args = call->args;

    vec_remove(&rig->held, 0);
    qmp_reply(call, err_new("%s", args->id));
}

/* ---- Clients ---- */

static size_t received(void *arg, const char *bytes, size_t len)
{
    struct client *c = arg;

    str_addn(&c->text, bytes, len);
    return len;
}

static void client_ended(void *arg) { ((struct client *)arg)->ended = true; }

static const struct channel_user user = { .received = received, .ended = client_ended };

static void session_ended(void *arg) { ((struct client *)arg)->session = NULL; }

void client_connect(struct client *c, struct rig *rig, enum client_kind kind)
{
    struct reactor_stream *ends[2];
    struct err *err = reactor_stream_pair(rig->reactor, ends);

    check(!err);
    *c = (struct client){ .rig = rig, .reading = true };
    c->channel = channel_new(rig->reactor, ends[0], ends[0]);
    channel_attach(c->channel, &user, c);
    channel_resume(c->channel);
    c->session = qmp_session_new(&rig->env, channel_new(rig->reactor, ends[1], ends[1]),
                                 kind == CLIENT_PRETTY_RAW, session_ended, c);
    if (kind == CLIENT_RAW || kind == CLIENT_PRETTY_RAW)
        return;
    client_line(c);
    check(!strcmp(client_ask(c, kind == CLIENT_OOB ? "{'execute':'qmp_capabilities',"
                                                     "'arguments':{'enable':['oob']}}"
                                                   : "{'execute':'qmp_capabilities'}"),
                  "{\"return\": {}}"));
}

void client_close(struct client *c)
{
    qmp_session_close(c->session);
    c->session = NULL;
    client_drop(c);
    qmp_sessions_close_lingering(&c->rig->env);
    str_fini(&c->text);
}

void client_drop(struct client *c)
{
    channel_close(c->channel);
    c->channel = NULL;
}

void client_send(struct client *c, const char *text)
{
    channel_send(c->channel, text, strlen(text));
}

void client_read(struct client *c, bool on)
{
    if (on)
        channel_resume(c->channel);
    else
        channel_pause(c->channel);
}

const char *client_line(struct client *c)
{
    static char line[1 << 16];
    const char *end;
    size_t len;

    rig_run(c->rig);
    end = strstr(str_cstr(&c->text), "\r\n");
    if (!end)
        return "";
    len = (size_t)(end - c->text.data);
    check(len < sizeof(line));
    memcpy(line, c->text.data, len);
    line[len] = 0;
    memmove(c->text.data, end + 2, c->text.len - len - 2);
    str_truncate(&c->text, c->text.len - len - 2);
    return line;
}

const char *client_ask(struct client *c, const char *text)
{
    client_send(c, text);
    return client_line(c);
}
