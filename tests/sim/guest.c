#include "tests/sim/guest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/check.h"

static bool is_write(enum req_kind kind)
{
    return kind == REQ_WRITE || kind == REQ_ZERO || kind == REQ_DISCARD;
}

static void note_oldest_read(struct guest *guest)
{
    guest->oracle->oldest_read = UINT64_MAX;
    for (unsigned i = 0; i < GUEST_SLOTS; i++) {
        const struct guest_slot *slot = &guest->slots[i];

        if (slot->busy && slot->req.kind == REQ_READ && slot->since < guest->oracle->oldest_read)
            guest->oracle->oldest_read = slot->since;
    }
}

static void describe_wrong_read(struct guest *guest, const struct guest_slot *slot, uint64_t at)
{
    char allowed[80];
    uint32_t found;
    bool whole = oracle_identify(slot->buf + (at - slot->req.offset), at, &found);

    oracle_describe(guest->oracle, at, slot->since, allowed, sizeof(allowed));
    snprintf(guest->failure, sizeof(guest->failure),
             "a read of %" PRIu64 "+%" PRIu64 " finds write %u%s at %" PRIu64 ", allowed:%s",
             slot->req.offset, slot->req.len, found, whole ? "" : " (torn)", at, allowed);
}

static void slot_done(struct req *req)
{
    struct guest_slot *slot = container_of(req, struct guest_slot, req);
    struct guest *guest = slot->guest;
    bool ok = req->result == 0;

    if (req->kind == REQ_WRITE || req->kind == REQ_ZERO)
        oracle_write_end(guest->oracle, slot->number, req->offset, req->len, ok);
    if (req->kind == REQ_FLUSH && ok)
        oracle_flush_end(guest->oracle, slot->since);
    if (req->kind == REQ_READ && ok) {
        uint64_t bad =
            oracle_check_read(guest->oracle, slot->since, req->offset, slot->buf, req->len);

        if (bad != UINT64_MAX && !guest->failure[0])
            describe_wrong_read(guest, slot, bad);
    }
    guest->errors += !ok;
    slot->busy = false;
    guest->busy--;
    note_oldest_read(guest);
    guest_start(guest);
}

static bool overlaps_running_write(const struct guest *guest, uint64_t offset, uint64_t len)
{
    for (unsigned i = 0; i < GUEST_SLOTS; i++) {
        const struct guest_slot *slot = &guest->slots[i];

        if (slot->busy && is_write(slot->req.kind) && offset < slot->req.offset + slot->req.len &&
            slot->req.offset < offset + len)
            return true;
    }
    return false;
}

/* Mostly a few sectors, sometimes many; half of the requests go to a sixteenth of the disk. */
static void choose_range(struct guest *guest, uint64_t *offset, uint64_t *len)
{
    uint64_t sectors = guest->oracle->size / ORACLE_SECTOR;
    uint64_t range = rng_chance(&guest->rng, 1, 2) ? MAX(sectors / 16, (uint64_t)1) : sectors;
    uint64_t first = rng_below(&guest->rng, range);
    uint64_t most = rng_chance(&guest->rng, 1, 8) ? GUEST_REQUEST_MAX / ORACLE_SECTOR : 16;
    uint64_t count = 1 + rng_below(&guest->rng, MIN(most, sectors - first));

    *offset = first * ORACLE_SECTOR;
    *len = count * ORACLE_SECTOR;
}

static enum req_kind choose_kind(struct guest *guest)
{
    uint64_t dice = rng_below(&guest->rng, 100);

    if (dice < 35)
        return REQ_READ;
    if (dice < 80)
        return REQ_WRITE;
    if (dice < 92)
        return dice < 85 && guest->may_discard ? REQ_DISCARD : REQ_ZERO;
    return REQ_FLUSH;
}

static void start_one(struct guest *guest, struct guest_slot *slot)
{
    struct req *req = &slot->req;

    memset(req, 0, sizeof(*req));
    req->kind = choose_kind(guest);
    choose_range(guest, &req->offset, &req->len);
    if (is_write(req->kind) && overlaps_running_write(guest, req->offset, req->len))
        req->kind = REQ_READ;
    slot->guest = guest;
    slot->busy = true;
    slot->since = oracle_now(guest->oracle);
    slot->number = 0;
    guest->busy++;
    guest->left--;
    if (req->kind == REQ_WRITE) {
        slot->number = guest->oracle->next_number++;
        oracle_fill(slot->number, req->offset, slot->buf, req->len);
        req->flags = rng_chance(&guest->rng, 1, 10) ? REQ_FUA : 0;
    } else if (req->kind == REQ_ZERO) {
        req->flags = rng_chance(&guest->rng, 1, 2) ? REQ_MAY_UNMAP : 0;
    } else if (req->kind == REQ_FLUSH) {
        req->offset = req->len = 0;
        slot->since = oracle_flush_begin(guest->oracle);
    }
    note_oldest_read(guest);
    if (req->kind == REQ_DISCARD)
        oracle_discard(guest->oracle, req->offset, req->len);
    else if (is_write(req->kind))
        oracle_write_begin(guest->oracle, slot->number, req->offset, req->len);
    slot->iov = (struct iovec){ slot->buf, req->len };
    req->data = (struct iov_view){ &slot->iov, 1, 0 };
    req->done = slot_done;
    edge_submit(guest->edge, req);
}

void guest_init(struct guest *guest, uint64_t seed, struct edge *edge, struct oracle *oracle,
                uint64_t requests)
{
    memset(guest, 0, sizeof(*guest));
    rng_init(&guest->rng, seed);
    guest->edge = edge;
    guest->oracle = oracle;
    guest->left = requests;
    guest->limit = 1 + (unsigned)rng_below(&guest->rng, GUEST_SLOTS);
    for (unsigned i = 0; i < GUEST_SLOTS; i++)
        guest->slots[i].buf = xmalloc(GUEST_REQUEST_MAX);
}

void guest_start(struct guest *guest)
{
    for (unsigned i = 0;
         i < GUEST_SLOTS && guest->busy < guest->limit && guest->left && !guest->stopped; i++) {
        if (!guest->slots[i].busy)
            start_one(guest, &guest->slots[i]);
    }
}

void guest_stop(struct guest *guest) { guest->stopped = true; }

void guest_fini(struct guest *guest)
{
    for (unsigned i = 0; i < GUEST_SLOTS; i++)
        xfree(guest->slots[i].buf);
}
