#ifndef EMU_STORAGE_COPY_H
#define EMU_STORAGE_COPY_H

/*
 * A window of copies in flight between two edges: the pump under mirror, backup and convert.
 *
 * The owner asks for ranges with copy_start(); each is examined (block status), then read and
 * written, written as zeroes or discarded, or skipped, and reported once to range_done. At most
 * `max_inflight` ranges and `max_bytes` of buffers are in flight. Buffers come from a pool and
 * are recycled. copy_abandon() lets everything in flight go at once: nothing is reported any
 * more, and the memory lives until the last lower request has completed.
 */

#include "emu/base/buf.h"
#include "emu/storage/node.h"

struct copy;
struct copy_range {
    uint64_t offset, len;
    int result;       /* 0 or -errno. */
    bool read_failed; /* With result < 0: the source failed, not the target. */
    bool zeroed;      /* The target was zeroed, no data moved. */
    uint64_t cookie;  /* The owner's. */
};
struct copy_options {
    struct edge *source, *target; /* Borrowed. */
    uint64_t chunk_bytes;         /* Most for one read; power of two. */
    uint64_t max_bytes;           /* Of buffers in flight. */
    unsigned max_inflight;
    bool use_status;    /* Ask block status first and treat zero extents as zeroes. */
    bool detect_zeroes; /* Look at data read. */
    uint64_t
        zero_granularity; /* With detect_zeroes: runs of at least this many zero bytes inside a range
                                   * read are written as zeroes; 0: only whole ranges. */
    bool salvage;         /* What cannot be read counts as zeroes. */
    bool target_is_zero;  /* Zero ranges need no write. */
    bool unmap;           /* Zero with MAY_UNMAP. */
    bool top_only;        /* Skip what the source's own layer does not hold. */
    unsigned
        layers; /* Skip what only layers below the first so many of the source's chain hold; 0: none. */
    uint32_t write_flags; /* REQ_COMPRESSED, ... */
    void (*range_done)(struct copy *copy, const struct copy_range *range);
    void *owner;
};
struct copy *copy_new(struct reactor *reactor, const struct copy_options *options);
void *copy_owner(struct copy *copy);
/* Free only when nothing is in flight; otherwise copy_abandon, which frees. NULL is ignored. */
void copy_free(struct copy *copy);
void copy_abandon(struct copy *copy);
bool copy_has_room(const struct copy *copy);
/*
 * Needs room. len may be larger than chunk_bytes, 1 GiB and more: it is cut inside, zero and
 * unallocated extents are one piece each, and range_done comes once.
 */
void copy_start(struct copy *copy, uint64_t offset, uint64_t len, uint64_t cookie);
unsigned copy_inflight(const struct copy *copy);

#endif
