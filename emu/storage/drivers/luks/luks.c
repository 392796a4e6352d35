/*
 * Driver "luks": a disk whose sectors are encrypted, behind a LUKS1 header in the same file or in a file of its own.
 *
 * Reads decrypt in the caller's buffers. Writes encrypt into memory of their own, because the caller's bytes may change
 * under us and must not become ciphertext.
 */
#include "emu/storage/drivers/luks/luks.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/crypto/secret.h"
#include "emu/storage/drivers/luks/options.h"
#include "emu/storage/drivers/luks/volume.h"

enum { TRANSFER_MAX = 2 << 20 };

struct luks {
    struct luks_volume volume;
    struct node *node;
    char *key_secret; /* Owned; NULL when the image was opened without. */
    uint64_t payload; /* Byte of the file where the disk begins. */
    driver_done_fn *done; /* Of the opening. */
    void *arg;
};

struct luks_req {
    struct req sub;
    struct req *req;
    uint8_t *bounce; /* Owned; writes only. */
    struct iovec iov;
};

static const struct driver_child luks_children[] = {
    { "file", ROLE_DATA | ROLE_METADATA | ROLE_PRIMARY, true },
    { "header", ROLE_METADATA, false },
    { NULL, 0, false },
};

static struct edge *header_child(struct node *node)
{
    list_for_each(edge, &node->children, struct edge, child_link) {
        if (strcmp(edge->name, "header") == 0)
            return edge;
    }
    return NULL;
}

/* ---- Opening and closing ---- */

static struct err *follow(struct node *node)
{
    struct luks *luks = node->state;
    uint64_t below = node->file->node->size;

    if (luks->payload > below)
        return err_new_errno(EIO, "Could not refresh total sector count");
    node_set_size(node, align_down_u64(below - luks->payload, CRYPT_SECTOR));
    return NULL;
}

static void luks_fini(struct luks *luks)
{
    luks_volume_fini(&luks->volume);
    xfree(luks->key_secret);
    luks->key_secret = NULL;
}

static void opened(void *arg, struct err *err)
{
    struct luks *luks = arg;
    struct node *node = luks->node;

    if (!err) {
        luks->payload = luks_payload_offset(&luks->volume.header);
        err = follow(node);
    }
    if (err)
        luks_fini(luks);
    luks->done(luks->arg, err);
}

static struct err *read_open_options(struct luks *luks, struct opts *opts, unsigned flags,
                                     char **password)
{
    const char *key_secret = NULL;

    TRY(opts_str_opt(opts, "key-secret", &key_secret));
    luks->key_secret = xstrdup(key_secret);
    if (flags & NODE_OPEN_NO_IO)
        return NULL;
    return luks_read_password(graph_objects(luks->node->graph), opts, password);
}

static void luks_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                      void *arg)
{
    struct luks *luks = node->state;
    struct edge *header = header_child(node);
    char *password = NULL;
    struct err *err;

    luks->node = node;
    luks->done = done;
    luks->arg = arg;
    luks->volume.reactor = graph_reactor(node->graph);
    luks->volume.edge = header ? header : node->file;
    luks->volume.detached = header != NULL;
    node->limits.request_alignment = CRYPT_SECTOR;
    node->limits.max_transfer = TRANSFER_MAX;
    node->supported_write_flags = REQ_FUA;
    err = read_open_options(luks, opts, flags, &password);
    if (err)
        opened(luks, err);
    else
        luks_volume_open(&luks->volume, password, opened, luks);
    secret_free(password, password ? strlen(password) : 0);
}

static void luks_close(struct node *node, driver_done_fn *done, void *arg)
{
    luks_fini(node->state);
    done(arg, NULL);
}

/* ---- Requests ---- */

static void sub_done(struct req *sub)
{
    struct luks_req *lr = container_of(sub, struct luks_req, sub);
    struct luks *luks = lr->req->node->state;

    if (lr->req->kind == REQ_READ && sub->result == 0)
        sector_decrypt_iov(luks->volume.cipher, lr->req->offset, lr->req->data, lr->req->len);
    xfree(lr->bounce);
    req_complete(lr->req, sub->result);
}

