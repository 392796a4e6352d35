/* block-dirty-bitmap-* and x-debug-block-dirty-bitmap-sha256. */

#include "emu/qmp/handlers/bitmap.h"

#include "emu/base/alloc.h"
#include "emu/base/hbitmap.h"
#include "emu/base/vec.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_block_core.h" // Generated.
#include "emu/storage/backend.h"
#include "emu/storage/bitmap.h"

static void block_dirty_bitmap_add_handler(struct qmp_call *call,
                                           const struct qapi_block_dirty_bitmap_add *args)
{
    bool persistent = args->persistent.set && args->persistent.value;
    uint32_t granularity = args->granularity.set ? args->granularity.value : 0;
    struct bitmap *bitmap;
    struct node *node;
    struct err *err = graph_lookup_disk(call->world->graph, args->node, &node);

    if (!err && args->granularity.set && granularity == 0)
        err = err_new("Granularity must be power of 2 and at least 512");
    if (!err && !*args->name)
        err = err_new("Bitmap name cannot be empty");
    if (!err && persistent)
        err = bitmap_check_persistent(node, args->name, granularity);
    if (!err)
        err = bitmap_add(node, args->name, granularity, persistent,
                         args->disabled.set && args->disabled.value, &bitmap);
    qmp_reply(call, err);
}

static struct err *find(struct qmp_call *call, const struct qapi_block_dirty_bitmap *args,
                        enum bitmap_use use, struct bitmap **out)
{
    TRY(bitmap_lookup(call->world->graph, args->node, args->name, out));
    return bitmap_check(*out, use);
}

static void removed(void *arg, struct err *err) { qmp_reply(arg, err); }

static void block_dirty_bitmap_remove_handler(struct qmp_call *call,
                                              const struct qapi_block_dirty_bitmap *args)
{
    struct bitmap *bitmap;
    struct err *err = find(call, args, BITMAP_USE_REMOVE, &bitmap);

    if (err)
        qmp_reply(call, err);
    else
        bitmap_remove(bitmap, removed, call);
}

static void block_dirty_bitmap_clear_handler(struct qmp_call *call,
                                             const struct qapi_block_dirty_bitmap *args)
{
    struct bitmap *bitmap;
    struct err *err = find(call, args, BITMAP_USE_CHANGE, &bitmap);

    if (!err)
        hbitmap_reset_all(bitmap->map);
    qmp_reply(call, err);
}

static void set_enabled(struct qmp_call *call, const struct qapi_block_dirty_bitmap *args,
                        bool enabled)
{
    struct bitmap *bitmap;
    struct err *err = find(call, args, BITMAP_USE_CHANGE, &bitmap);

    if (!err)
        bitmap->enabled = enabled;
    qmp_reply(call, err);
}

static void block_dirty_bitmap_enable_handler(struct qmp_call *call,
                                              const struct qapi_block_dirty_bitmap *args)
{
    set_enabled(call, args, true);
}

static void block_dirty_bitmap_disable_handler(struct qmp_call *call,
                                               const struct qapi_block_dirty_bitmap *args)
{
    set_enabled(call, args, false);
}

static void block_dirty_bitmap_merge_handler(struct qmp_call *call,
                                             const struct qapi_block_dirty_bitmap_merge *args)
{
    VEC(struct bitmap *) sources = { 0 };
    struct bitmap *target, *source;
    struct err *err = bitmap_lookup(call->world->graph, args->node, args->target, &target);

    if (!err)
        err = bitmap_check(target, BITMAP_USE_CHANGE);
    for (size_t i = 0; i < args->bitmaps.len && !err; i++) {
        const struct qapi_block_dirty_bitmap_or_str *ref = &args->bitmaps.items[i];

        if (ref->kind == QAPI_BLOCK_DIRTY_BITMAP_OR_STR_LOCAL)
            err = bitmap_lookup(call->world->graph, args->node, ref->u.local, &source);
        else
            err = bitmap_lookup(call->world->graph, ref->u.external->node, ref->u.external->name,
                                &source);
        if (!err)
            vec_push(&sources, source);
    }
    /* All or nothing: merging cannot fail after this. */
    if (!err)
        err = bitmap_merge(target, sources.items, vec_len(&sources));
    vec_fini(&sources);
    qmp_reply(call, err);
}

static void x_debug_block_dirty_bitmap_sha256_handler(struct qmp_call *call,
                                                      const struct qapi_block_dirty_bitmap *args)
{
    char text[SHA256_HEX_SIZE];
    struct bitmap *bitmap;
    struct err *err = bitmap_lookup(call->world->graph, args->node, args->name, &bitmap);

    if (err) {
        qmp_reply(call, err);
        return;
    }
    struct qapi_block_dirty_bitmap_sha256 reply = { .sha256 = hbitmap_sha256(bitmap->map, text) };

    qmp_reply_x_debug_block_dirty_bitmap_sha256(call, &reply);
}

const struct qmp_command_set bitmap_commands = {
    .commands =
        {
            QMP_COMMAND(block_dirty_bitmap_add, block_dirty_bitmap_add_handler),
            QMP_COMMAND(block_dirty_bitmap_remove, block_dirty_bitmap_remove_handler),
            QMP_COMMAND(block_dirty_bitmap_clear, block_dirty_bitmap_clear_handler),
            QMP_COMMAND(block_dirty_bitmap_enable, block_dirty_bitmap_enable_handler),
            QMP_COMMAND(block_dirty_bitmap_disable, block_dirty_bitmap_disable_handler),
            QMP_COMMAND(block_dirty_bitmap_merge, block_dirty_bitmap_merge_handler),
            QMP_COMMAND(x_debug_block_dirty_bitmap_sha256, x_debug_block_dirty_bitmap_sha256_handler),
            QMP_COMMAND_END,
        },
};
