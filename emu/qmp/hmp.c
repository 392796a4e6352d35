/* See hmp.h. */
#include "emu/qmp/hmp.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/base/opts.h"
#include "emu/qmp/call.h"
#include "emu/qmp/dispatch.h"

struct hmp {
    struct hmp_config config;
    bool ending;
};

struct hmp *hmp_new(const struct hmp_config *config)
{
    struct hmp *hmp = NEW(struct hmp);

    hmp->config = *config;
    return hmp;
}

void hmp_free(struct hmp *hmp) { xfree(hmp); }

bool hmp_is_ending(const struct hmp *hmp) { return hmp->ending; }

void hmp_set_ending(struct hmp *hmp) { hmp->ending = true; }

const struct hmp_config *hmp_config(const struct hmp *hmp) { return &hmp->config; }

void hmp_for_each(const struct hmp_command *const *tables,
                  void (*fn)(void *arg, const struct hmp_command *command), void *arg)
{
    for (; *tables; tables++)
        for (const struct hmp_command *command = *tables; command->name; command++)
            fn(arg, command);
}

/* ---- Words ---- */

static const char *skip_blanks(const char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    return text;
}

/* The next word, which may be in quotes with the usual escapes; *text moves behind it. */
static struct err *next_word(const char **text, struct str *out)
{
    const char *c = skip_blanks(*text);

    if (*c != '"') {
        while (*c && *c != ' ' && *c != '\t')
            str_addc(out, *c++);
        *text = c;
        return NULL;
    }
    for (c++; *c && *c != '"'; c++) {
        if (*c != '\\') {
            str_addc(out, *c);
            continue;
        }
        switch (*++c) {
        case 'n': str_addc(out, '\n'); break;
        case 'r': str_addc(out, '\r'); break;
        case '\\':
        case '\'':
        case '"': str_addc(out, *c); break;
        default: return err_new("unsupported escape code: '\\%c'", *c);
        }
    }
    if (!*c)
        return err_new("unterminated string");
    *text = c + 1;
    return NULL;
}

/* ---- Arguments ---- */

struct arg {
    char name[32];
    enum hmp_arg kind;
    char letter; /* Of a flag. */
    bool optional;
};

/* Reads one "name:K?" of a command's args; false at the end. */
static bool next_arg(const char **spec, struct arg *out)
{
    const char *colon = strchr(*spec, ':');
    size_t len;

    if (!colon)
        return false;
    len = (size_t)(colon - *spec);
    memcpy(out->name, *spec, len);
    out->name[len] = '\0';
    out->kind = (enum hmp_arg)colon[1];
    out->letter = out->kind == HMP_FLAG ? colon[2] : '\0';
    *spec = colon + (out->letter ? 3 : 2);
    out->optional = **spec == '?' || out->kind == HMP_FLAG;
    *spec += **spec == '?';
    *spec += **spec == ',';
    return true;
}

static struct err *convert(const struct hmp_command *command, const struct arg *arg,
                           const char *text, struct json **out)
{
    uint64_t size;
    int64_t number;
    bool on;

    switch (arg->kind) {
    case HMP_INT:
        if (!parse_i64(text, &number))
            return err_new("invalid char '%c' in expression", *text);
        *out = json_int(number);
        return NULL;
    case HMP_SIZE: {
        struct err *err = parse_size_unit(text, UINT64_C(1) << 20, &size);

        if (err || size > INT64_MAX) {
            err_free(err);
            return err_new("invalid size");
        }
        *out = json_int((int64_t)size);
        return NULL;
    }
    case HMP_SWITCH:
        if (!opts_parse_bool(text, &on))
            return err_new("Expected 'on' or 'off'");
        *out = json_bool(on);
        return NULL;
    case HMP_WORD:
    case HMP_LINE:
    case HMP_FLAG: break;
    }
    *out = json_str(text);
    return NULL;
}

/* Flags may stand where the first of them is declared, in any order. */
static struct err *take_flag(const struct hmp_command *command, const char *spec, const char **text,
                             struct json *args, bool *took)
{
    const char *c = skip_blanks(*text);
    struct arg arg;

    *took = false;
    if (c[0] != '-' || !c[1] || (c[2] && c[2] != ' '))
        return NULL;
    while (next_arg(&spec, &arg) && arg.kind == HMP_FLAG) {
        if (arg.letter != c[1])
            continue;
        json_object_set_bool(args, arg.name, true);
        *text = c + 2;
        *took = true;
        return NULL;
    }
    return err_new("%s: unsupported option -%c", command->name, c[1]);
}

static struct err *take_arg(const struct hmp_command *command, const struct arg *arg,
                            const char **text, struct json *args)
{
    CLEANUP(str_fini) struct str word = { 0 };
    struct json *value = NULL;
    const char *c = skip_blanks(*text);

    if (!*c) {
        if (arg->optional)
            return NULL;
        return err_new("%s: %s expected", command->name,
                       arg->kind == HMP_WORD || arg->kind == HMP_LINE ? "string" : "number");
    }
    if (arg->kind == HMP_LINE) {
        json_object_set_str(args, arg->name, c);
        *text = c + strlen(c);
        return NULL;
    }
    TRY(next_word(text, &word));
    TRY(convert(command, arg, str_cstr(&word), &value));
    json_object_set(args, arg->name, value);
    return NULL;
}

