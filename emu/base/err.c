#include "emu/base/err.h"

#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

struct err {
    char *text; /* owned */
    char *hint; /* owned; NULL: none. */
    enum err_class class;
    int errnum;
};

static struct err *make(enum err_class class, char *text)
{
    struct err *e = NEW(struct err);

    e->text = text;
    e->class = class;
    return e;
}

struct err *err_new(const char *fmt, ...)
{
    va_list args;
    struct err *e;

    va_start(args, fmt);
    e = err_new_va(fmt, args);
    va_end(args);
    return e;
}

struct err *err_new_va(const char *fmt, va_list args)
{
    return make(ERR_GENERIC, xvasprintf(fmt, args));
}

struct err *err_new_class(enum err_class class, const char *fmt, ...)
{
    va_list args;
    struct err *e;

    va_start(args, fmt);
    e = make(class, xvasprintf(fmt, args));
    va_end(args);
    return e;
}

struct err *err_new_errno(int errnum, const char *fmt, ...)
{
    va_list args;
    struct err *e;

    va_start(args, fmt);
    e = make(ERR_GENERIC, xvasprintf(fmt, args));
    va_end(args);
    if (errnum) {
        char *text = xasprintf("%s: %s", e->text, strerror(abs(errnum)));

        xfree(e->text);
        e->text = text;
        e->errnum = abs(errnum);
    }
    return e;
}

struct err *err_prefix(struct err *e, const char *fmt, ...)
{
    va_list args;
    char *prefix, *text;

    if (!e)
        return NULL;
    va_start(args, fmt);
    prefix = xvasprintf(fmt, args);
    va_end(args);
    text = xasprintf("%s%s", prefix, e->text);
    xfree(prefix);
    xfree(e->text);
    e->text = text;
    return e;
}

void err_hint_append(struct err *e, const char *fmt, ...)
{
    va_list args;
    char *more, *hint;

    if (!e)
        return;
    va_start(args, fmt);
    more = xvasprintf(fmt, args);
    va_end(args);
    hint = xasprintf("%s%s", e->hint ? e->hint : "", more);
    xfree(more);
    xfree(e->hint);
    e->hint = hint;
}

const char *err_text(const struct err *e) { return e->text; }

const char *err_hint(const struct err *e) { return e->hint ? e->hint : ""; }

enum err_class err_class_of(const struct err *e) { return e->class; }

const char *err_class_name(enum err_class class)
{
    static const char *const names[ERR_CLASS_COUNT] = {
        [ERR_GENERIC] = "GenericError",
        [ERR_COMMAND_NOT_FOUND] = "CommandNotFound",
        [ERR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
        [ERR_DEVICE_NOT_FOUND] = "DeviceNotFound",
        [ERR_KVM_MISSING_CAP] = "KVMMissingCap",
    };

    check(class < ERR_CLASS_COUNT);
    return names[class];
}

int err_errnum(const struct err *e) { return e->errnum; }

struct err *err_set_errnum(struct err *e, int errnum)
{
    e->errnum = abs(errnum);
    return e;
}

struct err *err_copy(const struct err *e)
{
    struct err *copy;

    if (!e)
        return NULL;
    copy = make(e->class, xstrdup(e->text));
    copy->hint = xstrdup(e->hint);
    copy->errnum = e->errnum;
    return copy;
}

void err_free(struct err *e)
{
    if (!e)
        return;
    xfree(e->text);
    xfree(e->hint);
    xfree(e);
}

void err_ignore(struct err *e) { err_free(e); }

void err_keep_first(struct err **first, struct err *e)
{
    if (*first)
        err_free(e);
    else
        *first = e;
}
