/*
 * Driver "raw": the image is the file, or a window of it.
 *
 * Requests pass through. An image that was only guessed to be raw must not turn into another format
 * because a guest writes a header to it: such writes to the first sector are refused, as by the
 * reference.
 */
#include <errno.h>
#include <inttypes.h>

#include "emu/base/arith.h"
#include "emu/base/log.h"
#include "emu/storage/driver.h"

enum { SECTOR = 512 };

/* Which part of the file the image is. */
struct raw_window {
    uint64_t offset, size;
    bool has_size;
};

struct raw_state {
    uint64_t offset;
    bool has_size, windowed;
    bool probed;
    struct raw_window next; /* While reopening. */
};

struct raw_req {
    struct req sub;
    struct req *req;
};

static const struct driver_child raw_children[] = {
    { "file", ROLE_DATA | ROLE_FILTERED | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

static void follow(struct node *node)
{
    struct raw_state *state = node->state;
    uint64_t below = node->file->node->size;

    if (!state->has_size)
        node_set_size(node, below > state->offset ? below - state->offset : 0);
}

static struct err *read_window(struct node *node, struct opts *opts, struct raw_window *out)
{
    uint64_t below = node->file->node->size;

    *out = (struct raw_window){ .has_size = opts_has(opts, "size") };
    TRY(opts_size_opt(opts, "offset", &out->offset));
    TRY(opts_size_opt(opts, "size", &out->size));
    if (out->offset > below)
        return err_new("Offset (%" PRIu64
                       ") cannot be greater than size of the containing file (%" PRIu64 ")",
                       out->offset, below);
    if (out->has_size && out->size > below - out->offset)
        return err_new(
            "The sum of offset (%" PRIu64 ") and size (%" PRIu64
            ") has to be smaller or equal to the  actual size of the containing file (%" PRIu64 ")",
            out->offset, out->size, below);
    if (out->has_size && out->size % SECTOR)
        return err_new("Specified size is not multiple of %d", SECTOR);
    return NULL;
}

static void use_window(struct node *node, const struct raw_window *window)
{
    struct raw_state *state = node->state;

    state->offset = window->offset;
    state->has_size = window->has_size;
    state->windowed = window->offset || window->has_size;
    if (window->has_size)
        node_set_size(node, window->size);
    else
        follow(node);
}

static void raw_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                     void *arg)
{
    struct raw_state *state = node->state;
    struct raw_window window;
    struct err *err = read_window(node, opts, &window);

    if (err) {
        done(arg, err);
        return;
    }
    use_window(node, &window);
    state->probed = flags & NODE_OPEN_PROBED_RAW;
    if (state->probed && !node->read_only && node->file->node->driver->is_protocol)
        log_warn("Image format was not specified for '%s' and probing guessed raw.\n"
                 "         Automatically detecting the format is dangerous for raw images, "
                 "write operations on block 0 will be restricted.\n"
                 "         Specify the 'raw' format explicitly to remove the restrictions.",
                 node->file->node->filename);
    node->supported_zero_flags = REQ_FUA | REQ_MAY_UNMAP | REQ_NO_FALLBACK;
    node->supported_write_flags = REQ_FUA;
    if (state->probed)
        node->limits.max_transfer = 0;
    done(arg, NULL);
}

static void raw_close(struct node *node, driver_done_fn *done, void *arg)
{
    (void)node;
    done(arg, NULL);
}

static void sub_done(struct req *sub)
{
    struct raw_req *rr = container_of(sub, struct raw_req, sub);
    struct req *req = rr->req;

    if (req->kind == REQ_STATUS && sub->result == 0) {
        req->status = sub->status;
        req->status.flags |= STATUS_ALLOCATED;
    }
    req_complete(req, sub->result);
}

/* Whether a write makes the first sector of a guessed raw image look like something else. */
static bool disguises(const struct node *node, const struct req *req)
{
    uint8_t head[SECTOR] = { 0 };
    const struct driver *driver;

    if (req->offset >= sizeof(head))
        return false;
    if (req->offset || req->len < sizeof(head))
        return true; /* A part of it: what it makes of the rest is not known here. */
    iov_copy_from(req->data, sizeof(head), head);
    driver = probe_bytes(node->graph, head, sizeof(head), "");
    return driver && driver != node->driver;
}

static void raw_submit(struct node *node, struct req *req)
{
    struct raw_state *state = node->state;
    struct raw_req *rr = req->ctx;
    uint32_t flags = req->flags & ~(uint32_t)(REQ_NO_GATE | REQ_SERIALISING);
    uint64_t end = req->offset + req->len;

    if (state->has_size && end > node->size && req->kind != REQ_FLUSH && req->kind != REQ_STATUS) {
        req_complete(req, req->kind == REQ_READ ? -EIO : -ENOSPC);
        return;
    }
    if (state->probed && req->kind == REQ_WRITE && disguises(node, req)) {
        req_complete(req, -EPERM);
        return;
    }
    if (req->kind == REQ_FLUSH) {
        req_complete(req, -ENOTSUP); /* The core flushes the file. */
        return;
    }
    rr->req = req;
    if (req->kind == REQ_READ)
        debug_event(node->file, "read_aio");
    else if (req->kind == REQ_WRITE)
        debug_event(node->file, "write_aio");
    req_submit_part(&rr->sub, node->file, req->kind, flags, req->offset + state->offset, req->len,
                    req->data, sub_done);
}

static void raw_child_resized(struct node *node, struct edge *child)
{
    (void)child;
    follow(node);
}

static void raw_child_perm(struct node *node, const struct edge *child, uint32_t perm,
                           uint32_t shared, uint32_t *child_perm, uint32_t *child_shared)
{
    struct raw_state *state = node->state;

    (void)child;
    *child_perm = perm;
    *child_shared = shared;
    if (state->windowed) {
        /* The window has its place in the file: the size must stay. */
        *child_shared &= ~(uint32_t)PERM_RESIZE;
    }
}

static void raw_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                         driver_done_fn *done, void *arg)
{
    struct raw_state *state = node->state;

    if (state->has_size) {
        done(arg, err_new("Cannot resize fixed-size raw disks"));
        return;
    }
    if (INT64_MAX - state->offset < size) {
        done(arg, err_new("Disk size too large for the chosen offset"));
        return;
    }
    edge_truncate(node->file, size + state->offset, exact, prealloc, done, arg);
}

