/* What new options mean for a node and for the children it opened. */
#include "emu/base/alloc.h"
#include "emu/base/json.h"
#include "emu/base/json_write.h"
#include "emu/storage/backend.h"
#include "emu/storage/open.h"
#include "emu/storage/reopen_priv.h"

static const struct driver_child backing_child = { "backing", ROLE_COW, false };

static struct err *add(struct reopen *r, struct node *node, const struct json *options,
                       bool explicit, const struct open_inherit *inherit);

static struct reopen_entry *find(struct reopen *r, const struct node *node)
{
    vec_for_each(at, &r->entries) {
        if ((*at)->node == node)
            return *at;
    }
    return NULL;
}

static struct edge *child_edge(struct node *node, const char *name)
{
    list_for_each(edge, &node->children, struct edge, child_link) {
        if (str_eq(edge->name, name))
            return edge;
    }
    return NULL;
}

/* ---- Options that stay ---- */

static bool is_common(const char *name)
{
    static const char *const names[] = { "driver",      "node-name",     "read-only",
                                         "cache",       "discard",       "auto-read-only",
                                         "force-share", "detect-zeroes", "backing" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(name, names[i]))
            return true;
    }
    return false;
}

static bool may_change(const struct node *node, const char *name)
{
    for (const char *const *at = node->driver->reopen_options; at && *at; at++) {
        if (str_eq(*at, name))
            return true;
    }
    return false;
}

static bool is_child(const struct node *node, const char *name)
{
    for (const struct driver_child *row = node->driver->children; row && row->name; row++) {
        if (str_eq(row->name, name))
            return true;
    }
    return false;
}

/* Adds the options in value under their names in full: what nobody can change, in the way that texts name it. */
static void blame(struct json *blamed, const char *name, const struct json *value)
{
    const char *key;
    struct json *inner;

    if (json_type_of(value) != JSON_OBJECT) {
        json_object_set(blamed, name, json_null());
        return;
    }
    json_object_for_each(value, i, key, inner) {
        char *full = xasprintf("%s.%s", name, key);

        blame(blamed, full, inner);
        xfree(full);
    }
}

/* Whether the options of a child are for another one than there is. */
static bool is_stray(const struct node *node, const char *name, const struct json *value)
{
    struct edge *edge = child_edge((struct node *)(uintptr_t)node, name);

    return json_type_of(value) == JSON_OBJECT &&
           (!edge || !edge->inherits || core_of(edge->node)->made);
}

static void blame_changes(struct node *node, const struct json *options, struct json *blamed)
{
    const char *key;
    struct json *value;

    json_object_for_each(options, i, key, value) {
        const struct json *old = json_object_get(node->options, key);
        bool same;

        if (str_eq(key, "driver"))
            same = str_eq(json_get_str(value), node->driver->name);
        else if (str_eq(key, "node-name"))
            same = str_eq(json_get_str(value), node->name);
        else if (is_child(node, key) || str_eq(key, "backing"))
            same = !is_stray(node, key, value);
        else if (is_common(key) || may_change(node, key))
            same = true;
        else
            same = old && json_equal(old, value);
        if (!same)
            blame(blamed, key, value);
    }
}

static struct err *check_unchanged(struct node *node, const struct json *options)
{
    CLEANUP(json_free) struct json *blamed = json_object();
    const char *key;
    struct json *value;

    blame_changes(node, options, blamed);
    if (json_object_size(blamed)) {
        /* Of several the reference names the first in the order of its tables. */
        CLEANUP(json_free) struct json *ordered = json_hash_ordered(blamed);

        json_object_for_each(ordered, i, key, value)
            return err_new("Cannot change the option '%s'", key);
    }
    json_object_for_each(node->options, i, key, value) {
        if (is_common(key) || is_child(node, key) || may_change(node, key))
            continue;
        if (!json_object_has(options, key))
            return err_new("Option '%s' cannot be reset to its default value", key);
    }
    return NULL;
}

/* ---- Children ---- */

static struct err *check_frozen(const struct edge *edge)
{
    if (edge && edge->frozen)
        return err_new("Cannot change frozen '%s' link from '%s' to '%s'", edge->name,
                       edge->parent->name, edge->node->name);
    return NULL;
}

static struct err *change_child(struct reopen_entry *entry, const struct driver_child *row,
                                struct node *to)
{
    struct edge *edge = child_edge(entry->node, row->name);
    struct reopen_child *child = &entry->children[str_eq(row->name, "backing")];

    if ((edge ? edge->node : NULL) == to)
        return NULL;
    if (edge && edge->node->implicit)
        return err_new("Cannot replace implicit %s child of %s", row->name, entry->node->name);
    TRY(check_frozen(edge));
    *child = (struct reopen_child){ .row = row, .change = true, .to = to ? node_ref(to) : NULL };
    return NULL;
}

/* The child stays, and follows the new options of its parent where it was opened by it. */
static struct err *follow(struct reopen *r, struct reopen_entry *entry, struct edge *edge,
                          const struct json *options)
{
    struct node like = { .driver = entry->node->driver, .open = entry->open };
    struct open_inherit inherit = open_inherit_for(&like, edge->role);

    return add(r, edge->node, options ? options : edge->node->options, options != NULL, &inherit);
}

