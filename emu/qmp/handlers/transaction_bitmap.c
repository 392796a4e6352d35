/* Actions on dirty bitmaps. */

#include "emu/base/alloc.h"
#include "emu/base/log.h"
#include "emu/qmp/handlers/transaction_priv.h"
#include "emu/qmp/handlers/world.h"
#include "emu/storage/backend.h"
#include "emu/storage/bitmap.h"

static struct err *save_content(struct step *step)
{
    step->before = hbitmap_copy(step->bitmap->map);
    return step->before ? NULL
                        : err_new("Out of memory for a copy of bitmap '%s'", step->bitmap->name);
}

static void restore_content(struct transaction *t, struct step *step)
{
    (void)t;
    if (!step->before)
        return;
    hbitmap_reset_all(step->bitmap->map);
    hbitmap_merge(step->bitmap->map, step->before);
}

static struct err *find_bitmap(struct transaction *t, struct step *step,
                               const struct qapi_block_dirty_bitmap *args, enum bitmap_use use)
{
    TRY(bitmap_lookup(t->call->world->graph, args->node, args->name, &step->bitmap));
    return bitmap_check(step->bitmap, use);
}

static struct err *add_apply(struct transaction *t, struct step *step)
{
    const struct qapi_block_dirty_bitmap_add *args = step->action->u.block_dirty_bitmap_add.data;
    const uint32_t granularity = args->granularity.set ? args->granularity.value : 0;
    const bool persistent = args->persistent.set && args->persistent.value;
    struct node *node;

    TRY(graph_lookup_disk(t->call->world->graph, args->node, &node));
    if (persistent)
        TRY(bitmap_check_persistent(node, args->name, granularity));
    return bitmap_add(node, args->name, granularity, persistent,
                      args->disabled.set && args->disabled.value, &step->bitmap);
}

static void add_undo(struct transaction *t, struct step *step)
{
    (void)t;
    if (step->done)
        bitmap_free(step->bitmap);
}

const struct action_ops bitmap_add_action = { .apply = add_apply, .undo = add_undo };

static struct err *remove_apply(struct transaction *t, struct step *step)
{
    TRY(find_bitmap(t, step, step->action->u.block_dirty_bitmap_remove.data, BITMAP_USE_REMOVE));
    /* Out of sight for the actions that follow, freed by the commit. */
    list_del(&step->bitmap->link);
    return NULL;
}

static void put_back(struct step *step)
{
    list_add_tail(&step->bitmap->node->bitmaps, &step->bitmap->link);
}

static void remove_undo(struct transaction *t, struct step *step)
{
    (void)t;
    if (step->done)
        put_back(step);
}

/* The transaction has succeeded without it; a bitmap that stays in the image is one that is in use there. */
static void removed_later(void *arg, struct err *err)
{
    (void)arg;
    if (err)
        log_err("Removing a bitmap", err);
}

static void remove_commit(struct transaction *t, struct step *step)
{
    (void)t;
    put_back(step);
    bitmap_remove(step->bitmap, removed_later, NULL);
}

const struct action_ops bitmap_remove_action = { .apply = remove_apply,
                                                 .undo = remove_undo,
                                                 .commit = remove_commit };

static struct err *clear_apply(struct transaction *t, struct step *step)
{
    TRY(find_bitmap(t, step, step->action->u.block_dirty_bitmap_clear.data, BITMAP_USE_CHANGE));
    TRY(save_content(step));
    hbitmap_reset_all(step->bitmap->map);
    return NULL;
}

const struct action_ops bitmap_clear_action = { .apply = clear_apply, .undo = restore_content };

static struct err *switch_to(struct transaction *t, struct step *step,
                             const struct qapi_block_dirty_bitmap *args, bool on)
{
    TRY(find_bitmap(t, step, args, BITMAP_USE_CHANGE));
    step->was_enabled = step->bitmap->enabled;
    step->bitmap->enabled = on;
    return NULL;
}

static struct err *enable_apply(struct transaction *t, struct step *step)
{
    return switch_to(t, step, step->action->u.block_dirty_bitmap_enable.data, true);
}

static struct err *disable_apply(struct transaction *t, struct step *step)
{
    return switch_to(t, step, step->action->u.block_dirty_bitmap_disable.data, false);
}

static void switch_undo(struct transaction *t, struct step *step)
{
    (void)t;
    if (step->done)
        step->bitmap->enabled = step->was_enabled;
}

const struct action_ops bitmap_enable_action = { .apply = enable_apply, .undo = switch_undo };
const struct action_ops bitmap_disable_action = { .apply = disable_apply, .undo = switch_undo };

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

static struct err *merge_apply(struct transaction *t, struct step *step)
{
    const struct qapi_block_dirty_bitmap_merge *args =
        step->action->u.block_dirty_bitmap_merge.data;
    struct err *err = NULL;

    TRY(bitmap_lookup(t->call->world->graph, args->node, args->target, &step->bitmap));
    TRY(bitmap_check(step->bitmap, BITMAP_USE_CHANGE));
    TRY(save_content(step));
    for (size_t i = 0; i < args->bitmaps.len && !err; i++)
        err = merge_one(t, step, args->node, &args->bitmaps.items[i]);
    return err;
}

const struct action_ops bitmap_merge_action = { .apply = merge_apply, .undo = restore_content };
