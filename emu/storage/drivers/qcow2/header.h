#ifndef EMU_STORAGE_DRIVERS_QCOW2_HEADER_H
#define EMU_STORAGE_DRIVERS_QCOW2_HEADER_H

/*
 * The image header and its extensions: parsing with all checks, and writing.
 *
 * The whole header cluster is kept as it was read, so that unknown extensions and unknown bytes of a longer
 * header survive. Fields that change while the image is open live in struct qcow2_header_fields and
 * all lie in the first sector.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/vec.h"
#include "emu/storage/drivers/qcow2/format.h"

/* What a commit can change in the header. */
struct qcow2_header_fields {
    uint64_t size;
    uint32_t l1_size;
    uint64_t l1_offset;
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t nb_snapshots;
    uint64_t snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order;
};

struct qcow2_extension {
    uint32_t type, len;
    uint8_t *data; /* owned */
};

struct qcow2_header {
    uint32_t version;
    uint32_t cluster_bits;
    uint32_t header_len;
    uint8_t compression; /* enum qcow2_compression */
    struct qcow2_header_fields fields;
    uint8_t sector[QCOW2_SECTOR]; /* The first sector as on disk. */
    bool dirty;                   /* fields differ from sector. */

    uint8_t extra[QCOW2_HDR_EXTRA_MAX]; /* Header bytes beyond those known. */
    uint32_t extra_len;
    VEC(struct qcow2_extension)
    extensions;                          /* All but the end mark, in order; unknown ones as well. */
    char *backing_name, *backing_format; /* owned, NULL: none. */
    char *data_name; /* owned, NULL: none; of the external data file. */
    uint32_t name_at, name_len; /* Where the file has the name of the backing file; 0: nowhere. */
    bool name_changed;          /* It must not go there again. */
    uint32_t name_room;         /* Bytes to leave free before it. */
    uint32_t bitmap_count;               /* Of the bitmaps extension, whether trusted or not. */
    uint64_t bitmap_dir_size, bitmap_dir_offset;
    uint32_t crypt_method;             /* enum qcow2_crypt_method */
    uint64_t luks_offset, luks_len;    /* Where the LUKS header lies; len 0: there is none. */
};

/* Frees what the header owns and zeroes it. */
void qcow2_header_fini(struct qcow2_header *header);

/*
 * Parses the fixed part from the first bytes of the file (at least 112, zero-padded) and checks everything that
 * can be checked without the rest of the file.
 */
MUST_USE struct err *qcow2_header_parse(struct qcow2_header *header, const uint8_t *data,
                                        size_t len);
/* Parses extensions and backing name from the whole header cluster. */
MUST_USE struct err *qcow2_header_parse_extensions(struct qcow2_header *header,
                                                   const uint8_t *cluster, size_t len);

/* Puts the fields given into a copy of the first sector. */
void qcow2_header_patch(uint8_t *sector, uint32_t version,
                        const struct qcow2_header_fields *fields);

/*
 * Writes the whole header cluster: fixed part, extensions, backing name. cluster is zeroed by this. Fails
 * when it does not fit. *tail: more than the first sector differs in what it means. The name stays where it is;
 * a changed one goes to another place.
 */
MUST_USE struct err *qcow2_header_build(struct qcow2_header *header, uint8_t *cluster, size_t len,
                                        bool *tail);
/* Whether extensions that are longer by so many bytes would overwrite the backing file's name. */
bool qcow2_header_name_in_way(const struct qcow2_header *header, uint32_t longer);

/* Adds or replaces (data NULL: removes) an extension. */
void qcow2_header_set_extension(struct qcow2_header *header, uint32_t type, const void *data,
                                uint32_t len);
/* The standard table of feature names. */
void qcow2_header_add_feature_names(struct qcow2_header *header);

#endif
