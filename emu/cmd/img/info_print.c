#include "emu/cmd/img/info_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "emu/base/alloc.h"
#include "emu/base/json_write.h"
#include "emu/base/str.h"
#include "emu/storage/open.h"

static struct err *node_facts(struct tool *tool, struct node *node, struct image_facts *facts)
{
    struct waiter waiter = { 0 };

    memset(facts, 0, sizeof(*facts));
    facts->virtual_size = node->size;
    if (!node->driver->facts)
        return NULL;
    node->driver->facts(node, facts, wait_done, &waiter);
    return wait_for(tool->reactor, &waiter);
}

static struct err *collect_node(struct tool *tool, struct node *node, struct json **out);

/* The children of a node but its backing files, which are images of their own. */
static struct err *collect_children(struct tool *tool, struct node *node, struct json *children)
{
    list_for_each(edge, &node->children, struct edge, child_link) {
        struct json *info, *child;

        if (edge->role & ROLE_COW)
            continue;
        TRY(collect_node(tool, edge->node, &info));
        child = json_object();
        json_object_set_str(child, "name", edge->name);
        json_object_set(child, "info", info);
        json_array_add(children, child);
    }
    return NULL;
}

static uint64_t number(const struct json *object, const char *key)
{
    uint64_t value = 0;

    return json_as_uint64(json_object_get(object, key), &value) ? value : 0;
}

/* A format takes what its files take; where no child knows, nothing is said. */
static void set_size_of_children(struct json *info)
{
    const struct json *children = json_object_get(info, "children");
    uint64_t total = 0;
    bool known = false;

    for (size_t i = 0; i < json_array_len(children); i++) {
        const struct json *child = json_object_get(json_array_get(children, i), "info");

        total += number(child, "actual-size");
        known |= json_object_has(child, "actual-size");
    }
    if (known)
        json_object_set_uint(info, "actual-size", total);
}

static void set_backing(struct json *info, const struct node *node, const struct image_facts *facts)
{
    char *full;

    if (!facts->backing_filename || !*facts->backing_filename)
        return;
    full = facts->full_backing_filename ? xstrdup(facts->full_backing_filename)
                                        : filename_resolve(node->filename, facts->backing_filename);
    json_object_set_str(info, "backing-filename", facts->backing_filename);
    json_object_set_str(info, "full-backing-filename", full);
    xfree(full);
    if (facts->backing_format)
        json_object_set_str(info, "backing-filename-format", facts->backing_format);
}

static void set_facts(struct json *info, const struct image_facts *facts)
{
    json_object_set_uint(info, "virtual-size", facts->virtual_size);
    if (facts->have_actual_size)
        json_object_set_uint(info, "actual-size", facts->actual_size);
    if (facts->cluster_size)
        json_object_set_uint(info, "cluster-size", facts->cluster_size);
    json_object_set_bool(info, "dirty-flag", facts->dirty_flag);
    if (facts->encrypted)
        json_object_set_bool(info, "encrypted", true);
    if (facts->compressed)
        json_object_set_bool(info, "compressed", true);
    if (facts->format_specific)
        json_object_set(info, "format-specific", json_ref(facts->format_specific));
    if (facts->snapshots && json_array_len(facts->snapshots))
        json_object_set(info, "snapshots", json_ref(facts->snapshots));
}

static struct err *collect_node(struct tool *tool, struct node *node, struct json **out)
{
    CLEANUP(json_free) struct json *info = json_object();
    struct json *children = json_array();
    struct image_facts facts;

    json_object_set_str(info, "filename", node->filename);
    json_object_set_str(info, "format", node->driver->name);
    json_object_set(info, "children", children);
    TRY(node_facts(tool, node, &facts));
    set_facts(info, &facts);
    set_backing(info, node, &facts);
    image_facts_fini(&facts);
    TRY(collect_children(tool, node, children));
    if (!json_object_has(info, "actual-size"))
        set_size_of_children(info);
    *out = info;
    info = NULL;
    return NULL;
}

struct err *info_collect(struct image *image, struct json **out)
{
    return collect_node(image->tool, image->node, out);
}

void info_print_json(const struct json *info)
{
    char *text = json_to_text(info, JSON_PRETTY | JSON_HASH_ORDER);

    printf("%s\n", text);
    xfree(text);
}

