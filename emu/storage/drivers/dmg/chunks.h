#ifndef EMU_STORAGE_DRIVERS_DMG_CHUNKS_H
#define EMU_STORAGE_DRIVERS_DMG_CHUNKS_H

/*
 * What a disk image of Apple's UDIF format consists of: chunks of sectors, listed in "mish" tables, which lie in the
 * resource fork of the file or, in base64, in a property list. All numbers are big-endian.
 */

#include <stddef.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/vec.h"

enum dmg_type {
    DMG_ZERO = 0,
    DMG_RAW = 1,
    DMG_IGNORE = 2, /* Reads as zeroes. */
    DMG_ZLIB = 0x80000005,
    DMG_BZIP2 = 0x80000006,
};

enum {
    DMG_SECTOR = 512,
    DMG_CHUNK_MAX = 64 << 20,  /* Bytes of one, packed or not. */
    DMG_CHUNKS_MAX = 4 << 20,
};

struct dmg_chunk {
    uint32_t type;
    uint64_t first, count; /* Sectors of the disk. */
    uint64_t offset, len;  /* Bytes in the file. */
};

struct dmg_chunks {
    VEC(struct dmg_chunk) list; /* By first sector once dmg_chunks_sort() was called. */
};

void dmg_chunks_fini(struct dmg_chunks *chunks);
/* Adds the tables of a resource fork's data (after its header) or of a property list. */
MUST_USE struct err *dmg_chunks_resource(struct dmg_chunks *chunks, const uint8_t *buf, size_t len,
                                         uint64_t data_fork);
MUST_USE struct err *dmg_chunks_plist(struct dmg_chunks *chunks, const uint8_t *text, size_t len,
                                      uint64_t data_fork);
void dmg_chunks_sort(struct dmg_chunks *chunks);
/* The chunk that holds a sector, or NULL. */
const struct dmg_chunk *dmg_chunks_find(const struct dmg_chunks *chunks, uint64_t sector);

#endif
