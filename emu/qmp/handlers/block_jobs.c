/* blockdev-mirror, -backup, -create; the block-job- verbs; query-block-jobs. */

#include "emu/qmp/handlers/block_jobs.h"

#include "emu/base/alloc.h"
#include "emu/jobs/block/amend.h"
#include "emu/jobs/block/backup.h"
#include "emu/jobs/block/create.h"
#include "emu/jobs/block/mirror.h"
#include "emu/jobs/job_query.h"
#include "emu/jobs/job_verbs.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_block_core.h" // Generated.
#include "emu/storage/backend.h"
#include "emu/storage/driver.h"
#include "emu/storage/node.h"

/* These enums are in the order of the protocol. */
_Static_assert((int)QAPI_MIRROR_SYNC_MODE_BITMAP == (int)SYNC_BITMAP, "sync modes");
_Static_assert((int)QAPI_BLOCKDEV_ON_ERROR_AUTO == (int)JOB_ON_ERROR_AUTO, "error policies");
_Static_assert((int)QAPI_BITMAP_SYNC_MODE_ALWAYS == (int)BACKUP_BITMAP_ALWAYS, "bitmap modes");
_Static_assert((int)QAPI_MIRROR_COPY_MODE_WRITE_BLOCKING == (int)MIRROR_WRITE_BLOCKING,
               "copy modes");
_Static_assert((int)QAPI_BLOCK_DEVICE_IO_STATUS_NOSPACE == (int)JOB_IO_NOSPACE, "io status");

/* The value of an optional member, or its default. */
#define OPT_OR(member, otherwise) ((member).set ? (member).value : (otherwise))

/* ---- Launching ---- */

/* A command that waits for the locks of the job it made. */
struct launch {
    struct qmp_call *call;
    char *id; /* Owned. The job is looked up again: others may have cancelled it. */
    bool held;
};

static void launch_settled(void *arg, struct err *err)
{
    struct launch *launch = arg;
    struct job *job = map_get(&launch->call->world->jobs->by_id, launch->id);

    if (job && job->status == JOB_CREATED) {
        if (err) {
            job_discard(job);
        } else if (launch->held) {
            launch_start_held(block_job_of(job));
            launch_let_go(block_job_of(job));
        } else {
            job_start(job);
        }
    }
    qmp_reply(launch->call, err);
    xfree(launch->id);
    xfree(launch);
}

void launch_job(struct qmp_call *call, struct block_job *bj, bool held)
{
    struct launch *launch = NEW(struct launch);

    *launch = (struct launch){ .call = call, .id = xstrdup(bj->job.id), .held = held };
    block_job_settle(bj, launch_settled, launch);
}

const char *job_id_or_device(const struct node *node, const char *given)
{
    if (given)
        return given;
    list_for_each(backend, graph_backends(node->graph), struct backend, link) {
        if (backend->root && backend->root->node == node)
            return backend->name;
    }
    return "";
}

struct err *backup_from_args(struct world *world, const struct qapi_blockdev_backup *args,
                             struct node *target, struct job_txn *txn, struct block_job **out)
{
    struct backup_params params = {
        .job = { .manual_finalize = !OPT_OR(args->auto_finalize, true),
                 .manual_dismiss = !OPT_OR(args->auto_dismiss, true),
                 .txn = txn },
        .target = target,
        .sync = (enum sync_mode)args->sync,
        .bitmap = args->bitmap,
        .compress = OPT_OR(args->compress, false),
        .speed = OPT_OR(args->speed, 0),
        .on_source_error =
            (enum job_on_error)OPT_OR(args->on_source_error, QAPI_BLOCKDEV_ON_ERROR_REPORT),
        .on_target_error =
            (enum job_on_error)OPT_OR(args->on_target_error, QAPI_BLOCKDEV_ON_ERROR_REPORT),
        .filter_name = args->filter_node_name,
        .discard_source = OPT_OR(args->discard_source, false),
    };

    TRY(graph_lookup_disk(world->graph, args->device, &params.source));
    if (!target)
        TRY(graph_lookup_disk(world->graph, args->target, &params.target));
    params.job.id = job_id_or_device(params.source, args->job_id);
    if (args->bitmap_mode.set) {
        params.bitmap_mode.set = true;
        params.bitmap_mode.value = (enum backup_bitmap_mode)args->bitmap_mode.value;
    }
    if (args->x_perf) {
        params.max_workers.set = args->x_perf->max_workers.set;
        params.max_workers.value = args->x_perf->max_workers.value;
        params.max_chunk.set = args->x_perf->max_chunk.set;
        params.max_chunk.value = args->x_perf->max_chunk.value;
        params.min_cluster = OPT_OR(args->x_perf->min_cluster_size, 0);
    }
    return backup_new(world->jobs, &params, out);
}