static struct err *child_value(struct reopen *r, struct reopen_entry *entry,
                               const struct driver_child *row, const struct json *value)
{
    struct edge *edge = child_edge(entry->node, row->name);
    struct node *to = NULL;

    if (json_type_of(value) == JSON_NULL)
        return change_child(entry, row, NULL);
    if (json_type_of(value) == JSON_STRING) {
        TRY(graph_lookup_either(r->graph, NULL, json_get_str(value), &to));
        TRY(change_child(entry, row, to));
        /* The same child again: it stays what it was opened as. */
        if (edge && edge->node == to && edge->inherits)
            return follow(r, entry, edge, NULL);
        return NULL;
    }
    return follow(r, entry, edge,
                  value); /* It is the parent's own: check_unchanged() has looked. */
}

static struct err *add_children(struct reopen *r, struct reopen_entry *entry,
                                const struct json *options, bool explicit)
{
    struct node *node = entry->node;

    for (const struct driver_child *row = node->driver->children; row && row->name; row++) {
        const struct json *value = json_object_get(options, row->name);
        struct edge *edge = child_edge(node, row->name);

        if (str_eq(row->name, "backing"))
            continue;
        if (explicit && value)
            TRY(child_value(r, entry, row, value));
        else if (edge && edge->inherits)
            TRY(follow(r, entry, edge, NULL));
    }
    if (node->driver->supports_backing) {
        const struct json *value = json_object_get(options, "backing");

        if (explicit && value)
            return child_value(r, entry, &backing_child, value);
        if (explicit && (node->backing || (node->backing_name && *node->backing_name)))
            return err_new("backing is missing for '%s'", node->name);
    }
    return NULL;
}

/* ---- Nodes ---- */

/* explicit: the user gave the options of just this node; otherwise they are those it has. */
static struct err *add(struct reopen *r, struct node *node, const struct json *options,
                       bool explicit, const struct open_inherit *inherit)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };
    struct reopen_entry *entry = find(r, node);

    /* Named in its own right: that counts more than what it would follow. */
    if (entry)
        return NULL;
    entry = NEW(struct reopen_entry);
    entry->reopen = r;
    entry->node = node_ref(node);
    entry->old_open = node->open;
    entry->old_read_only = node->read_only;
    vec_push(&r->entries, entry);
    opts_init(&opts, options);
    entry->open.force_share = inherit->defaults.force_share;
    TRY(opts_bool_opt(&opts, "force-share", &entry->open.force_share));
    if (entry->open.force_share != node->open.force_share)
        return err_new("Cannot change the option 'force-share'");
    TRY(open_common(&opts, inherit, &entry->open));
    if (explicit) {
        entry->options = json_copy(options);
        if (json_object_has(node->options, "node-name"))
            json_object_set_str(entry->options, "node-name", node->name);
    }
    if (explicit)
        TRY(check_unchanged(node, options));
    return add_children(r, entry, options, explicit);
}

struct err *reopen_add(struct reopen *r, const struct json *options)
{
    const char *name = json_object_get_str(options, "node-name");
    struct open_inherit inherit = { 0 };
    struct node *node;

    if (!name)
        return err_new("node-name not specified");
    node = graph_find(r->graph, name);
    if (!node)
        return err_new("Failed to find node with node-name='%s'", name);
    return add(r, node, options, true, &inherit);
}

/* The options of a node in full, children that it opened included, with changes of some. */
static struct json *merge_changes(struct node *node, const struct json *changes)
{
    struct json *options = json_copy(node->options);
    const char *key, *inner_key;
    struct json *value, *inner;

    if (changes) {
        json_object_for_each(changes, i, key, value) {
            struct json *old = json_object_get(options, key);

            if (old && json_type_of(old) == JSON_OBJECT && json_type_of(value) == JSON_OBJECT &&
                !child_edge(node, key)) {
                json_object_for_each(value, k, inner_key, inner)
                    json_object_set(old, inner_key, json_ref(inner));
            } else {
                json_object_set(options, key, json_ref(value));
            }
        }
    }
    if (changes && node->driver->reopen_join)
        node->driver->reopen_join(options, changes);
    list_for_each(edge, &node->children, struct edge, child_link) {
        value = changes ? json_object_get(changes, edge->name) : NULL;
        if (edge->inherits && (!value || json_type_of(value) == JSON_OBJECT))
            json_object_set(options, edge->name, merge_changes(edge->node, value));
        else if (!value)
            json_object_set_str(options, edge->name, edge->node->name);
    }
    if (node->driver->supports_backing && !json_object_has(options, "backing"))
        json_object_set(options, "backing", json_null());
    return options;
}

struct err *reopen_add_changes(struct reopen *r, struct node *node, const struct json *changes)
{
    CLEANUP(json_free) struct json *options = merge_changes(node, changes);
    struct open_inherit inherit = { 0 };

    return add(r, node, options, true, &inherit);
}

struct err *reopen_add_read_only(struct reopen *r, struct node *node, bool read_only)
{
    struct reopen_entry *entry = NEW(struct reopen_entry);

    entry->reopen = r;
    entry->node = node_ref(node);
    entry->old_open = entry->open = node->open;
    entry->old_read_only = node->read_only;
    entry->open.read_only = read_only;
    vec_push(&r->entries, entry);
    return add_children(r, entry, node->options, false);
}
