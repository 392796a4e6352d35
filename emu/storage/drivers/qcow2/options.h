#ifndef EMU_STORAGE_DRIVERS_QCOW2_OPTIONS_H
#define EMU_STORAGE_DRIVERS_QCOW2_OPTIONS_H

/* Runtime options (BlockdevOptionsQcow2). */

#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/opts.h"

struct qcow2;

struct qcow2_options {
    uint64_t l2_cache, refcount_cache; /* Bytes. */
};

/* Reads all options; sets the discard switches of q. The geometry must be known. */
MUST_USE struct err *qcow2_options_read(struct qcow2 *q, struct opts *opts,
                                        struct qcow2_options *out);

#endif