static bool is_true(const struct json *object, const char *key)
{
    bool value = false;

    return json_as_bool(json_object_get(object, key), &value) && value;
}

static void print_specific(const struct json *info, int indent)
{
    const struct json *data = json_object_get(json_object_get(info, "format-specific"), "data");
    CLEANUP(str_fini) struct str text = { 0 };

    if (!data || !json_object_size(data))
        return;
    printf("%*sFormat specific information:\n", indent, "");
    json_write_outline(&text, data, indent + 4);
    printf("%s", str_cstr(&text));
}

static void print_snapshot(const struct json *s)
{
    char date[64], clock[64], size[SIZE_HUMAN_MAX];
    time_t seconds = (time_t)number(s, "date-sec");
    uint64_t ms = number(s, "vm-clock-sec") * 1000 + number(s, "vm-clock-nsec") / 1000000;
    struct tm tm;

    strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &tm));
    snprintf(clock, sizeof(clock), "%04" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64,
             ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
    size_human(number(s, "vm-state-size"), size, sizeof(size));
    printf("%-7s %-16s %8s %19s %15s %10s\n", json_object_get_str(s, "id"),
           json_object_get_str(s, "name"), size, date, clock,
           json_object_has(s, "icount") ? "" : "--");
}

static void print_sizes(const struct json *info, int indent, bool protocol)
{
    char text[SIZE_HUMAN_MAX];

    printf("%*s%s: %s (%" PRIu64 " bytes)\n", indent, "", protocol ? "file length" : "virtual size",
           size_human(number(info, "virtual-size"), text, sizeof(text)),
           number(info, "virtual-size"));
    if (json_object_has(info, "actual-size"))
        printf("%*sdisk size: %s\n", indent, "",
               size_human(number(info, "actual-size"), text, sizeof(text)));
    else
        printf("%*sdisk size: unavailable\n", indent, "");
    if (is_true(info, "encrypted"))
        printf("%*sencrypted: yes\n", indent, "");
    if (json_object_has(info, "cluster-size"))
        printf("%*scluster_size: %" PRIu64 "\n", indent, "", number(info, "cluster-size"));
    if (is_true(info, "dirty-flag"))
        printf("%*scleanly shut down: no\n", indent, "");
}

static void print_backing(const struct json *info, int indent)
{
    const char *backing = json_object_get_str(info, "backing-filename");
    const char *full = json_object_get_str(info, "full-backing-filename");
    const char *format = json_object_get_str(info, "backing-filename-format");

    if (!backing)
        return;
    printf("%*sbacking file: %s", indent, "", backing);
    if (!full)
        printf(" (cannot determine actual path)");
    else if (strcmp(full, backing) != 0)
        printf(" (actual path: %s)", full);
    printf("\n");
    if (format)
        printf("%*sbacking file format: %s\n", indent, "", format);
}

static void print_level(const struct json *info, const char *path, int indent)
{
    const struct json *children = json_object_get(info, "children");
    const struct json *snapshots = json_object_get(info, "snapshots");
    bool protocol = indent && (!children || !json_array_len(children));

    printf("%*s%s: %s\n", indent, "", indent ? "filename" : "image",
           json_object_get_str(info, "filename"));
    printf("%*s%s: %s\n", indent, "", protocol ? "protocol type" : "file format",
           json_object_get_str(info, "format"));
    print_sizes(info, indent, protocol);
    print_backing(info, indent);
    if (snapshots) {
        printf("%*sSnapshot list:\n%-7s %-16s %8s %19s %15s %10s\n", indent, "", "ID", "TAG",
               "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT");
        for (size_t i = 0; i < json_array_len(snapshots); i++)
            print_snapshot(json_array_get(snapshots, i));
    }
    print_specific(info, indent);
    for (size_t i = 0; children && i < json_array_len(children); i++) {
        const struct json *child = json_array_get(children, i);
        char *child_path = xasprintf("%s/%s", path, json_object_get_str(child, "name"));

        printf("%*sChild node '%s':\n", indent, "", child_path);
        print_level(json_object_get(child, "info"), child_path, indent + 4);
        xfree(child_path);
    }
}

void info_print_human(const struct json *info) { print_level(info, "", 0); }
