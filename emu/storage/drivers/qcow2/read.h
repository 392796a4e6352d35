#ifndef EMU_STORAGE_DRIVERS_QCOW2_READ_H
#define EMU_STORAGE_DRIVERS_QCOW2_READ_H

/*
 * Reads a guest range of an image: from the file, the backing file, compressed clusters, or zeroes. Used for
 * guest reads and for copy-on-write.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/iov.h"
#include "emu/reactor/reactor.h"
#include "emu/storage/drivers/qcow2/codec.h"
#include "emu/storage/drivers/qcow2/wait.h"
#include "emu/storage/req.h"

struct qcow2;
struct qcow2_read;

enum { QCOW2_READ_PARTS = 4 };

struct qcow2_unpack; /* A compressed cluster on its way. */

struct qcow2_read_part {
    struct req req;
    struct qcow2_read *read;
    struct qcow2_unpack *unpack; /* owned, NULL: no compressed cluster. */
    bool busy;
    bool encrypted;    /* What comes must be decrypted: */
    uint64_t crypt_at; /* by this number, */
    uint64_t crypt_len;
    struct iov_view crypt_data; /* there. */
};

struct qcow2_read {
    struct qcow2 *q;
    uint64_t base;     /* Guest offset of the first byte of data. */
    uint64_t pos, end; /* What is not yet started. */
    struct iov_view data;
    void (*done)(struct qcow2_read *read, int result);
    struct qcow2_wait wait;
    bool waiting, stepping;
    unsigned in_flight;
    int result;
    struct qcow2_read_part parts[QCOW2_READ_PARTS];
};

/* Starts; done may be called from within. The memory is the caller's and need not be initialised. */
void qcow2_read_start(struct qcow2_read *read, struct qcow2 *q, uint64_t offset, uint64_t len,
                      struct iov_view data, void (*done)(struct qcow2_read *read, int result));

#endif
