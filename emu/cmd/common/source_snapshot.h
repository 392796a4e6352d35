#ifndef EMU_CMD_COMMON_SOURCE_SNAPSHOT_H
#define EMU_CMD_COMMON_SOURCE_SNAPSHOT_H

/*
 * Which internal snapshot of a source is meant: "ID-or-name", or "snapshot.id=I,snapshot.name=N". Zeroed memory
 * means none.
 */

#include "emu/cmd/common/tool.h"

struct source_snapshot {
    char *id, *name, *any; /* Owned; any: id or name. */
};

/* Takes an argument of -l: 0, or 1 after messages. */
int source_snapshot_parse(struct source_snapshot *s, struct tool *tool, const char *text);
bool source_snapshot_set(const struct source_snapshot *s);
void source_snapshot_fini(struct source_snapshot *s);

/* Makes an image opened read-only show the snapshot; nothing when none is meant. */
struct err *source_snapshot_load(const struct source_snapshot *s, struct image *image) MUST_USE;

#endif
