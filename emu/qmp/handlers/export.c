/* block-export-add, block-export-del, query-block-exports. */
#include "emu/qmp/handlers/export.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/object/iothread.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_block_export.h" // Generated.

static struct err *take_bitmaps(const struct qapi_block_export_options_nbd *nbd,
                                struct export_options *out)
{
    if (!nbd->bitmaps.set)
        return NULL;
    if (nbd->bitmaps.value.len > EXPORT_BITMAPS_MAX)
        return err_new("An export can show at most %d bitmaps", EXPORT_BITMAPS_MAX);
    for (size_t i = 0; i < nbd->bitmaps.value.len; i++) {
        const struct qapi_block_dirty_bitmap_or_str *item = &nbd->bitmaps.value.items[i];

        if (item->kind == QAPI_BLOCK_DIRTY_BITMAP_OR_STR_LOCAL) {
            out->bitmaps[i].name = item->u.local;
        } else {
            out->bitmaps[i].name = item->u.external->name;
            out->bitmaps[i].node_name = item->u.external->node;
        }
        out->bitmap_count++;
    }
    return NULL;
}

static struct err *take_nbd(const struct qapi_block_export_options_nbd *nbd,
                            struct export_options *out)
{
    out->type = EXPORT_NBD;
    out->name = nbd->name;
    out->description = nbd->description;
    out->allocation_depth = nbd->allocation_depth.set && nbd->allocation_depth.value;
    return take_bitmaps(nbd, out);
}

static struct err *take_fuse(const struct qapi_block_export_options_fuse *fuse,
                             struct export_options *out)
{
    static const enum export_allow_other allow_other[] = {
        [QAPI_FUSE_EXPORT_ALLOW_OTHER_OFF] = EXPORT_ALLOW_OTHER_OFF,
        [QAPI_FUSE_EXPORT_ALLOW_OTHER_ON] = EXPORT_ALLOW_OTHER_ON,
        [QAPI_FUSE_EXPORT_ALLOW_OTHER_AUTO] = EXPORT_ALLOW_OTHER_AUTO,
    };

    out->type = EXPORT_FUSE;
    out->fuse.mountpoint = fuse->mountpoint;
    out->fuse.growable = fuse->growable.set && fuse->growable.value;
    out->fuse.allow_other =
        fuse->allow_other.set ? allow_other[fuse->allow_other.value] : EXPORT_ALLOW_OTHER_AUTO;
    return NULL;
}

static struct err *take_type(const struct qapi_block_export_options *options,
                             struct export_options *out)
{
    switch (options->type) {
    case QAPI_BLOCK_EXPORT_TYPE_NBD: return take_nbd(&options->u.nbd, out);
    case QAPI_BLOCK_EXPORT_TYPE_FUSE: return take_fuse(&options->u.fuse, out);
    }
    unreachable();
}

struct err *export_add_options(struct exports *exports,
                               const struct qapi_block_export_options *options, graph_done_fn *done,
                               void *arg)
{
    struct export_options o = {
        .id = options->id,
        .node_name = options->node_name,
        .writable = options->writable.set && options->writable.value,
        .writethrough = options->writethrough.set && options->writethrough.value,
    };

    if (options->iothread && !iothread_find(graph_objects(exports->graph), options->iothread))
        return err_new("iothread \"%s\" not found", options->iothread);
    TRY(take_type(options, &o));
    return export_add(exports, &o, done, arg);
}

static void added(void *arg, struct err *err) { qmp_reply(arg, err); }

static void add_handler(struct qmp_call *call, const struct qapi_block_export_options *args)
{
    struct err *err = export_add_options(call->world->exports, args, added, call);

    if (err)
        qmp_reply(call, err); /* Refused at once: nothing was started. */
}

/* The event comes before the answer if it can. */
static void deletion_begun(void *arg, struct err *err) { qmp_reply(arg, err); }

static void del_handler(struct qmp_call *call, const struct qapi_block_export_del_args *args)
{
    bool hard = args->mode.set && args->mode.value == QAPI_BLOCK_EXPORT_REMOVE_MODE_HARD;
    struct err *err = export_del(call->world->exports, args->id,
                                 hard ? EXPORT_DEL_HARD : EXPORT_DEL_SAFE, deletion_begun, call);

    if (err)
        qmp_reply(call, err);
}

/* Newest first, as the reference lists them. */
static void query_handler(struct qmp_call *call)
{
    struct qapi_block_export_info_list list = { 0 };

    list_for_each_reverse(export, &call->world->exports->list, struct export, link) {
        struct qapi_block_export_info *info = qapi_block_export_info_list_add(&list);

        info->id = xstrdup(export->id);
        info->type =
            export->type == EXPORT_FUSE ? QAPI_BLOCK_EXPORT_TYPE_FUSE : QAPI_BLOCK_EXPORT_TYPE_NBD;
        info->node_name = xstrdup(export->edge->node->name);
        info->shutting_down = export->shutting_down;
    }
    qmp_reply_query_block_exports(call, &list);
    qapi_block_export_info_list_fini(&list);
}

const struct qmp_command_set export_commands = {
    .commands = {
        QMP_COMMAND(block_export_add, add_handler),
        QMP_COMMAND(block_export_del, del_handler),
        QMP_COMMAND(query_block_exports, query_handler),
        QMP_COMMAND_END,
    },
    .events = {&qmp_event_block_export_deleted, NULL},
};

static void deleted(struct notifier *notifier, void *data)
{
    struct export_events *ee = container_of(notifier, struct export_events, notifier);

    qapi_event_block_export_deleted(ee->events,
                                    &(struct qapi_block_export_deleted_event){ .id = data });
}

void export_events_init(struct export_events *ee, struct exports *exports,
                        struct qmp_events *events)
{
    *ee = (struct export_events){ .notifier.fn = deleted, .events = events };
    notifier_add(&exports->on_deleted, &ee->notifier);
}

void export_events_fini(struct export_events *ee) { notifier_remove(&ee->notifier); }
