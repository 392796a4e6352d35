/* Actions that take snapshots: overlays above a node, or inside its image. */

#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/nstime.h"
#include "emu/jobs/block/launch.h"
#include "emu/qmp/handlers/transaction_priv.h"
#include "emu/qmp/handlers/world.h"
#include "emu/storage/backend.h"
#include "emu/storage/driver.h"
#include "emu/storage/image_new.h"
#include "emu/storage/overlay.h"
#include "emu/storage/reopen.h"

/* ---- Overlays ---- */

static struct err *overlay_apply(struct transaction *t, struct step *step)
{
    (void)t;
    TRY(block_job_check_unused(step->node));
    TRY(overlay_check(step->other));
    return overlay_put(step->other, step->node);
}

static void overlay_undo(struct transaction *t, struct step *step)
{
    (void)t;
    if (step->done)
        overlay_take(step->other, step->node);
}

static void below_reopened(void *arg, struct err *err)
{
    err_ignore(err); /* Others may have reasons to write there. */
    step_done(arg, NULL);
}

/* Nobody writes to what is below an overlay now. */
static void overlay_finish(struct transaction *t, struct step *step)
{
    (void)t;
    reopen_read_only(step->node, true, below_reopened, step);
}

static struct err *find_nodes(struct step *step)
{
    const struct qapi_blockdev_snapshot *args = step->action->u.blockdev_snapshot.data;
    struct graph *graph = step->t->call->world->graph;
    struct node *node, *overlay;

    TRY(graph_lookup_disk(graph, args->node, &node));
    step->node = node_ref(node);
    list_for_each(edge, &node->parents, struct edge, parent_link) {
        if (edge->parent && edge->parent->refs && (edge->role & ROLE_COW))
            return err_new("Node '%s' is busy: node is used as backing hd of '%s'", node->name,
                           edge->parent->name);
    }
    TRY(graph_lookup_disk(graph, args->overlay, &overlay));
    step->other = node_ref(overlay);
    return overlay_check(overlay);
}

static void snapshot_prepare(struct transaction *t, struct step *step)
{
    (void)t;
    step_done(step, find_nodes(step));
}

const struct action_ops snapshot_action = { .prepare = snapshot_prepare,
                                            .drains = true,
                                            .apply = overlay_apply,
                                            .undo = overlay_undo,
                                            .finish = overlay_finish };

/* ---- Overlays that are files ---- */

static void overlay_ready(void *arg, struct node *node, struct err *err)
{
    struct step *step = arg;

    step->other = node;
    step_done(step, err);
}

static struct err *snapshot_sync_plan(struct step *step, struct image_new_options *image)
{
    const struct qapi_blockdev_snapshot_sync *args = step->action->u.blockdev_snapshot_sync.data;
    struct graph *graph = step->t->call->world->graph;
    const bool existing = args->mode.set && args->mode.value == QAPI_NEW_IMAGE_MODE_EXISTING;
    struct node *node, *below;

    TRY(graph_lookup_either(graph, args->device, args->node_name, &node));
    step->node = node_ref(node);
    TRY(block_job_check_unused(node));
    if (args->node_name && !args->snapshot_node_name)
        return err_new("New overlay node-name missing");
    if (args->snapshot_node_name && graph_find(graph, args->snapshot_node_name))
        return err_new("New overlay node-name already in use");
    below = node_skip_filters(node);
    *image = (struct image_new_options){
        .filename = args->snapshot_file,
        .format = args->format ? args->format : "qcow2",
        .create = !existing,
        .size = node->size,
        .backing = below->filename,
        .backing_format = below->driver->name,
        .node_name = args->snapshot_node_name,
        .no_backing = true,
        .open = { .cache_direct = node->open.cache_direct,
                  .cache_no_flush = node->open.cache_no_flush,
                  .discard_unmap = node->open.discard_unmap },
    };
    return image_new_check(graph, image);
}

static void snapshot_sync_prepare(struct transaction *t, struct step *step)
{
    struct image_new_options image;
    struct err *err = snapshot_sync_plan(step, &image);
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
    image_new(t->call->world->graph, &image, overlay_ready, step);
}

const struct action_ops snapshot_sync_action = { .prepare = snapshot_sync_prepare,
                                                 .drains = true,
                                                 .apply = overlay_apply,
                                                 .undo = overlay_undo,
                                                 .finish = overlay_finish };

/* ---- Snapshots in the image ---- */

static struct err *internal_plan(struct step *step)
{
    const struct qapi_blockdev_snapshot_internal *args =
        step->action->u.blockdev_snapshot_internal_sync.data;
    struct graph *graph = step->t->call->world->graph;
    const int64_t now = reactor_wall_now(step->t->call->world->reactor);
    const char *device = args->device;
    struct node *node, *keeper;

    TRY(graph_lookup_disk(graph, device, &node));
    step->node = node_ref(node);
    TRY(launch_check_root(node));
    TRY(block_job_check_unused(node));
    if (node->read_only)
        return err_new("Device '%s' is read only", device);
    keeper = node_snapshot_keeper(node);
    if (!keeper)
        return err_new("Block format '%s' used by device '%s' does not support internal snapshots",
                       node->driver->name, device);
    if (!*args->name)
        return err_new("Name is empty");
    if (node_snapshot_find(node, NULL, args->name))
        return err_new("Snapshot with name '%s' already exists on device '%s'", args->name, device);
    if (strlen(args->name) > SNAPSHOT_NAME_MAX)
        return err_new("Snapshot name '%s' is longer than %d bytes", args->name, SNAPSHOT_NAME_MAX);
    step->snapshot =
        (struct snapshot_info){ .date_sec = now / NS_PER_SEC,
                                .date_nsec = (uint32_t)(now % NS_PER_SEC / NS_PER_US * NS_PER_US),
                                .vm_clock_nsec = (uint64_t)now,
                                .icount = UINT64_MAX,
                                .disk_size = node->size };
    memcpy(step->snapshot.name, args->name, strlen(args->name) + 1);
    return NULL;
}

static void internal_prepare(struct transaction *t, struct step *step)
{
    (void)t;
    step_done(step, internal_plan(step));
}

static void internal_taken(void *arg, struct err *err)
{
    struct step *step = arg;
    const char *device = step->action->u.blockdev_snapshot_internal_sync.data->device;

    step_done(step, err ? err_prefix(err, "Failed to create snapshot '%s' on device '%s': ",
                                     step->snapshot.name, device)
                        : NULL);
}

static void internal_apply(struct transaction *t, struct step *step)
{
    /* An action before may have put an overlay above it. */
    struct err *err = launch_check_root(step->node);

    (void)t;
    if (err) {
        step_done(step, err);
        return;
    }
    node_snapshot_create(step->node, &step->snapshot, internal_taken, step);
}

static void removed(void *arg, struct err *err)
{
    err_ignore(err);
    transaction_undone(arg);
}

static void internal_undo(struct transaction *t, struct step *step)
{
    const struct snapshot_info *made;

    if (!step->done)
        return;
    made = node_snapshot_find(step->node, NULL, step->snapshot.name);
    if (!made)
        return;
    t->undoing++;
    node_snapshot_remove(step->node, made->id, removed, t);
}

const struct action_ops snapshot_internal_action = { .prepare = internal_prepare,
                                                     .drains = true,
                                                     .apply_start = internal_apply,
                                                     .undo = internal_undo };
