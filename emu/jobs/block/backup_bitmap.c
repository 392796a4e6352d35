/* Dirty bitmaps and backups. */

#include "emu/jobs/block/backup_bitmap.h"

static const char *const mode_names[] = {
    [BACKUP_BITMAP_ON_SUCCESS] = "on-success",
    [BACKUP_BITMAP_NEVER] = "never",
    [BACKUP_BITMAP_ALWAYS] = "always",
};

static struct err *check_modes(const struct backup_params *params)
{
    const bool incremental = params->sync == SYNC_INCREMENTAL;

    if ((incremental || params->sync == SYNC_BITMAP) && !params->bitmap)
        return err_new("must provide a valid bitmap name for '%s' sync mode",
                       sync_mode_name(params->sync));
    if (incremental && params->bitmap_mode.set &&
        params->bitmap_mode.value != BACKUP_BITMAP_ON_SUCCESS)
        return err_new("Bitmap sync mode must be '%s' when using sync mode '%s'",
                       mode_names[BACKUP_BITMAP_ON_SUCCESS], sync_mode_name(params->sync));
    return NULL;
}

struct err *backup_bitmap_check(const struct backup_params *params, struct bitmap **out)
{
    *out = NULL;
    TRY(check_modes(params));
    if (!params->bitmap) {
        if (params->bitmap_mode.set)
            return err_new("Cannot specify bitmap sync mode without a bitmap");
        return NULL;
    }
    *out = bitmap_find(params->source, params->bitmap);
    if (!*out)
        return err_new("Bitmap '%s' could not be found", params->bitmap);
    if (!params->bitmap_mode.set && params->sync != SYNC_INCREMENTAL)
        return err_new("Bitmap sync mode must be given when providing a bitmap");
    TRY(bitmap_check(*out,
                     params->bitmap_mode.set && params->bitmap_mode.value == BACKUP_BITMAP_NEVER
                         ? BITMAP_USE_READ
                         : BITMAP_USE_CHANGE));
    if (params->sync == SYNC_NONE)
        return err_new("sync mode 'none' does not produce meaningful bitmap outputs");
    if (params->bitmap_mode.set && params->bitmap_mode.value == BACKUP_BITMAP_NEVER &&
        params->sync != SYNC_BITMAP)
        return err_new(
            "Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '%s'",
            sync_mode_name(params->sync));
    return NULL;
}

struct err *backup_bitmap_begin(struct backup_bitmap *bb, struct bitmap *bitmap,
                                const struct backup_params *params, struct hbitmap *todo)
{
    if (bitmap) {
        TRY(bitmap_freeze(bitmap));
        bb->bitmap = bitmap;
        bb->mode = params->bitmap_mode.set ? params->bitmap_mode.value : BACKUP_BITMAP_ON_SUCCESS;
    }
    if (params->sync == SYNC_BITMAP || params->sync == SYNC_INCREMENTAL)
        hbitmap_merge(todo, bitmap->map);
    else if (hbitmap_size(todo) > 0)
        hbitmap_set(todo, 0, hbitmap_size(todo));
    return NULL;
}

void backup_bitmap_end(struct backup_bitmap *bb, bool success, const struct hbitmap *todo)
{
    struct bitmap *bitmap = bb->bitmap;

    if (!bitmap)
        return;
    bb->bitmap = NULL;
    if (bb->mode == BACKUP_BITMAP_NEVER || (bb->mode == BACKUP_BITMAP_ON_SUCCESS && !success)) {
        bitmap_reclaim(bitmap);
        return;
    }
    bitmap_abdicate(bitmap);
    /* What did not get to the target is still dirty with respect to it. */
    if (!success)
        hbitmap_merge(bitmap->map, todo);
}
