#include "emu/cmd/ctl/jobs.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/map.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"

enum { BAR_WIDTH = 28, RATE_WINDOW_S = 3 };
#define POLL_NS (NS_PER_SEC / 5)
#define LINE_NS NS_PER_SEC

/* What was seen of a job before, for its rate. */
struct job_view {
    uint64_t current, total;
    double rate; /* Units per second, smoothed over about RATE_WINDOW_S. */
    int64_t seen_ns, line_ns;
    char status[16];
    bool alive, failed;
};

struct watch {
    struct client *client;
    struct map views; /* Job id to struct job_view, owned. */
    unsigned lines;   /* On the screen now. */
    bool terminal;
};

static uint64_t number(const struct json *object, const char *key)
{
    uint64_t value = 0;

    return json_as_uint64(json_object_get(object, key), &value) ? value : 0;
}

static const char *text_of(const struct json *object, const char *key)
{
    const char *text = json_object_get_str(object, key);

    return text ? text : "?";
}

static struct job_view *view_of(struct watch *watch, const char *id)
{
    struct job_view *view = map_get(&watch->views, id);

    if (!view) {
        view = xcalloc(1, sizeof(*view));
        map_put(&watch->views, id, view);
    }
    return view;
}

static void update(struct job_view *view, const struct json *job, int64_t now)
{
    uint64_t current = number(job, "current-progress");
    double seconds = (double)(now - view->seen_ns) / (double)NS_PER_SEC;

    if (view->seen_ns && seconds > 0 && current >= view->current) {
        double rate = (double)(current - view->current) / seconds;
        double weight = 1 - exp(-seconds / RATE_WINDOW_S);

        view->rate = view->rate > 0 ? view->rate + weight * (rate - view->rate) : rate;
    }
    view->current = current;
    view->total = number(job, "total-progress");
    view->seen_ns = now;
    view->alive = true;
    view->failed = json_object_has(job, "error");
}

static bool works(const char *status)
{
    static const char *const still[] = { "ready", "standby", "concluded", "null", "pending" };

    return str_index(status, still, ARRAY_LEN(still)) < 0;
}

static void add_rate(struct str *line, const struct job_view *view, const char *status)
{
    char size[SIZE_HUMAN_MAX];

    if (strcmp(status, "running") != 0 || view->rate < 1)
        return;
    str_addf(line, "  %s/s", size_human((uint64_t)view->rate, size, sizeof(size)));
    if (view->total > view->current)
        str_addf(line, "  ETA %.0f s", ceil((double)(view->total - view->current) / view->rate));
}

static char *describe(const struct json *job, const struct job_view *view, bool bar)
{
    const char *status = text_of(job, "status");
    double part = view->total ? (double)view->current / (double)view->total : 0;
    struct str line = { 0 };

    str_addf(&line, "%-12s %-8s %-10s", text_of(job, "id"), text_of(job, "type"), status);
    if (bar) {
        unsigned filled = (unsigned)(part * BAR_WIDTH);

        str_add(&line, "[");
        str_add_repeat(&line, '#', filled);
        str_add_repeat(&line, '.', BAR_WIDTH - MIN(filled, (unsigned)BAR_WIDTH));
        str_add(&line, "]");
    }
    str_addf(&line, " %5.1f%%", 100 * part);
    add_rate(&line, view, status);
    if (view->failed)
        str_addf(&line, "  error: %s", text_of(job, "error"));
    return str_steal(&line);
}

static void show(struct watch *watch, const struct json *job, struct job_view *view)
{
    const char *status = text_of(job, "status");
    char *line = describe(job, view, watch->terminal);

    if (watch->terminal) {
        printf("%s\033[K\n", line);
        watch->lines++;
    } else if (strcmp(view->status, status) != 0 || view->seen_ns - view->line_ns >= LINE_NS) {
        printf("%s\n", line);
        view->line_ns = view->seen_ns;
    }
    snprintf(view->status, sizeof(view->status), "%s", status);
    xfree(line);
}

/* One look at the server. *busy: something still works. */
static struct err *look(struct watch *watch, bool *busy)
{
    CLEANUP(json_free) struct json *jobs = NULL;
    int64_t now = reactor_now(watch->client->reactor);

    TRY(client_call(watch->client, "query-jobs", NULL, &jobs));
    if (watch->terminal && watch->lines)
        printf("\033[%uA\033[J", watch->lines);
    watch->lines = 0;
    *busy = false;
    for (size_t i = json_array_len(jobs); i-- > 0;) { /* The server lists the newest first. */
        const struct json *job = json_array_get(jobs, i);
        struct job_view *view = view_of(watch, text_of(job, "id"));

        update(view, job, now);
        show(watch, job, view);
        *busy = *busy || works(text_of(job, "status"));
    }
    fflush(stdout);
    return NULL;
}

static bool any_failed(struct watch *watch)
{
    bool failed = false;
    void *value;

    for (size_t pos = 0; map_next(&watch->views, &pos, NULL, &value);)
        failed = failed || ((struct job_view *)value)->failed;
    return failed;
}

static void watch_fini(struct watch *watch)
{
    void *value;

    for (size_t pos = 0; map_next(&watch->views, &pos, NULL, &value);)
        xfree(value);
    map_fini(&watch->views);
}

/* Jobs that end between two looks and dismiss themselves are heard of by their events. */
static void on_event(void *arg, const struct json *event)
{
    struct watch *watch = arg;
    const struct json *data = json_object_get(event, "data");
    const char *name = json_object_get_str(event, "event");
    const char *id = json_object_get_str(data, "device");

    if (!id || !str_eq(name, "BLOCK_JOB_COMPLETED") || !json_object_has(data, "error"))
        return;
    view_of(watch, id)->failed = true;
    if (!watch->terminal)
        printf("%-12s failed: %s\n", id, text_of(data, "error"));
}

static struct err *follow(struct watch *watch, bool *failed)
{
    bool busy = true;

    while (busy) {
        TRY(look(watch, &busy));
        if (busy)
            TRY(client_run_for(watch->client, POLL_NS));
    }
    *failed = any_failed(watch);
    return NULL;
}

struct err *jobs_watch(struct client *client, bool *failed)
{
    struct watch watch = { .client = client, .terminal = isatty(STDOUT_FILENO) };
    struct err *err;

    map_init(&watch.views);
    client->on_event = on_event;
    client->arg = &watch;
    err = follow(&watch, failed);
    client->on_event = NULL;
    watch_fini(&watch);
    return err;
}

struct err *jobs_print(struct client *client)
{
    struct watch watch = { .client = client };
    struct err *err;
    bool busy;

    map_init(&watch.views);
    err = look(&watch, &busy);
    watch_fini(&watch);
    return err;
}
