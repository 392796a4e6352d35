/*
 * Changing key slots. A slot is taken into use by writing its material and then the header; it is erased by the
 * header first and its material afterwards, overwritten so that the password can never open it again.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/crypto/random.h"
#include "emu/crypto/secret.h"
#include "emu/storage/drivers/luks/slots.h"
#include "emu/storage/drivers/luks/volume.h"

enum { WIPE_PASSES = 40 }; /* Anti-forensic, as many as the reference takes. */

enum amend_phase {
    AMEND_SEARCH,   /* The master key, or the slots to erase, are being looked for. */
    AMEND_FILL,     /* The new slot is being derived and written. */
    AMEND_HEADER,   /* The header is being written. */
    AMEND_WIPE,     /* The material of an erased slot is being overwritten. */
    AMEND_FLUSH,
    AMEND_END,
};

struct amending {
    struct luks_volume *volume;
    struct luks_amend options;
    char *password, *new_password, *old_password; /* owned */
    driver_done_fn *done;
    void *arg;
    enum amend_phase phase;
    unsigned erase; /* Bit set of the slots to erase. */
    unsigned passes;
    uint8_t *random; /* owned; what wipes a slot. */
    uint8_t buf[LUKS_HEADER_LEN];
    struct iovec iov;
    struct req req;
    struct luks_search search;
    struct luks_fill fill;
};

static void amend_enter(struct amending *a, enum amend_phase phase);

static void free_text(char *text) { secret_free(text, text ? strlen(text) : 0); }

static void amend_end(struct amending *a, struct err *err)
{
    driver_done_fn *done = a->done;
    void *arg = a->arg;

    luks_search_fini(&a->search);
    luks_fill_fini(&a->fill);
    free_text(a->password);
    free_text(a->new_password);
    free_text(a->old_password);
    xfree(a->random);
    xfree(a);
    done(arg, err);
}

static unsigned active_slots(const struct luks_volume *volume)
{
    unsigned set = 0;

    for (unsigned i = 0; i < LUKS_SLOTS; i++)
        set |= volume->header.slots[i].active ? 1U << i : 0;
    return set;
}

/* ---- Checks ---- */

static struct err *choose_slot(struct amending *a)
{
    unsigned active = active_slots(a->volume);

    if (a->options.has_slot) {
        a->fill.slot = (unsigned)a->options.slot;
        if (active & 1U << a->fill.slot && !a->options.force)
            return err_new("Refusing to overwrite active keyslot %u - please erase it first",
                           a->fill.slot);
        return NULL;
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (!(active & 1U << i)) {
            a->fill.slot = i;
            return NULL;
        }
    }
    return err_new("Can't add a keyslot - all keyslots are in use");
}

/* Erasing the slot that was named. */
static struct err *check_erase_slot(struct amending *a)
{
    unsigned slot = (unsigned)a->options.slot, active = active_slots(a->volume);

    if (!(active & 1U << slot) && !a->options.force)
        return err_new("Given keyslot %u is already erased (inactive) ", slot);
    if (active == 1U << slot && !a->options.force)
        return err_new("Attempt to erase the only active keyslot %u which will erase all the data "
                       "in the image irreversibly - refusing operation",
                       slot);
    a->erase = 1U << slot;
    return NULL;
}

static struct err *take_found(struct amending *a)
{
    unsigned found = a->search.found;

    if (a->options.activate)
        return found ? NULL : err_new("Invalid password, cannot unlock any keyslot");
    if (a->options.has_slot) {
        if (!found)
            return err_new("Given keyslot %" PRIu64
                           " doesn't contain the given old password for erase operation",
                           a->options.slot);
        return check_erase_slot(a);
    }
    if (!found)
        return err_new("No keyslots match given (old) password for erase operation");
    if (found == active_slots(a->volume) && !a->options.force)
        return err_new(
            "All the active keyslots match the (old) password that was given and erasing them will "
            "erase all the data in the image irreversibly - refusing operation");
    a->erase = found;
    return NULL;
}

static struct err *check_options(struct amending *a)
{
    const struct luks_amend *options = &a->options;

    if (options->has_slot && options->slot >= LUKS_SLOTS)
        return err_new("Invalid keyslot %" PRIu64 " specified, must be between 0 and %d",
                       options->slot, LUKS_SLOTS - 1);
    if (options->activate)
        return choose_slot(a);
    if (!options->old_password && !options->has_slot)
        return err_new("To erase keyslot(s), either explicit keyslot index or the password "
                       "currently contained in them must be given");
    return NULL;
}

