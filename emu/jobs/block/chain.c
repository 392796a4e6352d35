/* Backing chains. */

#include "emu/jobs/block/chain.h"

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/jobs/block/block_job.h"
#include "emu/storage/driver.h"
#include "emu/storage/open.h"
#include "emu/storage/reopen.h"

struct node *chain_next(struct node *node)
{
    struct edge *edge = block_job_below(node);

    if (!edge || (!node->driver->is_filter && !(edge->role & ROLE_COW)))
        return NULL;
    return edge->node;
}

bool chain_contains(struct node *top, const struct node *node)
{
    for (struct node *at = top; at; at = chain_next(at)) {
        if (at == node)
            return true;
    }
    return false;
}

struct node *chain_overlay(struct node *top, struct node *base)
{
    struct node *at = node_skip_filters(top);

    if (base)
        base = node_skip_filters(base);
    for (struct node *next; (next = node_backing(at)) && next != base;)
        at = next;
    return at;
}

unsigned chain_layers(struct node *top, struct node *base)
{
    struct node *at = node_skip_filters(top);
    unsigned count = 0;

    if (base)
        base = node_skip_filters(base);
    for (; at && at != base; at = node_backing(at))
        count++;
    return count;
}

struct node *chain_find_file(struct node *top, const char *filename)
{
    struct node *overlay = node_skip_filters(top), *at;

    for (; (at = node_backing(overlay)); overlay = at) {
        char *resolved;
        bool same;

        if (str_eq(at->filename, filename) ||
            (overlay->backing_name && str_eq(overlay->backing_name, filename)))
            return at;
        resolved = filename_resolve(overlay->filename, filename);
        same = str_eq(at->filename, resolved);
        xfree(resolved);
        if (same)
            return at;
    }
    return NULL;
}

/* ---- Changing ---- */

static void change_end(struct chain_change *change)
{
    struct err *err = change->err;

    change->err = NULL;
    if (!err && change->relink)
        err = node_set_backing(change->node, change->base);
    node_unref(change->node);
    if (change->base)
        node_unref(change->base);
    xfree(change->name);
    xfree(change->format);
    change->done(change->arg, err);
}

static void read_only_again(void *arg, struct err *err)
{
    err_ignore(err);
    change_end(arg);
}

static void header_written(void *arg, struct err *err)
{
    struct chain_change *change = arg;

    change->err = err;
    if (change->was_read_only)
        reopen_read_only(change->node, true, read_only_again, change);
    else
        change_end(change);
}

static void writable(void *arg, struct err *err)
{
    struct chain_change *change = arg;
    struct node *node = change->node;

    if (err) {
        change->was_read_only = false;
        header_written(change, err);
        return;
    }
    if (!node->driver->set_backing) {
        header_written(change, err_new("Operation not supported"));
        return;
    }
    node->driver->set_backing(node, change->name, change->format, header_written, change);
}

void chain_change_start(struct chain_change *change, const struct chain_change_options *options,
                        graph_done_fn *done, void *arg)
{
    struct node *base = options->base ? node_skip_filters(options->base) : NULL;

    *change = (struct chain_change){ .node = node_ref(options->node),
                                     .base = options->base ? node_ref(options->base) : NULL,
                                     .relink = options->relink,
                                     .done = done,
                                     .arg = arg };
    if (base || options->name) {
        change->name = xstrdup(options->name ? options->name : base->filename);
        change->format =
            xstrdup(!base                                                 ? NULL
                    : options->mask_protocol && base->driver->is_protocol ? "raw"
                                                                          : base->driver->name);
    }
    change->was_read_only = change->node->read_only;
    reopen_read_only(change->node, false, writable, change);
}
