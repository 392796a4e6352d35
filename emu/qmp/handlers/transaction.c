/*
 * Transactions.
 *
 * First the preparations, which may take time: files are made and nodes opened, and nobody notices. Then the nodes that
 * need it are drained, and the actions take effect one after the other, each noting how to undo it. When one fails,
 * those before it are undone in reverse order. When all have succeeded, the locks that they need are waited for, one by
 * one; then everything is committed, jobs in reverse order of their making. All filters of backups and all overlays are
 * in place before the first of these waits, so that all show one moment.
 */

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/jobs/block/launch.h"
#include "emu/jobs/job_txn.h"
#include "emu/jobs/job_verbs.h"
#include "emu/qmp/handlers/block_jobs.h"
#include "emu/qmp/handlers/transaction_priv.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_transaction.h" // Generated.

static struct err *abort_apply(struct transaction *t, struct step *step)
{
    (void)t;
    (void)step;
    return err_new("Transaction aborted using Abort action");
}

static const struct action_ops abort_action = { .apply = abort_apply };

const struct action_ops *action_ops_of(enum qapi_transaction_action_kind kind)
{
    switch (kind) {
    case QAPI_TRANSACTION_ACTION_KIND_ABORT: return &abort_action;
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD: return &bitmap_add_action;
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE: return &bitmap_remove_action;
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR: return &bitmap_clear_action;
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE: return &bitmap_enable_action;
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE: return &bitmap_disable_action;
    case QAPI_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_MERGE: return &bitmap_merge_action;
    case QAPI_TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP: return &blockdev_backup_action;
    case QAPI_TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT: return &snapshot_action;
    case QAPI_TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC:
        return &snapshot_internal_action;
    case QAPI_TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC: return &snapshot_sync_action;
    case QAPI_TRANSACTION_ACTION_KIND_DRIVE_BACKUP: return &drive_backup_action;
    }
    unreachable();
}

static struct job *job_of(const struct step *step)
{
    return step->job_id ? map_get(&step->t->call->world->jobs->by_id, step->job_id) : NULL;
}

struct block_job *step_job(const struct step *step)
{
    struct job *job = job_of(step);

    return job && job->status == JOB_CREATED ? block_job_of(job) : NULL;
}

/* ---- The end ---- */

static void transaction_commit(struct transaction *t)
{
    for (size_t i = t->count; i-- > 0;) {
        struct step *step = &t->steps[i];
        struct block_job *bj = step_job(step);

        if (bj)
            launch_start_held(bj);
        if (step->ops->commit)
            step->ops->commit(t, step);
    }
    for (size_t i = t->count; i-- > 0;) {
        struct job *job = job_of(&t->steps[i]);

        if (job && job->pause_count > 0)
            launch_let_go(block_job_of(job));
    }
}

static void transaction_undo(struct transaction *t)
{
    for (size_t i = t->reached; i-- > 0;) {
        struct step *step = &t->steps[i];
        struct block_job *bj = step_job(step);

        if (bj)
            err_ignore(job_cancel(&bj->job, JOB_CANCEL_FORCE));
        if (step->ops->undo)
            step->ops->undo(t, step);
    }
}

/* Replies and frees. Takes err. */
static void transaction_reply(struct transaction *t, struct err *err)
{
    for (size_t i = 0; i < t->count; i++) {
        struct step *step = &t->steps[i];

        drain_end(&step->drain);
        if (step->other)
            node_unref(step->other);
        if (step->node)
            node_unref(step->node);
        hbitmap_free(step->before);
        xfree(step->job_id);
    }
    job_txn_unref(t->txn);
    qmp_reply(t->call, err);
    xfree(t->steps);
    xfree(t);
}

void transaction_undone(struct transaction *t)
{
    struct err *err = t->err;

    if (--t->undoing > 0)
        return;
    t->err = NULL;
    transaction_reply(t, err);
}

static void transaction_finish(struct transaction *t)
{
    while (t->next < t->count) {
        struct step *step = &t->steps[t->next];

        if (step->ops->finish) {
            step->ops->finish(t, step);
            return;
        }
        t->next++;
    }
    transaction_reply(t, NULL);
}

