/* See storage_events.h. */
#include "emu/qmp/handlers/storage_events.h"

#include <errno.h>
#include <string.h>

#include "emu/base/check.h"
#include "emu/qmp/qmp_block.h"      // Generated.
#include "emu/qmp/qmp_block_core.h" // Generated.
#include "emu/storage/backend.h"
#include "emu/storage/event.h"

static char *text(const char *borrowed) { return (char *)(uintptr_t)borrowed; }

static void raise_corrupted(struct storage_events *se, const struct storage_event *event)
{
    const struct backend *backend = backend_of_node(event->node);
    struct qapi_block_image_corrupted_event data = {
        .device = text(backend ? backend_label(backend) : ""),
        .node_name = event->node->name,
        .msg = text(event->u.corrupted.message),
        .fatal = event->u.corrupted.fatal,
    };

    if (event->u.corrupted.have_range) {
        data.offset.set = data.size.set = true;
        data.offset.value = (int64_t)event->u.corrupted.offset;
        data.size.value = (int64_t)event->u.corrupted.size;
    }
    qapi_event_block_image_corrupted(se->events, &data);
}

static void raise_threshold(struct storage_events *se, const struct storage_event *event)
{
    qapi_event_block_write_threshold(se->events,
                                     &(struct qapi_block_write_threshold_event){
                                         .node_name = event->node->name,
                                         .amount_exceeded = event->u.threshold.exceeded_by,
                                         .write_threshold = event->u.threshold.threshold });
}

static void raise_tray(struct storage_events *se, const struct storage_event *event)
{
    qapi_event_device_tray_moved(
        se->events, &(struct qapi_device_tray_moved_event){ .device = event->backend->name,
                                                            .id = event->backend->device,
                                                            .tray_open = event->u.tray_open });
}

static void raise_io_error(struct storage_events *se, const struct storage_event *event)
{
    const struct backend *backend = event->backend;
    struct qapi_block_io_error_event data = {
        .qom_path = backend->device_path ? backend->device_path : text(""),
        .device = backend->name,
        .node_name = backend->root ? backend->root->node->name : NULL,
        .operation =
            event->u.io_error.is_read ? QAPI_IO_OPERATION_TYPE_READ : QAPI_IO_OPERATION_TYPE_WRITE,
        .action = (enum qapi_block_error_action)event->u.io_error.action,
        .reason = strerror(event->u.io_error.error),
    };

    data.nospace.set = event->u.io_error.stops_possible;
    data.nospace.value = event->u.io_error.error == ENOSPC;
    qapi_event_block_io_error(se->events, &data);
}

static void told(struct notifier *notifier, void *arg)
{
    struct storage_events *se = container_of(notifier, struct storage_events, notifier);
    const struct storage_event *event = arg;

    switch (event->kind) {
    case STORAGE_IMAGE_CORRUPTED: raise_corrupted(se, event); break;
    case STORAGE_WRITE_THRESHOLD: raise_threshold(se, event); break;
    case STORAGE_TRAY_MOVED: raise_tray(se, event); break;
    case STORAGE_IO_ERROR: raise_io_error(se, event); break;
    case STORAGE_QUORUM_FAILURE:
    case STORAGE_QUORUM_REPORT_BAD: break; /* There is no such driver yet. */
    case STORAGE_REQUEST_SUSPENDED:
    case STORAGE_REQUEST_RESUMED: break; /* For whoever set the breakpoint. */
    }
}

void storage_events_init(struct storage_events *se, struct graph *graph, struct qmp_events *events)
{
    *se = (struct storage_events){ .notifier = { .fn = told }, .events = events };
    notifier_add(graph_events(graph), &se->notifier);
}

void storage_events_fini(struct storage_events *se) { notifier_remove(&se->notifier); }

const struct qmp_command_set storage_event_set = {
    .commands = { QMP_COMMAND_END },
    .events = { &qmp_event_block_image_corrupted, &qmp_event_block_write_threshold, NULL },
};
