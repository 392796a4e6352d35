#include "emu/cmd/common/tool.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/base/log.h"
#include "emu/base/str.h"
#include "emu/base/trace.h"
#include "emu/cmd/common/object_types.h"

void tool_init(struct tool *tool, const char *argv0)
{
    const char *slash = strrchr(argv0, '/');
    struct err *err;

    memset(tool, 0, sizeof(*tool));
    tool->invoked = argv0;
    tool->program = slash ? slash + 1 : argv0;
    log_set_prefix(tool->program);
    err = reactor_new(REACTOR_AUTO, &tool->reactor);
    if (err) {
        tool_report(tool, err);
        exit(1);
    }
    tool->graph = graph_new(tool->reactor, all_drivers);
    tool->objects = objects_new(tool->reactor, all_object_types);
    graph_set_objects(tool->graph, tool->objects);
}

void tool_trace(const char *text)
{
    const char *pattern = str_after_prefix(text, "enable=");
    char *first;

    if (!pattern)
        pattern = text;
    first = xstrndup(pattern, strcspn(pattern, ","));
    trace_set_sink(trace_sink_stderr, NULL);
    trace_enable(first);
    xfree(first);
}

static void on_signal(void *arg, int signo)
{
    struct tool *tool = arg;

    (void)signo;
    if (tool->progress_asked)
        tool->progress_asked(tool->progress_arg);
}

void tool_watch_signal(struct tool *tool)
{
    static const int signals[] = { SIGUSR1, 0 };

    err_ignore(reactor_on_signals(tool->reactor, signals, on_signal, tool));
}

void tool_fini(struct tool *tool)
{
    struct waiter waiter = { 0 };

    graph_close_all(tool->graph, wait_done, &waiter);
    err_free(wait_for(tool->reactor, &waiter));
    graph_free(tool->graph);
    objects_free(tool->objects);
    reactor_off_signals(tool->reactor);
    reactor_free(tool->reactor);
}

void tool_error(const struct tool *tool, const char *fmt, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "%s: ", tool->program);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

void tool_warn(const struct tool *tool, const char *fmt, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "%s: warning: ", tool->program);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

void tool_report(const struct tool *tool, struct err *err)
{
    tool_error(tool, "%s", err_text(err));
    if (err_hint(err) && *err_hint(err))
        fprintf(stderr, "%s", err_hint(err));
    err_free(err);
}

int tool_usage(const struct tool *tool, const char *fmt, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "%s: ", tool->program);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nTry '%s --help' for more information\n", tool->program);
    return 1;
}

struct err *tool_add_object(struct tool *tool, const char *text)
{
    return object_add_text(tool->objects, text);
}

static const struct cache_mode {
    const char *name;
    bool direct, no_flush;
} cache_modes[] = {
    { "none", true, false },        { "off", true, false },         { "writeback", false, false },
    { "writethrough", false, false }, { "directsync", true, false }, { "unsafe", false, true },
};

static const struct cache_mode *find_cache_mode(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(cache_modes); i++) {
        if (strcmp(cache_modes[i].name, name) == 0)
            return &cache_modes[i];
    }
    return NULL;
}

bool tool_cache_valid(const char *mode) { return !mode || find_cache_mode(mode); }

static void set_cache_mode(struct json *options, const char *name)
{
    const struct cache_mode *mode = name ? find_cache_mode(name) : NULL;
    struct json *cache;

    if (!mode)
        return;
    cache = json_object_take(options, "cache");
    if (!cache)
        cache = json_object();
    if (!json_object_has(cache, "direct"))
        json_object_set_bool(cache, "direct", mode->direct);
    if (!json_object_has(cache, "no-flush"))
        json_object_set_bool(cache, "no-flush", mode->no_flush);
    json_object_set(options, "cache", cache);
}

static struct err *set_discard(struct json *options, const char *mode)
{
    if (!mode || json_object_has(options, "discard"))
        return NULL;
    if (str_eq(mode, "on") || str_eq(mode, "unmap"))
        json_object_set_str(options, "discard", "unmap");
    else if (!str_eq(mode, "off") && !str_eq(mode, "ignore"))
        return err_new("Invalid discard option: %s", mode);
    return NULL;
}

/* Only files of the host have a choice. */
static struct err *set_aio(struct json *options, const char *mode)
{
    static const char *const modes[] = { "threads", "native", "io_uring" };
    struct json *file = options;
    const char *driver;

    if (!mode)
        return NULL;
    if (str_index(mode, modes, ARRAY_LEN(modes)) < 0)
        return err_new("Invalid aio option: %s", mode);
    while (json_object_get(file, "file") &&
           json_type_of(json_object_get(file, "file")) == JSON_OBJECT)
        file = json_object_get(file, "file");
    driver = json_object_get_str(file, "driver");
    if (driver && (str_eq(driver, "file") || str_eq(driver, "host_device")))
        json_object_add(file, "aio", json_str(mode));
    return NULL;
}

static void wrap(struct json **options, const char *driver)
{
    struct json *outer = json_object();

    json_object_set_str(outer, "driver", driver);
    json_object_set(outer, "file", *options);
    *options = outer;
}

/* The name, the format and options given beside them. */
static struct err *name_options(const struct image_spec *spec, struct json **out)
{
    CLEANUP(json_free) struct json *given = NULL;

