/* block-stream and block-commit. */

#include "emu/qmp/handlers/chain_jobs.h"

#include "emu/jobs/block/commit.h"
#include "emu/jobs/block/stream.h"
#include "emu/qmp/handlers/block_jobs.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_block_chain.h" // Generated.
#include "emu/storage/backend.h"

/* The value of an optional member, or its default. */
#define OPT_OR(member, otherwise) ((member).set ? (member).value : (otherwise))

static void made(void *arg, struct block_job *bj, struct err *err)
{
    struct qmp_call *call = arg;

    if (err)
        qmp_reply(call, err);
    else
        launch_job(call, bj, false);
}

static void block_stream_handler(struct qmp_call *call, const struct qapi_block_stream_args *args)
{
    struct stream_params params = {
        .job = { .manual_finalize = !OPT_OR(args->auto_finalize, true),
                 .manual_dismiss = !OPT_OR(args->auto_dismiss, true) },
        .base = args->base,
        .base_node = args->base_node,
        .bottom = args->bottom,
        .backing_file = args->backing_file,
        .mask_protocol = OPT_OR(args->backing_mask_protocol, false),
        .speed = OPT_OR(args->speed, 0),
        .on_error = (enum job_on_error)OPT_OR(args->on_error, QAPI_BLOCKDEV_ON_ERROR_REPORT),
        .filter_name = args->filter_node_name,
    };
    struct err *err = graph_lookup_disk(call->world->graph, args->device, &params.top);

    if (err) {
        qmp_reply(call, err);
        return;
    }
    params.job.id = job_id_or_device(params.top, args->job_id);
    stream_new(call->world->jobs, &params, made, call);
}

static struct err *find_device(struct graph *graph, const char *device, struct node **out)
{
    struct err *err = graph_lookup_disk(graph, device, out);

    /* Clients tell by the class that there is no such device. */
    if (err && !backend_find(graph, device)) {
        err_free(err);
        err = err_new_class(ERR_DEVICE_NOT_FOUND, "Device '%s' not found", device);
    }
    return err;
}

static void block_commit_handler(struct qmp_call *call, const struct qapi_block_commit_args *args)
{
    struct commit_params params = {
        .job = { .manual_finalize = !OPT_OR(args->auto_finalize, true),
                 .manual_dismiss = !OPT_OR(args->auto_dismiss, true) },
        .top = args->top,
        .base = args->base,
        .top_node = args->top_node,
        .base_node = args->base_node,
        .backing_file = args->backing_file,
        .mask_protocol = OPT_OR(args->backing_mask_protocol, false),
        .speed = OPT_OR(args->speed, 0),
        .on_error = (enum job_on_error)OPT_OR(args->on_error, QAPI_BLOCKDEV_ON_ERROR_REPORT),
        .filter_name = args->filter_node_name,
    };
    struct err *err = find_device(call->world->graph, args->device, &params.device);

    if (err) {
        qmp_reply(call, err);
        return;
    }
    params.job.id = job_id_or_device(params.device, args->job_id);
    commit_new(call->world->jobs, &params, made, call);
}

const struct qmp_command_set chain_job_commands = {
    .commands = { QMP_COMMAND(block_stream, block_stream_handler),
                  QMP_COMMAND(block_commit, block_commit_handler),
                  QMP_COMMAND(drive_mirror, drive_mirror_handler), QMP_COMMAND_END },
    .events = { NULL },
};
