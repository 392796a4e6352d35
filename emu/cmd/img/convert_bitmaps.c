/* The persistent dirty bitmaps of emu-img convert --bitmaps. */

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/hbitmap.h"
#include "emu/cmd/img/convert.h"
#include "emu/storage/bitmap.h"

struct err *convert_bitmaps_check(struct conversion *cv)
{
    const struct convert_options *o = cv->options;

    if (!cv->sources[0].node->driver->bitmaps)
        return err_new("Source lacks bitmap support");
    if (!o->target_opts && !driver_find(cv->tool->graph, o->target_format)->bitmaps)
        return err_new("Format driver '%s' does not support bitmaps", o->target_format);
    list_for_each(bitmap, &cv->sources[0].node->bitmaps, struct bitmap, link) {
        struct err *err;

        if (!bitmap->persistent || !bitmap->inconsistent)
            continue;
        if (o->skip_broken_bitmaps) {
            tool_warn(cv->tool, "Skipping inconsistent bitmap '%s'", bitmap->name);
            continue;
        }
        err = err_new("Cannot copy inconsistent bitmap '%s'", bitmap->name);
        err_hint_append(err,
                        "Try --skip-broken-bitmaps, or use '%s bitmap --remove' to delete it\n",
                        cv->tool->program);
        return err;
    }
    return NULL;
}

static struct err *copy_one(struct node *target, struct bitmap *source)
{
    uint32_t granularity = (uint32_t)hbitmap_granularity(source->map);
    struct bitmap *copy;
    struct err *err;

    TRY(err_prefix(bitmap_check_persistent(target, source->name, granularity),
                   "Failed to create bitmap %s: ", source->name));
    TRY(err_prefix(bitmap_add(target, source->name, granularity, true, !source->enabled, &copy),
                   "Failed to create bitmap %s: ", source->name));
    err = bitmap_merge(copy, &source, 1);
    if (err)
        bitmap_free(copy);
    return err_prefix(err, "Failed to populate bitmap %s: ", source->name);
}

struct err *convert_bitmaps(struct conversion *cv)
{
    list_for_each_reverse(bitmap, &cv->sources[0].node->bitmaps, struct bitmap, link) {
        if (bitmap->persistent && !bitmap->inconsistent)
            TRY(copy_one(cv->target.node, bitmap));
    }
    return NULL;
}