/* Takes err. */
static void transaction_end(struct transaction *t, struct err *err)
{
    t->phase = TRANSACTION_END;
    t->next = 0;
    if (err) {
        t->err = err;
        t->undoing = 1;
        transaction_undo(t);
        transaction_undone(t);
        return;
    }
    transaction_commit(t);
    for (size_t i = 0; i < t->count; i++)
        drain_end(&t->steps[i].drain);
    transaction_finish(t);
}

/* ---- Phases ---- */

static void transaction_settle(struct transaction *t);

static void settled(void *arg, struct err *err)
{
    struct transaction *t = arg;

    if (err)
        transaction_end(t, err);
    else
        transaction_settle(t);
}

static void transaction_settle(struct transaction *t)
{
    t->phase = TRANSACTION_SETTLE;
    while (t->next < t->count) {
        struct step *step = &t->steps[t->next++];
        struct block_job *bj = step_job(step);

        if (bj) {
            block_job_settle(bj, settled, t);
            return;
        }
        if (step->other) {
            node_settle(step->other, settled, t);
            return;
        }
    }
    transaction_end(t, NULL);
}

static void transaction_apply(struct transaction *t)
{
    t->phase = TRANSACTION_APPLY;
    while (t->next < t->count) {
        struct step *step = &t->steps[t->next];
        struct err *err;

        t->reached = t->next + 1;
        if (step->ops->apply_start) {
            step->ops->apply_start(t, step);
            return;
        }
        err = step->ops->apply(t, step);
        if (err) {
            transaction_end(t, err);
            return;
        }
        step->done = true;
        t->next++;
    }
    t->next = 0;
    transaction_settle(t);
}

static void drained(struct drain *drain)
{
    struct transaction *t = container_of(drain, struct step, drain)->t;

    if (--t->draining == 0)
        transaction_apply(t);
}

static void transaction_drain(struct transaction *t)
{
    t->phase = TRANSACTION_DRAIN;
    t->next = 0;
    for (size_t i = 0; i < t->count; i++)
        t->draining += t->steps[i].ops->drains;
    if (!t->draining) {
        transaction_apply(t);
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        if (t->steps[i].ops->drains)
            drain_begin(&t->steps[i].drain, t->steps[i].node, drained);
    }
}

static void transaction_prepare(struct transaction *t)
{
    while (t->next < t->count) {
        struct step *step = &t->steps[t->next];

        if (step->ops->prepare) {
            step->ops->prepare(t, step);
            return;
        }
        t->next++;
    }
    transaction_drain(t);
}

void step_done(struct step *step, struct err *err)
{
    struct transaction *t = step->t;

    if (err) {
        transaction_end(t, err);
        return;
    }
    t->next++;
    if (t->phase == TRANSACTION_END) {
        transaction_finish(t);
    } else if (t->phase == TRANSACTION_PREPARE) {
        transaction_prepare(t);
    } else {
        step->done = true;
        transaction_apply(t);
    }
}

/* ---- Starting ---- */

static void transaction_start(struct qmp_call *call, const struct qapi_transaction_action *actions,
                              size_t count, bool grouped, struct transaction *t)
{
    t->call = call;
    t->txn = grouped ? job_txn_new() : NULL;
    t->steps = NEW_ARRAY(struct step, count);
    t->count = count;
    for (size_t i = 0; i < count; i++) {
        t->steps[i].t = t;
        t->steps[i].action = &actions[i];
        t->steps[i].ops = action_ops_of(actions[i].type);
    }
    transaction_prepare(t);
}

void transaction_single(struct qmp_call *call, const struct qapi_transaction_action *action)
{
    struct transaction *t = NEW(struct transaction);

    t->single = *action;
    transaction_start(call, &t->single, 1, false, t);
}

static struct err *check_grouped(const struct qapi_transaction_args *args)
{
    for (size_t i = 0; i < args->actions.len; i++) {
        if (!action_ops_of(args->actions.items[i].type)->grouped)
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

    if (err)
        qmp_reply(call, err);
    else
        transaction_start(call, args->actions.items, args->actions.len, grouped,
                          NEW(struct transaction));
}

const struct qmp_command_set transaction_commands = {
    .commands = { QMP_COMMAND(transaction, transaction_handler), QMP_COMMAND_END },
    .events = { NULL },
};
