#include "emu/base/trace.h"

#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/vec.h"

bool trace_on;

/* Process-wide by intent, like the log; all under the lock. */
static struct {
    pthread_mutex_t lock;
    VEC(char *) patterns;
    char (*ring)[TRACE_LINE_MAX];
    size_t next, count;
    trace_sink *sink;
    void *arg;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool wanted(const char *name)
{
    for (size_t i = 0; i < vec_len(&state.patterns); i++) {
        if (fnmatch(vec_at(&state.patterns, i), name, 0) == 0)
            return true;
    }
    return false;
}

void trace_emit(const char *name, const char *fmt, ...)
{
    va_list args;

    pthread_mutex_lock(&state.lock);
    if (state.ring && wanted(name)) {
        char *line = state.ring[state.next];
        int n = snprintf(line, TRACE_LINE_MAX, "%s ", name);

        if (n > 0 && n < TRACE_LINE_MAX) {
            va_start(args, fmt);
            vsnprintf(line + n, TRACE_LINE_MAX - (size_t)n, fmt, args);
            va_end(args);
        }
        state.next = (state.next + 1) % TRACE_RING_LINES;
        state.count = MIN(state.count + 1, (size_t)TRACE_RING_LINES);
        if (state.sink)
            state.sink(state.arg, line);
    }
    pthread_mutex_unlock(&state.lock);
}

void trace_enable(const char *pattern)
{
    pthread_mutex_lock(&state.lock);
    if (!state.ring)
        state.ring = xcalloc(TRACE_RING_LINES, sizeof(state.ring[0]));
    vec_push(&state.patterns, xstrdup(pattern));
    __atomic_store_n(&trace_on, true, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&state.lock);
}

void trace_disable(void)
{
    pthread_mutex_lock(&state.lock);
    __atomic_store_n(&trace_on, false, __ATOMIC_RELAXED);
    for (size_t i = 0; i < vec_len(&state.patterns); i++)
        xfree(vec_at(&state.patterns, i));
    vec_fini(&state.patterns);
    xfree(state.ring);
    state.ring = NULL;
    state.next = state.count = 0;
    pthread_mutex_unlock(&state.lock);
}

void trace_set_sink(trace_sink *sink, void *arg)
{
    pthread_mutex_lock(&state.lock);
    state.sink = sink;
    state.arg = arg;
    pthread_mutex_unlock(&state.lock);
}

void trace_sink_stderr(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

static const char *line_at(size_t i)
{
    return state.ring[(state.next + TRACE_RING_LINES - state.count + i) % TRACE_RING_LINES];
}

void trace_dump(trace_sink *sink, void *arg)
{
    pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < state.count; i++)
        sink(arg, line_at(i));
    pthread_mutex_unlock(&state.lock);
}

unsigned trace_seen(const char *name)
{
    size_t len = strlen(name);
    unsigned seen = 0;

    pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < state.count; i++) {
        const char *line = line_at(i);

        seen += strncmp(line, name, len) == 0 && line[len] == ' ';
    }
    pthread_mutex_unlock(&state.lock);
    return seen;
}