/* ---- The machine ---- */

static void searched(struct luks_search *search, int result)
{
    struct amending *a = container_of(search, struct amending, search);
    struct err *err = result ? err_new_errno(result, "Failed to read key material") : take_found(a);

    if (err)
        amend_end(a, err);
    else
        amend_enter(a, a->options.activate ? AMEND_FILL : AMEND_HEADER);
}

static void start_search(struct amending *a)
{
    const struct luks_amend *options = &a->options;
    struct err *err;

    if (!options->activate && !options->old_password) {
        err = check_erase_slot(a);
        if (err)
            amend_end(a, err);
        else
            amend_enter(a, AMEND_HEADER);
        return;
    }
    a->search.volume = a->volume;
    a->search.password = options->activate ? a->password : a->old_password;
    a->search.find_all = !options->activate;
    a->search.only = !options->activate && options->has_slot ? 1U << options->slot : ~0U;
    a->search.done = searched;
    luks_search_start(&a->search);
}

static void filled(struct luks_fill *fill, struct err *err)
{
    struct amending *a = container_of(fill, struct amending, fill);

    if (err)
        amend_end(a, err);
    else
        amend_enter(a, AMEND_HEADER);
}

static void start_fill(struct amending *a)
{
    a->fill.volume = a->volume;
    a->fill.password = a->new_password;
    a->fill.key = a->search.key;
    a->fill.iter_time_ms = a->options.iter_time_ms;
    a->fill.done = filled;
    luks_fill_start(&a->fill);
}

static void written(struct req *req)
{
    struct amending *a = container_of(req, struct amending, req);

    if (req->result) {
        amend_end(a,
                  err_new_errno(req->result, a->phase == AMEND_HEADER ? "Unable to write header"
                                                                      : "Unable to erase keyslot"));
        return;
    }
    amend_enter(a, a->phase == AMEND_FLUSH ? AMEND_END : AMEND_WIPE);
}

static void submit(struct amending *a, enum req_kind kind, uint64_t offset, void *buf, size_t len)
{
    a->iov = (struct iovec){ buf, len };
    req_submit_part(&a->req, a->volume->edge, kind, 0, a->volume->base + offset, len,
                    iov_view(&a->iov, kind == REQ_WRITE), written);
}

static void write_header(struct amending *a)
{
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        struct luks_slot *slot = &a->volume->header.slots[i];

        if (a->erase & 1U << i) {
            slot->active = false;
            slot->iterations = 0;
            memset(slot->salt, 0, sizeof(slot->salt));
        }
    }
    luks_header_encode(&a->volume->header, a->buf);
    submit(a, REQ_WRITE, 0, a->buf, sizeof(a->buf));
}

static void wipe(struct amending *a)
{
    size_t len = luks_material_len(&a->volume->header);
    unsigned slot = ctz32(a->erase);

    if (!a->erase) {
        amend_enter(a, AMEND_FLUSH);
        return;
    }
    if (!a->random)
        a->random = xmalloc(len);
    random_bytes(a->random, len);
    if (++a->passes == WIPE_PASSES) {
        a->passes = 0;
        a->erase &= a->erase - 1;
    }
    submit(a, REQ_WRITE, luks_slot_offset(&a->volume->header, slot), a->random, len);
}

/* The only writer of a->phase. */
static void amend_enter(struct amending *a, enum amend_phase phase)
{
    a->phase = phase;
    switch (phase) {
    case AMEND_SEARCH: start_search(a); return;
    case AMEND_FILL: start_fill(a); return;
    case AMEND_HEADER: write_header(a); return;
    case AMEND_WIPE: wipe(a); return;
    case AMEND_FLUSH: submit(a, REQ_FLUSH, 0, NULL, 0); return;
    case AMEND_END: amend_end(a, NULL); return;
    }
    unreachable();
}

void luks_volume_amend(struct luks_volume *volume, const struct luks_amend *amend,
                       driver_done_fn *done, void *arg)
{
    struct amending *a = NEW(struct amending);
    struct err *err;

    a->volume = volume;
    a->options = *amend;
    a->password = xstrdup(amend->password);
    a->new_password = xstrdup(amend->new_password);
    a->old_password = xstrdup(amend->old_password);
    a->options.old_password = a->old_password;
    a->done = done;
    a->arg = arg;
    err = check_options(a);
    if (err)
        amend_end(a, err);
    else
        amend_enter(a, AMEND_SEARCH);
}