static struct err *parse_args(const struct hmp_command *command, const char *text,
                              struct json *args)
{
    const char *spec = command->args, *before;
    struct arg arg;
    bool took = false;

    for (before = spec; next_arg(&spec, &arg); before = spec) {
        if (arg.kind != HMP_FLAG) {
            TRY(take_arg(command, &arg, &text, args));
            continue;
        }
        do
            TRY(take_flag(command, before, &text, args, &took));
        while (took);
    }
    if (*skip_blanks(text))
        return err_new("%s: extraneous characters at the end of line", command->name);
    return NULL;
}

/* ---- Running ---- */

/* Whether name is one of "a|b|c". */
static bool is_named(const struct hmp_command *command, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = command->name; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (strncmp(at, name, len) == 0 && (at[len] == '|' || !at[len]))
            return true;
    return false;
}

static const struct hmp_command *find(const struct hmp_command *const *tables, const char *name)
{
    for (; *tables; tables++)
        for (const struct hmp_command *command = *tables; command->name; command++)
            if (is_named(command, name))
                return command;
    return NULL;
}

void hmp_print(struct hmp_call *call, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    str_addv(&call->out, fmt, args);
    va_end(args);
}

void hmp_end(struct hmp_call *call)
{
    call->done(call->arg, str_cstr(&call->out));
    if (call->free_state)
        call->free_state(call->state);
    json_free(call->args);
    str_fini(&call->out);
    xfree(call);
}

void hmp_end_err(struct hmp_call *call, struct err *err)
{
    if (err) {
        hmp_print(call, "Error: %s\n", err_text(err));
        hmp_print(call, "%s", err_hint(err));
        err_free(err);
    }
    hmp_end(call);
}

const char *hmp_word(const struct hmp_call *call, const char *name)
{
    return json_object_get_str(call->args, name);
}

bool hmp_flag(const struct hmp_call *call, const char *name)
{
    bool on = false;

    return json_as_bool(json_object_get(call->args, name), &on) && on;
}

struct json *hmp_args(const struct hmp_call *call) { return json_copy(call->args); }

/* The command of the line and where its arguments begin. */
static struct err *find_command(struct hmp_call *call, const char **text)
{
    CLEANUP(str_fini) struct str word = { 0 };
    CLEANUP(str_fini) struct str topic = { 0 };

    TRY(next_word(text, &word));
    call->command = find(call->hmp->config.commands, str_cstr(&word));
    if (!call->command && !str_eq(str_cstr(&word), "info"))
        return err_new("unknown command: '%s'", str_cstr(&word));
    if (call->command)
        return NULL;
    TRY(next_word(text, &topic));
    call->command = find(call->hmp->config.info, str_cstr(&topic));
    if (!call->command && !*str_cstr(&topic))
        call->command = find(call->hmp->config.commands, "help");
    return call->command ? NULL : err_new("unknown command: 'info %s'", str_cstr(&topic));
}

void hmp_run(struct hmp *hmp, const char *line, hmp_done_fn *done, void *arg)
{
    struct hmp_call *call = NEW(struct hmp_call);
    const char *text = skip_blanks(line);
    struct err *err = NULL;

    *call = (struct hmp_call){ .hmp = hmp, .world = hmp->config.world, .done = done, .arg = arg };
    call->args = json_object();
    if (!*text || *text == '#') {
        hmp_end(call);
        return;
    }
    err = find_command(call, &text);
    if (!err) {
        err = parse_args(call->command, text, call->args);
        if (err)
            err_hint_append(err, "Try \"help %s\" for more information\n", call->command->name);
    }
    if (!err) {
        call->command->run(call);
        return;
    }
    hmp_print(call, "%s\n%s", err_text(err), err_hint(err));
    err_free(err);
    hmp_end(call);
}

/* ---- QMP underneath ---- */

static void delivered(struct qmp_call *qmp, struct json *answer)
{
    struct hmp_call *call = qmp->deliver_arg;
    const struct json *error = json_object_get(answer, "error");

    if (error) {
        hmp_print(call, "Error: %s\n", json_object_get_str(error, "desc"));
        hmp_end(call);
    } else if (call->reply) {
        call->reply(call, json_object_get(answer, "return"));
    } else {
        hmp_end(call);
    }
    json_free(answer);
}

void hmp_qmp(struct hmp_call *call, const char *command, struct json *args,
             void (*reply)(struct hmp_call *call, struct json *ret))
{
    struct qmp_dispatch d = {
        .registry = call->hmp->config.registry,
        .server = call->hmp->config.server,
        .world = call->world,
        .mode = QMP_IN_BAND,
        .deliver = delivered,
        .deliver_arg = call,
    };
    struct json *message = json_object();

    json_object_set_str(message, "execute", command);
    json_object_set(message, "arguments", args ? args : json_object());
    call->reply = reply;
    (void)qmp_dispatch(&d, message, NULL); /* An answer that takes long comes by delivered(). */
}
