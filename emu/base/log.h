/*
 * Messages for the operator: "prog: text" lines on stderr, or wherever the sink puts them.
 *
 * log_error: the operator must act; log_warn: degraded; log_info: lifecycle only. Texts start in
 * lower case, have no full stop and no newline. Functions may be called on any thread; a line is
 * never mixed with another. The prefix and the sink are process-wide and are set by main before
 * threads start.
 */
#ifndef EMU_BASE_LOG_H
#define EMU_BASE_LOG_H

#include <stdarg.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
};

/* "text": for lines that others look for as they are. */
PRINTF(1, 2) void log_plain(const char *fmt, ...);
/* "prog: text" */
PRINTF(1, 2) void log_error(const char *fmt, ...);
/* "prog: warning: text" */
PRINTF(1, 2) void log_warn(const char *fmt, ...);
/* "prog: info: text" */
PRINTF(1, 2) void log_info(const char *fmt, ...);

/* Logs the text and then the hint of err as an error, with "prefix: " in front unless NULL. Takes
 * err. */
void log_err(const char *prefix, struct err *err);

/* Name in front of each line; copied; NULL or "": none. */
void log_set_prefix(const char *name);
const char *log_prefix(void);

/* A sink gets one line without newline; it must not log. NULL restores stderr. */
typedef void log_sink(void *arg, enum log_level level, const char *line);
void log_set_sink(log_sink *sink, void *arg);

#endif
