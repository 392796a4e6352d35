/* emu-nbd: serves one image, or lists what another server offers. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/log.h"
#include "emu/base/str.h"
#include "emu/cmd/common/background.h"
#include "emu/cmd/nbd/nbd.h"
#include "emu/crypto/tls_creds.h"
#include "emu/storage/export/export.h"

enum { FIRST_PASSED_FD = 3 };

struct server {
    struct tool tool;
    struct nbd_options *options;
    struct background background;
    struct image image;
    struct exports *exports;
    struct notifier client_gone;
    bool ending;
};

/* Without -t the last client that used the export takes the server with it. */
static void client_gone(struct notifier *notifier, void *data)
{
    struct server *s = container_of(notifier, struct server, client_gone);
    const struct export_client_note *note = data;

    if (note->negotiated && note->clients == 0 && !s->options->persistent)
        s->ending = true;
}

static void on_signal(void *arg, int signo)
{
    struct server *s = arg;

    (void)signo;
    s->ending = true;
}

/* The socket that a service manager listens on for us; -1: none. */
static int passed_socket(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t value;

    if (!pid || !fds || !parse_u64(pid, &value) || value != (uint64_t)getpid())
        return -1;
    return parse_u64(fds, &value) && value == 1 ? FIRST_PASSED_FD : -1;
}

static struct err *listen_for_clients(struct server *s)
{
    struct nbd_options *o = s->options;
    struct nbd_server_options options = {
        .addr = o->addr,
        .max_connections = (uint32_t)o->shared,
        .handshake_max_seconds = (uint32_t)o->handshake_seconds,
        .tls_creds = o->tls_creds,
        .tls_authz = o->tls_authz,
    };
    int fd = passed_socket();

    if (fd >= 0) {
        options.addr = (struct addr){ .kind = ADDR_FD, .fd = fd };
    } else if (options.addr.kind == ADDR_INET) {
        options.addr.host = options.addr.host ? options.addr.host : "0.0.0.0";
        options.addr.port = options.addr.port ? options.addr.port : "10809";
    }
    return exports_nbd_start(s->exports, &options);
}

static struct err *add_export(struct server *s)
{
    const struct nbd_options *o = s->options;
    struct export_options options = {
        .id = "export0",
        .node_name = s->image.node->name,
        .name = o->export_name ? o->export_name : "",
        .description = o->description,
        .writable = !o->read_only,
        .writethrough = o->image.cache && (strcmp(o->image.cache, "writethrough") == 0 ||
                                           strcmp(o->image.cache, "directsync") == 0),
        .allocation_depth = o->allocation_depth,
    };
    struct waiter waiter = { 0 };

    for (size_t i = 0; i < vec_len(&o->bitmaps); i++) {
        if (i >= EXPORT_BITMAPS_MAX)
            return err_new("More than %d bitmaps cannot be exported", EXPORT_BITMAPS_MAX);
        options.bitmaps[options.bitmap_count++].name = vec_at(&o->bitmaps, i);
    }
    TRY(export_add(s->exports, &options, wait_done, &waiter));
    return wait_for(s->tool.reactor, &waiter);
}

/* The only permissions left are those of the export. */
static struct err *let_go(struct image *image) { return edge_set_perm(image->edge, 0, PERM_ALL); }

static struct err *write_pid_file(struct server *s)
{
    const char *path = s->options->pid_file;
    FILE *file;

    if (!path)
        return NULL;
    file = fopen(path, "w");
    if (!file)
        return err_new_errno(errno, "Could not create '%s'", path);
    fprintf(file, "%ld\n", (long)getpid());
    if (fclose(file) != 0)
        return err_new_errno(errno, "Could not write '%s'", path);
    return NULL;
}

static struct err *start(struct server *s)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP, 0 };
    struct nbd_options *o = s->options;

    TRY(reactor_on_signals(s->tool.reactor, signals, on_signal, s));
    for (size_t i = 0; i < vec_len(&o->objects); i++)
        TRY(tool_add_object(&s->tool, vec_at(&o->objects, i)));
    if (o->tls_creds) {
        struct tls_creds *creds;

        TRY(err_prefix(
            tls_creds_get(graph_objects(s->tool.graph), o->tls_creds, TLS_SERVER, &creds),
            "Failed to get TLS creds: "));
        tls_creds_unref(creds); /* The server takes its own reference. */
    }
    if (o->connect)
        TRY(nbd_kernel_check(o->connect));
    TRY(nbd_open(&s->tool, o, &s->image));
    TRY(let_go(&s->image));
    TRY(listen_for_clients(s));
    TRY(add_export(s));
    return write_pid_file(s);
}

static int serve(struct server *s)
{
    struct waiter waiter = { 0 };
    struct err *err;

    s->exports = exports_new(s->tool.graph);
    s->client_gone.fn = client_gone;
    notifier_add(&s->exports->on_client_gone, &s->client_gone);
    err = start(s);
    if (!err)
        background_ready(&s->background);
    while (!err && !s->ending)
        reactor_run_once(s->tool.reactor, -1);
    notifier_remove(&s->client_gone);
    exports_close_all(s->exports, wait_done, &waiter);
    err_ignore(wait_for(s->tool.reactor, &waiter));
    exports_free(s->exports);
    image_close(&s->image);
    if (!err && s->options->pid_file)
        unlink(s->options->pid_file);
    if (err)
        tool_report(&s->tool, err);
    return err ? 1 : 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

int main(int argc, char **argv)
{
    struct server server = { .background = { .ready_fd = -1 } };
    struct nbd_options options;
    int status;

    signal(SIGPIPE, SIG_IGN);
    server.tool.program = base_name(argv[0]);
    server.tool.invoked = argv[0];
    server.options = &options;
    status = nbd_options_parse(&options, &server.tool, argc, argv);
    if (status < 0 && options.disconnect)
        status = nbd_kernel_disconnect(&server.tool, options.disconnect);
    if (status < 0 && options.list) {
        struct err *err = nbd_list(&options);

        status = err ? 1 : 0;
        if (err)
            tool_report(&server.tool, err);
    }
    if (status < 0) {
        if (options.fork)
            background_fork(&server.background, server.tool.program);
        tool_init(&server.tool, argv[0]);
        status = serve(&server);
        tool_fini(&server.tool);
    }
    nbd_options_fini(&options);
    return status;
}