    if (spec->options)
        TRY(keyval_parse(spec->options, NULL, &given));
    else
        given = json_object();
    if (spec->format && !json_object_has(given, "driver"))
        json_object_set_str(given, "driver", spec->format);
    if (*spec->name || !spec->options)
        return node_options_from_both(spec->name, given, out);
    *out = json_ref(given);
    return NULL;
}

/* The options object of an image as the command line names it. */
static struct err *spec_options(const struct image_spec *spec, struct json **out)
{
    struct json *options;

    if (!spec->image_opts) {
        TRY(name_options(spec, &options));
    } else if (str_has_prefix(spec->name, "json:")) {
        TRY(json_parse(spec->name + 5, strlen(spec->name + 5), &options));
    } else {
        TRY(keyval_parse(spec->name, NULL, &options));
    }
    if (json_type_of(options) != JSON_OBJECT) {
        json_free(options);
        return err_new("Could not open '%s': expected an object of options", spec->name);
    }
    if (spec->image_opts && spec->options) {
        CLEANUP(json_free) struct json *more = NULL;
        struct err *err = keyval_parse(spec->options, NULL, &more);

        if (err) {
            json_free(options);
            return err;
        }
        node_options_merge(options, more);
    }
    if (!json_object_has(options, "read-only"))
        json_object_set_bool(options, "read-only", !spec->writable);
    if (spec->force_share)
        json_object_set_bool(options, "force-share", true);
    *out = options;
    return NULL;
}

static const struct edge_parent_ops tool_parent = { .what = "image tool" };

static struct err *open_node(struct tool *tool, const struct image_spec *spec,
                             struct waiter *waiter)
{
    CLEANUP(json_free) struct json *options = NULL;

    if (!tool_cache_valid(spec->cache))
        return err_new("Invalid cache option: %s", spec->cache);
    TRY(spec_options(spec, &options));
    set_cache_mode(options, spec->cache);
    TRY(set_discard(options, spec->discard));
    TRY(set_aio(options, spec->aio));
    if (spec->copy_on_read)
        wrap(&options, "copy-on-read");
    node_open(tool->graph, options, spec->flags, wait_node_done, waiter);
    return wait_for(tool->reactor, waiter);
}

struct err *image_open_plain(struct tool *tool, const struct image_spec *spec, struct image *out)
{
    struct waiter waiter = { 0 }, settled = { 0 };
    uint32_t perm = PERM_CONSISTENT_READ;
    struct err *err;

    memset(out, 0, sizeof(*out));
    TRY(open_node(tool, spec, &waiter));
    if (spec->writable)
        perm |= PERM_WRITE | (spec->no_resize ? 0 : PERM_RESIZE);
    if (spec->force_share)
        perm &= ~(uint32_t)PERM_CONSISTENT_READ;
    err = edge_attach(waiter.node, "root", &tool_parent, NULL, perm, PERM_ALL, &out->edge);
    if (err) {
        node_unref(waiter.node);
        return err;
    }
    out->tool = tool;
    out->node = waiter.node;
    edge_settle(out->edge, wait_done, &settled);
    err = wait_for(tool->reactor, &settled);
    if (err)
        image_close(out);
    return err;
}

struct err *image_open(struct tool *tool, const struct image_spec *spec, struct image *out)
{
    memset(out, 0, sizeof(*out));
    if (spec->image_opts && spec->format)
        return err_new("--image-opts and --format are mutually exclusive");
    if (!tool_cache_valid(spec->cache))
        return err_new("Invalid cache option: %s", spec->cache);
    return err_prefix(image_open_plain(tool, spec, out), "Could not open '%s': ", spec->name);
}

void image_close(struct image *image)
{
    struct waiter waiter = { 0 };

    if (!image->node)
        return;
    edge_detach(image->edge);
    node_unref(image->node);
    /* Whatever closes now is the last user of the graph's nodes or shares them with an image still open. */
    graph_settle(image->tool->graph, wait_done, &waiter);
    err_free(wait_for(image->tool->reactor, &waiter));
    memset(image, 0, sizeof(*image));
}

static int image_request(struct image *image, enum req_kind kind, uint64_t offset, void *buf,
                         uint64_t len)
{
    struct iovec iov = { .iov_base = buf, .iov_len = len };
    struct req req = { .kind = kind, .offset = offset, .len = len, .data = { &iov, 1, 0 } };

    return wait_request(image->tool->reactor, image->edge, &req);
}

int image_read(struct image *image, uint64_t offset, void *buf, uint64_t len)
{
    return image_request(image, REQ_READ, offset, buf, len);
}

int image_write(struct image *image, uint64_t offset, const void *buf, uint64_t len)
{
    return image_request(image, REQ_WRITE, offset, (void *)buf, len);
}

int image_flush(struct image *image) { return image_request(image, REQ_FLUSH, 0, NULL, 0); }

int image_status(struct image *image, uint64_t offset, uint64_t len, uint32_t flags,
                 struct req_status *out)
{
    struct req req = { .kind = REQ_STATUS, .flags = flags, .offset = offset, .len = len };
    int result = wait_request(image->tool->reactor, image->edge, &req);

    *out = req.status;
    return result;
}
