/*
 * See cmdline.h. The key=value form is older than the schema and has names of its own, so it is
 * read here and turned into the JSON of chardev-add; decoding that checks the rest.
 */
#include "emu/chardev/cmdline.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"

/* What an option's text becomes. */
enum kind { TEXT, SWITCH, NOT_SWITCH, COUNT };

struct option {
    const char *name; /* On the command line. */
    const char *member;
    enum kind kind;
};

static const struct option common_options[] = { { "id", NULL, TEXT }, { "backend", NULL, TEXT } };
static const struct option file_options[] = {
    { "path", "out", TEXT },
    { "append", "append", SWITCH },
};
static const struct option stdio_options[] = { { "signal", "signal", SWITCH } };
static const struct option socket_options[] = {
    { "server", "server", SWITCH },      { "wait", "wait", SWITCH },
    { "delay", "nodelay", NOT_SWITCH },  { "nodelay", "nodelay", SWITCH },
    { "reconnect", "reconnect", COUNT }, { "reconnect-ms", "reconnect-ms", COUNT },
};
static const struct option inet_options[] = {
    { "host", "host", TEXT },   { "port", "port", TEXT },   { "to", "to", COUNT },
    { "ipv4", "ipv4", SWITCH }, { "ipv6", "ipv6", SWITCH },
};
static const struct option unix_options[] = {
    { "path", "path", TEXT },
    { "abstract", "abstract", SWITCH },
    { "tight", "tight", SWITCH },
};
static const struct option fd_options[] = { { "fd", "str", TEXT } };

static struct err *convert(const struct option *o, const char *text, struct json **out)
{
    uint64_t number;
    bool on;

    switch (o->kind) {
    case TEXT: *out = json_str(text); return NULL;
    case SWITCH:
    case NOT_SWITCH:
        if (!opts_parse_bool(text, &on))
            return err_new("Parameter '%s' expects 'on' or 'off'", o->name);
        *out = json_bool(o->kind == SWITCH ? on : !on);
        return NULL;
    case COUNT:
        if (!parse_u64(text, &number) || number > INT64_MAX)
            return err_new("Parameter '%s' expects a number", o->name);
        *out = json_int((int64_t)number);
        return NULL;
    }
    return NULL;
}

/* Moves the options of a table from `from` into `to`. */
static struct err *take(struct json *from, const struct option *options, size_t n, struct json *to)
{
    for (size_t i = 0; i < n; i++) {
        CLEANUP(json_free) struct json *text = json_object_take(from, options[i].name);
        struct json *value = NULL;

        if (!text || !options[i].member)
            continue;
        TRY(convert(&options[i], json_get_str(text), &value));
        json_object_set(to, options[i].member, value);
    }
    return NULL;
}
#define TAKE(from, options, to) take(from, options, ARRAY_LEN(options), to)

static struct err *take_address(struct json *from, struct json *socket)
{
    bool path = json_object_has(from, "path"), host = json_object_has(from, "host"),
         fd = json_object_has(from, "fd");
    struct json *addr = json_object(), *data = json_object();

    json_object_set(socket, "addr", addr);
    json_object_set(addr, "data", data);
    if (path + host + fd > 1)
        return err_new("None or one of 'path', 'fd' or 'host' option required.");
    if (path) {
        json_object_set_str(addr, "type", "unix");
        TRY(TAKE(from, unix_options, data));
    } else if (fd) {
        json_object_set_str(addr, "type", "fd");
        TRY(TAKE(from, fd_options, data));
    } else if (host || json_object_has(from, "port")) {
        if (!json_object_has(from, "port"))
            return err_new("chardev: socket: no port given");
        json_object_set_str(addr, "type", "inet");
        json_object_set_str(data, "host", "");
        TRY(TAKE(from, inet_options, data));
    } else {
        return err_new("chardev: socket: none of 'path', 'fd' or 'host' given");
    }
    /* Options of another kind of address have no effect, as they always had. */
    (void)json_object_del(from, "ipv4");
    (void)json_object_del(from, "ipv6");
    (void)json_object_del(from, "to");
    (void)json_object_del(from, "port");
    (void)json_object_del(from, "abstract");
    (void)json_object_del(from, "tight");
    return NULL;
}

