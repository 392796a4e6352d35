#ifndef EMU_STORAGE_DRIVERS_QCOW2_ENCRYPT_H
#define EMU_STORAGE_DRIVERS_QCOW2_ENCRYPT_H

/*
 * Encryption of guest data ("Data encryption"): the legacy AES method, whose sectors are numbered by the guest, and
 * LUKS, whose header lies in clusters of the image and whose sectors are numbered by where they lie in the file.
 * Metadata and compressed clusters are never encrypted.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/opts.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/luks/volume.h"

struct qcow2;
struct qcow2_header;

enum qcow2_crypt_method { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };

enum {
    QCOW2_CRYPT_TRANSFER_MAX = 2 << 20
}; /* Bytes of a request: writes are encrypted into memory of their own. */

struct qcow2_crypt {
    enum qcow2_crypt_method method;
    struct luks_volume volume; /* AES uses the cipher only. */
    char *key_secret;          /* owned, or NULL. */
};

void qcow2_crypt_fini(struct qcow2_crypt *crypt);

/* Checks the option "encrypt" against the header, and unlocks unless only metadata will be read. */
void qcow2_crypt_open(struct qcow2 *q, struct opts *opts, unsigned flags, driver_done_fn *done,
                      void *arg);

/* What numbers the sectors of data at guest offset `guest` that lies at `host`. */
static inline uint64_t qcow2_crypt_at(const struct qcow2_crypt *crypt, uint64_t guest,
                                      uint64_t host)
{
    return crypt->method == QCOW2_CRYPT_AES ? guest : host;
}

/*
 * Encrypts len bytes of data for a place in the file into new memory; NULL when there is none (or no key, *result
 * tells). The caller frees it.
 */
uint8_t *qcow2_crypt_pack(const struct qcow2_crypt *crypt, uint64_t guest, uint64_t host,
                          struct iov_view data, uint64_t len, int *result);

/* What queries show below "encrypt". Returns new. */
struct json *qcow2_crypt_info(const struct qcow2_crypt *crypt);

/* Options of a new image. */
struct qcow2_crypt_options {
    enum qcow2_crypt_method method;
    struct luks_options luks;
    uint64_t header_len; /* LUKS: bytes of the header and all slots. */
    char *password;      /* owned */
};
void qcow2_crypt_options_fini(struct qcow2_crypt_options *options);
/* Reads the option "encrypt" of blockdev-create; without it the method is NONE. */
MUST_USE struct err *qcow2_crypt_options_read(struct objects *objects, struct opts *opts,
                                              struct qcow2_crypt_options *out);

/* Changes key slots: the member "encrypt" of an amend. */
void qcow2_crypt_amend(struct qcow2 *q, const struct json *options, bool force,
                       driver_done_fn *done, void *arg);

#endif
