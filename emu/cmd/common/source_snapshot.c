#include "emu/cmd/common/source_snapshot.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/keyval.h"
#include "emu/base/str.h"
#include "emu/storage/snapshot.h"

static struct err *parse_pairs(struct source_snapshot *s, const char *text)
{
    CLEANUP(json_free) struct json *pairs = NULL;
    const char *key;
    struct json *value;

    TRY(keyval_parse_flags(text, NULL, KEYVAL_FLAT, NULL, &pairs));
    json_object_for_each(pairs, i, key, value) {
        if (strcmp(key, "snapshot.id") != 0 && strcmp(key, "snapshot.name") != 0)
            return err_new("Invalid parameter '%s'", key);
    }
    s->id = xstrdup(json_object_get_str(pairs, "snapshot.id"));
    s->name = xstrdup(json_object_get_str(pairs, "snapshot.name"));
    return NULL;
}

int source_snapshot_parse(struct source_snapshot *s, struct tool *tool, const char *text)
{
    struct err *err;

    source_snapshot_fini(s);
    if (!str_has_prefix(text, "snapshot.")) {
        s->any = xstrdup(text);
        return 0;
    }
    err = parse_pairs(s, text);
    if (!err)
        return 0;
    tool_report(tool, err);
    tool_error(tool, "Failed in parsing snapshot param '%s'", text);
    return 1;
}

bool source_snapshot_set(const struct source_snapshot *s) { return s->id || s->name || s->any; }

void source_snapshot_fini(struct source_snapshot *s)
{
    xfree(s->id);
    xfree(s->name);
    xfree(s->any);
    *s = (struct source_snapshot){ 0 };
}

struct err *source_snapshot_load(const struct source_snapshot *s, struct image *image)
{
    const struct snapshot_info *info;
    struct waiter waiter = { 0 };

    if (!source_snapshot_set(s))
        return NULL;
    if (!node_snapshot_keeper(image->node))
        return err_new("Failed to load snapshot: Device '' does not support internal snapshots");
    info = s->any ? node_snapshot_find_any(image->node, s->any)
                  : node_snapshot_find(image->node, s->id, s->name);
    if (!info)
        return err_new("Failed to load snapshot: Can't find snapshot");
    node_snapshot_show(image->node, info->id, wait_done, &waiter);
    return err_prefix(wait_for(image->tool->reactor, &waiter), "Failed to load snapshot: ");
}
