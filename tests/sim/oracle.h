#ifndef EMU_TESTS_SIM_ORACLE_H
#define EMU_TESTS_SIM_ORACLE_H

/*
 * What a correct disk may hold, sector by sector, under concurrent requests and crashes.
 *
 * Every write of the simulated guest has a number and fills each sector with a pattern made of
 * that number and the sector's index, so that whatever is read tells which write it came from (0:
 * zeroes). The oracle keeps, per sector, the values that a read may return now, and those that
 * may be found after a crash:
 *
 *  - after a write completed, that value; while it runs or after it failed, its value and the
 *    ones before;
 *  - after a crash, any value that was allowed since the last completed flush began.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/vec.h"

enum { ORACLE_SECTOR = 512 };

/* One value a sector may hold, and when it was superseded. */
struct oracle_value {
    uint32_t number;     /* Of the write; 0: zeroes. */
    uint64_t dead_since; /* Time from which reads cannot return it; UINT64_MAX: they can. */
};

struct oracle_sector {
    VEC(struct oracle_value) values; /* In order of their writes' starts. */
};

struct oracle {
    uint64_t size;
    struct oracle_sector *sectors; /* owned */
    uint64_t time;                 /* Counts oracle events. */
    uint64_t stable_since;         /* A flush that began then has completed. */
    uint64_t oldest_read;          /* Start of the oldest read that runs; UINT64_MAX: none. */
    uint32_t next_number;
};

void oracle_init(struct oracle *oracle, uint64_t size);
void oracle_fini(struct oracle *oracle);

/* Fills buf (len bytes at offset) with the pattern of write `number`. */
void oracle_fill(uint32_t number, uint64_t offset, uint8_t *buf, uint64_t len);
/* The number a sector's content came from; false: no write made these bytes. */
bool oracle_identify(const uint8_t *sector, uint64_t offset, uint32_t *number);

/* A write (or with number 0, zeroing) of whole sectors starts; it may be seen from now on. */
void oracle_write_begin(struct oracle *oracle, uint32_t number, uint64_t offset, uint64_t len);
/* It ended. On success older values are gone, except those of writes still running. */
void oracle_write_end(struct oracle *oracle, uint32_t number, uint64_t offset, uint64_t len,
                      bool ok);
/* A discard of whole sectors starts: it may be seen as zeroes from now on, or never. */
void oracle_discard(struct oracle *oracle, uint64_t offset, uint64_t len);
/* Time stamp to give to oracle_flush_end when the flush that starts now succeeds. */
uint64_t oracle_flush_begin(struct oracle *oracle);
void oracle_flush_end(struct oracle *oracle, uint64_t began);

/*
 * Checks content read while a request that began at `since` ran (values that died later are
 * fine). Returns the offset of the first wrong byte's sector, or UINT64_MAX.
 */
uint64_t oracle_check_read(const struct oracle *oracle, uint64_t since, uint64_t offset,
                           const uint8_t *buf, uint64_t len);
/* Checks content found after a crash. */
uint64_t oracle_check_crash(const struct oracle *oracle, uint64_t offset, const uint8_t *buf,
                            uint64_t len);
/* The model of a disk found after a crash: whatever may be found is what may be read. */
void oracle_init_crashed(struct oracle *after, const struct oracle *before);
static inline uint64_t oracle_now(const struct oracle *oracle) { return oracle->time; }

/* The writes whose content a read that began at since may return at offset, as " 0 17 23". */
void oracle_describe(const struct oracle *oracle, uint64_t offset, uint64_t since, char *out,
                     size_t out_len);

#endif
