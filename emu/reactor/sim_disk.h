/*
 * A simulated file: its content, and what of it would survive a crash. Private to the package.
 *
 * Content is kept in pages; a page not there is a hole. A sector written since the last flush has two
 * contents: the one reads see, and the durable one. Pages are shared between worlds and copied on write.
 */
#ifndef EMU_REACTOR_SIM_DISK_H
#define EMU_REACTOR_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/iov.h"
#include "emu/base/list.h"
#include "emu/base/map.h"
#include "emu/base/rng.h"
#include "emu/base/vec.h"

enum { SIM_PAGE = 4096, SIM_SECTOR = 512, SIM_PAGE_SECTORS = SIM_PAGE / SIM_SECTOR };

struct sim_page {
    unsigned refs;
    uint8_t dirty;    /* Sectors whose durable content is older. */
    uint8_t lost;     /* Of those: a flush failed, no later one will make them durable. */
    bool hole;        /* Deallocated: reads as zeroes and is not data. */
    uint64_t gen[SIM_PAGE_SECTORS]; /* Of the oldest write that is not durable. */
    uint8_t *durable; /* Owned; while dirty. */
    uint8_t data[SIM_PAGE];
};

struct sim_disk_lock {
    const void *owner;
    uint64_t off, len;
    bool exclusive;
};

struct sim_disk {
    unsigned refs;
    char *path; /* Owned. */
    struct idmap pages;
    uint64_t size, durable_size, max_size;
    uint64_t gen; /* Counts writes. */
    uint64_t ino;
    VEC(uint64_t) dirty_pages;
    VEC(struct sim_disk_lock) locks;
};

struct sim_disk *sim_disk_new(const char *path, uint64_t ino);
struct sim_disk *sim_disk_ref(struct sim_disk *disk);
void sim_disk_unref(struct sim_disk *disk);

/* Reads what is there; bytes beyond the size are zeroes. */
void sim_disk_read(const struct sim_disk *disk, uint64_t off, struct iov_view to, uint64_t len);
/* Writes, growing the file; durable at once or not. */
void sim_disk_write(struct sim_disk *disk, uint64_t off, struct iov_view from, uint64_t len);
/* Zeroes the range; whole pages become holes when punch is set. Does not change the size. */
void sim_disk_zero(struct sim_disk *disk, uint64_t off, uint64_t len, bool punch);
/* Makes pages allocated without changing what is read. */
void sim_disk_reserve(struct sim_disk *disk, uint64_t off, uint64_t len);
void sim_disk_truncate(struct sim_disk *disk, uint64_t size);
/* What was written up to generation gen becomes durable. */
void sim_disk_sync(struct sim_disk *disk, uint64_t gen);
/* A flush failed: what it covered will never become durable unless written again. */
void sim_disk_lose(struct sim_disk *disk);
/* Whether the page of off is data, and where that ends. off is below the size. */
bool sim_disk_extent(const struct sim_disk *disk, uint64_t off, uint64_t *end);
uint64_t sim_disk_allocated(const struct sim_disk *disk);
/* The file as it may be found after a crash now. */
struct sim_disk *sim_disk_crash_copy(const struct sim_disk *disk, struct rng *rng);

#endif
