/*
 * Driver "blkdebug": passes requests on, and fails or stops those that its rules name. For tests of what is above it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/str.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/blkdebug/rules.h"
#include "emu/storage/event.h"

enum { ALIGN_MAX = 1 << 30 };

struct blkdebug {
    struct edge *image;
    struct blkdebug_rules rules;
    struct list held;    /* struct blkdebug_req that a breakpoint stopped. */
    struct list waiters; /* struct waiter. */
    uint64_t align, max_transfer, opt_zero, max_zero, opt_discard, max_discard;
    uint32_t take, unshare; /* Permissions beyond those of the parents. */
    bool fenced;
};

struct blkdebug_req {
    struct req sub;
    struct req *req;
    struct list held; /* In blkdebug->held. */
    char *tag;        /* Owned, while it is held. */
    bool done;        /* Held after the image has answered, with result. */
    int result;
};

struct waiter {
    struct list link;
    char *tag; /* Owned. */
    void (*done)(void *arg);
    void *arg;
};

/* ---- Options ---- */

static const char *const perm_names[] = { "consistent-read", "write", "write-unchanged", "resize" };

static struct err *read_perms(struct opts *opts, const char *name, uint32_t *out)
{
    const struct json *array = NULL;
    const char *text;
    int bit;

    TRY(opts_array_opt(opts, name, &array));
    for (size_t i = 0; array && i < json_array_len(array); i++) {
        text = json_as_str(json_array_get(array, i));
        bit = text ? str_index(text, perm_names, ARRAY_LEN(perm_names)) : -1;
        if (bit < 0)
            return err_new("invalid parameter value: %s", text ? text : "(no text)");
        *out |= 1u << bit;
    }
    return NULL;
}

static struct err *read_limit(struct opts *opts, const char *name, uint64_t multiple, uint64_t max,
                              uint64_t *out)
{
    TRY(opts_size_opt(opts, name, out));
    if (*out <= max && *out % multiple == 0)
        return NULL;
    return err_new("Cannot meet constraints with %s %" PRIu64, name, *out);
}

static struct err *read_limits(struct opts *opts, struct blkdebug *b)
{
    uint64_t align;

    TRY(opts_size_opt(opts, "align", &b->align));
    if (b->align >= ALIGN_MAX || (b->align & (b->align - 1)))
        return err_new("Cannot meet constraints with align %" PRIu64, b->align);
    align = b->align ? b->align : 1;
    TRY(read_limit(opts, "max-transfer", MAX(align, UINT64_C(512)), INT32_MAX, &b->max_transfer));
    TRY(read_limit(opts, "opt-write-zero", align, INT32_MAX, &b->opt_zero));
    TRY(read_limit(opts, "max-write-zero", MAX(align, b->opt_zero), INT32_MAX, &b->max_zero));
    TRY(read_limit(opts, "opt-discard", align, INT32_MAX, &b->opt_discard));
    return read_limit(opts, "max-discard", MAX(align, b->opt_discard), INT32_MAX, &b->max_discard);
}

/* Read as the tool starts: a test's own small file, before anything runs that could be kept waiting. */
static struct err *read_config(const char *name, char **out)
{
    FILE *file = fopen(name, "r");
    struct str text = { 0 };
    size_t n;

    if (!file)
        return err_new_errno(errno, "Could not read blkdebug config file");
    do {
        n = fread(str_reserve(&text, 4096), 1, 4096, file);
        str_added(&text, n);
    } while (n > 0 && text.len < BLKDEBUG_CONFIG_MAX);
    fclose(file);
    *out = str_steal(&text);
    return NULL;
}

static struct err *read_options(struct node *node, struct opts *opts)
{
    struct blkdebug *b = node->state;
    CLEANUP(xfree) char *text = NULL;
    const char *config = NULL;

    TRY(opts_str_opt(opts, "config", &config));
    if (config && *config) {
        TRY(read_config(config, &text));
        TRY(blkdebug_rules_from_text(&b->rules, text));
    }
    TRY(blkdebug_rules_from_options(&b->rules, opts));
    TRY(read_perms(opts, "take-child-perms", &b->take));
    TRY(read_perms(opts, "unshare-child-perms", &b->unshare));
    return read_limits(opts, b);
}

