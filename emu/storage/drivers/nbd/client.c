/*
 * Driver "nbd": a disk served over the network block device protocol (specs: section 2).
 *
 * The server's size need not be a multiple of the sectors that nodes are measured in; what lies between
 * its end and the node's reads as zeroes and cannot be written.
 */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/crypto/tls_creds.h"
#include "emu/storage/drivers/nbd/client.h"

enum { SECTOR = 512 };

struct nbd_state {
    struct nbd_client *client; /* owned; NULL when the open failed. */
};

static struct nbd_client *client_of(const struct node *node)
{
    const struct nbd_state *state = node->state;

    return state->client;
}

/* ---- Open ---- */

static struct err *parse_tls(struct nbd_client *c, struct opts *opts)
{
    const char *creds = NULL, *hostname = NULL;

    TRY(opts_str_opt(opts, "tls-creds", &creds));
    TRY(opts_str_opt(opts, "tls-hostname", &hostname));
    if (!creds)
        return NULL;
    if (hostname)
        c->tls_hostname = xstrdup(hostname);
    return tls_creds_get(graph_objects(c->node->graph), creds, TLS_CLIENT, &c->tls_creds);
}

static struct err *parse_options(struct nbd_client *c, struct opts *opts)
{
    const char *export = "", *bitmap = NULL;
    uint64_t reconnect_delay = 0, open_timeout = 0;

    TRY(nbd_address_parse(opts, &c->address));
    TRY(opts_str_opt(opts, "export", &export));
    TRY(opts_str_opt(opts, "x-dirty-bitmap", &bitmap));
    TRY(opts_u64_opt(opts, "reconnect-delay", &reconnect_delay));
    TRY(opts_u64_opt(opts, "open-timeout", &open_timeout));
    if (strlen(export) > NBD_STRING_MAX)
        return err_new("export name too long to send to server");
    if (bitmap && strlen(bitmap) > NBD_STRING_MAX)
        return err_new("x-dirty-bitmap query too long to send to server");
    TRY(parse_tls(c, opts));
    if (reconnect_delay)
        return err_new("Parameter 'reconnect-delay' must be 0: reconnecting is not supported");
    c->export = xstrdup(export);
    c->dirty_context = bitmap != NULL;
    c->context = xstrdup(bitmap ? bitmap : NBD_CONTEXT_ALLOCATION);
    c->open_deadline_ns = nstime_add(
        reactor_now(c->reactor), nstime_from_sec((int64_t)MIN(open_timeout, (uint64_t)UINT32_MAX)));
    return NULL;
}

static void client_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                        void *arg)
{
    struct nbd_state *state = node->state;
    struct nbd_client *c = NEW(struct nbd_client);
    struct err *err;

    c->node = node;
    c->reactor = graph_reactor(node->graph);
    atomic_store(&c->refs, 1);
    atomic_store(&c->fd, -1);
    list_init(&c->waiting);
    c->slots_free = UINT64_MAX;
    c->open_done = done;
    c->open_arg = arg;
    err = parse_options(c, opts);
    if (err) {
        nbd_client_unref(c);
        done(arg, err);
        return;
    }
    c->rx = xmalloc(NBD_CLIENT_RX_BYTES);
    state->client = c;
    nbd_link_open(c);
}

/* A dead client that failed to open frees itself; the node must not find it again. */
static struct err *check_export(struct nbd_client *c)
{
    struct node *node = c->node;

    if (c->dirty_context && !c->info.has_context)
        return err_new("requested x-dirty-bitmap %s not found", c->context);
    if (!node->read_only && c->info.flags & NBD_FLAG_READ_ONLY) {
        if (!node->open.auto_read_only)
            return err_new("request on write denied without write permission");
        node->read_only = true;
    }
    return NULL;
}

static void set_limits(struct nbd_client *c)
{
    struct node_limits *limits = &c->node->limits;
    uint32_t min = c->info.min_block;

    /* A server that does not say may need sectors, unless its size tells otherwise. */
    limits->request_alignment = min ? min : is_aligned(c->info.size, SECTOR) ? SECTOR : 1;
    limits->memory_alignment = 1;
    limits->max_transfer = (uint32_t)align_down_u64(
        MIN(c->info.max_block ? c->info.max_block : (uint32_t)NBD_PAYLOAD_MAX,
            (uint32_t)NBD_PAYLOAD_MAX),
        limits->request_alignment);
    limits->max_iov = NBD_CLIENT_REQ_IOV;
    limits->max_zero = limits->max_discard = align_down_u64(INT32_MAX, limits->request_alignment);
    limits->opt_transfer = c->info.pref_block > SECTOR ? c->info.pref_block : 0;
}

