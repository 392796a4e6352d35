#ifndef EMU_JOBS_BLOCK_BACKUP_BITMAP_H
#define EMU_JOBS_BLOCK_BACKUP_BITMAP_H

/*
 * Dirty bitmaps and backups: which combinations make sense, what is to copy, and what becomes of the bitmap.
 *
 * While a backup runs, its bitmap is frozen and writes are recorded in the successor. At the end either the successor
 * takes its place (what was dirty is on the target) or both are merged (nothing is).
 */

#include "emu/jobs/block/backup.h"
#include "emu/storage/bitmap.h"

struct backup_bitmap {
    struct bitmap *bitmap; /* Borrowed and frozen; NULL: none. */
    enum backup_bitmap_mode mode;
};

/* The rules, with the reference's texts; finds the bitmap (NULL when none is named). */
struct err *backup_bitmap_check(const struct backup_params *params, struct bitmap **out) MUST_USE;

/* Freezes bitmap (may be NULL) and sets in todo what is to copy. */
struct err *backup_bitmap_begin(struct backup_bitmap *bb, struct bitmap *bitmap,
                                const struct backup_params *params, struct hbitmap *todo) MUST_USE;

/* The backup ended; todo is what was not copied. */
void backup_bitmap_end(struct backup_bitmap *bb, bool success, const struct hbitmap *todo);

#endif
