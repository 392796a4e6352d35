#ifndef EMU_STORAGE_DRIVERS_LUKS_SLOTS_H
#define EMU_STORAGE_DRIVERS_LUKS_SLOTS_H

/* Parts of operations on a LUKS volume; private to this folder. */

#include "emu/storage/drivers/luks/volume.h"

/*
 * Tries a password on key slots: reads the material of each active one and derives on a worker. With find_all it goes
 * on after the first that fits. Zeroed memory is idle.
 */
struct luks_search {
    struct luks_volume *volume;
    const char *password; /* Borrowed. */
    bool find_all;
    unsigned only; /* Bit set of the slots to try. */
    void (*done)(struct luks_search *search, int result);
    /* ---- Result ---- */
    unsigned found; /* Bit set of the slots that the password opens. */
    uint8_t key[CIPHER_KEY_MAX];
    /* ---- Private ---- */
    unsigned slot;
    uint8_t *material; /* owned */
    struct iovec iov;
    struct req req;
    struct op op;
};
/* volume, password, only and done are set. done gets 0 or -errno. */
void luks_search_start(struct luks_search *search);
void luks_search_fini(struct luks_search *search);

/*
 * Fills one slot: measures how many iterations take iter_time_ms, derives, writes the material. Sets iterations,
 * salt and active in the header in memory, whose writing is the caller's.
 */
struct luks_fill {
    struct luks_volume *volume;
    const char *password; /* Borrowed. */
    const uint8_t *key;   /* The master key, borrowed. */
    unsigned slot;
    uint64_t iter_time_ms;
    bool seal_digest; /* A new volume: also mk_iterations and mk_digest. */
    void (*done)(struct luks_fill *fill, struct err *err /* takes */);
    /* ---- Private ---- */
    struct luks_header header; /* The worker's copy. */
    uint32_t rounds;
    int64_t started;
    uint8_t *material; /* owned */
    struct iovec iov;
    struct req req;
    struct op op;
};
void luks_fill_start(struct luks_fill *fill);
void luks_fill_fini(struct luks_fill *fill);

#endif
