/*
 * Trace points for developers: `trace(job_enter, "id %s from %d to %d", id, from, to);`.
 *
 * Off, a point costs one load and a branch and evaluates no argument. On (trace_enable), a point
 * whose name matches a pattern is formatted into a ring of the last lines, and to a sink if there
 * is one. Any thread may trace. There is no clock here; order is the order in the ring.
 */
#ifndef EMU_BASE_TRACE_H
#define EMU_BASE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"

#define TRACE_RING_LINES 1024
#define TRACE_LINE_MAX 192

/* Read through trace(); written by trace_enable and trace_disable. */
extern bool trace_on;

PRINTF(2, 3) void trace_emit(const char *name, const char *fmt, ...);

/* name is an identifier, the format may be followed by its values. */
#define trace(name, ...)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(__atomic_load_n(&trace_on, __ATOMIC_RELAXED), 0))                     \
            trace_emit(#name, __VA_ARGS__);                                                        \
    } while (0)

/* A coverage mark: says that a tricky line was reached; the one test for it asserts
 * trace_seen(text). */
#define trace_mark(text)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(__atomic_load_n(&trace_on, __ATOMIC_RELAXED), 0))                     \
            trace_emit((text), "%s", "");                                                          \
    } while (0)

/* Switches on the points whose name matches a pattern with '*' and '?'. Adds to earlier patterns.
 */
void trace_enable(const char *pattern);
/* Switches all off and forgets patterns and ring. */
void trace_disable(void);

/* Gets each line as it comes ("name text"). trace_sink_stderr is one. NULL: the ring only. */
typedef void trace_sink(void *arg, const char *line);
void trace_set_sink(trace_sink *sink, void *arg);
void trace_sink_stderr(void *arg, const char *line);

/* Calls sink for the lines in the ring, oldest first. */
void trace_dump(trace_sink *sink, void *arg);

/* How often the point of that name was hit since it was enabled; only the ring is searched. */
unsigned trace_seen(const char *name);

#endif
