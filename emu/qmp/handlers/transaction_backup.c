/* Actions that start backups. */

#include <stdio.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/qmp/handlers/block_jobs.h"
#include "emu/qmp/handlers/transaction_priv.h"
#include "emu/qmp/handlers/world.h"
#include "emu/storage/backend.h"
#include "emu/storage/driver.h"
#include "emu/storage/image_new.h"

static struct err *keep_job(struct step *step, const struct qapi_blockdev_backup *args,
                            struct node *target)
{
    struct block_job *bj;

    TRY(backup_from_args(step->t->call->world, args, target, step->t->txn, &bj));
    step->job_id = xstrdup(bj->job.id);
    return NULL;
}

static struct err *blockdev_backup_apply(struct transaction *t, struct step *step)
{
    (void)t;
    return keep_job(step, step->action->u.blockdev_backup.data, NULL);
}

const struct action_ops blockdev_backup_action = { .apply = blockdev_backup_apply,
                                                   .grouped = true };

/* ---- drive-backup: the target is a file ---- */

static void target_ready(void *arg, struct node *node, struct err *err)
{
    struct step *step = arg;

    step->other = node;
    step_done(step, err);
}

static struct err *drive_backup_plan(struct step *step, struct image_new_options *image)
{
    const struct qapi_drive_backup *args = step->action->u.drive_backup.data;
    struct graph *graph = step->t->call->world->graph;
    const bool existing = args->mode.set && args->mode.value == QAPI_NEW_IMAGE_MODE_EXISTING;
    const bool top = args->sync == QAPI_MIRROR_SYNC_MODE_TOP;
    const bool none = args->sync == QAPI_MIRROR_SYNC_MODE_NONE;
    struct node *source, *below;

    TRY(graph_lookup_disk(graph, args->device, &source));
    step->node = node_ref(source);
    source = node_skip_filters(source);
    below = node_backing(source);
    *image = (struct image_new_options){
        .filename = args->target,
        .format = args->format ? args->format
                  : existing   ? NULL
                               : source->driver->name,
        .create = !existing,
        .size = source->size,
        .no_backing = true,
        .open = { .cache_direct = source->open.cache_direct,
                  .cache_no_flush = source->open.cache_no_flush,
                  .discard_unmap = source->open.discard_unmap },
    };
    /* What the target does not get it is to find below. */
    if (none)
        below = source;
    if (!existing && (none || (top && below))) {
        image->backing = below->filename;
        image->backing_format = below->driver->name;
    }
    return image_new_check(graph, image);
}

static void drive_backup_prepare(struct transaction *t, struct step *step)
{
    struct image_new_options image;
    struct err *err = drive_backup_plan(step, &image);
    char *text;

    if (err) {
        step_done(step, err);
        return;
    }
    if (image.create) {
        text = image_new_text(t->call->world->graph, &image);
        fputs(text, stdout);
        fflush(stdout);
        xfree(text);
    }
    image_new(t->call->world->graph, &image, target_ready, step);
}

static struct err *drive_backup_apply(struct transaction *t, struct step *step)
{
    const struct qapi_drive_backup *args = step->action->u.drive_backup.data;
    struct node *source = node_skip_filters(step->node), *target = node_skip_filters(step->other);
    const bool full = args->sync == QAPI_MIRROR_SYNC_MODE_TOP && !node_backing(source);
    const struct qapi_blockdev_backup common = {
        .job_id = args->job_id,
        .device = args->device,
        .sync = full ? QAPI_MIRROR_SYNC_MODE_FULL : args->sync,
        .speed = { args->speed.set, args->speed.value },
        .bitmap = args->bitmap,
        .bitmap_mode = { args->bitmap_mode.set, args->bitmap_mode.value },
        .compress = { args->compress.set, args->compress.value },
        .on_source_error = { args->on_source_error.set, args->on_source_error.value },
        .on_target_error = { args->on_target_error.set, args->on_target_error.value },
        .auto_finalize = { args->auto_finalize.set, args->auto_finalize.value },
        .auto_dismiss = { args->auto_dismiss.set, args->auto_dismiss.value },
        .filter_node_name = args->filter_node_name,
        .discard_source = { args->discard_source.set, args->discard_source.value },
        .x_perf = args->x_perf,
    };

    (void)t;
    /* What was not written since is found in the source. */
    if (args->sync == QAPI_MIRROR_SYNC_MODE_NONE && target->driver->supports_backing)
        TRY(node_set_backing(target, source));
    return keep_job(step, &common, step->other);
}

const struct action_ops drive_backup_action = { .prepare = drive_backup_prepare,
                                                .apply = drive_backup_apply,
                                                .grouped = true };
