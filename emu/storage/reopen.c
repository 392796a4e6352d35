/*
 * Reopening, see reopen.h.
 *
 * What a set of options means for a node is worked out when it is added (reopen_add.c); here it is carried out. Edges
 * are changed with the core's own means, with the permissions of all nodes worked out once, at the end.
 */
#include "emu/storage/reopen.h"

#include "emu/base/alloc.h"
#include "emu/base/fsm.h"
#include "emu/base/log.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/reopen_priv.h"

static const uint32_t reopen_edges[REOPEN_PHASE_COUNT] = {
    [REOPEN_IDLE] = BIT(REOPEN_DRAIN),
    [REOPEN_DRAIN] = BIT(REOPEN_PREPARE),
    [REOPEN_PREPARE] = BIT(REOPEN_SETTLE) | BIT(REOPEN_UNDO),
    [REOPEN_SETTLE] = BIT(REOPEN_READY) | BIT(REOPEN_UNDO),
    [REOPEN_READY] = BIT(REOPEN_QUIET) | BIT(REOPEN_UNDO),
    [REOPEN_QUIET] = BIT(REOPEN_USE),
    [REOPEN_UNDO] = BIT(REOPEN_USE),
    [REOPEN_USE] = BIT(REOPEN_OVER),
    [REOPEN_OVER] = 0,
};

static void reopen_enter(struct reopen *r, enum reopen_phase to);
static void next_entry(struct reopen *r);

struct reopen *reopen_new(struct graph *graph)
{
    struct reopen *r = NEW(struct reopen);

    r->graph = graph;
    return r;
}

void reopen_free(struct reopen *r)
{
    if (!r)
        return;
    vec_for_each(at, &r->entries) {
        struct reopen_entry *entry = *at;

        for (int i = 0; i < REOPEN_CHILDREN; i++) {
            if (entry->children[i].to)
                node_unref(entry->children[i].to);
        }
        json_free(entry->options);
        node_unref(entry->node);
        xfree(entry);
    }
    vec_fini(&r->entries);
    xfree(r);
}

/* ---- Edges ---- */

static struct edge *child_edge(struct node *node, const char *name)
{
    list_for_each(edge, &node->children, struct edge, child_link) {
        if (str_eq(edge->name, name))
            return edge;
    }
    return NULL;
}

static void swap_child(struct reopen_entry *entry, struct reopen_child *child)
{
    struct node *node = entry->node;
    struct edge *edge = child_edge(node, child->row->name);

    child->from = edge ? node_ref(edge->node) : NULL;
    child->inherited = edge && edge->inherits;
    if (edge && child->to) {
        edge_move(edge, child->to);
        edge->inherits = false;
    } else if (edge) {
        list_del(&edge->child_link);
        edge_unlink(edge);
        xfree(edge);
    } else if (child->to) {
        edge = edge_new(child->to, node, child->row->name, child->row->role);
    }
}

static void swap_back(struct reopen_entry *entry, struct reopen_child *child)
{
    struct node *to = child->to;

    child->to = child->from;
    child->from = NULL;
    swap_child(entry, child);
    if (child->to && child->inherited)
        child_edge(entry->node, child->row->name)->inherits = true;
    if (child->from)
        node_unref(child->from);
    if (child->to)
        node_unref(child->to);
    child->from = NULL;
    child->to = to;
}

/* The new flags and edges, or the old ones again. */
static void swap_entry(struct reopen_entry *entry, bool forth)
{
    struct node *node = entry->node;

    node->open = forth ? entry->open : entry->old_open;
    node->read_only = forth ? entry->open.read_only : entry->old_read_only;
    for (int i = 0; i < REOPEN_CHILDREN; i++) {
        if (!entry->children[i].change)
            continue;
        if (forth)
            swap_child(entry, &entry->children[i]);
        else
            swap_back(entry, &entry->children[i]);
    }
}

/* All nodes whose permissions follow from the change. */
static struct err *update_perms(struct reopen *r)
{
    node_vec nodes = { 0 };
    struct err *err;

    vec_for_each(at, &r->entries) {
        vec_push(&nodes, (*at)->node);
        for (int i = 0; i < REOPEN_CHILDREN; i++) {
            const struct reopen_child *child = &(*at)->children[i];

            if (child->from)
                vec_push(&nodes, child->from);
            if (child->to)
                vec_push(&nodes, child->to);
        }
    }
    err = perm_update(nodes.items, vec_len(&nodes));
    vec_fini(&nodes);
    return err;
}