static void set_limits(struct node *node)
{
    struct blkdebug *b = node->state;
    struct node *image = b->image->node;
    struct node_limits *limits = &node->limits;

    if (b->align)
        limits->request_alignment = (uint32_t)b->align;
    if (b->max_transfer)
        limits->max_transfer = (uint32_t)b->max_transfer;
    if (b->opt_zero)
        limits->zero_alignment = (uint32_t)b->opt_zero;
    if (b->max_zero)
        limits->max_zero = b->max_zero;
    if (b->opt_discard)
        limits->discard_alignment = (uint32_t)b->opt_discard;
    if (b->max_discard)
        limits->max_discard = b->max_discard;
    node->supported_write_flags = REQ_FUA & image->supported_write_flags;
    node->supported_zero_flags =
        (REQ_FUA | REQ_MAY_UNMAP | REQ_NO_FALLBACK) & image->supported_zero_flags;
    node_set_size(node, image->size);
}

static void blkdebug_open(struct node *node, struct opts *opts, unsigned flags,
                          driver_done_fn *done, void *arg)
{
    struct blkdebug *b = node->state;
    struct err *err;

    (void)flags;
    list_init(&b->held);
    list_init(&b->waiters);
    blkdebug_rules_init(&b->rules);
    list_for_each(edge, &node->children, struct edge, child_link)
        b->image = edge;
    err = read_options(node, opts);
    if (err) {
        blkdebug_rules_fini(&b->rules);
        done(arg, err);
        return;
    }
    set_limits(node);
    blkdebug_rules_start(&b->rules);
    done(arg, NULL);
}

static void blkdebug_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct blkdebug *b = node->state;

    blkdebug_rules_fini(&b->rules);
    list_for_each_safe(waiter, &b->waiters, struct waiter, link) {
        list_del(&waiter->link);
        waiter->done(waiter->arg);
        xfree(waiter->tag);
        xfree(waiter);
    }
    done(arg, NULL);
}

/* ---- Requests ---- */

static void tell(struct node *node, enum storage_event_kind kind, const char *tag)
{
    struct storage_event event = { .kind = kind, .node = node, .u.suspended.tag = tag };

    graph_raise(node->graph, &event);
}

static void wake_waiters(struct blkdebug *b, const char *tag)
{
    list_for_each_safe(waiter, &b->waiters, struct waiter, link) {
        if (!str_eq(waiter->tag, tag))
            continue;
        list_del(&waiter->link);
        waiter->done(waiter->arg);
        xfree(waiter->tag);
        xfree(waiter);
    }
}

/* Stops br if an event has just asked for it. */
static bool stopped(struct node *node, struct blkdebug_req *br)
{
    struct blkdebug *b = node->state;

    if (!b->rules.pending || b->fenced)
        return false;
    br->tag = b->rules.pending;
    b->rules.pending = NULL;
    list_add_tail(&b->held, &br->held);
    tell(node, STORAGE_REQUEST_SUSPENDED, br->tag);
    wake_waiters(b, br->tag);
    return true;
}

static void answered(struct req *sub)
{
    struct blkdebug_req *br = container_of(sub, struct blkdebug_req, sub);
    struct req *req = br->req;
    struct blkdebug *b = req->node->state;

    if (req->kind == REQ_STATUS)
        req->status = sub->status;
    if (req->kind == REQ_WRITE)
        blkdebug_rules_event(&b->rules, "pwritev_done");
    br->done = true;
    br->result = sub->result;
    if (!stopped(req->node, br))
        req_complete(req, sub->result);
}

/* A request that no breakpoint keeps, or keeps any longer. */
static void pass_on(struct blkdebug_req *br)
{
    struct req *req = br->req;
    struct blkdebug *b = req->node->state;
    int error = blkdebug_rules_check(&b->rules, req);

    if (error == 0 && b->fenced)
        error = -ECANCELED;
    if (error) {
        req_complete(req, error);
        return;
    }
    req_submit_part(&br->sub, b->image, req->kind,
                    req->flags & ~(uint32_t)(REQ_NO_GATE | REQ_SERIALISING), req->offset, req->len,
                    req->data, answered);
}

