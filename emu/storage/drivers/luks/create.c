/*
 * Creating LUKS images: the file is cut to nothing, the header and the first key slot are written, and the file gets
 * the length of header and disk. With a detached header these are two files.
 */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/crypto/secret.h"
#include "emu/storage/drivers/luks/luks.h"
#include "emu/storage/drivers/luks/options.h"
#include "emu/storage/drivers/luks/volume.h"

const struct create_option luks_create_options[] = {
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { "key-secret", CREATE_OPT_STR, "ID of the secret that provides the keyslot passphrase", NULL },
    { "cipher-alg", CREATE_OPT_STR, "Name of encryption cipher algorithm", NULL },
    { "cipher-mode", CREATE_OPT_STR, "Name of encryption cipher mode", NULL },
    { "ivgen-alg", CREATE_OPT_STR, "Name of IV generator algorithm", NULL },
    { "ivgen-hash-alg", CREATE_OPT_STR, "Name of IV generator hash algorithm", NULL },
    { "hash-alg", CREATE_OPT_STR, "Name of encryption hash algorithm", NULL },
    { "iter-time", CREATE_OPT_NUMBER, "Time to spend in PBKDF in milliseconds", NULL },
    { "detached-header", CREATE_OPT_BOOL, "Create a detached LUKS header", NULL },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

enum create_phase {
    CREATE_OPEN_FILE,
    CREATE_OPEN_HEADER,
    CREATE_EMPTY,  /* What holds the header is being cut to nothing ... */
    CREATE_ROOM,   /* ... and gets the length of the header. */
    CREATE_FORMAT,
    CREATE_SIZE,   /* The file gets its length. */
    CREATE_FLUSH,
    CREATE_END,
};

/* One of the two files. */
struct target {
    struct node *node; /* A reference, or NULL. */
    struct edge *edge;
};

struct creation {
    struct graph *graph;
    struct json *options; /* A reference. */
    driver_done_fn *done;
    void *arg;
    enum create_phase phase;
    struct target file, header;
    struct luks_options luks;
    struct luks_volume volume;
    char *password; /* owned */
    uint64_t size, overhead;
    int prealloc; /* enum prealloc */
    struct req req;
};

static const struct edge_parent_ops creation_parent = { .what = "image creation" };

static void create_enter(struct creation *c, enum create_phase phase);

static struct err *read_options(struct creation *c)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full" };
    CLEANUP(opts_fini) struct opts opts = { 0 };

    opts_init(&opts, c->options);
    TRY(opts_size(&opts, "size", &c->size));
    TRY(opts_enum_opt(&opts, "preallocation", modes, ARRAY_LEN(modes), &c->prealloc));
    TRY(luks_read_options(&opts, &c->luks));
    c->luks.detached = json_object_has(c->options, "header");
    opts_mark(&opts, "driver");
    opts_mark(&opts, "file");
    opts_mark(&opts, "header");
    opts_mark(&opts, "key-secret");
    TRY(opts_check_unused(&opts));
    if (!json_object_has(c->options, "file") && !c->luks.detached)
        return err_new("Either the parameter 'header' or 'file' must be specified");
    if (c->prealloc && !json_object_has(c->options, "file"))
        return err_new("Parameter 'preallocation' requires 'file' to be specified");
    return NULL;
}

/* What is looked at once the files are open. */
static struct err *read_secret(struct creation *c)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };

    opts_init(&opts, c->options);
    TRY(luks_read_password(graph_objects(c->graph), &opts, &c->password));
    TRY(luks_overhead(&c->luks, &c->overhead));
    if (c->size > INT64_MAX - c->overhead)
        return err_set_errnum(err_new("The requested file size is too large"), EFBIG);
    return NULL;
}

/* ---- The machine ---- */

static void target_close(struct target *target)
{
    if (target->edge)
        edge_detach(target->edge);
    if (target->node)
        node_unref(target->node);
}

static void create_end(struct creation *c, struct err *err)
{
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    luks_volume_fini(&c->volume);
    target_close(&c->file);
    target_close(&c->header);
    secret_free(c->password, c->password ? strlen(c->password) : 0);
    json_free(c->options);
    xfree(c);
    done(arg, err);
}

