/*
 * Loading stored bitmaps: the directory, then for each bitmap its table and its data, cluster by cluster. Hostile
 * images: the directory and all tables lie within the file and are bounded in sum; data is read only where the
 * table says that there is some, into a bitmap whose size was checked.
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/hbitmap.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum { READ_ALIGN = 4096 };

enum load_phase {
    LOAD_DIRECTORY,
    LOAD_TABLE, /* The table of bitmap `next` is being read. */
    LOAD_DATA,  /* A cluster of its data. */
};

struct load {
    struct qcow2 *q;
    bool data;
    driver_done_fn *done;
    void *arg;
    enum load_phase phase;
    size_t next;           /* Bitmap. */
    uint32_t at;           /* Entry of its table. */
    struct bitmap *bitmap; /* Of the node; the one whose data is being read. */
    uint64_t table_bytes;  /* Of all tables so far. */
    uint8_t *buf;          /* owned */
    uint64_t len;
    struct iovec iov;
    struct req req;
};

static void load_next(struct load *load);

static struct qcow2_bitmap_limits limits_of(const struct qcow2 *q)
{
    return (struct qcow2_bitmap_limits){ q->geo.cluster_bits, q->header.fields.size, q->file_size };
}

/* Puts all clusters of bitmaps into the owner map. */
static struct err *own_all(struct qcow2 *q)
{
    int ret = 0;

    vec_for_each(s, &q->bitmaps.stored) {
        uint64_t bytes = (uint64_t)s->table_len * 8;

        ret = qcow2_owner_add(&q->owner, s->table_offset >> q->geo.cluster_bits,
                              div_round_up(bytes, q->geo.cluster_size), QCOW2_OWNER_BITMAPS, NULL);
        for (uint32_t i = 0; !ret && i < s->table_len; i++) {
            if (s->table[i] & QCOW2_OFFSET_MASK)
                ret = qcow2_owner_add(&q->owner,
                                      (s->table[i] & QCOW2_OFFSET_MASK) >> q->geo.cluster_bits, 1,
                                      QCOW2_OWNER_BITMAPS, NULL);
        }
        if (ret)
            return err_new_errno(ret, "Could not open qcow2 image");
    }
    return NULL;
}

static void load_end(struct load *load, struct err *err)
{
    driver_done_fn *done = load->done;
    void *arg = load->arg;

    if (!err)
        err = own_all(load->q);

    xfree(load->buf);
    xfree(load);
    done(arg, err);
}

/* The part of a bitmap that a cluster of data is for. */
static void chunk_of(const struct load *load, uint64_t *offset, uint64_t *len)
{
    uint64_t granules = (uint64_t)load->q->geo.cluster_size * 8;
    uint64_t size = hbitmap_size(load->bitmap->map);

    *offset = load->at * (granules * hbitmap_granularity(load->bitmap->map));
    *len = MIN(granules * hbitmap_granularity(load->bitmap->map), size - *offset);
}

static const char *read_error(const struct load *load)
{
    static const char *const what[] = {
        [LOAD_DIRECTORY] = "Failed to read bitmap directory",
        [LOAD_TABLE] = "Could not read bitmap_table table from image for bitmap",
        [LOAD_DATA] = "Could not read bitmap",
    };

    return what[load->phase];
}

/* ---- What was read ---- */

static struct err *take_directory(struct load *load)
{
    struct qcow2 *q = load->q;
    struct qcow2_bitmap_limits limits = limits_of(q);

    return qcow2_bitmap_dir_parse(&q->bitmaps.stored, load->buf, load->len, q->header.bitmap_count,
                                  &limits);
}

static struct err *take_table(struct load *load)
{
    struct qcow2 *q = load->q;
    struct qcow2_stored_bitmap *s = &q->bitmaps.stored.items[load->next];
    struct qcow2_bitmap_limits limits = limits_of(q);

    s->table = try_calloc(s->table_len, sizeof(uint64_t));
    if (!s->table)
        return err_new_errno(ENOMEM, "Could not read bitmap_table table from image for bitmap '%s'",
                             s->name);
    for (uint32_t i = 0; i < s->table_len; i++) {
        s->table[i] = load_be64(load->buf + (size_t)i * 8);
        if (!qcow2_bitmap_entry_valid(s->table[i], &limits) ||
            (s->table[i] & QCOW2_OFFSET_MASK) >= q->file_size)
            return err_new_errno(
                EINVAL, "Could not read bitmap_table table from image for bitmap '%s'", s->name);
    }
    return NULL;
}

/* Makes the bitmap of the node; those that are too old to be used have no data. */
static struct err *make_bitmap(struct load *load)
{
    struct qcow2 *q = load->q;
    struct qcow2_stored_bitmap *s = &q->bitmaps.stored.items[load->next];
    struct err *err = bitmap_add(q->node, s->name, UINT32_C(1) << s->granularity_bits, true,
                                 !(s->flags & QCOW2_BITMAP_AUTO), &load->bitmap);

