/* Which layers a commit is about, and what kind of job that takes. */

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/jobs/block/chain.h"
#include "emu/jobs/block/commit_priv.h"
#include "emu/jobs/block/mirror.h"
#include "emu/storage/backend.h"
#include "emu/storage/driver.h"
#include "emu/storage/reopen.h"

struct commit_making {
    struct jobs *jobs;
    struct commit_params params; /* Its strings are borrowed. */
    struct commit_range range;
    block_job_made_fn *done;
    void *arg;
};

static struct err *find_top(const struct commit_params *params, struct node **top)
{
    struct node *device = params->device;

    *top = device;
    if (params->top_node) {
        TRY(graph_lookup_either(device->graph, NULL, params->top_node, top));
        if (!chain_contains(device, *top))
            return err_new("'%s' is not in this backing file chain", params->top_node);
    } else if (params->top) {
        if (strcmp(device->filename, params->top) != 0)
            *top = chain_find_file(device, params->top);
        if (!*top)
            return err_new("Top image file %s not found", params->top);
    }
    return NULL;
}

static struct err *find_base(const struct commit_params *params, struct node *top,
                             struct node **base)
{
    if (params->base_node) {
        TRY(graph_lookup_either(top->graph, NULL, params->base_node, base));
        if (!chain_contains(top, *base))
            return err_new("'%s' is not in this backing file chain", params->base_node);
    } else if (params->base) {
        *base = chain_find_file(top, params->base);
        if (!*base)
            return err_new("Can't find '%s' in the backing chain", params->base);
    } else {
        *base = node_skip_filters(top);
        for (struct node *next; (next = node_backing(*base));)
            *base = next;
    }
    return NULL;
}

/* The layer whose backing file (or filtered node) leads to node. */
static struct node *overlay_of(struct node *device, struct node *node)
{
    struct node *at = node_skip_filters(device);

    for (struct node *next; (next = node_backing(at)); at = next) {
        if (next == node_skip_filters(node))
            return at;
    }
    return NULL;
}

static struct err *check_free(const struct commit_range *range)
{
    for (struct node *at = range->top; at; at = chain_next(at)) {
        TRY(block_job_check_unused(at));
        if (at == range->base)
            break;
    }
    return range->overlay ? block_job_check_unused(range->overlay) : NULL;
}

static struct err *find_range(const struct commit_params *params, struct commit_range *range)
{
    struct node *device = params->device;
    uint32_t taken = 0;

    range->device = device;
    TRY(launch_check_root(device));
    if (params->top_node && params->top)
        return err_new("'top-node' and 'top' are mutually exclusive");
    TRY(find_top(params, &range->top));
    if (params->base_node && params->base)
        return err_new("'base-node' and 'base' are mutually exclusive");
    TRY(find_base(params, range->top, &range->base));
    range->overlay = NULL;
    if (range->top == range->base)
        return err_new("cannot commit an image into itself");
    list_for_each(edge, &range->top->parents, struct edge, parent_link)
        taken |= edge->perm;
    range->active =
        (taken & PERM_WRITE) || node_skip_filters(range->top) == node_skip_filters(device);
    if (!range->active)
        range->overlay = overlay_of(device, range->top);
    TRY(check_free(range));
    if (!range->active || !params->backing_file)
        return NULL;
    if (node_skip_filters(range->top) == node_skip_filters(device))
        return err_new("'backing-file' specified, but 'top' is the active layer");
    return err_new("'backing-file' specified, but 'top' has a writer on it");
}

static struct err *make_active(const struct commit_making *making, struct block_job **out)
{
    const struct commit_params *params = &making->params;
    const struct mirror_params mirror = {
        .job = params->job,
        .source = making->range.top,
        .target = making->range.base,
        .sync = SYNC_FULL,
        .speed = params->speed,
        .on_source_error = params->on_error,
        .on_target_error = params->on_error,
        .unmap = true,
        .filter_name = params->filter_name,
        .commit = true,
    };

    return mirror_new(making->jobs, &mirror, out);
}

static void ignore_result(void *arg, struct err *err)
{
    (void)arg;
    err_ignore(err);
}

static void making_end(struct commit_making *making, struct block_job *bj, struct err *err)
{
    struct commit_range *range = &making->range;
    block_job_made_fn *done = making->done;
    void *arg = making->arg;

    if (err && range->base_was_read_only)
        reopen_read_only(range->base, true, ignore_result, NULL);
    node_unref(range->top);
    node_unref(range->base);
    if (range->overlay)
        node_unref(range->overlay);
    xfree(making);
    done(arg, bj, err);
}

static void writable(void *arg, struct err *err)
{
    struct commit_making *making = arg;
    struct block_job *bj = NULL;

    if (err)
        making->range.base_was_read_only = false;
    if (!err)
        err = check_free(&making->range);
    if (!err && making->range.active)
        err = make_active(making, &bj);
    else if (!err)
        err = commit_make(making->jobs, &making->params, &making->range, &bj);
    making_end(making, bj, err);
}

void commit_new(struct jobs *jobs, const struct commit_params *params, block_job_made_fn *done,
                void *arg)
{
    struct commit_range range;
    struct commit_making *making;
    struct err *err = find_range(params, &range);

    if (err) {
        done(arg, NULL, err);
        return;
    }
    node_ref(range.top);
    node_ref(range.base);
    if (range.overlay)
        node_ref(range.overlay);
    range.base_was_read_only = range.base->read_only;
    making = NEW(struct commit_making);
    *making = (struct commit_making){
        .jobs = jobs, .params = *params, .range = range, .done = done, .arg = arg
    };
    reopen_read_only(range.base, false, writable, making);
}
