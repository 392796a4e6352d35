/*
 * Levelled dirty bitmap over the bytes [0, size): one bit per granule, and above the bits levels of
 * 64 that say which words below are not zero, so that searching sparse bitmaps of large disks is
 * quick.
 *
 * Offsets and lengths are bytes. A granule is dirty as a whole: hbitmap_set rounds outward. The
 * last granule may be cut by the size. Owned by its creator; single thread. Ranges given must lie
 * within the size (asserted).
 *
 * Memory: size / granularity / 8 bytes and 1/64 of that for the levels above.
 */
#ifndef EMU_BASE_HBITMAP_H
#define EMU_BASE_HBITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/hash.h"

struct hbitmap;

/* Returns a new clean bitmap; granularity is a power of two >= 1. NULL when out of memory. size may
 * be 0. */
MUST_USE struct hbitmap *hbitmap_new(uint64_t size, uint64_t granularity);
/* NULL is fine. */
void hbitmap_free(struct hbitmap *h);
CLEANUP_FREE(hbitmap_free, struct hbitmap);
/* Returns a new equal bitmap; NULL when out of memory. */
MUST_USE struct hbitmap *hbitmap_copy(const struct hbitmap *h);

uint64_t hbitmap_size(const struct hbitmap *h);
uint64_t hbitmap_granularity(const struct hbitmap *h);

/* Makes every granule that the range touches dirty. */
void hbitmap_set(struct hbitmap *h, uint64_t off, uint64_t len);

/* Makes the granules of the range clean. off must be aligned to the granularity, and the end too
 * unless it is the size: cleaning a granule of which only a part was handled would lose data. */
void hbitmap_reset(struct hbitmap *h, uint64_t off, uint64_t len);
/* The same for any range: cleans only the granules that lie in it wholly. */
void hbitmap_reset_inside(struct hbitmap *h, uint64_t off, uint64_t len);
void hbitmap_reset_all(struct hbitmap *h);

/* Whether the granule of that byte is dirty. */
bool hbitmap_get(const struct hbitmap *h, uint64_t off);

/* Dirty bytes; the last granule counts only up to the size. O(1). */
uint64_t hbitmap_count(const struct hbitmap *h);
/* Whether anything is dirty. O(1). */
bool hbitmap_any(const struct hbitmap *h);

/*
 * The first dirty (clean) byte in [off, end), in *out; false when there is none. The result is off
 * itself or the start of a granule. end may be larger than the size.
 */
bool hbitmap_next_dirty(const struct hbitmap *h, uint64_t off, uint64_t end, uint64_t *out);
bool hbitmap_next_zero(const struct hbitmap *h, uint64_t off, uint64_t end, uint64_t *out);

/*
 * The first dirty area in [off, end): its start, and its length up to the next clean granule, the
 * end or max_len (> 0). False when there is none.
 */
bool hbitmap_next_dirty_area(const struct hbitmap *h, uint64_t off, uint64_t end, uint64_t max_len,
                             uint64_t *area_off, uint64_t *area_len);

/* dst |= src. Sizes must be equal, granularities need not: a byte dirty in src is dirty in dst. */
void hbitmap_merge(struct hbitmap *dst, const struct hbitmap *src);

/* Changes the size; bytes beyond the old one are clean (a granule that was dirty stays so). False,
 * and unchanged, when out of memory. */
MUST_USE bool hbitmap_truncate(struct hbitmap *h, uint64_t size);

/*
 * Serial form, that of bitmap data in qcow2: one bit per granule, lowest bit of the first byte
 * first. Parts can be handled one by one when off is a multiple of hbitmap_serial_align; a part
 * that ends at the size may have any length, else its length is a multiple of it too.
 */
uint64_t hbitmap_serial_align(const struct hbitmap *h);
/* Bytes of the serial form of a part. */
uint64_t hbitmap_serial_size(const struct hbitmap *h, uint64_t off, uint64_t len);
/* Unused bits of the last byte are written as 0. */
void hbitmap_serialise(const struct hbitmap *h, uint64_t off, uint64_t len, uint8_t *out);
/* Replaces the part; bits beyond the size are ignored. */
void hbitmap_deserialise(struct hbitmap *h, uint64_t off, uint64_t len, const uint8_t *in);
void hbitmap_deserialise_zeroes(struct hbitmap *h, uint64_t off, uint64_t len);
void hbitmap_deserialise_ones(struct hbitmap *h, uint64_t off, uint64_t len);

/* SHA-256 in hex of the bits as little-endian 64-bit words (at least one). Returns out. */
char *hbitmap_sha256(const struct hbitmap *h, char out[SHA256_HEX_SIZE]);

/* Equal size, granularity and bits. */
bool hbitmap_equal(const struct hbitmap *a, const struct hbitmap *b);

#endif
