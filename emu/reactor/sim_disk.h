/*
 * A simulated file: its content, and what of it would survive a crash. Private to the package.
 *
 * A sector written since the last sync has several contents: the one reads see, the durable one, and
 * those in between that a sync under way covers. After a crash any one of them, from the durable one on,
 * may be found. Worlds share pages until one of them writes.
 */
#ifndef EMU_REACTOR_SIM_DISK_H
#define EMU_REACTOR_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/iov.h"
#include "emu/base/rng.h"
#include "emu/base/vec.h"
#include "emu/reactor/sim_tree.h"

struct sim_disk_lock {
    const void *owner;
    uint64_t off, len;
    bool exclusive;
};

struct sim_disk {
    unsigned refs;
    char *path; /* Owned. */
    struct sim_tree pages;
    uint64_t size, durable_size, max_size;
    uint64_t data_pages; /* Pages that are not holes. */
    uint64_t gen;        /* Counts changes. */
    uint64_t size_gen;   /* Of the last change of size. */
    uint64_t sync_gen;   /* What the syncs under way cover; 0: there is none. */
    unsigned syncs;      /* Under way. */
    uint64_t ino;
    VEC(uint64_t) dirty_pages;
    VEC(struct sim_disk_lock) locks;
};

/* What a sync covers. */
struct sim_disk_epoch {
    uint64_t gen, size;
};

struct sim_disk *sim_disk_new(const char *path, uint64_t ino);
struct sim_disk *sim_disk_ref(struct sim_disk *disk);
void sim_disk_unref(struct sim_disk *disk);

/* Reads what is there; bytes beyond the size are zeroes. */
void sim_disk_read(const struct sim_disk *disk, uint64_t off, struct iov_view to, uint64_t len);
/* Writes, growing the file. */
void sim_disk_write(struct sim_disk *disk, uint64_t off, struct iov_view from, uint64_t len);
/* Zeroes the range; whole pages become holes when punch is set. Does not change the size. */
void sim_disk_zero(struct sim_disk *disk, uint64_t off, uint64_t len, bool punch);
/* Makes pages allocated without changing what is read. */
void sim_disk_reserve(struct sim_disk *disk, uint64_t off, uint64_t len);
void sim_disk_truncate(struct sim_disk *disk, uint64_t size);

/* A sync: covers what was written before it began, becomes true when it ends well. */
struct sim_disk_epoch sim_disk_sync_begin(struct sim_disk *disk);
enum sim_sync_outcome { SIM_SYNC_DONE, SIM_SYNC_LOST, SIM_SYNC_DROPPED };
/* LOST: it failed, and what it covered will never become durable unless written again. */
void sim_disk_sync_end(struct sim_disk *disk, const struct sim_disk_epoch *epoch,
                       enum sim_sync_outcome outcome);
/* Everything, or the current content of a range, is durable at once. */
void sim_disk_sync_all(struct sim_disk *disk);
void sim_disk_sync_range(struct sim_disk *disk, uint64_t off, uint64_t len);

/* Whether the page of off is data, and where that ends. off is below the size. */
bool sim_disk_extent(const struct sim_disk *disk, uint64_t off, uint64_t *end);
uint64_t sim_disk_allocated(const struct sim_disk *disk);
/* The file as it may be found after a crash now. */
struct sim_disk *sim_disk_crash_copy(const struct sim_disk *disk, struct rng *rng);

#endif
