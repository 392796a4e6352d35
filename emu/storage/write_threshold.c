/* The watermark of a node. */
#include "emu/storage/write_threshold.h"

#include "emu/storage/core.h"
#include "emu/storage/event.h"

static void written(struct notifier *notifier, void *data)
{
    struct node_core *core = container_of(notifier, struct node_core, threshold_notifier);
    const struct node_write_note *note = data;
    struct storage_event event = { .kind = STORAGE_WRITE_THRESHOLD, .node = core->node };
    const uint64_t end = note->offset + note->len;

    if (!core->write_threshold || end <= core->write_threshold)
        return;
    event.u.threshold.threshold = core->write_threshold;
    event.u.threshold.exceeded_by = end - core->write_threshold;
    core->write_threshold = 0;
    graph_raise(core->node->graph, &event);
}

void node_set_write_threshold(struct node *node, uint64_t offset)
{
    struct node_core *core = core_of(node);

    core->write_threshold = offset;
    if (core->threshold_notifier.fn)
        return;
    core->threshold_notifier.fn = written;
    notifier_add(&node->on_write, &core->threshold_notifier);
}

uint64_t node_write_threshold(const struct node *node) { return core_of(node)->write_threshold; }