void nbd_client_opened(struct nbd_client *c)
{
    struct node *node = c->node;
    driver_done_fn *done = c->open_done;
    struct err *err = check_export(c);

    if (err) {
        nbd_link_die(c, err);
        return;
    }
    set_limits(c);
    node_set_size(node, align_up_u64(c->info.size, SECTOR));
    if (c->info.flags & NBD_FLAG_FUA) {
        node->supported_write_flags = REQ_FUA;
        node->supported_zero_flags = REQ_FUA;
    }
    node->supported_zero_flags |= REQ_MAY_UNMAP;
    if (c->info.flags & NBD_FLAG_FAST_ZERO)
        node->supported_zero_flags |= REQ_NO_FALLBACK;
    xfree(node->filename);
    node->filename = nbd_address_uri(&c->address, c->export);
    c->open_done = NULL;
    nbd_recv_start(c);
    done(c->open_arg, NULL);
}

static void client_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct nbd_client *c = client_of(node);

    c->close_done = done;
    c->close_arg = arg;
    nbd_link_close(c);
}

static void client_fence(struct node *node)
{
    if (client_of(node))
        nbd_link_die(client_of(node), NULL);
}

static void client_facts(struct node *node, struct image_facts *facts, driver_done_fn *done,
                         void *arg)
{
    facts->virtual_size = node->size;
    done(arg, NULL);
}

/* ---- Requests ---- */

static uint16_t fua(const struct req *req) { return req->flags & REQ_FUA ? NBD_CMD_FLAG_FUA : 0; }

/* Fills type and flags. Returns false when the answer is known: then *result is it. */
static bool translate(struct nbd_client *c, struct nbd_req *r, int *result)
{
    const struct req *req = r->req;
    uint16_t flags = c->info.flags;

    *result = -ENOTSUP;
    switch (req->kind) {
    case REQ_READ: r->type = NBD_CMD_READ; return true;
    case REQ_WRITE:
        r->type = NBD_CMD_WRITE;
        r->flags = fua(req);
        return true;
    case REQ_ZERO:
        r->type = NBD_CMD_WRITE_ZEROES;
        r->flags = fua(req) | (req->flags & REQ_MAY_UNMAP ? 0 : NBD_CMD_FLAG_NO_HOLE) |
                   (req->flags & REQ_NO_FALLBACK ? NBD_CMD_FLAG_FAST_ZERO : 0);
        return flags & NBD_FLAG_WRITE_ZEROES &&
               (flags & NBD_FLAG_FAST_ZERO || !(req->flags & REQ_NO_FALLBACK));
    case REQ_DISCARD: r->type = NBD_CMD_TRIM; return flags & NBD_FLAG_TRIM;
    case REQ_FLUSH:
        r->type = NBD_CMD_FLUSH;
        *result = 0; /* A server without FLUSH has nothing to flush. */
        return flags & NBD_FLAG_FLUSH;
    case REQ_STATUS: nbd_status_begin(c, r); return c->info.has_context;
    case REQ_KIND_COUNT: break;
    }
    unreachable();
}

/* What of the request lies behind the server's end. Returns true when that is all of it. */
static bool tail(struct nbd_client *c, struct nbd_req *r, int *result)
{
    struct req *req = r->req;
    uint64_t inside = sub_saturate_u64(c->info.size, req->offset);

    r->wire_len = req->len;
    if (req->kind == REQ_FLUSH || inside >= req->len)
        return false;
    r->wire_len = inside;
    *result = 0;
    if (req->kind == REQ_READ)
        iov_fill(iov_view_advance(req->data, (size_t)inside), (size_t)(req->len - inside), 0);
    else if (req->kind == REQ_STATUS && !inside)
        req->status = (struct req_status){ .flags = STATUS_ZERO, .len = req->len };
    else if (req->kind == REQ_WRITE &&
             !iov_is_zero(iov_view_advance(req->data, (size_t)inside), (size_t)(req->len - inside)))
        *result = -ENOSPC;
    return !inside || *result;
}

static void client_submit(struct node *node, struct req *req)
{
    struct nbd_client *c = client_of(node);
    struct nbd_req *r = req->ctx;
    int result;

    if (c->state != NBD_CLIENT_READY) {
        req_complete(req, -EIO);
        return;
    }
    *r = (struct nbd_req){ .req = req };
    list_init(&r->link);
    if (tail(c, r, &result) || !translate(c, r, &result)) {
        req_complete(req, result);
        return;
    }
    if (req->kind == REQ_STATUS) {
        if (nbd_status_cached(c, req)) {
            req_complete(req, 0);
            return;
        }
    } else if (req->kind == REQ_WRITE || req->kind == REQ_ZERO || req->kind == REQ_DISCARD) {
        nbd_status_forget(c);
    } else if (req->kind == REQ_FLUSH) {
        r->wire_len = 0;
    }
    nbd_send(c, r);
}

const struct driver driver_nbd = {
    .name = "nbd",
    .is_protocol = true,
    .state_size = sizeof(struct nbd_state),
    .req_size = sizeof(struct nbd_req),
    .open = client_open,
    .close = client_close,
    .submit = client_submit,
    .fence = client_fence,
    .facts = client_facts,
};
