#ifndef EMU_STORAGE_DRIVERS_SPARSE_META_PAGE_H
#define EMU_STORAGE_DRIVERS_SPARSE_META_PAGE_H

/* A page of metadata, shared by the cache and its commits; private to them. */

#include "emu/storage/driver.h"
#include "emu/storage/drivers/sparse/meta.h"

enum { META_SECTORS = META_PAGE / META_SECTOR, META_RANKS = 2 };

/* Masks have a bit per sector. */
struct meta_page {
    struct meta *meta;
    uint64_t index; /* Offset in the file / META_PAGE. */
    struct meta_page *hash_next;
    struct list lru;
    struct list dirty; /* In meta->dirty_list while there is something changed or captured. */
    uint8_t valid;
    uint8_t changed[META_RANKS];
    uint8_t captured[META_RANKS]; /* Being written by the commit that runs: may not be dropped. */
    bool stale;                   /* What is being read is out of date. */
    uint8_t *load;                /* owned; while the page is being read. */
    struct list waiters;
    struct req req;
    struct iovec iov;
    uint8_t bytes[META_PAGE];
};

static inline bool meta_page_dirty(const struct meta_page *page)
{
    return page->changed[0] | page->changed[1] | page->captured[0] | page->captured[1];
}

#endif
