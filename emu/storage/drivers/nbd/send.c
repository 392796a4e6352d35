/* The sending side: requests get a slot and leave, all that are ready in one vectored write. */
#include <errno.h>

#include "emu/base/check.h"
#include "emu/storage/drivers/nbd/client.h"

static void tx_start(struct nbd_client *c);

void nbd_req_end(struct nbd_client *c, struct nbd_req *r)
{
    struct req *req = r->req;

    r->replied = true;
    if (r->in_write)
        return; /* Keeps (3): written() ends it. */
    check(c->in_flight > 0);
    c->in_flight--;
    if (req->kind == REQ_WRITE || req->kind == REQ_ZERO || req->kind == REQ_DISCARD)
        nbd_status_forget(c);
    req_complete(req, r->result);
}

static void written(struct op *op)
{
    struct nbd_client *c = container_of(op, struct nbd_client, tx_op);
    struct nbd_req *r = c->sent_head;

    c->sent_head = NULL;
    while (r) {
        struct nbd_req *next = r->next_sent;

        r->in_write = false;
        if (r->replied)
            nbd_req_end(c, r);
        r = next;
    }
    if (c->state == NBD_CLIENT_DEAD)
        nbd_link_settle(c);
    else if (op->result < 0)
        nbd_link_die(c, err_new_errno((int)op->result, "Failed to write to the NBD server"));
    else
        tx_start(c);
}

/* Gives r a slot and a place in the write; false when either is lacking. */
static bool take(struct nbd_client *c, struct nbd_req *r, unsigned *niov)
{
    struct nbd_request wire = { .flags = r->flags, .type = r->type, .len = r->wire_len };
    unsigned slot;

    if (!c->slots_free || *niov + 1 + NBD_CLIENT_REQ_IOV > NBD_CLIENT_IOV)
        return false;
    slot = (unsigned)__builtin_ctzll(c->slots_free);
    c->slots_free &= ~BIT64(slot);
    c->slots[slot] = r;
    c->next_cookie += NBD_CLIENT_SLOTS;
    r->cookie = c->next_cookie | slot;
    wire.cookie = r->cookie;
    wire.offset = r->type == NBD_CMD_FLUSH ? 0 : r->req->offset;
    nbd_request_store(r->head, &wire);
    c->tx_iov[(*niov)++] = (struct iovec){ r->head, sizeof(r->head) };
    if (r->type == NBD_CMD_WRITE)
        *niov +=
            iov_slice(r->req->data, (size_t)r->wire_len, c->tx_iov + *niov, NBD_CLIENT_REQ_IOV);
    r->in_write = true;
    return true;
}

static void tx_start(struct nbd_client *c)
{
    struct nbd_req **tail = &c->sent_head;
    unsigned niov = 0;

    if (c->state != NBD_CLIENT_READY || op_pending(&c->tx_op))
        return;
    while (!list_empty(&c->waiting)) {
        struct nbd_req *r = list_first(&c->waiting, struct nbd_req, link);

        if (!take(c, r, &niov))
            break;
        list_del(&r->link);
        r->next_sent = NULL;
        *tail = r;
        tail = &r->next_sent;
    }
    if (!niov)
        return;
    c->tx_op.done = written;
    stream_writev(c->stream, &c->tx_op, c->tx_iov, niov);
}

static void tx_run(struct task *task) { tx_start(container_of(task, struct nbd_client, tx_task)); }

void nbd_send_kick(struct nbd_client *c)
{
    /* Deferred, so that all that is submitted in this turn of the loop leaves together. */
    if (!op_pending(&c->tx_op))
        reactor_defer(c->reactor, &c->tx_task, tx_run);
}

void nbd_send(struct nbd_client *c, struct nbd_req *r)
{
    c->in_flight++;
    list_add_tail(&c->waiting, &r->link);
    if (c->slots_free)
        nbd_send_kick(c);
}
