/*
 * Opening: signature, the newer of two headers, the journal (replayed when there is one), the region table, and the
 * metadata.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/sparse/image_load.h"
#include "emu/storage/drivers/vhdx/vhdx.h"

enum { FRONT_LEN = 320 << 10, LOG_MAX = 64 << 20, REGIONS_MAX = 2047, ITEMS_MAX = 2047 };

enum replay_phase { REPLAY_GROW, REPLAY_WRITES, REPLAY_HEADER };

struct opening {
    struct node *node;
    struct vhdx *v;
    driver_done_fn *done;
    void *arg;
    uint8_t *front; /* owned; everything up to the end of the second region table. */
    uint64_t metadata_offset;
    uint32_t metadata_len;
    struct vhdx_log log;
    size_t next_write;
    struct iovec iov;
    struct req req;
};

static void open_end(struct opening *o, struct err *err)
{
    driver_done_fn *done = o->done;
    void *arg = o->arg;

    if (err)
        sparse_fini(&o->v->sparse);
    vhdx_log_fini(&o->log);
    xfree(o->front);
    xfree(o);
    done(arg, err);
}

/* ---- Metadata ---- */

struct metadata {
    uint32_t block_size, flags, logical_sector;
    uint64_t size;
};

/* The item of that name, which must have at least len bytes; NULL: there is none. */
static const uint8_t *find_item(const struct opening *o, const uint8_t *m, const uint8_t *guid,
                                uint32_t len)
{
    unsigned count = load_le16(m + 10);

    for (unsigned i = 0; i < MIN(count, (unsigned)ITEMS_MAX); i++) {
        const uint8_t *entry = m + 32 + i * 32;
        uint32_t offset = load_le32(entry + 16);

        if (memcmp(entry, guid, VHDX_GUID_LEN) != 0)
            continue;
        if (load_le32(entry + 20) < len || offset > o->metadata_len - len)
            return NULL;
        return m + offset;
    }
    return NULL;
}

static struct err *read_metadata(const struct opening *o, const uint8_t *m, struct metadata *out)
{
    const uint8_t *parameters = find_item(o, m, vhdx_guid_file_parameters, 8);
    const uint8_t *size = find_item(o, m, vhdx_guid_disk_size, 8);
    const uint8_t *sector = find_item(o, m, vhdx_guid_logical_sector, 4);

    if (memcmp(m, "metadata", 8) != 0)
        return err_new("Invalid VHDX metadata table");
    if (!parameters || !size || !sector)
        return err_new("VHDX metadata lacks a required item");
    *out = (struct metadata){ .block_size = load_le32(parameters),
                              .flags = load_le32(parameters + 4),
                              .logical_sector = load_le32(sector),
                              .size = load_le64(size) };
    if (out->flags & 2)
        return err_new("VHDX images with a parent are not supported");
    if (!is_pow2(out->block_size) || out->block_size < VHDX_MIB || out->block_size > VHDX_BLOCK_MAX)
        return err_new("Invalid VHDX block size %" PRIu32, out->block_size);
    if (out->logical_sector != 512 && out->logical_sector != 4096)
        return err_new("Invalid VHDX logical sector size %" PRIu32, out->logical_sector);
    if (out->size > VHDX_SIZE_MAX || out->size % out->logical_sector)
        return err_new("Invalid VHDX disk size %" PRIu64, out->size);
    return NULL;
}

static struct err *take_metadata(struct opening *o, const uint8_t *m)
{
    struct vhdx *v = o->v;
    struct metadata found = { 0 };
    uint64_t blocks;

    TRY(read_metadata(o, m, &found));
    v->chunk_ratio = vhdx_chunk_ratio(found.logical_sector, found.block_size);
    blocks = div_round_up(found.size, found.block_size);
    if (blocks && (blocks + (blocks - 1) / v->chunk_ratio) * 8 > v->bat_len)
        return err_new("VHDX block allocation table is too small for a disk of %" PRIu64 " bytes",
                       found.size);
    v->next_free = align_up_u64(o->node->file->node->size, VHDX_MIB);
    v->sparse.size = found.size;
    v->sparse.block_size = found.block_size;
    v->sparse.fresh_from = align_up_u64(o->node->file->node->size, 512);
    TRY(sparse_init(&v->sparse));
    sparse_adopt(&v->sparse);
    node_set_size(o->node, found.size);
    return NULL;
}

