/*
 * Transactions.
 *
 * Actions take effect one after the other, each noting how to undo it. When one fails, those
 * before it are undone in reverse order. When all have succeeded, the locks of the jobs made are
 * waited for, one by one; then everything is committed, jobs in reverse order of their making.
 * All filters of backups are in place before the first wait, so that all show one moment.
 */

#include "emu/qmp/handlers/transaction.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/log.h"
#include "emu/jobs/block/launch.h"
#include "emu/jobs/job_txn.h"
#include "emu/jobs/job_verbs.h"
#include "emu/qmp/handlers/block_jobs.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_transaction.h" // Generated.
#include "emu/storage/bitmap.h"

/* What an action did. */
struct step {
    const struct qapi_transaction_action *action;
    struct bitmap *bitmap;  /* Borrowed; after a remove: out of its node's list. */
    struct hbitmap *before; /* Owned; content to go back to. */
    bool was_enabled;
    char *job_id; /* Owned. */
    bool done;
};

struct transaction {
    struct qmp_call *call;
    struct job_txn *txn; /* Owned; NULL unless grouped. */
    struct step *steps;  /* Owned; one per action. */
    size_t count;
    size_t settling; /* Next step whose locks to wait for. */
};

/* The job of a step if it can still be started; another client may have cancelled it. */
static struct block_job *step_job(struct transaction *t, const struct step *step)
{
    struct job *job = step->job_id ? map_get(&t->call->world->jobs->by_id, step->job_id) : NULL;

    return job && job->status == JOB_CREATED ? block_job_of(job) : NULL;
}

/* ---- Doing ---- */

static struct err *save_content(struct step *step)
{
    step->before = hbitmap_copy(step->bitmap->map);
    return step->before ? NULL
                        : err_new("Out of memory for a copy of bitmap '%s'", step->bitmap->name);
}

static struct err *find_bitmap(struct transaction *t, struct step *step,
                               const struct qapi_block_dirty_bitmap *args, enum bitmap_use use)
{
    TRY(bitmap_lookup(t->call->world->graph, args->node, args->name, &step->bitmap));
    return bitmap_check(step->bitmap, use);
}

static struct err *do_add(struct transaction *t, struct step *step,
                          const struct qapi_block_dirty_bitmap_add *args)
{
    struct node *node;

    TRY(graph_lookup(t->call->world->graph, args->node, &node));
    if (args->persistent.set && args->persistent.value)
        TRY(bitmap_check_persistent(node, args->name,
                                    args->granularity.set ? args->granularity.value : 0));
    return bitmap_add(node, args->name, args->granularity.set ? args->granularity.value : 0,
                      args->persistent.set && args->persistent.value,
                      args->disabled.set && args->disabled.value, &step->bitmap);
}

static struct err *do_remove(struct transaction *t, struct step *step,
                             const struct qapi_block_dirty_bitmap *args)
{
    TRY(find_bitmap(t, step, args, BITMAP_USE_REMOVE));
    /* Out of sight for the actions that follow, freed by the commit. */
    list_del(&step->bitmap->link);
    return NULL;
}

static struct err *do_clear(struct transaction *t, struct step *step,
                            const struct qapi_block_dirty_bitmap *args)
{
    TRY(find_bitmap(t, step, args, BITMAP_USE_CHANGE));
    TRY(save_content(step));
    hbitmap_reset_all(step->bitmap->map);
    return NULL;
}

static struct err *do_switch(struct transaction *t, struct step *step,
                             const struct qapi_block_dirty_bitmap *args, bool on)
{
    TRY(find_bitmap(t, step, args, BITMAP_USE_CHANGE));
    step->was_enabled = step->bitmap->enabled;
    step->bitmap->enabled = on;
    return NULL;
}

static struct err *merge_one(struct transaction *t, struct step *step, const char *node_name,
                             const struct qapi_block_dirty_bitmap_or_str *from)
{
    const bool local = from->kind == QAPI_BLOCK_DIRTY_BITMAP_OR_STR_LOCAL;
    struct bitmap *source;

    TRY(bitmap_lookup(t->call->world->graph, local ? node_name : from->u.external->node,
                      local ? from->u.local : from->u.external->name, &source));
    TRY(bitmap_check(source, BITMAP_USE_READ));
    if (hbitmap_size(source->map) != hbitmap_size(step->bitmap->map))
        return err_new(
            "Bitmaps are of different sizes (destination size is %llu, source size is %llu) and "
            "can't be merged",
            (unsigned long long)hbitmap_size(step->bitmap->map),
            (unsigned long long)hbitmap_size(source->map));
    hbitmap_merge(step->bitmap->map, source->map);
    return NULL;
}

static struct err *do_merge(struct transaction *t, struct step *step,
                            const struct qapi_block_dirty_bitmap_merge *args)
{
    struct err *err = NULL;

    TRY(bitmap_lookup(t->call->world->graph, args->node, args->target, &step->bitmap));
    TRY(bitmap_check(step->bitmap, BITMAP_USE_CHANGE));
    TRY(save_content(step));
    for (size_t i = 0; i < args->bitmaps.len && !err; i++)
        err = merge_one(t, step, args->node, &args->bitmaps.items[i]);
    return err;
}

static struct err *do_backup(struct transaction *t, struct step *step,
                             const struct qapi_blockdev_backup *args)
{
    struct block_job *bj;

    TRY(backup_from_args(t->call->world, args, t->txn, &bj));
    step->job_id = xstrdup(bj->job.id);
    return NULL;
}

