#ifndef EMU_JOBS_BLOCK_BLOCK_JOB_H
#define EMU_JOBS_BLOCK_BLOCK_JOB_H

/*
 * What jobs on block nodes have in common: their edges to nodes, and the wait for the locks below them.
 *
 * A block job embeds struct block_job first. Its source edge lies below the job's filter node, so that the
 * job reads the node itself; its target edge is the only way it writes. All on the graph's reactor.
 */

#include "emu/base/vec.h"
#include "emu/jobs/job.h"
#include "emu/jobs/job_error.h"
#include "emu/storage/node.h"

struct settle_wait;

struct block_job {
    struct job job;
    struct graph *graph;          /* Borrowed. */
    struct node *filter;          /* Reference; NULL when there is none (any more). */
    struct edge *source, *target; /* Owned; NULL when detached. */
    VEC(struct edge *) held;      /* Owned; other nodes that others may not change meanwhile. */
    VEC(struct edge *) frozen;    /* Borrowed; links of the chain that have to stay. */
    enum job_on_error on_source_error, on_target_error;
    struct settle_wait *settle; /* Somebody waits in block_job_settle(). */
};

/* A job was made (CREATED), or not. */
typedef void block_job_made_fn(void *arg, struct block_job *bj, struct err *err /* takes */);

static inline struct block_job *block_job_of(struct job *job)
{
    return container_of(job, struct block_job, job);
}

/* What sets parents apart in the texts about nodes in use. */
enum block_job_claim {
    BLOCK_JOB_CLAIM_NAMED, /* "Node 'x' is busy: block device is in use by block job: TYPE". */
    BLOCK_JOB_CLAIM_PLAIN, /* "Node x is in use". */
    BLOCK_JOB_CLAIM_HIDDEN, /* None: the filter above stands for the use. */
};

/* Attaches an edge of the job; the reference's text when permissions conflict. */
struct err *block_job_claim(struct block_job *bj, struct node *node, const char *name,
                            enum block_job_claim claim, uint32_t perm, uint32_t shared,
                            struct edge **out) MUST_USE;

/* The same for a node that the job only relies on; kept in bj->held. plain: CLAIM_PLAIN, and all is shared. */
struct err *block_job_hold_plain(struct block_job *bj, struct node *node,
                                 const char *name) MUST_USE;
struct err *block_job_hold(struct block_job *bj, struct node *node, const char *name, uint32_t perm,
                           uint32_t shared) MUST_USE;
/* Freezes the backing links from `from` down to `to` (NULL: to the end), filters included. */
struct err *block_job_freeze(struct block_job *bj, struct node *from, struct node *to) MUST_USE;
void block_job_thaw(struct block_job *bj);
/* The link to the node below in the chain: filtered or backing; NULL at the end. */
struct edge *block_job_below(struct node *node);

/* NULL unless another block job uses node as its source or target in a way that excludes a new one. */
struct err *block_job_check_unused(const struct node *node) MUST_USE;

bool block_job_owns(const struct edge *edge); /* Whether the parent is a block job. */

/* Detaches the source, target and held edges. */
void block_job_detach(struct block_job *bj);

/* Detaches what is attached and takes the filter out. Nothing in flight belongs to the job any more. */
void block_job_release(struct block_job *bj);

/*
 * Calls done, from the loop, when the locks that the job's edges need are held, or with the error. When the job
 * goes away meanwhile, done gets an error, too.
 */
void block_job_settle(struct block_job *bj, void (*done)(void *arg, struct err *err), void *arg);
/* The job goes away; part of block_job_release(). */
void block_job_settle_end(struct block_job *bj);

/* A copy failed: applies the job's policies. True: fail the job; done so already. */
bool block_job_copy_failed(struct block_job *bj, bool is_read, int result);

#endif
