/* Cutting a node off for good: its own requests and those of what only it uses end soon. */
#include "emu/storage/core.h"

void node_fence(struct node *start)
{
    node_vec todo = { 0 };

    vec_push(&todo, start);
    while (vec_len(&todo)) {
        struct node *node = vec_pop(&todo);

        if (core_of(node)->fenced)
            continue;
        core_of(node)->fenced = true;
        node_ref(node);
        if (node->driver->fence)
            node->driver->fence(node);
        list_for_each(edge, &node->children, struct edge, child_link) {
            /* What others use, too, goes on for them. */
            if (list_count(&edge->node->parents) == 1)
                vec_push(&todo, edge->node);
        }
        node_unref(node);
    }
    vec_fini(&todo);
}