static void create_next(void *arg, struct err *err)
{
    struct creation *c = arg;

    if (err)
        create_end(c, err);
    else
        create_enter(c, c->phase + 1);
}

static void opened(void *arg, struct node *node, struct err *err)
{
    struct creation *c = arg;
    struct target *target = c->phase == CREATE_OPEN_FILE ? &c->file : &c->header;

    target->node = node;
    if (!err)
        err = edge_attach(node, "root", &creation_parent, c,
                          PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE,
                          PERM_ALL & ~(uint32_t)PERM_RESIZE, &target->edge);
    create_next(c, err);
}

static void open_target(struct creation *c, const char *member)
{
    const struct json *options = json_object_get(c->options, member);
    struct node *node;
    struct err *err;

    if (!options) {
        create_next(c, NULL);
        return;
    }
    if (json_type_of(options) != JSON_STRING) {
        node_open(c->graph, options, 0, opened, c);
        return;
    }
    err = graph_lookup(c->graph, json_get_str(options), &node);
    opened(c, err ? NULL : node_ref(node), err);
}

static void start_writing(struct creation *c, struct edge *head)
{
    struct err *err = read_secret(c);

    if (err)
        create_end(c, err);
    else
        edge_truncate(head, 0, false, PREALLOC_OFF, create_next, c);
}

static void format(struct creation *c)
{
    c->volume.reactor = graph_reactor(c->graph);
    c->volume.edge = c->header.edge ? c->header.edge : c->file.edge;
    c->volume.detached = c->luks.detached;
    luks_volume_format(&c->volume, &c->luks, c->password, create_next, c);
}

static void flushed(struct req *req)
{
    struct creation *c = container_of(req, struct creation, req);

    create_next(c, req->result ? err_new_errno(req->result, "Could not write LUKS header") : NULL);
}

/* The only writer of c->phase. */
static void create_enter(struct creation *c, enum create_phase phase)
{
    struct edge *head = c->header.edge ? c->header.edge : c->file.edge;

    c->phase = phase;
    switch (phase) {
    case CREATE_OPEN_FILE: open_target(c, "file"); return;
    case CREATE_OPEN_HEADER: open_target(c, "header"); return;
    case CREATE_EMPTY: start_writing(c, head); return;
    case CREATE_ROOM: edge_truncate(head, c->overhead, false, PREALLOC_OFF, create_next, c); return;
    case CREATE_FORMAT: format(c); return;
    case CREATE_SIZE:
        if (!c->file.edge)
            create_enter(c, CREATE_FLUSH);
        else
            edge_truncate(c->file.edge, c->size + (c->luks.detached ? 0 : c->overhead), false,
                          (enum prealloc)c->prealloc, create_next, c);
        return;
    case CREATE_FLUSH:
        req_submit_part(&c->req, head, REQ_FLUSH, 0, 0, 0, (struct iov_view){ 0 }, flushed);
        return;
    case CREATE_END: create_end(c, NULL); return;
    }
    unreachable();
}

void luks_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg)
{
    struct creation *c = NEW(struct creation);
    struct err *err;

    c->graph = graph;
    c->options = json_ref(options);
    c->done = done;
    c->arg = arg;
    err = read_options(c);
    if (err)
        create_end(c, err);
    else
        create_enter(c, CREATE_OPEN_FILE);
}

/* ---- Measuring ---- */

void luks_measure_image(struct graph *graph, const struct json *options, struct edge *source,
                        uint64_t size, struct measure_result *result, driver_done_fn *done,
                        void *arg)
{
    struct luks_options luks;
    uint64_t overhead = 0;
    struct opts opts;
    struct err *err;

    (void)graph;
    opts_init(&opts, options);
    err = luks_read_options(&opts, &luks);
    opts_fini(&opts);
    if (!err)
        err = luks_overhead(&luks, &overhead);
    if (!err) {
        size = source ? source->node->size : size;
        result->required = add_saturate_u64(size, overhead);
        result->fully_allocated = result->required;
    }
    done(arg, err);
}
