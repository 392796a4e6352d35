#ifndef EMU_STORAGE_DRIVERS_QCOW2_CODEC_H
#define EMU_STORAGE_DRIVERS_QCOW2_CODEC_H

/*
 * Compression of single clusters: pure functions, fit for reactor_work().
 *
 * zlib: raw deflate with a window of 4 KiB at most; zstd: one frame. Compressed data may be followed by
 * other bytes, because its length on disk is counted in sectors.
 */

#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/storage/drivers/qcow2/format.h"

struct qcow2_codec {
    enum qcow2_compression type;
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len;
};

/* Fills out wholly; 0 or -EIO. arg is a struct qcow2_codec. */
int64_t qcow2_codec_decompress(void *arg);
/* Returns the compressed length, -ENOSPC when it would exceed out_len, or another -errno. */
int64_t qcow2_codec_compress(void *arg);

#endif
