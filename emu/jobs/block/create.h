#ifndef EMU_JOBS_BLOCK_CREATE_H
#define EMU_JOBS_BLOCK_CREATE_H

/* The create job: makes an image. It stays CONCLUDED until it is dismissed, so that the result can be read. */

#include "emu/base/json.h"
#include "emu/jobs/job.h"
#include "emu/storage/node.h"

/*
 * options are canonical BlockdevCreateOptions; they are copied. Refuses a driver that cannot create. The job is
 * CREATED; the caller starts it.
 */
struct err *create_job_new(struct jobs *jobs, struct graph *graph, const char *id,
                           const struct json *options, struct job **out) MUST_USE;

#endif
