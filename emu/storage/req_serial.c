/*
 * Requests in flight and the order of those that overlap.
 *
 * A serialising request (a read-modify-write, or one that asked for it) and any other that touches
 * a common block run one after the other, in order of arrival. Only then is there anything to wait
 * for, so ordinary requests just join the list. A request waits for one earlier request at a time
 * and looks again when that has ended; it never waits for a later one, so there are no cycles.
 */
#include "emu/storage/core.h"

void req_track(struct req *req)
{
    struct node *node = req->node;
    struct node_core *core = core_of(node);
    uint32_t align = node->limits.request_alignment;
    bool copies = req->kind == REQ_READ && (req->flags & REQ_COPY_ON_READ);

    if (copies)
        align = MAX(align, node->cluster_size);
    list_init(&req->waiters);
    list_init(&req->wait_link);
    list_add_tail(&core->tracked, &req->link);
    req->core_state |= CORE_TRACKED;
    req->range_offset = align_down_u64(req->offset, align);
    req->range_len = align_up_u64(req->offset + req->len, align) - req->range_offset;
    bool padded = req->range_len != req->len && (req->kind == REQ_WRITE || req->kind == REQ_ZERO);
    if (padded || copies || (req->flags & REQ_SERIALISING)) {
        req->core_state |= CORE_SERIAL;
        core->serialising++;
    }
}

bool req_must_wait(struct req *req)
{
    list_for_each(other, &core_of(req->node)->tracked, struct req, link) {
        if (other == req)
            return false;
        if (!((other->core_state | req->core_state) & CORE_SERIAL))
            continue;
        if (!ranges_overlap(other->range_offset, other->range_len, req->range_offset,
                            req->range_len))
            continue;
        list_add_tail(&other->waiters, &req->wait_link);
        return true;
    }
    unreachable();
}

void req_untrack(struct req *req)
{
    struct node_core *core = core_of(req->node);
    struct list ready = LIST_INIT(ready);
    struct req *waiter;

    list_del(&req->link);
    if (req->core_state & CORE_SERIAL)
        core->serialising--;
    req->core_state &= ~(uint32_t)(CORE_TRACKED | CORE_SERIAL);
    list_splice_tail(&ready, &req->waiters);
    while ((waiter = list_pop_head(&ready, struct req, wait_link)))
        if (!req_must_wait(waiter))
            req_run(waiter);
}