/* Seen from the graph as the entries before have left it, as by the reference. */
static struct err *check_cycles(const struct reopen_entry *entry)
{
    for (int i = 0; i < REOPEN_CHILDREN; i++) {
        const struct reopen_child *child = &entry->children[i];
        node_vec below = { 0 };
        bool loop = false;

        if (!child->change || !child->to)
            continue;
        graph_descendants(child->to, &below);
        vec_for_each(node, &below)
            loop |= *node == entry->node;
        vec_fini(&below);
        if (loop)
            return err_new("Making '%s' a %s child of '%s' would create a cycle", child->to->name,
                           child->row->name, entry->node->name);
    }
    return NULL;
}

/* A node that would become read-only while others go on writing to it. */
static struct node *still_written(struct reopen *r)
{
    vec_for_each(at, &r->entries) {
        struct node *node = (*at)->node;

        if (!(*at)->open.read_only || (*at)->old_read_only)
            continue;
        list_for_each(edge, &node->parents, struct edge, parent_link) {
            if (!edge->parent && (edge->perm & (PERM_WRITE | PERM_WRITE_UNCHANGED)))
                return node;
        }
    }
    return NULL;
}

static struct err *change_graph(struct reopen *r)
{
    struct node *written = still_written(r);

    if (written)
        return err_new("Read-only block node '%s' cannot support read-write users", written->name);
    vec_for_each(at, &r->entries) {
        TRY(check_cycles(*at));
        swap_entry(*at, true);
        r->swapped++;
    }
    return update_perms(r);
}

static void restore_graph(struct reopen *r)
{
    struct err *err;

    if (!r->swapped)
        return;
    while (r->swapped)
        swap_entry(vec_at(&r->entries, --r->swapped), false);
    err = update_perms(r);
    check(!err);
}

/* ---- Steps ---- */

static void drained(struct drain *drain)
{
    struct reopen_entry *entry = container_of(drain, struct reopen_entry, drain);
    struct reopen *r = entry->reopen;

    check(r->pending > 0);
    if (--r->pending == 0)
        reopen_enter(r, REOPEN_PREPARE);
}

static void fail(struct reopen *r, struct err *err)
{
    r->err = err;
    reopen_enter(r, REOPEN_UNDO);
}

static void step_done(void *arg, struct err *err)
{
    struct reopen *r = arg;

    if (err) {
        fail(r, err);
        return;
    }
    if (r->phase == REOPEN_PREPARE)
        vec_at(&r->entries, r->next)->prepared = true;
    r->next++;
    next_entry(r);
}

/* What is prepared at once may end all of the reopening before this returns. */
static void prepare_driver(struct reopen *r, struct reopen_entry *entry)
{
    struct node *node = entry->node;
    CLEANUP(json_free)
    struct json *options = json_ref(entry->options ? entry->options : node->options);
    CLEANUP(opts_fini) struct opts opts = { 0 };
    const struct node_options open = entry->open;

    if (!node->driver->reopen_prepare) {
        step_done(r, NULL);
        return;
    }
    opts_init(&opts, options);
    node->driver->reopen_prepare(node, &opts, &open, step_done, r);
}

static void bitmaps_stored(void *arg, struct err *err)
{
    struct reopen *r = arg;

    if (err) {
        fail(r, err);
        return;
    }
    vec_at(&r->entries, r->next)->stored = true;
    prepare_driver(r, vec_at(&r->entries, r->next));
}

/* The node is open; bitmaps that cannot be used any more say so themselves. */
static void use_begun(void *arg, struct err *err)
{
    if (err)
        log_err("Using the bitmaps of a node", err);
    step_done(arg, NULL);
}

static void start_step(struct reopen *r, struct reopen_entry *entry)
{
    struct node *node = entry->node;
    const struct driver *driver = node->driver;

    if (r->phase == REOPEN_SETTLE) {
        node_settle(node, step_done, r);
    } else if (r->phase == REOPEN_PREPARE && entry->open.read_only && !node->read_only) {
        bitmaps_store(node, bitmaps_stored, r);
    } else if (r->phase == REOPEN_PREPARE) {
        prepare_driver(r, entry);
    } else if (r->phase == REOPEN_USE && !node->read_only &&
               (entry->stored || entry->old_read_only)) {
        bitmaps_begin_use(node, use_begun, r);
    } else if (r->phase == REOPEN_READY && driver->reopen_ready) {
        driver->reopen_ready(node, step_done, r);
    } else {
        step_done(r, NULL);
    }
}

