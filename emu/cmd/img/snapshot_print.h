#ifndef EMU_CMD_IMG_SNAPSHOT_PRINT_H
#define EMU_CMD_IMG_SNAPSHOT_PRINT_H

/* The table of internal snapshots that snapshot -l and info print. */

#include "emu/storage/snapshot.h"

/* Each line starts with indent spaces. */
void snapshot_print_head(int indent);
void snapshot_print(const struct snapshot_info *info, int indent);

#endif