static void blockdev_backup_handler(struct qmp_call *call, const struct qapi_blockdev_backup *args)
{
    struct block_job *bj;
    struct err *err = backup_from_args(call->world, args, NULL, NULL, &bj);

    if (err)
        qmp_reply(call, err);
    else
        launch_job(call, bj, true);
}

static struct err *mirror_from_args(struct world *world,
                                    const struct qapi_blockdev_mirror_args *args,
                                    struct block_job **out)
{
    struct mirror_params params = {
        .job = { .manual_finalize = !OPT_OR(args->auto_finalize, true),
                 .manual_dismiss = !OPT_OR(args->auto_dismiss, true) },
        .replaces = args->replaces,
        .sync = (enum sync_mode)args->sync,
        .speed = OPT_OR(args->speed, 0),
        .granularity = OPT_OR(args->granularity, 0),
        .buf_size = OPT_OR(args->buf_size, 0),
        .on_source_error =
            (enum job_on_error)OPT_OR(args->on_source_error, QAPI_BLOCKDEV_ON_ERROR_REPORT),
        .on_target_error =
            (enum job_on_error)OPT_OR(args->on_target_error, QAPI_BLOCKDEV_ON_ERROR_REPORT),
        .unmap = true,
        .filter_name = args->filter_node_name,
        .copy_mode =
            (enum mirror_copy_mode)OPT_OR(args->copy_mode, QAPI_MIRROR_COPY_MODE_BACKGROUND),
    };

    TRY(graph_lookup_disk(world->graph, args->device, &params.source));
    TRY(graph_lookup_disk(world->graph, args->target, &params.target));
    params.job.id = job_id_or_device(params.source, args->job_id);
    return mirror_new(world->jobs, &params, out);
}

static void blockdev_mirror_handler(struct qmp_call *call,
                                    const struct qapi_blockdev_mirror_args *args)
{
    struct block_job *bj;
    struct err *err = mirror_from_args(call->world, args, &bj);

    if (err)
        qmp_reply(call, err);
    else
        launch_job(call, bj, false);
}

static void blockdev_create_handler(struct qmp_call *call,
                                    const struct qapi_blockdev_create_args *args)
{
    CLEANUP(json_free) struct json *options = qapi_encode_blockdev_create_options(args->options);
    struct job *job;
    struct err *err =
        create_job_new(call->world->jobs, call->world->graph, args->job_id, options, &job);

    if (!err)
        job_start(job);
    qmp_reply(call, err);
}

static void amend_handler(struct qmp_call *call, const struct qapi_x_blockdev_amend_args *args)
{
    CLEANUP(json_free) struct json *options = qapi_encode_blockdev_amend_options(args->options);
    unsigned flags = OPT_OR(args->force, false) ? AMEND_FORCE : 0;
    struct job *job = NULL;
    struct node *node;
    struct err *err = graph_lookup(call->world->graph, args->node_name, &node);

    if (!err)
        err = amend_job_new(call->world->jobs, node, args->job_id, options, flags, &job);
    if (!err)
        job_start(job);
    qmp_reply(call, err);
}

/* ---- Verbs ---- */

static void block_job_verb(struct qmp_call *call, const char *id,
                           struct err *(*verb)(struct job *job))
{
    struct job *job;
    struct err *err = job_find_block(call->world->jobs, id, &job);

    if (!err)
        err = verb(job);
    qmp_reply(call, err);
}

static struct err *cancel_softly(struct job *job) { return job_cancel_block(job, JOB_CANCEL_SOFT); }

static struct err *cancel_by_force(struct job *job)
{
    return job_cancel_block(job, JOB_CANCEL_FORCE);
}

static void block_job_cancel_handler(struct qmp_call *call,
                                     const struct qapi_block_job_cancel_args *args)
{
    block_job_verb(call, args->device,
                   OPT_OR(args->force, false) ? cancel_by_force : cancel_softly);
}