static void blkdebug_submit(struct node *node, struct req *req)
{
    struct blkdebug *b = node->state;
    struct blkdebug_req *br = req->ctx;

    br->req = req;
    br->done = false;
    switch (req->kind) {
    case REQ_WRITE: blkdebug_rules_event(&b->rules, "pwritev"); break;
    case REQ_ZERO: blkdebug_rules_event(&b->rules, "pwritev_zero"); break;
    case REQ_FLUSH:
        blkdebug_rules_event(&b->rules, "flush_to_os");
        blkdebug_rules_event(&b->rules, "flush_to_disk");
        break;
    case REQ_READ:
    case REQ_DISCARD:
    case REQ_STATUS:
    case REQ_KIND_COUNT: break;
    }
    if (!stopped(node, br))
        pass_on(br);
}

static void go_on(struct blkdebug_req *br)
{
    struct req *req = br->req;

    list_del(&br->held);
    tell(req->node, STORAGE_REQUEST_RESUMED, br->tag);
    xfree(br->tag);
    br->tag = NULL;
    if (br->done)
        req_complete(req, br->result);
    else
        pass_on(br);
}

/* The first held request of that tag, any tag when it is NULL. */
static struct blkdebug_req *find_held(struct blkdebug *b, const char *tag)
{
    list_for_each(br, &b->held, struct blkdebug_req, held)
        if (!tag || str_eq(br->tag, tag))
            return br;
    return NULL;
}

/* ---- Breakpoints ---- */

static int debug_set(struct node *node, const char *event, const char *tag)
{
    struct blkdebug *b = node->state;

    return blkdebug_rules_break(&b->rules, event, tag);
}

static int debug_resume(struct node *node, const char *tag)
{
    struct blkdebug_req *br = find_held(node->state, tag);

    if (!br)
        return -ENOENT;
    go_on(br);
    return 0;
}

static int debug_remove(struct node *node, const char *tag)
{
    struct blkdebug *b = node->state;
    struct blkdebug_req *br;
    bool found = blkdebug_rules_unbreak(&b->rules, tag);

    while ((br = find_held(b, tag))) {
        go_on(br);
        found = true;
    }
    return found ? 0 : -ENOENT;
}

static void debug_wait(struct node *node, const char *tag, void (*done)(void *arg), void *arg)
{
    struct blkdebug *b = node->state;
    struct waiter *waiter;

    if (find_held(b, tag)) {
        done(arg);
        return;
    }
    waiter = NEW(struct waiter);
    waiter->tag = xstrdup(tag);
    waiter->done = done;
    waiter->arg = arg;
    list_add_tail(&b->waiters, &waiter->link);
}

static void debug_event_came(struct node *node, const char *event)
{
    struct blkdebug *b = node->state;

    blkdebug_rules_event(&b->rules, event);
}

static const struct debug_ops blkdebug_debug_ops = {
    .set = debug_set,
    .remove = debug_remove,
    .resume = debug_resume,
    .wait = debug_wait,
    .event = debug_event_came,
};

/* ---- The rest ---- */

static void blkdebug_fence(struct node *node)
{
    struct blkdebug *b = node->state;
    struct blkdebug_req *br;

    b->fenced = true;
    while ((br = find_held(b, NULL)))
        go_on(br);
}

static void blkdebug_child_perm(struct node *node, const struct edge *child, uint32_t perm,
                                uint32_t shared, uint32_t *child_perm, uint32_t *child_shared)
{
    const struct blkdebug *b = node->state;

    (void)child;
    *child_perm = perm | b->take;
    *child_shared = shared & ~b->unshare;
}

static void blkdebug_child_resized(struct node *node, struct edge *child)
{
    node_set_size(node, child->node->size);
}

static void blkdebug_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                              driver_done_fn *done, void *arg)
{
    struct blkdebug *b = node->state;

    edge_truncate(b->image, size, exact, prealloc, done, arg);
}

static const struct driver_child children[] = {
    { "image", ROLE_DATA | ROLE_FILTERED | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_blkdebug = {
    .name = "blkdebug",
    .is_filter = true,
    .has_variable_size = true,
    .can_grow = true,
    .state_size = sizeof(struct blkdebug),
    .req_size = sizeof(struct blkdebug_req),
    .children = children,
    .open = blkdebug_open,
    .close = blkdebug_close,
    .submit = blkdebug_submit,
    .child_perm = blkdebug_child_perm,
    .truncate = blkdebug_truncate,
    .fence = blkdebug_fence,
    .child_resized = blkdebug_child_resized,
    .debug = &blkdebug_debug_ops,
};
