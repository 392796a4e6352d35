#ifndef EMU_STORAGE_DRIVERS_QCOW2_FORMAT_H
#define EMU_STORAGE_DRIVERS_QCOW2_FORMAT_H

/*
 * Constants of the qcow2 on-disk format (docs/interop/qcow2.txt), and the limits put on images.
 *
 * Everything on disk is big-endian. A file is divided into clusters; cluster 0 holds the header.
 */

#include "emu/base/attrs.h"

#define QCOW2_MAGIC UINT32_C(0x514649fb)

/* ---- Header, by byte offset ("Header"). ---- */
#define QCOW2_HDR_MAGIC             0
#define QCOW2_HDR_VERSION           4
#define QCOW2_HDR_BACKING_OFFSET    8
#define QCOW2_HDR_BACKING_LEN       16
#define QCOW2_HDR_CLUSTER_BITS      20
#define QCOW2_HDR_SIZE              24
#define QCOW2_HDR_CRYPT             32
#define QCOW2_HDR_L1_SIZE           36
#define QCOW2_HDR_L1_OFFSET         40
#define QCOW2_HDR_REFTABLE_OFFSET   48
#define QCOW2_HDR_REFTABLE_CLUSTERS 56
#define QCOW2_HDR_SNAPSHOTS         60
#define QCOW2_HDR_SNAPSHOTS_OFFSET  64
#define QCOW2_HDR_V2_LEN            72
#define QCOW2_HDR_INCOMPATIBLE      72
#define QCOW2_HDR_COMPATIBLE        80
#define QCOW2_HDR_AUTOCLEAR         88
#define QCOW2_HDR_REFCOUNT_ORDER    96
#define QCOW2_HDR_LEN               100
#define QCOW2_HDR_V3_MIN_LEN        104
#define QCOW2_HDR_COMPRESSION       104
#define QCOW2_HDR_OUR_LEN           112 /* What this code knows of. */
#define QCOW2_HDR_EXTRA_MAX                                                                        \
    4096                 /* Longer headers are refused when they would have to be rewritten. */
#define QCOW2_SECTOR 512 /* What a disk writes at once: the unit of atomic header updates (O8). */

enum qcow2_incompatible {
    QCOW2_INCOMPAT_DIRTY = 1 << 0,
    QCOW2_INCOMPAT_CORRUPT = 1 << 1,
    QCOW2_INCOMPAT_DATA_FILE = 1 << 2,
    QCOW2_INCOMPAT_COMPRESSION = 1 << 3,
    QCOW2_INCOMPAT_EXTENDED_L2 = 1 << 4,
    QCOW2_INCOMPAT_KNOWN = (1 << 5) - 1,
};
enum qcow2_compatible { QCOW2_COMPAT_LAZY_REFCOUNTS = 1 << 0 };
/*
 * Ours: the image is being written, so clusters may be counted that nothing refers to. Others clear it and take such
 * clusters for leaks, which they are; we free them when we open the image for writing again.
 */
#define QCOW2_AUTOCLEAR_SESSION BIT64(61)
enum qcow2_autoclear { QCOW2_AUTOCLEAR_BITMAPS = 1 << 0, QCOW2_AUTOCLEAR_RAW = 1 << 1 };

enum qcow2_compression { QCOW2_ZLIB, QCOW2_ZSTD };

/* ---- Header extensions ("Header extensions"). ---- */
#define QCOW2_EXT_END            0
#define QCOW2_EXT_BACKING_FORMAT UINT32_C(0xe2792aca)
#define QCOW2_EXT_FEATURE_NAMES  UINT32_C(0x6803f857)
#define QCOW2_EXT_BITMAPS        UINT32_C(0x23852875)
#define QCOW2_EXT_LUKS           UINT32_C(0x0537be77)
#define QCOW2_EXT_DATA_FILE      UINT32_C(0x44415441)
#define QCOW2_EXT_LUKS_LEN       16
#define QCOW2_FEATURE_RECORD     48

/* ---- Table entries. ---- */
#define QCOW2_COPIED            BIT64(63) /* L1, L2: refcount is exactly one. */
#define QCOW2_COMPRESSED        BIT64(62) /* L2 */
#define QCOW2_ZERO              BIT64(0)  /* L2, standard entries of version 3. */
#define QCOW2_OFFSET_MASK       UINT64_C(0x00fffffffffffe00) /* L1, L2. */
#define QCOW2_L1_RESERVED       UINT64_C(0x7f000000000001ff)
#define QCOW2_L2_RESERVED       UINT64_C(0x3f000000000001fe)
#define QCOW2_REFTABLE_RESERVED UINT64_C(0x1ff)
#define QCOW2_REFTABLE_MASK     UINT64_C(0xfffffffffffffe00)
#define QCOW2_SUBCLUSTERS       32

/* ---- Bitmaps ("Bitmaps extension"). ---- */
#define QCOW2_EXT_BITMAPS_LEN             24
#define QCOW2_BITMAP_ENTRY_FIXED          24 /* Of a directory entry, before extra data and name. */
#define QCOW2_BITMAP_TYPE_DIRTY           1
#define QCOW2_BITMAP_TABLE_ONES           BIT64(0)
#define QCOW2_BITMAP_TABLE_RESERVED       UINT64_C(0xff000000000001fe)
#define QCOW2_BITMAP_NAME_MAX             1023
#define QCOW2_BITMAP_GRANULARITY_BITS_MIN 9
#define QCOW2_BITMAP_GRANULARITY_BITS_MAX 31

/* ---- Limits. ---- */
#define QCOW2_BITMAP_BYTES_MAX         (UINT64_C(512) << 20) /* Of the data of one bitmap. */
#define QCOW2_BITMAP_TABLES_BYTES_MAX  (UINT64_C(64) << 20)  /* Of all tables of an image. */
#define QCOW2_CLUSTER_BITS_MIN         9
#define QCOW2_CLUSTER_BITS_MAX         21
#define QCOW2_L1_BYTES_MAX             (UINT64_C(32) << 20)
#define QCOW2_REFTABLE_BYTES_MAX       (UINT64_C(8) << 20)
#define QCOW2_HOST_OFFSET_MAX          BIT64(56)
#define QCOW2_BACKING_LEN_MAX          1023
#define QCOW2_SNAPSHOTS_MAX            65536
#define QCOW2_SNAPSHOT_TABLE_BYTES_MAX (UINT64_C(64) << 20)
#define QCOW2_SNAPSHOT_EXTRA_MAX       1024
#define QCOW2_BITMAPS_MAX              65535
#define QCOW2_BITMAP_DIR_BYTES_MAX     (UINT64_C(65535) * 1024 * 2)
#define QCOW2_BITMAP_TABLE_ENTRIES_MAX UINT32_C(0x8000000)
#define QCOW2_EXTENSIONS_MAX           256

#endif