/* ---- Reopening: the window may move. ---- */

static const char *const raw_reopen_options[] = { "offset", "size", NULL };

static void raw_reopen_prepare(struct node *node, struct opts *opts,
                               const struct node_options *open, driver_done_fn *done, void *arg)
{
    struct raw_state *state = node->state;

    (void)open;
    done(arg, read_window(node, opts, &state->next));
}

static void raw_reopen_commit(struct node *node)
{
    struct raw_state *state = node->state;

    use_window(node, &state->next);
}

static int raw_probe(const uint8_t *buf, size_t len, const char *filename)
{
    (void)buf;
    (void)len;
    (void)filename;
    return 1; /* Anything is raw when nothing else claims it. */
}

/* A raw image takes what its disk has. */
static void raw_measure(struct graph *graph, const struct json *options, struct edge *source,
                        uint64_t size, struct measure_result *result, driver_done_fn *done,
                        void *arg)
{
    (void)graph;
    (void)options;
    result->required = result->fully_allocated = source ? source->node->size : size;
    done(arg, NULL);
}

static const struct create_option raw_create_options[] = {
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

const struct driver driver_raw = {
    .name = "raw",
    .is_format = true,
    .has_variable_size = true,
    .can_grow = true,
    .state_size = sizeof(struct raw_state),
    .req_size = sizeof(struct raw_req),
    .children = raw_children,
    .open = raw_open,
    .close = raw_close,
    .submit = raw_submit,
    .child_perm = raw_child_perm,
    .truncate = raw_truncate,
    .child_resized = raw_child_resized,
    .reopen_options = raw_reopen_options,
    .reopen_prepare = raw_reopen_prepare,
    .reopen_commit = raw_reopen_commit,
    .probe = raw_probe,
    .create_options = raw_create_options,
    .measure = raw_measure,
};
