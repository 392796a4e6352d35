/* See dispatch.h and call.h. The texts are part of the interface. */
#include "emu/qmp/dispatch.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"

/* What a request object holds; all borrowed from it. */
struct request {
    const char *command;
    bool oob;
    const struct json *arguments;
};

bool qmp_wants_oob(const struct json *message)
{
    return message && json_type_of(message) == JSON_OBJECT &&
           json_object_has(message, "exec-oob") && !json_object_has(message, "execute");
}

static struct err *parse_request(const struct json *message, bool oob_allowed, struct request *out)
{
    const char *key, *exec = NULL;
    struct json *value;

    json_object_for_each(message, i, key, value) {
        if (!strcmp(key, "execute") || (!strcmp(key, "exec-oob") && oob_allowed)) {
            if (json_type_of(value) != JSON_STRING)
                return err_new("QMP input member '%s' must be a string", key);
            if (exec)
                return err_new("QMP input member '%s' clashes with '%s'", key, exec);
            exec = key;
            out->command = json_get_str(value);
            out->oob = strcmp(key, "execute") != 0;
        } else if (!strcmp(key, "arguments")) {
            if (json_type_of(value) != JSON_OBJECT)
                return err_new("QMP input member 'arguments' must be an object");
            out->arguments = value;
        } else if (strcmp(key, "id") != 0) {
            return err_new("QMP input member '%s' is unexpected", key);
        }
    }
    return exec ? NULL : err_new("QMP input lacks member 'execute'");
}

static struct err *find_command(const struct qmp_dispatch *d, const struct request *request,
                                const struct qmp_command **out)
{
    const struct qmp_command *command = qmp_registry_find(d->registry, request->command);

    if (d->mode == QMP_NEGOTIATING && strcmp(request->command, "qmp_capabilities") != 0)
        return err_new_class(ERR_COMMAND_NOT_FOUND,
                             "Expecting capabilities negotiation with 'qmp_capabilities'");
    if (!command)
        return err_new_class(ERR_COMMAND_NOT_FOUND, "The command %s has not been found",
                             request->command);
    if (request->oob && !(command->spec->flags & QMP_OOB))
        return err_new("The command %s does not support OOB", request->command);
    *out = command;
    return NULL;
}

/* Everything up to the handler. On success the call has its command and arguments. */
static struct err *prepare(const struct qmp_dispatch *d, const struct json *message,
                           struct qmp_call *call)
{
    struct request request = { 0 };
    CLEANUP(json_free) struct json *no_arguments = NULL;

    TRY(parse_request(message, d->mode == QMP_WITH_OOB, &request));
    TRY(find_command(d, &request, &call->command));
    if (!request.arguments)
        request.arguments = no_arguments = json_object();
    if (call->command->spec->flags & QMP_RAW_ARGS) {
        call->args = json_ref(request.arguments);
        return NULL;
    }
    return qapi_decode(call->command->spec->args, request.arguments, QAPI_STRICT, &call->args);
}

struct qmp_call *qmp_dispatch(const struct qmp_dispatch *d, struct json *value, struct err *err)
{
    struct qmp_call *call = NEW(struct qmp_call);
    bool answered = false;

    call->world = d->world;
    call->server = d->server;
    call->session = d->session;
    call->deliver = d->deliver;
    call->deliver_arg = d->deliver_arg;
    call->answered = &answered;
    if (!err && json_type_of(value) != JSON_OBJECT)
        err = err_new("QMP input must be a JSON object");
    if (!err) {
        call->id = json_ref(json_object_get(value, "id"));
        err = prepare(d, value, call);
    }
    json_free(value);
    if (err)
        qmp_reply(call, err);
    else
        call->command->spec->invoke(call->command->fn, call, call->args);
    if (answered)
        return NULL;
    call->answered = NULL;
    return call;
}

/* Delivers a reply object and ends the call. Takes reply. */
static void finish(struct qmp_call *call, struct json *reply)
{
    if (call->answered)
        *call->answered = true;
    if (call->id)
        json_object_set(reply, "id", json_ref(call->id));
    if (call->deliver)
        call->deliver(call, reply);
    else
        json_free(reply);
    if (call->command && call->command->spec->flags & QMP_RAW_ARGS)
        json_free(call->args);
    else if (call->command)
        qapi_free(call->command->spec->args, call->args);
    json_free(call->id);
    xfree(call);
}

void qmp_reply_json(struct qmp_call *call, struct json *ret)
{
    struct json *reply = json_object();

    json_object_set(reply, "return", ret);
    finish(call, reply);
}

void qmp_reply(struct qmp_call *call, struct err *err)
{
    struct json *reply, *error;

    if (!err) {
        qmp_reply_json(call, json_object());
        return;
    }
    reply = json_object();
    error = json_object();
    json_object_set_str(error, "class", err_class_name(err_class_of(err)));
    json_object_set_str(error, "desc", err_text(err));
    json_object_set(reply, "error", error);
    err_free(err);
    finish(call, reply);
}

void qmp_call_abandon(struct qmp_call *call)
{
    call->deliver = NULL;
    call->session = NULL;
}