static void metadata_read(void *arg, uint8_t *metadata, int result)
{
    struct opening *o = arg;
    struct err *err =
        result ? err_new_errno(result, "Could not read VHDX metadata") : take_metadata(o, metadata);

    xfree(metadata);
    open_end(o, err);
}

/* ---- Regions ---- */

static const uint8_t *valid_region_table(const struct opening *o)
{
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *table = o->front + (i ? VHDX_REGION2 : VHDX_REGION1);

        if (memcmp(table, "regi", 4) == 0 && load_le32(table + 8) <= REGIONS_MAX &&
            load_le32(table + 4) == vhdx_checksum(table, VHDX_REGION_LEN, 4))
            return table;
    }
    return NULL;
}

static struct err *take_regions(struct opening *o)
{
    const uint8_t *table = valid_region_table(o);
    uint32_t count = table ? load_le32(table + 8) : 0;

    if (!table)
        return err_new("No valid VHDX region table");
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry = table + 16 + i * 32;
        uint64_t offset = load_le64(entry + 16);
        uint32_t len = load_le32(entry + 24);

        if (offset % VHDX_MIB || !offset || offset > INT64_MAX / 2)
            return err_new("Invalid VHDX region offset %" PRIu64, offset);
        if (memcmp(entry, vhdx_guid_bat, VHDX_GUID_LEN) == 0) {
            o->v->bat_offset = offset;
            o->v->bat_len = len;
        } else if (memcmp(entry, vhdx_guid_metadata, VHDX_GUID_LEN) == 0) {
            o->metadata_offset = offset;
            o->metadata_len = MIN(len, (uint32_t)VHDX_MIB);
        } else if (load_le32(entry + 28) & 1) {
            return err_new("VHDX image needs a region that is not known");
        }
    }
    if (!o->v->bat_offset || !o->metadata_offset || o->metadata_len < VHDX_METADATA_TABLE_LEN)
        return err_new("VHDX image lacks a required region");
    return NULL;
}

static void open_regions(struct opening *o)
{
    struct err *err = take_regions(o);

    if (err)
        open_end(o, err);
    else
        image_load(o->node->file, o->metadata_offset, o->metadata_len, metadata_read, o);
}

/* ---- The journal ---- */

static void front_read(void *arg, uint8_t *front, int result);
static void replay_enter(struct opening *o, enum replay_phase phase);

static void header_cleared(void *arg, struct err *err)
{
    struct opening *o = arg;

    if (err) {
        open_end(o, err);
        return;
    }
    /* The journal may have changed what was read before. */
    xfree(o->front);
    o->front = NULL;
    image_load(o->node->file, 0, FRONT_LEN, front_read, o);
}

static void write_done(struct req *req)
{
    struct opening *o = container_of(req, struct opening, req);

    if (req->result)
        open_end(o, err_new_errno(req->result, "Could not replay the VHDX log"));
    else
        replay_enter(o, REPLAY_WRITES);
}

static void replay_grown(void *arg, struct err *err)
{
    if (err)
        open_end(arg, err);
    else
        replay_enter(arg, REPLAY_WRITES);
}

static void replay_write(struct opening *o, const struct vhdx_log_write *write)
{
    o->iov = (struct iovec){ write->bytes, write->len };
    o->req = (struct req){ 0 };
    req_submit_part(&o->req, o->node->file, write->bytes ? REQ_WRITE : REQ_ZERO, 0, write->offset,
                    write->len, iov_view(&o->iov, write->bytes != NULL), write_done);
}

static void replay_enter(struct opening *o, enum replay_phase phase)
{
    switch (phase) {
    case REPLAY_GROW:
        if (o->log.file_size > o->node->file->node->size)
            edge_truncate(o->node->file, o->log.file_size, false, PREALLOC_OFF, replay_grown, o);
        else
            replay_enter(o, REPLAY_WRITES);
        return;
    case REPLAY_WRITES:
        if (o->next_write < o->log.writes.len)
            replay_write(o, &vec_at(&o->log.writes, o->next_write++));
        else
            replay_enter(o, REPLAY_HEADER);
        return;
    case REPLAY_HEADER:
        memset(o->v->header + VHDX_HDR_LOG_GUID, 0, VHDX_GUID_LEN);
        o->v->replayed = true;
        vhdx_header_write(o->v, header_cleared, o);
        return;
    }
    unreachable();
}

