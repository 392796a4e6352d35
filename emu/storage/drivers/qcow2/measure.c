/*
 * The size of a new image: metadata for a disk that is fully allocated, plus the data that there is. Metadata is
 * counted
 * in full even for an empty disk, so that the image never outgrows what was said.
 */

#include "emu/storage/drivers/qcow2/measure.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/hbitmap.h"
#include "emu/base/json.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/drivers/qcow2/encrypt.h"
#include "emu/storage/drivers/qcow2/format.h"

enum { STATUS_MAX = 1 << 30, BITMAP_ENTRY_FIXED = 24 };

struct measuring {
    struct edge *source;
    struct measure_result *result;
    driver_done_fn *done;
    void *arg;
    uint64_t cluster, refcount_bits, l2_entry; /* Bytes, bits, bytes. */
    uint64_t size;                             /* Of the disk, whole clusters. */
    uint64_t end, pos;                         /* Of the source; what is not yet looked at. */
    uint64_t used;                             /* Bytes of data, in whole clusters. */
    uint64_t encryption;                       /* Bytes of its header. */
    bool v3;
    struct req req;
};

/* Blocks and table that count so many clusters and themselves. */
static uint64_t refcount_bytes(const struct measuring *m, uint64_t clusters)
{
    uint64_t per_block = m->cluster * 8 / m->refcount_bits, per_table = m->cluster / 8;
    uint64_t blocks = 0, table = 0, all;

    do {
        all = clusters + blocks + table;
        blocks = div_round_up(all, per_block);
        table = div_round_up(blocks, per_table);
    } while (all != clusters + blocks + table);
    return (blocks + table) * m->cluster;
}

/* An image with every cluster of the disk allocated. */
static uint64_t full_bytes(const struct measuring *m)
{
    uint64_t l2_entries = align_up_u64(m->size / m->cluster, m->cluster / m->l2_entry);
    uint64_t l1_entries = align_up_u64(l2_entries * m->l2_entry / m->cluster, m->cluster / 8);
    uint64_t meta = m->cluster + l2_entries * m->l2_entry + l1_entries * 8;

    return m->size + meta + refcount_bytes(m, (m->size + meta) / m->cluster);
}

/* What the persistent bitmaps of the source take: their data, tables, and the directory. */
static void measure_bitmaps(const struct measuring *m)
{
    uint64_t directory = 0, bytes = 0;

    list_for_each(bitmap, &m->source->node->bitmaps, struct bitmap, link) {
        uint64_t bits, clusters;

        if (!bitmap->persistent || bitmap->inconsistent)
            continue;
        bits = div_round_up(m->source->node->size, hbitmap_granularity(bitmap->map));
        clusters = div_round_up(div_round_up(bits, 8), m->cluster);
        bytes += clusters * m->cluster + align_up_u64(clusters * 8, m->cluster);
        directory += align_up_u64(BITMAP_ENTRY_FIXED + strlen(bitmap->name), 8);
    }
    m->result->bitmaps = bytes + align_up_u64(directory, m->cluster);
    m->result->have_bitmaps = true;
}

static void measure_end(struct measuring *m, struct err *err)
{
    driver_done_fn *done = m->done;
    void *arg = m->arg;

    if (!err) {
        m->result->fully_allocated = full_bytes(m) + m->encryption;
        m->result->required = m->result->fully_allocated - m->size + m->used;
        if (m->v3 && m->source && m->source->node->driver->bitmaps)
            measure_bitmaps(m);
    }
    xfree(m);
    done(arg, err);
}

static void measure_next(struct measuring *m);

static void status_done(struct req *req)
{
    struct measuring *m = container_of(req, struct measuring, req);
    uint64_t len = req->status.len;

    if (req->result) {
        measure_end(m, err_new_errno(req->result, "Unable to get block status"));
        return;
    }
    if (req->status.flags & STATUS_DATA && !(req->status.flags & STATUS_ZERO) &&
        req->status.flags & STATUS_ALLOCATED) {
        /* Up to the end of the cluster; the next extent begins behind it. */
        len = align_up_u64(m->pos + len, m->cluster) - m->pos;
        m->used += (m->pos & (m->cluster - 1)) + len;
    }
    m->pos += len;
    measure_next(m);
}

static void measure_next(struct measuring *m)
{
    if (m->pos >= m->end) {
        measure_end(m, NULL);
        return;
    }
    m->req = (struct req){ .kind = REQ_STATUS,
                           .flags = REQ_WANT_ZERO,
                           .offset = m->pos,
                           .len = MIN(m->end - m->pos, (uint64_t)STATUS_MAX),
                           .done = status_done };
    edge_submit(m->source, &m->req);
}