static struct err *take_socket(struct json *from, struct json *to)
{
    /* A server on the command line waits for its client unless told otherwise; over QMP it does
     * not, and a client is the default here but not there. */
    json_object_set_bool(to, "server", false);
    TRY(take_address(from, to));
    TRY(TAKE(from, socket_options, to));
    if (json_get_bool(json_object_get(to, "server")) && !json_object_has(to, "wait"))
        json_object_set_bool(to, "wait", true);
    return NULL;
}

static struct err *take_file(struct json *from, struct json *to)
{
    if (!json_object_has(from, "path"))
        return err_new("chardev: file: no filename given");
    return TAKE(from, file_options, to);
}

static struct err *take_backend(const char *type, struct json *from, struct json *data)
{
    if (qapi_enum_value(&qapi_type_chardev_backend_kind, type) < 0)
        return err_new("'%s' is not a valid char driver name", type);
    if (!strcmp(type, "socket"))
        return take_socket(from, data);
    if (!strcmp(type, "file"))
        return take_file(from, data);
    if (!strcmp(type, "stdio"))
        return TAKE(from, stdio_options, data);
    return NULL;
}

static bool is_identifier(const char *id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    return *id && strchr(letters, *id) &&
           strspn(id + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") ==
               strlen(id + 1);
}

static struct err *check_id(const char *id)
{
    struct err *err;

    if (!id)
        return err_new("chardev: no id specified");
    if (is_identifier(id))
        return NULL;
    err = err_new("Parameter 'id' expects an identifier");
    err_hint_append(err, "Identifiers consist of letters, digits, '-', '.', '_', starting with a "
                         "letter.\n");
    return err;
}

/* `from` holds the flat options; id is not looked for there. */
static struct err *build(struct json *from, const char *id, struct qapi_chardev_add_args **out)
{
    CLEANUP(json_free) struct json *args = json_object();
    struct json *backend = json_object(), *data = json_object(), *value;
    const char *type = json_object_get_str(from, "backend"), *key;

    json_object_set(args, "backend", backend);
    json_object_set(backend, "data", data);
    json_object_set_str(args, "id", id);
    if (!type)
        return err_new("chardev: \"%s\" missing backend", id);
    json_object_set_str(backend, "type", type);
    TRY(take_backend(type, from, data));
    TRY(TAKE(from, common_options, data));
    json_object_for_each(from, i, key, value)
        return err_new("Invalid parameter '%s'", key);
    return qapi_decode_chardev_add_args(args, QAPI_STRICT, out);
}

struct err *chardev_parse(const char *text, struct qapi_chardev_add_args **out)
{
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(xfree) char *id = NULL;

    *out = NULL;
    if (*text == '{') {
        TRY(json_parse_text(text, &json));
        return qapi_decode_chardev_add_args(json, QAPI_STRICT, out);
    }
    TRY(keyval_parse_flags(text, "backend", KEYVAL_LEGACY_BOOL | KEYVAL_FLAT, NULL, &json));
    TRY(check_id(json_object_get_str(json, "id")));
    id = xstrdup(json_object_get_str(json, "id"));
    return build(json, id, out);
}

/* Adds "rest" of "kind:rest[,options]" to the options as key=rest. */
static struct err *parse_tail(const char *rest, const char *key, struct json **out)
{
    return keyval_parse_flags(rest, key, KEYVAL_LEGACY_BOOL | KEYVAL_FLAT, NULL, out);
}

struct err *chardev_parse_compat(const char *text, const char *id,
                                 struct qapi_chardev_add_args **out)
{
    CLEANUP(json_free) struct json *json = NULL;
    const char *rest, *colon;

    *out = NULL;
    if ((rest = str_after_prefix(text, "unix:"))) {
        TRY(parse_tail(rest, "path", &json));
        json_object_set_str(json, "backend", "socket");
    } else if ((rest = str_after_prefix(text, "tcp:"))) {
        colon = memrchr(rest, ':', strcspn(rest, ","));
        if (!colon)
            return err_new("chardev: socket: no port given");
        TRY(parse_tail(colon + 1, "port", &json));
        json_object_set(json, "host", json_strn(rest, (size_t)(colon - rest)));
        json_object_set_str(json, "backend", "socket");
    } else if ((rest = str_after_prefix(text, "file:"))) {
        TRY(parse_tail(rest, "path", &json));
        json_object_set_str(json, "backend", "file");
    } else {
        TRY(parse_tail(text, "backend", &json));
    }
    return build(json, id, out);
}
