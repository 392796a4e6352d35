/* Permissions of the jobs' filters. */

#include "emu/jobs/block/filter_perm.h"

void filter_child_perm(struct node *node, const struct edge *child, uint32_t perm, uint32_t shared,
                       uint32_t *child_perm, uint32_t *child_shared)
{
    struct filter_perm *state = node->state;

    (void)child;
    state->taken |= perm;
    *child_perm = state->taken;
    *child_shared = state->share_all ? PERM_ALL : shared;
    if (state->unshare_writes && !list_empty(&node->parents)) {
        if (*child_perm & PERM_WRITE)
            *child_perm |= PERM_CONSISTENT_READ;
        *child_shared &= ~(uint32_t)(PERM_WRITE | PERM_RESIZE);
    }
}
