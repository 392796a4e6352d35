/*
 * The qtest protocol: a test plays the processor. Lines come in, "OK ..." or "ERR ..." goes out, and
 * all is logged to stderr.
 */
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/list.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"
#include "emu/chardev/chardev.h"
#include "emu/cmd/system/system.h"
#include "emu/object/object.h"
#include "emu/reactor/clock.h"

enum { LINE_MAX_BYTES = 64 << 20, WORDS_MAX = 8 };

struct qtest {
    struct system *system;  /* Borrowed. */
    struct chardev *chr;    /* Borrowed, claimed. */
    struct chardev_frontend frontend;
    struct channel *channel; /* Owned; NULL: nobody is there. */
    struct str line;
    int64_t opened_ns;
    struct clock *clock; /* Of the guest; borrowed. */
};

static void log_line(struct qtest *q, char kind, const char *text)
{
    int64_t ns = reactor_now(q->system->fe.reactor) - q->opened_ns;

    fprintf(stderr, "[%c +%.6f] %s\n", kind, (double)ns / (double)NS_PER_SEC, text);
}

PRINTF(2, 3) static void answer(struct qtest *q, const char *fmt, ...)
{
    struct str text = { 0 };
    va_list args;

    va_start(args, fmt);
    str_addv(&text, fmt, args);
    va_end(args);
    log_line(q, 'S', str_cstr(&text));
    str_addc(&text, '\n');
    channel_send(q->channel, text.data, text.len);
    str_fini(&text);
}

/* ---- Commands ---- */

static void clock_go(struct qtest *q, int64_t ns)
{
    clock_step_to(q->clock, ns);
    answer(q, "OK %jd", (intmax_t)clock_now(q->clock));
}

/* Without a number: to the next alarm. */
static void clock_step(struct qtest *q, char **words, size_t n)
{
    int64_t ns = 0, now = clock_now(q->clock);

    if (n > 1 && (!parse_i64(words[1], &ns) || ns < 0 || ns > INT64_MAX - now)) {
        answer(q, "ERR clock_step expects a number of nanoseconds");
        return;
    }
    clock_go(q, n > 1 ? now + ns : clock_next(q->clock));
}

static void clock_set(struct qtest *q, char **words, size_t n)
{
    int64_t ns;

    if (n < 2 || !parse_i64(words[1], &ns)) {
        answer(q, "ERR clock_set expects a time in nanoseconds");
        return;
    }
    clock_go(q, ns);
}

static void endianness(struct qtest *q, char **words, size_t n) { answer(q, "OK little"); }

static const struct {
    const char *name;
    void (*run)(struct qtest *q, char **words, size_t n);
} commands[] = {
    { "clock_step", clock_step },
    { "clock_set", clock_set },
    { "endianness", endianness },
};

static void run_line(struct qtest *q, char *line)
{
    char *words[WORDS_MAX], *rest = line, *word;
    size_t n = 0;

    log_line(q, 'R', line);
    while (n < ARRAY_LEN(words) && (word = strsep(&rest, " ")))
        words[n++] = word;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, words[0]) != 0)
            continue;
        commands[i].run(q, words, n);
        return;
    }
    answer(q, "FAIL Unknown command '%s'", words[0]);
}

/* ---- The connection ---- */

static size_t received(void *arg, const char *bytes, size_t len)
{
    struct qtest *q = arg;

    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\n') {
            if (q->line.len < LINE_MAX_BYTES)
                str_addc(&q->line, bytes[i]);
            continue;
        }
        if (q->line.len)
            run_line(q, q->line.data);
        str_clear(&q->line);
    }
    return len;
}

static void ended(void *arg)
{
    struct qtest *q = arg;

    log_line(q, 'I', "CLOSED");
    channel_close(q->channel);
    q->channel = NULL;
    str_clear(&q->line);
    chardev_hangup(q->chr);
}

static void opened(struct chardev_frontend *frontend, struct channel *ch)
{
    static const struct channel_user user = { .received = received, .ended = ended };
    struct qtest *q = container_of(frontend, struct qtest, frontend);

    q->channel = ch;
    q->opened_ns = reactor_now(q->system->fe.reactor);
    fprintf(stderr, "[I %.6f] OPENED\n", 0.0);
    channel_attach(ch, &user, q);
    channel_resume(ch);
}

struct err *qtest_new(struct system *s, struct chardev *chr, struct qtest **out)
{
    struct qtest *q = NEW(struct qtest);
    struct err *err;

    q->system = s;
    q->chr = chr;
    q->clock = objects_clock(s->fe.objects);
    q->frontend.opened = opened;
    err = chardev_claim(chr, &q->frontend);
    if (err) {
        xfree(q);
        return err;
    }
    *out = q;
    return NULL;
}

void qtest_free(struct qtest *q)
{
    if (!q)
        return;
    if (q->channel) {
        log_line(q, 'I', "CLOSED");
        channel_close(q->channel);
    }
    chardev_release(q->chr);
    str_fini(&q->line);
    xfree(q);
}
