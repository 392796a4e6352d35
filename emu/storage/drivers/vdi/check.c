/* Checking a VDI image: every block is used once, and as many as the header says. */

#include <errno.h>
#include <inttypes.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bitset.h"
#include "emu/base/bytes.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/vdi/vdi.h"

struct checking {
    struct vdi *v;
    struct check_result *result;
    driver_done_fn *done;
    void *arg;
    uint32_t block, found;
    struct bitset used;
    struct str report;
    struct meta_wait wait;
};

static void check_end(struct checking *c, struct err *err)
{
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    c->result->report = c->report.len ? xstrdup(str_cstr(&c->report)) : NULL;
    str_fini(&c->report);
    bitset_fini(&c->used);
    xfree(c);
    done(arg, err);
}

static void check_entry(struct checking *c, uint32_t entry)
{
    if (entry == VDI_UNALLOCATED || entry == VDI_DISCARDED)
        return;
    if (entry >= c->v->blocks) {
        str_addf(&c->report, "ERROR: block index %" PRIu32 " too large, is %" PRIu32 "\n", c->block,
                 entry);
        c->result->corruptions++;
        return;
    }
    c->found++;
    if (bitset_test(&c->used, entry)) {
        str_addf(&c->report, "ERROR: block index %" PRIu32 " also used by %" PRIu32 "\n", entry,
                 entry);
        c->result->corruptions++;
    }
    bitset_set(&c->used, entry);
}

static void check_run(struct checking *c)
{
    struct vdi *v = c->v;

    for (; c->block < v->blocks; c->block++) {
        uint8_t *bytes;
        int ret =
            meta_get(&v->sparse.meta, v->map_offset + (uint64_t)c->block * 4, 4, &c->wait, &bytes);

        if (ret == META_WAIT)
            return;
        if (ret) {
            check_end(c, err_new_errno(ret, "Could not read the block map"));
            return;
        }
        check_entry(c, load_le32(bytes));
    }
    if (c->found != v->allocated) {
        str_addf(&c->report,
                 "ERROR: allocated blocks mismatch, is %" PRIu32 ", should be %" PRIu32 "\n",
                 c->found, v->allocated);
        c->result->corruptions++;
    }
    check_end(c, NULL);
}

static void check_wake(struct meta_wait *wait, int result)
{
    struct checking *c = container_of(wait, struct checking, wait);

    if (result)
        check_end(c, err_new_errno(result, "Could not read the block map"));
    else
        check_run(c);
}

void vdi_check(struct node *node, unsigned fix, struct check_result *result, driver_done_fn *done,
               void *arg)
{
    struct checking *c;

    if (fix) {
        done(arg, err_new_errno(ENOTSUP, "Repair is not supported for vdi images"));
        return;
    }
    c = NEW(struct checking);
    *c = (struct checking){ .v = node->state, .result = result, .done = done, .arg = arg };
    meta_wait_init(&c->wait, check_wake);
    if (c->v->map_offset + (uint64_t)c->v->blocks * 4 >
        align_up_u64(node->file->node->size, VDI_SECTOR))
        check_end(c, err_new("The block map reaches behind the end of the file"));
    else if (bitset_try_init(&c->used, c->v->blocks))
        check_run(c);
    else
        check_end(c, err_new_errno(ENOMEM, "Could not check the block map"));
}
