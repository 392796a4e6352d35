#ifndef EMU_JOBS_BLOCK_MIRROR_TOP_H
#define EMU_JOBS_BLOCK_MIRROR_TOP_H

/*
 * The filter of a mirror job, and the order between its copies and guest writes.
 *
 * In background mode the filter passes everything; the source's dirty bitmap does the work. In write-blocking mode
 * a guest write goes to the source, then to the target, and only then is acknowledged and its range
 * clean. Such writes and the job's copies to one range exclude each other (mirror_top_lock): else a copy of
 * older data could reach the target after the write.
 */

#include "emu/base/extent.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/driver.h"

struct mirror_top;

struct mirror_top_options {
    struct edge *target;  /* Borrowed. */
    struct bitmap *dirty; /* Borrowed; of the source node. Its `changed` and `owner` are taken. */
    /* Whether copying to the target still makes sense. */
    bool (*wanted)(void *owner);
    /* A write to the target on behalf of a guest was started / has ended (result of the target). */
    void (*write_began)(void *owner);
    void (*write_ended)(void *owner, int result);
    /* Something became dirty, or a range was unlocked. */
    void (*changed)(void *owner);
    void *owner;
};

struct mirror_top *mirror_top_open(struct node *filter, const struct mirror_top_options *options);
/* Before the filter is put in: others may write to what is below the node (a commit does). */
void mirror_top_share(struct node *filter, bool on);
void mirror_top_set_blocking(struct mirror_top *top, bool on);
/* Lets go of writes to the target: their guests are answered now with the result of the source. */
void mirror_top_bypass(struct mirror_top *top);
/* The same, and frees. The job has unlocked its ranges. NULL is ignored. */
void mirror_top_free(struct mirror_top *top);

/* For the job's copies. False: a part of the range is locked; *skip_to then is where that part ends. */
bool mirror_top_lock(struct mirror_top *top, struct extent *range, uint64_t off, uint64_t len,
                     uint64_t *skip_to);
void mirror_top_unlock(struct mirror_top *top, struct extent *range);

extern const struct driver driver_mirror_top; /* "mirror_top", made by node_new_filter() only. */

#endif
