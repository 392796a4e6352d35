/* Edges of block jobs and the texts that name them. */

#include "emu/jobs/block/block_job.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/storage/backend.h"
#include "emu/storage/driver.h"

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

    return xasprintf("%s job '%s'", job_type_name(bj->job.driver->type),
                     bj->job.id ? bj->job.id : "");
}

static const struct edge_parent_ops claim_named_ops = {
    .what = "block job", .stays = true, .describe = claim_describe, .identify = claim_identify
};
static const struct edge_parent_ops claim_plain_ops = { .what = "block job",
                                                        .stays = true,
                                                        .identify = claim_identify };
static const struct edge_parent_ops claim_hidden_ops = {
    .what = "block job", .stays = true, .hidden = true, .identify = claim_identify
};

struct err *block_job_claim(struct block_job *bj, struct node *node, const char *name,
                            enum block_job_claim claim, uint32_t perm, uint32_t shared,
                            struct edge **out)
{
    static const struct edge_parent_ops *const claims[] = {
        [BLOCK_JOB_CLAIM_NAMED] = &claim_named_ops,
        [BLOCK_JOB_CLAIM_PLAIN] = &claim_plain_ops,
        [BLOCK_JOB_CLAIM_HIDDEN] = &claim_hidden_ops,
    };
    const struct edge_parent_ops *ops = claims[claim];

    return edge_attach(node, name, ops, bj, perm, shared, out);
}

struct err *block_job_hold(struct block_job *bj, struct node *node, const char *name, uint32_t perm,
                           uint32_t shared)
{
    struct edge *edge;

    TRY(block_job_claim(bj, node, name, BLOCK_JOB_CLAIM_NAMED, perm, shared, &edge));
    vec_push(&bj->held, edge);
    return NULL;
}

struct err *block_job_hold_plain(struct block_job *bj, struct node *node, const char *name)
{
    struct edge *edge;

    TRY(block_job_claim(bj, node, name, BLOCK_JOB_CLAIM_PLAIN, 0, PERM_ALL, &edge));
    vec_push(&bj->held, edge);
    return NULL;
}

struct edge *block_job_below(struct node *node)
{
    list_for_each(edge, &node->children, struct edge, child_link) {
        if (edge->role & (ROLE_FILTERED | ROLE_COW))
            return edge;
    }
    return NULL;
}

struct err *block_job_freeze(struct block_job *bj, struct node *from, struct node *to)
{
    struct edge *edge;

    for (struct node *at = from; at != to && (edge = block_job_below(at)); at = edge->node) {
        if (edge->frozen)
            return err_new("Cannot freeze '%s' link to '%s'", edge->name, edge->node->name);
        /* Under a format that passes through (raw) begins the file, which is no part of the chain. */
        if (!at->driver->is_filter && !(edge->role & ROLE_COW))
            break;
    }
    for (struct node *at = from; at != to && (edge = block_job_below(at)); at = edge->node) {
        if (!at->driver->is_filter && !(edge->role & ROLE_COW))
            break;
        edge->frozen = true;
        vec_push(&bj->frozen, edge);
    }
    return NULL;
}

void block_job_thaw(struct block_job *bj)
{
    vec_for_each(edge, &bj->frozen)
        (*edge)->frozen = false;
    vec_fini(&bj->frozen);
}

bool block_job_owns(const struct edge *edge)
{
    return edge->ops == &claim_named_ops || edge->ops == &claim_plain_ops ||
           edge->ops == &claim_hidden_ops;
}

/* Texts name a node by the device that shows it, where there is one. */
static const char *device_or_node(const struct node *node)
{
    list_for_each(backend, graph_backends(node->graph), struct backend, link) {
        if (backend->root && backend->root->node == node && *backend->name)
            return backend->name;
    }
    return node->name;
}

struct err *block_job_check_unused(const struct node *node)
{
    list_for_each(edge, &node->parents, struct edge, parent_link) {
        const struct block_job *bj = edge->owner;

        if (edge->ops != &claim_named_ops && edge->ops != &claim_plain_ops)
            continue;
        return err_new("Node '%s' is busy: block device is in use by block job: %s",
                       device_or_node(node), job_type_name(bj->job.driver->type));
    }
    return NULL;
}

void block_job_detach(struct block_job *bj)
{
    if (bj->source)
        edge_detach(bj->source);
    if (bj->target)
        edge_detach(bj->target);
    bj->source = bj->target = NULL;
    vec_for_each(edge, &bj->held)
        edge_detach(*edge);
    vec_fini(&bj->held);
}

void block_job_release(struct block_job *bj)
{
    block_job_settle_end(bj);
    block_job_thaw(bj);
    block_job_detach(bj);
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

    check(!bj->settle && (bj->target || bj->source));
    *wait = (struct settle_wait){ .bj = bj, .done = done, .arg = arg };
    bj->settle = wait;
    edge_settle(bj->target ? bj->target : bj->source, target_settled, wait);
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
