#include "emu/cmd/ctl/client.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_write.h"
#include "emu/base/str.h"

static void fail(struct client *client, struct err *err)
{
    if (client->err)
        err_free(err);
    else
        client->err = err;
}

/* Sorts what the server says: greeting, event, or reply. */
static void message(void *arg, struct json *value, struct err *err)
{
    struct client *client = arg;

    if (err) {
        fail(client, err_prefix(err, "the server sent bad JSON: "));
        return;
    }
    if (json_type_of(value) != JSON_OBJECT) {
        fail(client, err_new("the server sent something that is no object"));
        json_free(value);
    } else if (json_object_has(value, "event")) {
        if (client->on_event)
            client->on_event(client->arg, value);
        json_free(value);
    } else if (json_object_has(value, "QMP")) {
        json_free(client->greeting);
        client->greeting = value;
    } else {
        json_free(client->reply);
        client->reply = value;
    }
}

static void read_more(struct client *client);

static void read_done(struct op *op)
{
    struct client *client = container_of(op, struct client, read);

    if (op->result <= 0) {
        if (op->result == 0)
            fail(client, err_new("the server closed the connection"));
        else if (op->result != -ECANCELED)
            fail(client, err_new_errno((int)op->result, "cannot read from the server"));
        return;
    }
    json_stream_feed(&client->parser, client->buffer, (size_t)op->result);
    read_more(client);
}

static void read_more(struct client *client)
{
    client->read.done = read_done;
    stream_read(client->stream, &client->read, client->buffer, sizeof(client->buffer));
}

static void op_ended(struct op *op) { (void)op; }

/* The front of a tool may wait: runs until op has completed. */
static int64_t finish(struct client *client, struct op *op)
{
    while (op_pending(op))
        reactor_run_once(client->reactor, -1);
    return op->result;
}

static struct err *send_value(struct client *client, const struct json *value)
{
    CLEANUP(str_fini) struct str text = { 0 };
    struct iovec iov;
    int64_t result;

    json_write(&text, value, JSON_COMPACT);
    str_add(&text, "\r\n");
    iov = (struct iovec){ text.data, text.len };
    client->write.done = op_ended;
    stream_writev(client->stream, &client->write, &iov, 1);
    result = finish(client, &client->write);
    return result < 0 ? err_new_errno((int)result, "cannot write to the server") : NULL;
}

static struct err *wait_message(struct client *client, struct json *const *slot)
{
    struct err *err;

    while (!*slot && !client->err)
        reactor_run_once(client->reactor, -1);
    if (*slot)
        return NULL;
    err = client->err;
    client->err = NULL;
    return err;
}

struct err *client_raw(struct client *client, const struct json *request, struct json **reply)
{
    TRY(send_value(client, request));
    TRY(wait_message(client, &client->reply));
    *reply = client->reply;
    client->reply = NULL;
    return NULL;
}

struct err *client_call(struct client *client, const char *command, const struct json *arguments,
                        struct json **out)
{
    CLEANUP(json_free) struct json *request = json_object();
    CLEANUP(json_free) struct json *reply = NULL;
    const struct json *error;

    json_object_set_str(request, "execute", command);
    if (arguments)
        json_object_set(request, "arguments", json_ref(arguments));
    TRY(client_raw(client, request, &reply));
    error = json_object_get(reply, "error");
    if (error) {
        const char *text = json_object_get_str(error, "desc");

        return err_new("%s", text ? text : "the server refused without a text");
    }
    *out = json_object_take(reply, "return");
    return *out ? NULL
                : err_new("the server's reply to '%s' has neither return nor error", command);
}

static struct err *parse_address(const char *address, char **host, struct addr *addr)
{
    const char *colon = strrchr(address, ':');

    *addr = (struct addr){ .ipv4 = -1, .ipv6 = -1 };
    *host = NULL;
    if (!colon || strchr(address, '/')) {
        addr->kind = ADDR_UNIX;
        addr->path = address;
        return NULL;
    }
    *host = xstrndup(address, (size_t)(colon - address));
    addr->kind = ADDR_INET;
    addr->host = *host;
    addr->port = colon + 1;
    return NULL;
}

static struct err *connect_to(struct client *client, const char *address)
{
    struct addr addr;
    struct op op = { .done = op_ended };
    char *host;
    int64_t result;

    TRY(parse_address(address, &host, &addr));
    reactor_connect(client->reactor, &op, &addr, &client->stream);
    result = finish(client, &op);
    xfree(host);
    return result < 0 ? err_new_errno((int)result, "cannot connect to '%s'", address) : NULL;
}

struct err *client_open(struct client *client, const char *address)
{
    struct json *ignored = NULL;
    struct err *err;

    json_stream_init(&client->parser, message, client);
    TRY(reactor_new(REACTOR_EPOLL, &client->reactor));
    TRY(connect_to(client, address));
    read_more(client);
    TRY(wait_message(client, &client->greeting));
    err = client_call(client, "qmp_capabilities", NULL, &ignored);
    json_free(ignored);
    return err;
}

void client_close(struct client *client)
{
    if (client->stream) {
        stream_close(client->stream);
        while (op_pending(&client->read))
            reactor_run_once(client->reactor, -1);
    }
    json_stream_fini(&client->parser);
    json_free(client->greeting);
    json_free(client->reply);
    err_free(client->err);
    reactor_free(client->reactor);
    memset(client, 0, sizeof(*client));
}

static void time_is_up(struct timer *timer) { (void)timer; }

struct err *client_run_for(struct client *client, int64_t ns)
{
    struct timer timer = { .fn = time_is_up };
    struct err *err;

    timer_arm(client->reactor, &timer, reactor_now(client->reactor) + ns);
    while (timer.armed && !client->err)
        reactor_run_once(client->reactor, -1);
    timer_disarm(&timer);
    err = client->err;
    client->err = NULL;
    return err;
}
