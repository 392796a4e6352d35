/* drive-mirror: makes or opens the target, then starts a mirror to it. */

#include <stdio.h>

#include "emu/base/alloc.h"
#include "emu/jobs/block/mirror.h"
#include "emu/qmp/handlers/block_jobs.h"
#include "emu/qmp/handlers/chain_jobs.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_block_chain.h" // Generated.
#include "emu/storage/backend.h"
#include "emu/storage/driver.h"
#include "emu/storage/image_new.h"

/* The value of an optional member, or its default. */
#define OPT_OR(member, otherwise) ((member).set ? (member).value : (otherwise))

struct drive_mirror {
    struct qmp_call *call;
    const struct qapi_drive_mirror *args; /* The call's. */
    struct node *source;                  /* Reference. */
    enum sync_mode sync;
};

static struct err *start(struct drive_mirror *dm, struct node *target, struct block_job **out)
{
    const struct qapi_drive_mirror *args = dm->args;
    const bool existing =
        OPT_OR(args->mode, QAPI_NEW_IMAGE_MODE_ABSOLUTE_PATHS) == QAPI_NEW_IMAGE_MODE_EXISTING;
    struct mirror_params params = {
        .job = { .id = job_id_or_device(dm->source, args->job_id),
                 .manual_finalize = !OPT_OR(args->auto_finalize, true),
                 .manual_dismiss = !OPT_OR(args->auto_dismiss, true) },
        .source = dm->source,
        .target = target,
        .replaces = args->replaces,
        .sync = dm->sync,
        .speed = OPT_OR(args->speed, 0),
        .granularity = OPT_OR(args->granularity, 0),
        .buf_size = OPT_OR(args->buf_size, 0),
        .on_source_error =
            (enum job_on_error)OPT_OR(args->on_source_error, QAPI_BLOCKDEV_ON_ERROR_REPORT),
        .on_target_error =
            (enum job_on_error)OPT_OR(args->on_target_error, QAPI_BLOCKDEV_ON_ERROR_REPORT),
        .unmap = OPT_OR(args->unmap, true),
        .copy_mode =
            (enum mirror_copy_mode)OPT_OR(args->copy_mode, QAPI_MIRROR_COPY_MODE_BACKGROUND),
        .backing = existing ? MIRROR_BACKING_OPEN : MIRROR_BACKING_SOURCE,
    };

    return mirror_new(dm->call->world->jobs, &params, out);
}

static void target_ready(void *arg, struct node *target, struct err *err)
{
    struct drive_mirror *dm = arg;
    struct qmp_call *call = dm->call;
    struct block_job *bj = NULL;

    if (!err)
        err = start(dm, target, &bj);
    if (target)
        node_unref(target);
    node_unref(dm->source);
    xfree(dm);
    if (err)
        qmp_reply(call, err);
    else
        launch_job(call, bj, false);
}

static struct err *check_replaces(struct graph *graph, const struct qapi_drive_mirror *args,
                                  const struct node *source)
{
    struct node *replaced;

    if (!args->replaces)
        return NULL;
    if (!args->node_name)
        return err_new("a node-name must be provided when replacing a named node of the graph");
    replaced = graph_find(graph, args->replaces);
    if (!replaced)
        return err_new("Failed to find node with node-name='%s'", args->replaces);
    if (replaced->size != source->size)
        return err_new("cannot replace image with a mirror image of different size");
    return NULL;
}

static struct err *plan(struct drive_mirror *dm, struct image_new_options *image)
{
    const struct qapi_drive_mirror *args = dm->args;
    struct graph *graph = dm->call->world->graph;
    const bool existing =
        OPT_OR(args->mode, QAPI_NEW_IMAGE_MODE_ABSOLUTE_PATHS) == QAPI_NEW_IMAGE_MODE_EXISTING;
    struct node *device, *source, *below;

    TRY(graph_lookup_disk(graph, args->device, &device));
    dm->source = node_ref(device);
    TRY(launch_check_root(device));
    TRY(block_job_check_unused(device));
    source = node_skip_filters(device);
    below = node_backing(source);
    dm->sync = (enum sync_mode)args->sync;
    if (!below && dm->sync == SYNC_TOP)
        dm->sync = SYNC_FULL;
    if (dm->sync == SYNC_NONE)
        below = source;
    TRY(check_replaces(graph, args, source));
    *image = (struct image_new_options){
        .filename = args->target,
        .format = args->format ? args->format
                  : existing   ? NULL
                               : source->driver->name,
        .create = !existing,
        .size = source->size,
        .node_name = args->node_name,
        .no_backing = true,
        .open = { .cache_direct = device->open.cache_direct,
                  .cache_no_flush = device->open.cache_no_flush,
                  .discard_unmap = device->open.discard_unmap,
                  .detect_zeroes = device->open.detect_zeroes },
    };
    if (dm->sync != SYNC_FULL && below && !existing) {
        image->backing = below->filename;
        image->backing_format = below->driver->name;
    }
    return image_new_check(graph, image);
}

void drive_mirror_handler(struct qmp_call *call, const struct qapi_drive_mirror *args)
{
    struct drive_mirror *dm = NEW(struct drive_mirror);
    struct image_new_options image;
    struct err *err;

    *dm = (struct drive_mirror){ .call = call, .args = args };
    err = plan(dm, &image);
    if (err) {
        if (dm->source)
            node_unref(dm->source);
        xfree(dm);
        qmp_reply(call, err);
        return;
    }
    if (image.create) {
        char *text = image_new_text(call->world->graph, &image);

        fputs(text, stdout);
        fflush(stdout);
        xfree(text);
    }
    image_new(call->world->graph, &image, target_ready, dm);
}