static void log_read(void *arg, uint8_t *log, int result)
{
    struct opening *o = arg;
    const uint8_t *h = o->v->header;
    struct err *err;

    err = result ? err_new_errno(result, "Could not read the VHDX log")
                 : vhdx_log_parse(log, load_le32(h + VHDX_HDR_LOG_LEN), h + VHDX_HDR_LOG_GUID,
                                  o->node->file->node->size, &o->log);
    xfree(log);
    if (err)
        open_end(o, err);
    else
        replay_enter(o, REPLAY_GROW);
}

static void open_log(struct opening *o)
{
    static const uint8_t none[VHDX_GUID_LEN];
    const uint8_t *h = o->v->header;
    uint64_t offset = load_le64(h + VHDX_HDR_LOG_OFFSET);
    uint32_t len = load_le32(h + VHDX_HDR_LOG_LEN);
    const char *name = o->node->file->node->filename;

    if (memcmp(h + VHDX_HDR_LOG_GUID, none, VHDX_GUID_LEN) == 0) {
        open_regions(o);
    } else if (o->v->replayed || load_le16(h + VHDX_HDR_LOG_VERSION) != 0 || !len ||
               len % VHDX_LOG_SECTOR || len > LOG_MAX || offset % VHDX_MIB || !offset ||
               offset > INT64_MAX / 2) {
        open_end(o, err_new("Invalid VHDX log (%" PRIu32 " bytes at %" PRIu64 ")", len, offset));
    } else if (o->node->read_only) {
        struct err *err = err_new("VHDX image file '%s' opened read-only, but contains a log that "
                                  "needs to be replayed",
                                  name);

        err_hint_append(err, "To replay the log, run:\nqemu-img check -r all '%s'\n", name);
        open_end(o, err);
    } else {
        image_load(o->node->file, offset, len, log_read, o);
    }
}

/* ---- The front ---- */

static const uint8_t *newer_header(const struct opening *o, unsigned *which)
{
    const uint8_t *best = NULL;

    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *h = o->front + (i ? VHDX_HEADER2 : VHDX_HEADER1);

        if (memcmp(h, "head", 4) != 0 || load_le16(h + VHDX_HDR_VERSION) != 1 ||
            load_le32(h + VHDX_HDR_CHECKSUM) !=
                vhdx_checksum(h, VHDX_HEADER_LEN, VHDX_HDR_CHECKSUM))
            continue;
        if (!best || load_le64(h + VHDX_HDR_SEQUENCE) > load_le64(best + VHDX_HDR_SEQUENCE)) {
            best = h;
            *which = i;
        }
    }
    return best;
}

static void front_read(void *arg, uint8_t *front, int result)
{
    struct opening *o = arg;
    const uint8_t *header;

    o->front = front;
    if (result) {
        open_end(o, err_new_errno(result, "Could not read VHDX header"));
        return;
    }
    if (memcmp(front, VHDX_SIGNATURE, 8) != 0) {
        open_end(o, err_new_errno(EINVAL, "Could not open '%s'", o->node->file->node->filename));
        return;
    }
    header = newer_header(o, &o->v->current);
    if (!header) {
        open_end(o, err_new("No valid VHDX header found"));
        return;
    }
    memcpy(o->v->header, header, VHDX_HEADER_LEN);
    open_log(o);
}

void vhdx_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
               void *arg)
{
    struct opening *o = NEW(struct opening);
    struct vhdx *v = node->state;

    o->node = node;
    o->v = v;
    o->done = done;
    o->arg = arg;
    list_init(&v->held);
    v->sparse.node = node;
    v->sparse.file = node->file;
    v->sparse.ops = &vhdx_sparse_ops;
    image_load(node->file, 0, FRONT_LEN, front_read, o);
}
