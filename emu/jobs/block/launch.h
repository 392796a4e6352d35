#ifndef EMU_JOBS_BLOCK_LAUNCH_H
#define EMU_JOBS_BLOCK_LAUNCH_H

/* Checks that the launchers of block jobs share, and how a job that was made gets going. */

#include "emu/jobs/block/block_job.h"

/* The order is that of the MirrorSyncMode of QMP. */
enum sync_mode { SYNC_TOP, SYNC_FULL, SYNC_NONE, SYNC_INCREMENTAL, SYNC_BITMAP };

const char *sync_mode_name(enum sync_mode mode);

/* The id of a block job: on a bare node the default is "", which is then refused as such. */
const char *launch_job_id(const char *given);

/* "Need a root block node" when node is a child of another one or used by a block job. */
struct err *launch_check_root(const struct node *node) MUST_USE;

/*
 * Starts a job with the status changes of the reference: a backup is seen to pause while its nodes are drained. The
 * first half starts, the second lets go; between them others of a transaction may start.
 */
void launch_start_held(struct block_job *bj);
void launch_let_go(struct block_job *bj);

#endif
