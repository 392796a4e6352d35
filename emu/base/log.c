#include "emu/base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"

/* Process-wide by intent: set by main before threads start; the lock keeps lines whole. */
static char prefix_text[64];
static log_sink *sink_fn;
static void *sink_arg;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void put_line(enum log_level level, const char *line)
{
    pthread_mutex_lock(&lock);
    if (sink_fn)
        sink_fn(sink_arg, level, line);
    else
        fprintf(stderr, "%s\n", line);
    pthread_mutex_unlock(&lock);
}

static void emit(enum log_level level, const char *tag, const char *fmt, va_list args)
{
    char *text = xvasprintf(fmt, args);
    char *line = xasprintf("%s%s%s%s", prefix_text, prefix_text[0] ? ": " : "", tag, text);

    put_line(level, line);
    xfree(line);
    xfree(text);
}

void log_plain(const char *fmt, ...)
{
    CLEANUP(xfree) char *line = NULL;
    va_list args;

    va_start(args, fmt);
    line = xvasprintf(fmt, args);
    va_end(args);
    put_line(LOG_LEVEL_ERROR, line);
}

void log_error(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    emit(LOG_LEVEL_ERROR, "", fmt, args);
    va_end(args);
}

void log_warn(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    emit(LOG_LEVEL_WARN, "warning: ", fmt, args);
    va_end(args);
}

void log_info(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    emit(LOG_LEVEL_INFO, "info: ", fmt, args);
    va_end(args);
}

void log_err(const char *prefix, struct err *err)
{
    log_error("%s%s%s", prefix ? prefix : "", prefix ? ": " : "", err_text(err));
    /* Advice is for people and goes without the name of the program. */
    for (const char *hint = err_hint(err); *hint;) {
        size_t len = strcspn(hint, "\n");
        char *line = xstrndup(hint, len);

        put_line(LOG_LEVEL_ERROR, line);
        xfree(line);
        hint += len + (hint[len] == '\n');
    }
    err_free(err);
}

void log_set_prefix(const char *name)
{
    snprintf(prefix_text, sizeof(prefix_text), "%s", name ? name : "");
}

const char *log_prefix(void) { return prefix_text; }

void log_set_sink(log_sink *sink, void *arg)
{
    pthread_mutex_lock(&lock);
    sink_fn = sink;
    sink_arg = arg;
    pthread_mutex_unlock(&lock);
}