/* One node after the other; then the phase is over. */
static void next_entry(struct reopen *r)
{
    struct err *err;

    if (r->next < vec_len(&r->entries)) {
        start_step(r, vec_at(&r->entries, r->next));
        return;
    }
    if (r->phase == REOPEN_PREPARE) {
        err = change_graph(r);
        if (err)
            fail(r, err);
        else
            reopen_enter(r, REOPEN_SETTLE);
    } else if (r->phase == REOPEN_USE) {
        reopen_enter(r, REOPEN_OVER);
    } else {
        reopen_enter(r, r->phase == REOPEN_SETTLE ? REOPEN_READY : REOPEN_QUIET);
    }
}

static bool all_quiet(struct reopen *r)
{
    vec_for_each(at, &r->entries) {
        if ((*at)->node->in_flight)
            return false;
    }
    return true;
}

static void commit_drivers(struct reopen *r, bool protocols)
{
    vec_for_each(at, &r->entries) {
        const struct driver *driver = (*at)->node->driver;

        if (driver->is_protocol == protocols && driver->reopen_commit)
            driver->reopen_commit((*at)->node);
    }
}

static void commit(struct reopen *r)
{
    vec_for_each(at, &r->entries) {
        struct reopen_entry *entry = *at;

        if (entry->options) {
            json_free(entry->node->options);
            entry->node->options = entry->options;
            entry->options = NULL;
        }
        for (int i = 0; i < REOPEN_CHILDREN; i++) {
            if (entry->children[i].from)
                node_unref(entry->children[i].from);
            entry->children[i].from = NULL;
        }
    }
    /* Formats may write as soon as they are committed: the files below have to be the new ones by then. */
    commit_drivers(r, true);
    commit_drivers(r, false);
}

/* Requests of nodes above (metadata written back) may still come: commits wait until there are none. */
static void look_quiet(struct drain *drain)
{
    struct reopen *r = container_of(drain, struct reopen, quiet);

    drain_end(&r->quiet);
    if (all_quiet(r)) {
        commit(r);
        reopen_enter(r, REOPEN_USE);
        return;
    }
    vec_for_each(at, &r->entries) {
        if ((*at)->node->in_flight) {
            drain_begin(&r->quiet, (*at)->node, look_quiet);
            return;
        }
    }
}

static void undo(struct reopen *r)
{
    restore_graph(r);
    vec_for_each(at, &r->entries) {
        if ((*at)->prepared && (*at)->node->driver->reopen_abort)
            (*at)->node->driver->reopen_abort((*at)->node);
    }
}

static void finish(struct reopen *r)
{
    graph_done_fn *done = r->done;
    void *arg = r->arg;
    struct err *err = r->err;

    vec_for_each(at, &r->entries)
        drain_end(&(*at)->drain);
    reopen_free(r);
    done(arg, err);
}

/* The only writer of r->phase. */
static void reopen_enter(struct reopen *r, enum reopen_phase to)
{
    fsm_check_edge(reopen_edges, r->phase, to);
    r->phase = to;
    r->next = 0;
    switch (to) {
    case REOPEN_IDLE: unreachable();
    case REOPEN_DRAIN:
        r->pending = (unsigned)vec_len(&r->entries);
        vec_for_each(at, &r->entries)
            drain_begin(&(*at)->drain, (*at)->node, drained);
        return;
    case REOPEN_PREPARE:
    case REOPEN_SETTLE:
    case REOPEN_READY:
    case REOPEN_USE: next_entry(r); return;
    case REOPEN_QUIET: drain_begin(&r->quiet, vec_at(&r->entries, 0)->node, look_quiet); return;
    case REOPEN_UNDO:
        undo(r);
        reopen_enter(r, REOPEN_USE);
        return;
    case REOPEN_OVER: finish(r); return;
    case REOPEN_PHASE_COUNT: break;
    }
    unreachable();
}

void reopen_run(struct reopen *r, graph_done_fn *done, void *arg)
{
    r->done = done;
    r->arg = arg;
    if (!vec_len(&r->entries)) {
        reopen_free(r);
        done(arg, NULL);
        return;
    }
    reopen_enter(r, REOPEN_DRAIN);
}

void reopen_read_only(struct node *node, bool read_only, graph_done_fn *done, void *arg)
{
    struct reopen *r;
    struct err *err;

    if (node->read_only == read_only) {
        done(arg, NULL);
        return;
    }
    r = reopen_new(node->graph);
    err = reopen_add_read_only(r, node, read_only);
    if (err) {
        reopen_free(r);
        done(arg, err);
        return;
    }
    reopen_run(r, done, arg);
}
