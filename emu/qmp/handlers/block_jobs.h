#ifndef EMU_QMP_HANDLERS_BLOCK_JOBS_H
#define EMU_QMP_HANDLERS_BLOCK_JOBS_H

/* The commands for block jobs: launching them, and the block-job- verbs. */

#include "emu/jobs/block/block_job.h"
#include "emu/qmp/schema/qapi_block_core.h" // Generated.
#include "emu/qmp/spec.h"

struct world;

extern const struct qmp_command_set block_job_commands;

/*
 * Makes the job of a blockdev-backup, CREATED; target NULL: the node that args names; txn may be NULL. For
 * transactions,
 * too.
 */
struct err *backup_from_args(struct world *world, const struct qapi_blockdev_backup *args,
                             struct node *target, struct job_txn *txn,
                             struct block_job **out) MUST_USE;

/*
 * Waits for the locks of a job just made, starts it and answers the call. held: it is seen to pause first, as when the
 * reference drains its nodes.
 */
void launch_job(struct qmp_call *call, struct block_job *bj, bool held);

/* The id of a job on node: as given, else the name of the device that uses the node, else "". */
const char *job_id_or_device(const struct node *node, const char *given);

#endif
