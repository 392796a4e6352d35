#include "emu/storage/drivers/luks/slots.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/nstime.h"
#include "emu/crypto/random.h"

enum {
    /* Enough for a stable measurement (some 30 ms) without a worker being busy for long. */
    MEASURE_ROUNDS = 1 << 17,
    /*
     * Rounds a second beyond which a clock is not believed: no processor derives that fast, so time must have been
     * lost to the measurement (a virtual clock), and the iterations it gives would take for ever.
     */
    RATE_MAX = 50000000,
    DIGEST_TIME_PART = 8, /* The digest of the master key gets an eighth of the time of a slot. */
};

static void free_material(uint8_t **material)
{
    xfree(*material);
    *material = NULL;
}

/* ---- Searching ---- */

static void search_next(struct luks_search *search);

static void search_end(struct luks_search *search, int result)
{
    free_material(&search->material);
    search->done(search, result);
}

static int64_t search_work(void *arg)
{
    struct luks_search *search = arg;

    return luks_slot_open(&search->volume->header, search->slot, search->password,
                          strlen(search->password), search->material, search->key);
}

static void search_worked(struct op *op)
{
    struct luks_search *search = container_of(op, struct luks_search, op);

    if (op->result < 0) {
        search_end(search, (int)op->result);
        return;
    }
    if (op->result)
        search->found |= 1U << search->slot;
    if (search->found && !search->find_all) {
        search_end(search, 0);
        return;
    }
    search->slot++;
    search_next(search);
}

static void search_read(struct req *req)
{
    struct luks_search *search = container_of(req, struct luks_search, req);

    if (req->result) {
        search_end(search, req->result);
        return;
    }
    search->op.done = search_worked;
    reactor_work(search->volume->reactor, &search->op, search_work, search);
}

static void search_next(struct luks_search *search)
{
    const struct luks_header *h = &search->volume->header;
    unsigned *slot = &search->slot;

    while (*slot < LUKS_SLOTS && (!h->slots[*slot].active || !(search->only & 1U << *slot)))
        ++*slot;
    if (*slot == LUKS_SLOTS) {
        search_end(search, 0);
        return;
    }
    search->iov = (struct iovec){ search->material, luks_material_len(h) };
    req_submit_part(&search->req, search->volume->edge, REQ_READ, 0,
                    search->volume->base + luks_slot_offset(h, *slot), search->iov.iov_len,
                    iov_view(&search->iov, 1), search_read);
}

void luks_search_start(struct luks_search *search)
{
    search->found = 0;
    search->slot = 0;
    search->material = xmalloc(LUKS_MATERIAL_MAX);
    search_next(search);
}

void luks_search_fini(struct luks_search *search)
{
    free_material(&search->material);
    secret_wipe(search->key, sizeof(search->key));
}

/* ---- Filling ---- */

static void fill_end(struct luks_fill *fill, struct err *err)
{
    if (!err)
        fill->volume->header = fill->header;
    free_material(&fill->material);
    fill->done(fill, err);
}

static void fill_written(struct req *req)
{
    struct luks_fill *fill = container_of(req, struct luks_fill, req);

    if (!req->result)
        fill->header.slots[fill->slot].active = true;
    fill_end(fill, req->result
                       ? err_new_errno(req->result, "Unable to write keyslot %u", fill->slot)
                       : NULL);
}

static void fill_sealed(struct op *op)
{
    struct luks_fill *fill = container_of(op, struct luks_fill, op);

    fill->iov = (struct iovec){ fill->material, luks_material_len(&fill->header) };
    req_submit_part(&fill->req, fill->volume->edge, REQ_WRITE, 0,
                    fill->volume->base + luks_slot_offset(&fill->header, fill->slot),
                    fill->iov.iov_len, iov_view(&fill->iov, 1), fill_written);
}

static int64_t seal_work(void *arg)
{
    struct luks_fill *fill = arg;

    if (fill->seal_digest)
        luks_seal_digest(&fill->header, fill->key);
    luks_slot_seal(&fill->header, fill->slot, fill->password, strlen(fill->password), fill->key,
                   fill->material);
    return 0;
}

static int64_t measure_work(void *arg)
{
    struct luks_fill *fill = arg;

    luks_measure(&fill->header, fill->rounds, digest_len(fill->header.hash));
    return 0;
}

/* How many iterations of a derivation of len bytes take time_ms. */
static struct err *iterations_for(const struct luks_fill *fill, uint64_t rate, uint64_t len,
                                  uint64_t time_ms, uint32_t *out)
{
    uint64_t blocks = div_round_up(len, digest_len(fill->header.hash));
    uint64_t count = mul_saturate_u64(rate / blocks, time_ms) / 1000;

    if (count > UINT32_MAX)
        return err_new("PBKDF iterations %" PRIu64 " larger than %" PRIu32, count, UINT32_MAX);
    *out = MAX((uint32_t)count, (uint32_t)LUKS_ITERATIONS_MIN);
    return NULL;
}

static void fill_measured(struct op *op)
{
    struct luks_fill *fill = container_of(op, struct luks_fill, op);
    struct luks_header *h = &fill->header;
    struct luks_slot *slot = &h->slots[fill->slot];
    int64_t took = MAX(reactor_now(fill->volume->reactor) - fill->started, INT64_C(1));
    uint64_t rate =
        MIN((uint64_t)fill->rounds * (uint64_t)NS_PER_SEC / (uint64_t)took, (uint64_t)RATE_MAX);
    struct err *err = iterations_for(fill, rate, h->key_len, fill->iter_time_ms, &slot->iterations);

    if (!err && fill->seal_digest)
        err = iterations_for(fill, rate / DIGEST_TIME_PART, LUKS_DIGEST_LEN, fill->iter_time_ms,
                             &h->mk_iterations);
    if (err) {
        fill_end(fill, err);
        return;
    }
    random_bytes(slot->salt, LUKS_SALT_LEN);
    op->done = fill_sealed;
    reactor_work(fill->volume->reactor, op, seal_work, fill);
}

void luks_fill_start(struct luks_fill *fill)
{
    fill->header = fill->volume->header;
    fill->material = xcalloc(1, LUKS_MATERIAL_MAX);
    fill->rounds = MEASURE_ROUNDS;
    fill->started = reactor_now(fill->volume->reactor);
    fill->op.done = fill_measured;
    reactor_work(fill->volume->reactor, &fill->op, measure_work, fill);
}

void luks_fill_fini(struct luks_fill *fill) { free_material(&fill->material); }