static void block_job_pause_handler(struct qmp_call *call,
                                    const struct qapi_block_job_pause_args *args)
{
    block_job_verb(call, args->device, job_pause);
}

static void block_job_resume_handler(struct qmp_call *call,
                                     const struct qapi_block_job_resume_args *args)
{
    block_job_verb(call, args->device, job_resume);
}

static void block_job_complete_handler(struct qmp_call *call,
                                       const struct qapi_block_job_complete_args *args)
{
    block_job_verb(call, args->device, job_complete);
}

static void block_job_dismiss_handler(struct qmp_call *call,
                                      const struct qapi_block_job_dismiss_args *args)
{
    block_job_verb(call, args->id, job_dismiss);
}

static void block_job_finalize_handler(struct qmp_call *call,
                                       const struct qapi_block_job_finalize_args *args)
{
    block_job_verb(call, args->id, job_finalize);
}

static void block_job_set_speed_handler(struct qmp_call *call,
                                        const struct qapi_block_job_set_speed_args *args)
{
    struct job *job;
    struct err *err = job_find_block(call->world->jobs, args->device, &job);

    if (!err)
        err = job_set_speed(job, args->speed);
    qmp_reply(call, err);
}

static void block_job_change_handler(struct qmp_call *call,
                                     const struct qapi_block_job_change_options *args)
{
    struct job *job;
    struct err *err = job_find_block(call->world->jobs, args->id, &job);

    if (!err && args->type == QAPI_JOB_TYPE_MIRROR)
        err = mirror_change(job, (enum mirror_copy_mode)args->u.mirror.copy_mode);
    else if (!err)
        err = err_new("Job type does not support change");
    qmp_reply(call, err);
}

static void query_block_jobs_handler(struct qmp_call *call)
{
    struct jobs *jobs = call->world->jobs;
    struct qapi_block_job_info_list list = { 0 };

    for (struct job *job = job_query_next(jobs, NULL); job; job = job_query_next(jobs, job)) {
        struct qapi_block_job_info *info;
        struct job_facts facts;

        job_query(job, &facts);
        if (!facts.block_job)
            continue;
        info = qapi_block_job_info_list_add(&list);
        *info = (struct qapi_block_job_info){
            .type = (enum qapi_job_type)facts.type,
            .device = xstrdup(facts.id),
            .len = (int64_t)facts.total,
            .offset = (int64_t)facts.current,
            .busy = facts.busy,
            .paused = facts.paused,
            .speed = (int64_t)facts.speed,
            .io_status = (enum qapi_block_device_io_status)facts.io_status,
            .ready = facts.ready,
            .status = (enum qapi_job_status)facts.status,
            .auto_finalize = facts.auto_finalize,
            .auto_dismiss = facts.auto_dismiss,
            .error = xstrdup(facts.error),
        };
        if (facts.type == JOB_TYPE_MIRROR)
            info->u.mirror.actively_synced = mirror_actively_synced(job);
    }
    qmp_reply_query_block_jobs(call, &list);
    qapi_block_job_info_list_fini(&list);
}

const struct qmp_command_set block_job_commands = {
    .commands = { QMP_COMMAND(blockdev_backup, blockdev_backup_handler),
                  QMP_COMMAND(blockdev_mirror, blockdev_mirror_handler),
                  QMP_COMMAND(blockdev_create, blockdev_create_handler),
                  QMP_COMMAND(x_blockdev_amend, amend_handler),
                  QMP_COMMAND(block_job_cancel, block_job_cancel_handler),
                  QMP_COMMAND(block_job_pause, block_job_pause_handler),
                  QMP_COMMAND(block_job_resume, block_job_resume_handler),
                  QMP_COMMAND(block_job_complete, block_job_complete_handler),
                  QMP_COMMAND(block_job_dismiss, block_job_dismiss_handler),
                  QMP_COMMAND(block_job_finalize, block_job_finalize_handler),
                  QMP_COMMAND(block_job_set_speed, block_job_set_speed_handler),
                  QMP_COMMAND(block_job_change, block_job_change_handler),
                  QMP_COMMAND(query_block_jobs, query_block_jobs_handler), QMP_COMMAND_END },
    .events = { &qmp_event_block_job_completed, &qmp_event_block_job_cancelled,
                &qmp_event_block_job_error, &qmp_event_block_job_ready,
                &qmp_event_block_job_pending, NULL },
};
