/* Edges of block jobs and the texts that name them. */

#include "emu/jobs/block/block_job.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"

struct settle_wait {
    struct block_job *bj; /* NULL: the job went away, and done was called. */
    void (*done)(void *arg, struct err *err);
    void *arg;
};

static char *claim_describe(struct edge *edge)
{
    const struct block_job *bj = edge->owner;

    return xasprintf("block device is in use by block job: %s",
                     job_type_name(bj->job.driver->type));
}

static char *claim_identify(struct edge *edge)
{
    const struct block_job *bj = edge->owner;

    return xasprintf("block job '%s'", bj->job.id ? bj->job.id : "");
}

static const struct edge_parent_ops claim_named_ops = { .what = "block job",
                                                        .describe = claim_describe,
                                                        .identify = claim_identify };
static const struct edge_parent_ops claim_plain_ops = { .what = "block job",
                                                        .identify = claim_identify };

struct err *block_job_claim(struct block_job *bj, struct node *node, const char *name,
                            enum block_job_claim claim, uint32_t perm, uint32_t shared,
                            struct edge **out)
{
    const struct edge_parent_ops *ops =
        claim == BLOCK_JOB_CLAIM_NAMED ? &claim_named_ops : &claim_plain_ops;

    return edge_attach(node, name, ops, bj, perm, shared, out);
}

struct err *block_job_check_unused(const struct node *node)
{
    list_for_each(edge, &node->parents, struct edge, parent_link) {
        const struct block_job *bj = edge->owner;

        if (edge->ops != &claim_named_ops && edge->ops != &claim_plain_ops)
            continue;
        /* A node being backed up may be backed up again, or mirrored. */
        if (bj->source == edge && bj->job.driver->type == JOB_TYPE_BACKUP)
            continue;
        return err_new("Node '%s' is busy: block device is in use by block job: %s", node->name,
                       job_type_name(bj->job.driver->type));
    }
    return NULL;
}

void block_job_release(struct block_job *bj)
{
    block_job_settle_end(bj);
    if (bj->source)
        edge_detach(bj->source);
    if (bj->target)
        edge_detach(bj->target);
    bj->source = bj->target = NULL;
    if (bj->filter) {
        if (!list_empty(&bj->filter->parents))
            err_ignore(graph_remove_filter(bj->filter));
        node_unref(bj->filter);
        bj->filter = NULL;
    }
}

static void target_settled(void *arg, struct err *err)
{
    struct settle_wait *wait = arg;

    if (wait->bj) {
        wait->bj->settle = NULL;
        wait->done(wait->arg, err);
    } else {
        err_free(err);
    }
    xfree(wait);
}

void block_job_settle(struct block_job *bj, void (*done)(void *arg, struct err *err), void *arg)
{
    struct settle_wait *wait = NEW(struct settle_wait);

    check(!bj->settle && bj->target);
    *wait = (struct settle_wait){ .bj = bj, .done = done, .arg = arg };
    bj->settle = wait;
    edge_settle(bj->target, target_settled, wait);
}

void block_job_settle_end(struct block_job *bj)
{
    struct settle_wait *wait = bj->settle;

    if (!wait)
        return;
    bj->settle = NULL;
    wait->bj = NULL;
    wait->done(wait->arg, err_new("Operation canceled"));
}

bool block_job_copy_failed(struct block_job *bj, bool is_read, int result)
{
    enum job_on_error policy = is_read ? bj->on_source_error : bj->on_target_error;

    /* What a cancel or an earlier failure cut short is no news. */
    if (!job_is_going(&bj->job))
        return true;
    if (job_io_error(&bj->job, policy, is_read, result) != JOB_ERROR_REPORT)
        return false;
    job_fail_errno(&bj->job, result);
    return true;
}