static struct err *step_do(struct transaction *t, struct step *step)
{
    const struct qapi_transaction_action *action = step->action;

    switch (action->type) {
    case QAPI_TRANSACTION_ACTION_KIND_ABORT:
        return err_new("Transaction aborted using Abort action");
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD:
        return do_add(t, step, action->u.block_dirty_bitmap_add.data);
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE:
        return do_remove(t, step, action->u.block_dirty_bitmap_remove.data);
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR:
        return do_clear(t, step, action->u.block_dirty_bitmap_clear.data);
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE:
        return do_switch(t, step, action->u.block_dirty_bitmap_enable.data, true);
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE:
        return do_switch(t, step, action->u.block_dirty_bitmap_disable.data, false);
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_MERGE:
        return do_merge(t, step, action->u.block_dirty_bitmap_merge.data);
    case QAPI_TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP:
        return do_backup(t, step, action->u.blockdev_backup.data);
    }
    unreachable();
}

/* ---- Undoing and committing ---- */

static void step_undo(struct transaction *t, struct step *step)
{
    struct block_job *bj = step_job(t, step);

    if (bj)
        err_ignore(job_cancel(&bj->job, JOB_CANCEL_FORCE));
    if (!step->bitmap)
        return;
    /* An action that failed half way is undone as well, as far as it got. */
    if (step->before) {
        hbitmap_reset_all(step->bitmap->map);
        hbitmap_merge(step->bitmap->map, step->before);
    }
    if (!step->done)
        return;
    if (step->action->type == QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD)
        bitmap_free(step->bitmap);
    else if (step->action->type == QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE)
        list_add_tail(&step->bitmap->node->bitmaps, &step->bitmap->link);
    else if (step->action->type == QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE ||
             step->action->type == QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE)
        step->bitmap->enabled = step->was_enabled;
}

/* The transaction has succeeded without it; a bitmap that stays in the image is one that is in use there. */
static void removed_later(void *arg, struct err *err)
{
    if (err)
        log_err("Removing a bitmap", err);
}

static void transaction_commit(struct transaction *t)
{
    for (size_t i = t->count; i-- > 0;) {
        struct step *step = &t->steps[i];
        struct block_job *bj = step_job(t, step);

        if (bj)
            launch_start_held(bj);
        if (step->action->type == QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE) {
            list_add_tail(&step->bitmap->node->bitmaps, &step->bitmap->link);
            bitmap_remove(step->bitmap, removed_later, NULL);
        }
    }
    for (size_t i = t->count; i-- > 0;) {
        struct job *job =
            t->steps[i].job_id ? map_get(&t->call->world->jobs->by_id, t->steps[i].job_id) : NULL;

        if (job && job->pause_count > 0)
            launch_let_go(block_job_of(job));
    }
}

/* Replies and frees. Takes err. */
static void transaction_end(struct transaction *t, struct err *err)
{
    if (err) {
        for (size_t i = t->count; i-- > 0;)
            step_undo(t, &t->steps[i]);
    } else {
        transaction_commit(t);
    }
    for (size_t i = 0; i < t->count; i++) {
        hbitmap_free(t->steps[i].before);
        xfree(t->steps[i].job_id);
    }
    job_txn_unref(t->txn);
    qmp_reply(t->call, err);
    xfree(t->steps);
    xfree(t);
}

static void step_settled(void *arg, struct err *err);

static void transaction_settle(struct transaction *t)
{
    while (t->settling < t->count) {
        struct block_job *bj = step_job(t, &t->steps[t->settling++]);

        if (bj) {
            block_job_settle(bj, step_settled, t);
            return;
        }
    }
    transaction_end(t, NULL);
}

static void step_settled(void *arg, struct err *err)
{
    struct transaction *t = arg;

    if (err)
        transaction_end(t, err);
    else
        transaction_settle(t);
}

static struct err *check_grouped(const struct qapi_transaction_args *args)
{
    for (size_t i = 0; i < args->actions.len; i++) {
        if (args->actions.items[i].type != QAPI_TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP)
            return err_new(
                "Action '%s' does not support transaction property completion-mode = grouped",
                qapi_transaction_action_kind_name(args->actions.items[i].type));
    }
    return NULL;
}

static void transaction_handler(struct qmp_call *call, const struct qapi_transaction_args *args)
{
    const bool grouped =
        args->properties && args->properties->completion_mode.set &&
        args->properties->completion_mode.value == QAPI_ACTION_COMPLETION_MODE_GROUPED;
    struct err *err = grouped ? check_grouped(args) : NULL;
    struct transaction *t;

    if (err) {
        qmp_reply(call, err);
        return;
    }
    t = NEW(struct transaction);
    t->call = call;
    t->txn = grouped ? job_txn_new() : NULL;
    t->steps = NEW_ARRAY(struct step, args->actions.len);
    for (size_t i = 0; i < args->actions.len && !err; i++) {
        struct step *step = &t->steps[t->count++];

        step->action = &args->actions.items[i];
        err = step_do(t, step);
        step->done = !err;
    }
    if (err)
        transaction_end(t, err);
    else
        transaction_settle(t);
}

const struct qmp_command_set transaction_commands = {
    .commands = { QMP_COMMAND(transaction, transaction_handler), QMP_COMMAND_END },
    .events = { NULL },
};
