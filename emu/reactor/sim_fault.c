/* Armed faults of a simulated world. */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/reactor/sim_priv.h"

void sim_fault_add(struct sim *sim, const struct sim_fault *fault)
{
    struct sim_armed_fault armed = { .fault = *fault, .path = xstrdup(fault->path) };

    vec_push(&sim->faults, armed);
}

void sim_fault_clear(struct sim *sim)
{
    for (size_t i = 0; i < vec_len(&sim->faults); i++)
        xfree(vec_at(&sim->faults, i).path);
    vec_fini(&sim->faults);
}

void sim_fail_nth(struct sim *sim, uint64_t nth, int error)
{
    sim->fail_nth = nth ? sim->file_ops + nth : 0;
    sim->fail_error = error;
}

uint64_t sim_file_ops(const struct sim *sim) { return sim->file_ops; }

static bool kind_matches(enum sim_fault_kind kind, const struct op *op)
{
    switch (kind) {
    case SIM_FAULT_READ: return op->kind == OP_FILE_READV;
    case SIM_FAULT_WRITE: return op->kind == OP_FILE_WRITEV;
    case SIM_FAULT_SYNC: return op->kind == OP_FILE_SYNC;
    case SIM_FAULT_ALLOC: return op->kind == OP_FILE_ALLOCATE;
    case SIM_FAULT_TRUNCATE: return op->kind == OP_FILE_TRUNCATE;
    case SIM_FAULT_OPEN: return op->kind == OP_FILE_OPEN;
    case SIM_FAULT_EXTENT: return op->kind == OP_FILE_EXTENT;
    case SIM_FAULT_ANY: return true;
    }
    return false;
}

static uint64_t op_len(const struct op *op)
{
    if (op->kind == OP_FILE_READV || op->kind == OP_FILE_WRITEV)
        return iov_total(op->iov, op->niov);
    return op->len;
}

static bool range_matches(const struct sim_fault *fault, const struct op *op)
{
    if (fault->min_offset == 0 && fault->max_offset == 0)
        return true;
    return op->offset < fault->max_offset &&
           fault->min_offset < op->offset + MAX(op_len(op), (uint64_t)1);
}

void sim_fault_apply(struct sim *sim, struct sim_slot *slot, const char *path)
{
    sim->file_ops++;
    if (sim->fail_nth && sim->file_ops == sim->fail_nth)
        slot->error = -sim->fail_error;
    for (size_t i = 0; i < vec_len(&sim->faults); i++) {
        struct sim_armed_fault *armed = &vec_at(&sim->faults, i);
        struct sim_fault *fault = &armed->fault;

        if ((armed->path && !str_eq(armed->path, path)) || !kind_matches(fault->kind, slot->op) ||
            !range_matches(fault, slot->op) || fault->count == 0)
            continue;
        if (fault->skip > 0) {
            fault->skip--;
            continue;
        }
        if (fault->count != UINT64_MAX)
            fault->count--;
        slot->error = -fault->error;
        slot->stalled = fault->stall;
        return;
    }
}
