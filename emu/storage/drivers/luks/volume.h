#ifndef EMU_STORAGE_DRIVERS_LUKS_VOLUME_H
#define EMU_STORAGE_DRIVERS_LUKS_VOLUME_H

/*
 * A LUKS header that lies somewhere in a child of a node: at the start of a file (driver luks) or in a few clusters of
 * a qcow2 image. Reads it, finds the master key by a password, makes new ones, changes key slots. Deriving keys runs
 * on worker threads; all else is the graph's reactor's.
 *
 * One operation at a time; the edge and the volume outlive it.
 */

#include "emu/crypto/luks.h"
#include "emu/storage/driver.h"

struct luks_volume {
    struct reactor *reactor;
    struct edge *edge;    /* Borrowed: where the header lies ... */
    uint64_t base;        /* ... and at which byte. */
    bool detached;        /* The payload lies elsewhere. */
    struct luks_header header;
    struct sector_cipher *cipher; /* Owned; NULL while locked. */
};

/* Frees the cipher; the edge stays. Zeroed memory is fine. */
void luks_volume_fini(struct luks_volume *volume);

/*
 * Reads and checks the header and, with a password (NULL: leave locked), unlocks: "Invalid password, cannot unlock any
 * keyslot". reactor, edge, base and detached are set. password is copied.
 */
void luks_volume_open(struct luks_volume *volume, const char *password, driver_done_fn *done,
                      void *arg);

/*
 * Makes a new master key, and writes a header with that one password in slot 0. The space must be there or the child
 * must grow. reactor, edge, base and detached are set; afterwards the volume is as luks_volume_open() leaves it.
 */
void luks_volume_format(struct luks_volume *volume, const struct luks_options *options,
                        const char *password, driver_done_fn *done, void *arg);

/* A change of key slots. */
struct luks_amend {
    bool activate;            /* Else erase. */
    bool force;               /* Overwrite and erase what would be refused. */
    const char *password;     /* Opens the volume; needed to activate. */
    const char *new_password; /* activate. */
    const char *old_password; /* Erase the slots it opens; or NULL. */
    bool has_slot;
    uint64_t slot;
    uint64_t iter_time_ms;
};
/* The texts are copied. Errors are the reference's. */
void luks_volume_amend(struct luks_volume *volume, const struct luks_amend *amend,
                       driver_done_fn *done, void *arg);

#endif