static void submit_write(struct node *node, struct req *req)
{
    struct luks *luks = node->state;
    struct luks_req *lr = req->ctx;

    lr->bounce = try_alloc_aligned(MAX(node->file->node->limits.memory_alignment, 64U), req->len);
    if (!lr->bounce) {
        req_complete(req, -ENOMEM);
        return;
    }
    iov_copy_from(req->data, req->len, lr->bounce);
    sector_encrypt(luks->volume.cipher, req->offset, lr->bounce, lr->bounce, req->len);
    lr->iov = (struct iovec){ lr->bounce, req->len };
    req_submit_part(&lr->sub, node->file, REQ_WRITE, req->flags & REQ_FUA,
                    luks->payload + req->offset, req->len, iov_view(&lr->iov, 1), sub_done);
}

static void luks_submit(struct node *node, struct req *req)
{
    struct luks *luks = node->state;
    struct luks_req *lr = req->ctx;

    lr->req = req;
    lr->bounce = NULL;
    switch (req->kind) {
    case REQ_READ:
    case REQ_WRITE:
        if (!luks->volume.cipher)
            req_complete(req, -EIO); /* Opened for its metadata only. */
        else if (req->kind == REQ_WRITE)
            submit_write(node, req);
        else
            req_submit_part(&lr->sub, node->file, REQ_READ, 0, luks->payload + req->offset,
                            req->len, req->data, sub_done);
        return;
    case REQ_ZERO:    /* Zeroes must be encrypted as well. */
    case REQ_DISCARD: /* It would tell which sectors are in use. */
    case REQ_FLUSH:   /* The core flushes the children. */
    case REQ_STATUS: req_complete(req, -ENOTSUP); return;
    case REQ_KIND_COUNT: break;
    }
    unreachable();
}

static void luks_child_resized(struct node *node, struct edge *child)
{
    if (child == node->file)
        err_ignore(follow(node));
}

static void luks_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                          driver_done_fn *done, void *arg)
{
    struct luks *luks = node->state;

    if (size > INT64_MAX - luks->payload)
        done(arg, err_set_errnum(err_new("The requested file size is too large"), EFBIG));
    else
        edge_truncate(node->file, size + luks->payload, exact, prealloc, done, arg);
}

/* ---- Facts and changes ---- */

static void luks_facts(struct node *node, struct image_facts *facts, driver_done_fn *done,
                       void *arg)
{
    struct luks *luks = node->state;

    facts->encrypted = true;
    facts->format_specific = json_object();
    json_object_set_str(facts->format_specific, "type", "luks");
    json_object_set(facts->format_specific, "data",
                    luks_info(&luks->volume.header, luks->volume.detached));
    done(arg, NULL);
}

static void luks_amend(struct node *node, const struct json *options, unsigned flags,
                       amend_progress_fn *progress, driver_done_fn *done, void *arg)
{
    struct luks *luks = node->state;

    (void)progress; /* There is no part of it whose length is known. */
    luks_amend_by_options(&luks->volume, graph_objects(node->graph), luks->key_secret, options,
                          flags & AMEND_FORCE, done, arg);
}

static int luks_driver_probe(const uint8_t *buf, size_t len, const char *filename)
{
    (void)filename;
    return luks_probe(buf, len) ? 100 : 0;
}

static const struct create_option luks_amend_options[] = {
    { "iter-time", CREATE_OPT_NUMBER, "Time to spend in PBKDF in milliseconds", NULL },
    { "keyslot", CREATE_OPT_NUMBER, "Select a single keyslot to modify explicitly", NULL },
    { "new-secret", CREATE_OPT_STR,
      "New secret to set in the matching keyslots. Empty string to erase", NULL },
    { "old-secret", CREATE_OPT_STR, "Select all keyslots that match this password", NULL },
    { "state", CREATE_OPT_STR, "Select new state of affected keyslots (active/inactive)", NULL },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

const struct driver driver_luks = {
    .name = "luks",
    .is_format = true,
    .has_variable_size = true,
    .state_size = sizeof(struct luks),
    .req_size = sizeof(struct luks_req),
    .children = luks_children,
    .open = luks_open,
    .close = luks_close,
    .submit = luks_submit,
    .truncate = luks_truncate,
    .child_resized = luks_child_resized,
    .facts = luks_facts,
    .probe = luks_driver_probe,
    .create = luks_create,
    .create_options = luks_create_options,
    .amend = luks_amend,
    .amend_options = luks_amend_options,
    .measure = luks_measure_image,
};
