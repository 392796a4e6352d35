/* The graph: users of nodes first, then the nodes, and the edges in the order of their children. */

#include "emu/qmp/handlers/graph_picture.h"

#include "emu/base/vec.h"
#include "emu/jobs/block/block_job.h"
#include "emu/storage/backend.h"

struct picture {
    VEC(const void *) seen; /* The id of a vertex is its place, from 1. */
    struct json *nodes, *edges;
};

static uint64_t vertex(struct picture *p, const void *what, const char *type, const char *name)
{
    struct json *one;

    for (size_t i = 0; i < vec_len(&p->seen); i++) {
        if (vec_at(&p->seen, i) == what)
            return i + 1;
    }
    vec_push(&p->seen, what);
    one = json_object();
    json_object_set_uint(one, "id", vec_len(&p->seen));
    json_object_set_str(one, "type", type);
    json_object_set_str(one, "name", name);
    json_array_add(p->nodes, one);
    return vec_len(&p->seen);
}

static uint64_t parent_vertex(struct picture *p, const struct edge *edge)
{
    if (edge->parent)
        return vertex(p, edge->parent, "block-driver", edge->parent->name);
    if (block_job_owns(edge)) {
        const struct block_job *bj = edge->owner;

        return vertex(p, bj, "block-job", bj->job.id ? bj->job.id : "");
    }
    list_for_each(backend, graph_backends(edge->node->graph), struct backend, link) {
        if (backend->root == edge)
            return vertex(p, backend, "block-backend", backend_label(backend));
    }
    return vertex(p, edge, "block-backend", "");
}

static struct json *perms(uint32_t perm)
{
    static const char *const names[] = { "consistent-read", "write", "write-unchanged", "resize" };
    struct json *list = json_array();

    for (size_t i = ARRAY_LEN(names); i-- > 0;) {
        if (perm & BIT(i))
            json_array_add_str(list, names[i]);
    }
    return list;
}

struct json *graph_picture(struct graph *graph)
{
    struct picture p = { .nodes = json_array(), .edges = json_array() };
    struct json *result = json_object();

    list_for_each(node, graph_nodes(graph), struct node, link) {
        list_for_each(edge, &node->parents, struct edge, parent_link)
            (void)parent_vertex(&p, edge);
    }
    list_for_each(node, graph_nodes(graph), struct node, link) {
        const uint64_t child = vertex(&p, node, "block-driver", node->name);

        list_for_each(edge, &node->parents, struct edge, parent_link) {
            struct json *one = json_object();

            json_object_set_uint(one, "parent", parent_vertex(&p, edge));
            json_object_set_uint(one, "child", child);
            json_object_set_str(one, "name", edge->name);
            json_object_set(one, "perm", perms(edge->perm));
            json_object_set(one, "shared-perm", perms(edge->shared));
            json_array_add(p.edges, one);
        }
    }
    vec_fini(&p.seen);
    json_object_set(result, "nodes", p.nodes);
    json_object_set(result, "edges", p.edges);
    return result;
}
