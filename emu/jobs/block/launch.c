/* Checks that the launchers of block jobs share. */

#include "emu/jobs/block/launch.h"

#include "emu/base/check.h"
#include "emu/storage/driver.h"

const char *sync_mode_name(enum sync_mode mode)
{
    switch (mode) {
    case SYNC_TOP: return "top";
    case SYNC_FULL: return "full";
    case SYNC_NONE: return "none";
    case SYNC_INCREMENTAL: return "incremental";
    case SYNC_BITMAP: return "bitmap";
    }
    unreachable();
}

const char *launch_job_id(const char *given) { return given ? given : ""; }

struct err *launch_check_root(const struct node *node)
{
    list_for_each(edge, &node->parents, struct edge, parent_link) {
        /* A filter that is closing was taken out already. */
        if ((edge->parent && edge->parent->refs > 0) || block_job_owns(edge))
            return err_new("Need a root block node");
    }
    return NULL;
}

void launch_start_held(struct block_job *bj)
{
    job_start(&bj->job);
    job_hold(&bj->job);
}

void launch_let_go(struct block_job *bj) { job_release(&bj->job); }