    if (err)
        return err_prefix(err, "Could not read bitmap '%s' from image: ", s->name);
    load->bitmap->read_only = q->read_only;
    if (s->flags & QCOW2_BITMAP_IN_USE) {
        load->bitmap->inconsistent = true;
        load->bitmap->enabled = false;
    }
    return NULL;
}

static struct err *take(struct load *load)
{
    uint64_t offset, len;

    switch (load->phase) {
    case LOAD_DIRECTORY: return take_directory(load);
    case LOAD_TABLE: return take_table(load);
    case LOAD_DATA:
        chunk_of(load, &offset, &len);
        hbitmap_deserialise(load->bitmap->map, offset, len, load->buf);
        load->at++;
        return NULL;
    }
    unreachable();
}

/* ---- Reading ---- */

static void load_read_done(struct req *req)
{
    struct load *load = container_of(req, struct load, req);
    const char *name =
        load->phase == LOAD_DIRECTORY ? "" : load->q->bitmaps.stored.items[load->next].name;
    struct err *err;

    if (req->result)
        err = load->phase == LOAD_DIRECTORY
                  ? err_new_errno(req->result, "%s", read_error(load))
                  : err_new_errno(req->result, "%s '%s'", read_error(load), name);
    else
        err = take(load);
    if (err)
        load_end(load, err);
    else
        load_next(load);
}

/* Zeroes behind the end of the file; something is before it, so that this never ends at once. */
static void load_read(struct load *load, enum load_phase phase, uint64_t offset, uint64_t len)
{
    uint64_t have = MIN(len, sub_saturate_u64(load->q->file_size, offset));

    load->phase = phase;
    xfree(load->buf);
    load->buf = try_alloc_aligned(READ_ALIGN, align_up_u64(len, READ_ALIGN));
    load->len = len;
    load->req = (struct req){ 0 };
    if (!load->buf || !have) {
        load->req.result = load->buf ? -EINVAL : -ENOMEM;
        load_read_done(&load->req);
        return;
    }
    memset(load->buf + have, 0, len - have);
    load->iov = (struct iovec){ load->buf, have };
    req_submit_part(&load->req, load->q->node->file, REQ_READ, 0, offset, have,
                    iov_view(&load->iov, 1), load_read_done);
}

static struct err *start_table(struct load *load)
{
    const struct qcow2_stored_bitmap *s = &load->q->bitmaps.stored.items[load->next];

    load->table_bytes += (uint64_t)s->table_len * 8;
    if (load->table_bytes > QCOW2_BITMAP_TABLES_BYTES_MAX)
        return err_new("The tables of the bitmaps take more than %llu MiB",
                       (unsigned long long)(QCOW2_BITMAP_TABLES_BYTES_MAX >> 20));
    load_read(load, LOAD_TABLE, s->table_offset, (uint64_t)s->table_len * 8);
    return NULL;
}

/* Goes on with the data of the current bitmap; false when there is nothing left to read of it. */
static bool next_data(struct load *load)
{
    const struct qcow2_stored_bitmap *s = &load->q->bitmaps.stored.items[load->next];
    uint64_t offset, len;

    for (; load->at < s->table_len && hbitmap_size(load->bitmap->map); load->at++) {
        uint64_t entry = s->table[load->at];

        chunk_of(load, &offset, &len);
        if (entry & QCOW2_BITMAP_TABLE_ONES)
            hbitmap_deserialise_ones(load->bitmap->map, offset, len);
        if (!(entry & QCOW2_OFFSET_MASK))
            continue;
        load_read(load, LOAD_DATA, entry & QCOW2_OFFSET_MASK,
                  hbitmap_serial_size(load->bitmap->map, offset, len));
        return true;
    }
    return false;
}

/* Starts the next read, or ends. */
static void load_next(struct load *load)
{
    const qcow2_stored_bitmaps *stored = &load->q->bitmaps.stored;
    struct err *err = NULL;

    while (!err && load->next < stored->len) {
        const struct qcow2_stored_bitmap *s = &stored->items[load->next];

        if (!s->table) {
            err = start_table(load);
            if (err)
                break;
            return;
        }
        if (load->data && !load->bitmap) {
            err = make_bitmap(load);
            load->at = 0;
            continue;
        }
        if (load->data && !load->bitmap->inconsistent && next_data(load))
            return;
        load->bitmap = NULL;
        load->next++;
    }
    load_end(load, err);
}

void qcow2_bitmaps_load(struct qcow2 *q, bool data, driver_done_fn *done, void *arg)
{
    struct load *load;

    if (!q->header.bitmap_count) {
        done(arg, NULL);
        return;
    }
    load = NEW(struct load);
    *load = (struct load){ .q = q, .data = data, .done = done, .arg = arg };
    load_read(load, LOAD_DIRECTORY, q->header.bitmap_dir_offset, q->header.bitmap_dir_size);
}