/* ---- Options ---- */

static struct json *with_dashes(const struct json *options)
{
    struct json *out = json_object(), *value;
    const char *key;

    json_object_for_each(options, i, key, value) {
        CLEANUP(xfree) char *name = xstrdup(key);

        for (char *p = name; *p; p++)
            *p = *p == '_' ? '-' : *p;
        json_object_set(out, name, json_ref(value));
    }
    return out;
}

static struct err *read_version(struct measuring *m, struct opts *opts)
{
    const char *compat = NULL;
    bool extended = false;

    TRY(opts_str_opt(opts, "compat", &compat));
    m->v3 = true;
    if (compat && (str_eq(compat, "0.10") || str_eq(compat, "v2")))
        m->v3 = false;
    else if (compat && !str_eq(compat, "1.1") && !str_eq(compat, "v3"))
        return err_new("Invalid compatibility level: '%s'", compat);
    TRY(opts_bool_opt(opts, "extended-l2", &extended));
    m->l2_entry = extended ? 16 : 8;
    if (extended && m->cluster < 16384)
        return err_new(
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
    if (extended && !m->v3)
        return err_new("Extended L2 entries are only supported with compatibility level 1.1 and "
                       "above (use version=v3 or greater)");
    m->refcount_bits = 16;
    TRY(opts_u64_opt(opts, "refcount-bits", &m->refcount_bits));
    if (m->refcount_bits > 64 || !is_pow2(m->refcount_bits))
        return err_new("Refcount width must be a power of two and may not exceed 64 bits");
    if (m->refcount_bits != 16 && !m->v3)
        return err_new("Different refcount widths than 16 bits require compatibility level 1.1 or "
                       "above (use version=v3 or greater)");
    return NULL;
}

static struct err *read_encryption(struct measuring *m, struct graph *graph, struct opts *opts)
{
    struct qcow2_crypt_options crypt = { 0 };
    struct err *err = qcow2_crypt_options_read(graph_objects(graph), opts, &crypt);

    if (!err && crypt.method == QCOW2_CRYPT_LUKS)
        m->encryption = align_up_u64(crypt.header_len, m->cluster);
    qcow2_crypt_options_fini(&crypt);
    return err;
}

static struct err *read_size(struct measuring *m, uint64_t size)
{
    uint64_t l2_tables;

    if (size > INT64_MAX - m->cluster)
        return err_new("Image size is too large");
    m->end = m->source ? size : 0;
    m->size = align_up_u64(size, m->cluster);
    l2_tables = div_round_up(m->size / m->cluster, m->cluster / m->l2_entry);
    if (l2_tables * 8 > QCOW2_L1_BYTES_MAX)
        return err_new("The image size is too large (try using a larger cluster size)");
    return NULL;
}

static struct err *read_options(struct measuring *m, struct graph *graph,
                                const struct json *options, uint64_t size)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full" };
    CLEANUP(json_free) struct json *dashed = with_dashes(options);
    CLEANUP(opts_fini) struct opts opts = { 0 };
    const char *backing = NULL;
    int prealloc = PREALLOC_OFF;

    opts_init(&opts, dashed);
    m->cluster = 65536;
    TRY(opts_size_opt(&opts, "cluster-size", &m->cluster));
    if (!is_pow2(m->cluster) || m->cluster < 1U << QCOW2_CLUSTER_BITS_MIN ||
        m->cluster > 1U << QCOW2_CLUSTER_BITS_MAX)
        return err_new("Cluster size must be a power of two between %d and %dk",
                       1 << QCOW2_CLUSTER_BITS_MIN, 1 << (QCOW2_CLUSTER_BITS_MAX - 10));
    TRY(read_version(m, &opts));
    TRY(read_size(m, size));
    TRY(read_encryption(m, graph, &opts));
    TRY(opts_enum_opt(&opts, "preallocation", modes, ARRAY_LEN(modes), &prealloc));
    TRY(opts_str_opt(&opts, "backing-file", &backing));
    if (prealloc == PREALLOC_FULL || prealloc == PREALLOC_FALLOC || (backing && m->source)) {
        m->used = m->size; /* With a backing file nobody knows what is shared: assume nothing. */
        m->pos = m->end;
    }
    return NULL;
}

void qcow2_measure(struct graph *graph, const struct json *options, struct edge *source,
                   uint64_t size, struct measure_result *result, driver_done_fn *done, void *arg)
{
    struct measuring *m = NEW(struct measuring);
    struct err *err;

    m->source = source;
    m->result = result;
    m->done = done;
    m->arg = arg;
    err = read_options(m, graph, options, size);
    if (err)
        measure_end(m, err);
    else
        measure_next(m);
}
