/* External snapshots. */
#include "emu/storage/overlay.h"

#include "emu/storage/core.h"

struct err *overlay_check(const struct node *overlay)
{
    uint32_t perm, shared;

    node_cumulative(overlay, &perm, &shared);
    if (perm & PERM_CONSISTENT_READ)
        return err_new("The overlay is already in use");
    if (!overlay->driver->supports_backing)
        return err_new("The overlay does not support backing images");
    if (overlay->backing)
        return err_new("The overlay already has a backing image");
    return NULL;
}

struct err *overlay_put(struct node *overlay, struct node *node)
{
    struct err *err;

    TRY(node_set_backing(overlay, node));
    err = graph_replace_node(node, overlay);
    if (err)
        err_ignore(node_set_backing(overlay, NULL));
    return err;
}

void overlay_take(struct node *overlay, struct node *node)
{
    struct err *err = graph_replace_node(overlay, node);

    if (!err)
        err = node_set_backing(overlay, NULL);
    err_ignore(err);
}
