#ifndef EMU_JOBS_BLOCK_AMEND_H
#define EMU_JOBS_BLOCK_AMEND_H

/* The amend job: changes options of the image behind a node. It stays CONCLUDED until it is dismissed. */

#include "emu/base/json.h"
#include "emu/jobs/job.h"
#include "emu/storage/node.h"

/*
 * options are canonical BlockdevAmendOptions; they are copied. Refuses a driver other than the node's, and one that
 * cannot amend. flags: enum amend_flags. The job is CREATED; the caller starts it.
 */
struct err *amend_job_new(struct jobs *jobs, struct node *node, const char *id,
                          const struct json *options, unsigned flags, struct job **out) MUST_USE;

#endif
