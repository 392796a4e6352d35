/* See monitor.h. */
#include "emu/qmp/monitor.h"

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/qmp/readline.h"
#include "emu/qmp/server.h"

static void client_done(void *arg)
{
    struct monitor *m = arg;

    m->session = NULL;
    chardev_hangup(m->chr);
}

static void client_there(struct chardev_frontend *frontend, struct channel *ch)
{
    struct monitor *m = container_of(frontend, struct monitor, frontend);

    if (qmp_server_is_ending(m->server)) {
        channel_close(ch);
        return;
    }
    m->session = qmp_session_new(qmp_server_env(m->server), ch, m->pretty, client_done, m);
}

struct err *monitor_add(struct qmp_server *server, struct chardev *chr, bool pretty)
{
    struct monitor *m = NEW(struct monitor);
    struct err *err;

    m->server = server;
    m->chr = chr;
    m->pretty = pretty;
    m->frontend.opened = client_there;
    err = chardev_claim(chr, &m->frontend);
    if (err) {
        xfree(m);
        return err;
    }
    list_add_tail(qmp_server_monitors(server), &m->link);
    return NULL;
}

struct err *monitor_add_readline(struct qmp_server *server, struct chardev *chr)
{
    struct monitor *m;
    struct readline *readline;

    if (!qmp_server_hmp(server))
        return err_new("Only QMP is supported");
    TRY(readline_new(qmp_server_env(server)->reactor, chr, qmp_server_hmp(server), &readline));
    m = NEW(struct monitor);
    m->server = server;
    m->chr = chr;
    m->readline = readline;
    readline_hold(readline, qmp_server_env(server)->held);
    list_add_tail(qmp_server_monitors(server), &m->link);
    return NULL;
}

void monitor_free(struct monitor *m)
{
    list_del(&m->link);
    if (m->readline) {
        readline_free(m->readline);
    } else {
        qmp_session_close(m->session);
        chardev_release(m->chr);
    }
    xfree(m);
}

size_t monitor_pending(const struct monitor *m)
{
    if (m->readline)
        return readline_pending(m->readline);
    return m->session ? qmp_session_pending(m->session) : 0;
}

void monitor_stop_input(struct monitor *m)
{
    if (m->readline)
        readline_stop(m->readline);
    else if (m->session)
        qmp_session_stop_input(m->session);
}

void monitor_held(struct monitor *m, bool held)
{
    if (m->readline)
        readline_hold(m->readline, held);
    else if (m->session)
        qmp_session_held(m->session);
}

struct err *monitor_parse(const char *text, struct qapi_monitor_options **out)
{
    CLEANUP(json_free) struct json *json = NULL;

    *out = NULL;
    if (*text == '{') {
        TRY(json_parse_text(text, &json));
        return qapi_decode_monitor_options(json, QAPI_STRICT, out);
    }
    TRY(keyval_parse(text, "chardev", &json));
    return qapi_decode_monitor_options(json, QAPI_KEYVAL, out);
}

/* Where people can be served, they are unless mode says otherwise. */
static bool monitor_is_readline(const struct qmp_server *server,
                                const struct qapi_monitor_options *opts)
{
    if (opts->mode.set)
        return opts->mode.value == QAPI_MONITOR_MODE_READLINE;
    return qmp_server_hmp(server) != NULL;
}

struct err *monitor_add_from_opts(struct qmp_server *server, struct chardevs *chardevs,
                                  const struct qapi_monitor_options *opts)
{
    struct chardev *chr;

    chr = chardev_find(chardevs, opts->chardev);
    if (!chr)
        return err_new("chardev \"%s\" not found", opts->chardev);
    if (monitor_is_readline(server, opts)) {
        if (opts->pretty.set && opts->pretty.value)
            return err_new("'pretty' is not compatible with HMP monitors");
        return monitor_add_readline(server, chr);
    }
    return monitor_add(server, chr, opts->pretty.set && opts->pretty.value);
}
