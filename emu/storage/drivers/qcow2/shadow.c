/* The machine of shadow.h, and placing what it publishes. */

#include "emu/storage/drivers/qcow2/shadow.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/trace.h"
#include "emu/storage/drivers/qcow2/open.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum { BUFFER_ALIGN = 4096, LOAD_BYTES_MAX = 1 << 30 };

#define S(name) BIT(QCOW2_SHADOW_##name)
static const uint32_t shadow_edges[QCOW2_SHADOW_PHASE_COUNT] = {
    [QCOW2_SHADOW_TAKE] = S(LOAD),
    [QCOW2_SHADOW_LOAD] = S(PLAN),
    [QCOW2_SHADOW_PLAN] = S(WRITE),
    [QCOW2_SHADOW_WRITE] = S(FLUSH),
    [QCOW2_SHADOW_FLUSH] = S(HEADER),
    [QCOW2_SHADOW_HEADER] = S(DURABLE) | S(UNDO),
    [QCOW2_SHADOW_DURABLE] = S(PUNCH) | S(UNDO),
};
#undef S

static void shadow_step(struct qcow2_shadow *s);

/* ---- Input and output ---- */

static void shadow_io_done(struct req *req)
{
    struct qcow2_shadow *s = container_of(req, struct qcow2_shadow, req);

    s->busy = false;
    if (req->result && !s->result && s->phase != QCOW2_SHADOW_PUNCH)
        s->result = req->result;
    else if (req->kind == REQ_WRITE && !req->result)
        qcow2_file_grew(s->q, req->offset + req->len);
    shadow_step(s);
}

static int submit(struct qcow2_shadow *s, enum req_kind kind, uint64_t offset, uint64_t len,
                  void *buf)
{
    s->busy = true;
    s->iov = (struct iovec){ buf, len };
    s->req = (struct req){ 0 };
    req_submit_part(&s->req, s->q->node->file, kind, 0, offset, len, iov_view(&s->iov, buf != NULL),
                    shadow_io_done);
    return QCOW2_WAIT;
}

int qcow2_shadow_read(struct qcow2_shadow *s, uint64_t offset, void *buf, uint64_t len)
{
    uint64_t have = MIN(len, sub_saturate_u64(s->q->file_size, offset));

    memset((uint8_t *)buf + have, 0, len - have);
    return have ? submit(s, REQ_READ, offset, have, buf) : 0;
}

int qcow2_shadow_write(struct qcow2_shadow *s, uint64_t offset, const void *buf, uint64_t len)
{
    return submit(s, REQ_WRITE, offset, len, (void *)(uintptr_t)buf);
}

void qcow2_shadow_piece(struct qcow2_shadow *s, struct qcow2_piece piece)
{
    vec_push(&s->pieces, piece);
}

/* ---- Counts ---- */

static int set_count(struct qcow2_shadow *s, uint64_t cluster, uint64_t value)
{
    uint64_t vacated;
    int ret = qcow2_counts_set(&s->new, cluster, value, &vacated);

    if (ret)
        return ret == -ERANGE ? -EINVAL : ret;
    if (vacated) {
        if (!vec_try_reserve(&s->vacated, s->vacated.len + 1))
            return -ENOMEM;
        vec_push(&s->vacated, vacated);
    }
    return 0;
}

int qcow2_shadow_ref(struct qcow2_shadow *s, uint64_t offset, uint64_t len, int addend)
{
    unsigned bits = s->q->geo.cluster_bits;

    for (uint64_t cluster = offset >> bits; len && cluster <= (offset + len - 1) >> bits;
         cluster++) {
        uint64_t value = qcow2_counts_get(&s->new, cluster);
        int ret;

        if (addend < 0 ? !value : value == UINT64_MAX || (!value && offset >= s->q->file_size))
            return -EINVAL;
        ret = set_count(s, cluster, addend < 0 ? value - 1 : value + 1);
        if (ret)
            return ret;
    }
    return 0;
}

static bool is_free(const struct qcow2_shadow *s, uint64_t cluster)
{
    return !qcow2_counts_get(&s->old, cluster) && !qcow2_counts_get(&s->new, cluster) &&
           !qcow2_owner_of(&s->q->owner, cluster);
}

int qcow2_shadow_alloc(struct qcow2_shadow *s, uint64_t count, uint64_t refs, uint64_t *offset)
{
    uint64_t start = s->cursor, run = 0, cluster;

    for (cluster = start; run < count; cluster++) {
        if (cluster >= QCOW2_HOST_OFFSET_MAX >> s->q->geo.cluster_bits)
            return -EFBIG;
        run = is_free(s, cluster) ? run + 1 : 0;
    }
    if (count == 1)
        s->cursor = cluster;
    cluster -= count;
    *offset = cluster << s->q->geo.cluster_bits;
    for (uint64_t i = 0; i < count; i++) {
        int ret = set_count(s, cluster + i, refs);

        if (ret)
            return ret;
    }
    s->file_end = MAX(s->file_end, (cluster + count) << s->q->geo.cluster_bits);
    return 0;
}

uint64_t qcow2_shadow_end(const struct qcow2_shadow *s)
{
    uint64_t used = qcow2_counts_used(&s->new) << s->new.block_bits;

    while (used && !qcow2_counts_get(&s->new, used - 1))
        used--;
    return used << s->q->geo.cluster_bits;
}

int qcow2_shadow_make_l1(struct qcow2_shadow *s, uint32_t count)
{
    s->l1 = try_calloc(MAX(count, 1U), sizeof(uint64_t));
    s->l1_count = count;
    return s->l1 ? 0 : -ENOMEM;
}

/* ---- Placing ---- */

/* The old active L1 table and the old refcount table go; the new L1 table gets a place. */
static int place_l1(struct qcow2_shadow *s)
{
    struct qcow2 *q = s->q;
    uint64_t bytes;
    uint8_t *data;
    int ret;

    if (s->l1_count == q->l1.count &&
        memcmp(s->l1, q->l1.entries, s->l1_count * sizeof(uint64_t)) == 0)
        return 0; /* The old one will do. */
    ret = qcow2_shadow_ref(s, q->l1.offset, q->l1.offset ? (uint64_t)q->l1.count * 8 : 0, -1);

    s->fields.l1_size = s->l1_count;
    s->fields.l1_offset = 0;
    if (ret || !s->l1_count)
        return ret;
    bytes = align_up_u64((uint64_t)s->l1_count * 8, q->geo.cluster_size);
    data = try_alloc_aligned(BUFFER_ALIGN, bytes);
    if (!data)
        return -ENOMEM;
    memset(data, 0, bytes);
    for (uint32_t i = 0; i < s->l1_count; i++)
        store_be64(data + (size_t)i * 8, s->l1[i]);
    ret = qcow2_shadow_alloc(s, bytes >> q->geo.cluster_bits, 1, &s->fields.l1_offset);
    qcow2_shadow_piece(s, (struct qcow2_piece){ s->fields.l1_offset, bytes, data, true });
    return ret;
}

/* Gives every block that has none a place; each may make other blocks change. */
static int place_blocks(struct qcow2_shadow *s)
{
    bool again;

    do {
        again = false;
        while (!vec_empty(&s->vacated)) {
            int ret = qcow2_shadow_ref(s, vec_pop(&s->vacated), s->q->geo.cluster_size, -1);

            if (ret)
                return ret;
        }
        for (uint64_t i = 0; i < s->new.count; i++) {
            uint64_t place;
            int ret;

            if (!s->new.blocks[i] || s->new.places[i])
                continue;
            ret = qcow2_shadow_alloc(s, 1, 1, &place);
            if (ret)
                return ret;
            s->new.places[i] = place;
            again = true;
        }
    } while (again || !vec_empty(&s->vacated));
    return 0;
}

static bool counts_changed(const struct qcow2_shadow *s)
{
    return s->new_order != s->q->geo.refcount_order || s->new.count != s->old.count ||
           memcmp(s->new.blocks, s->old.blocks, s->new.count * sizeof(*s->new.blocks)) != 0;
}

/* A table long enough for all blocks, counting it may take more blocks, and so on. */
static int place_reftable(struct qcow2_shadow *s)
{
    struct qcow2 *q = s->q;
    uint64_t clusters = 0, need;
    int ret;

    if (!counts_changed(s))
        return 0; /* The old one will do. */
    ret = qcow2_shadow_ref(s, q->reftable.offset, (uint64_t)q->reftable.count * 8, -1);
    while (!ret) {
        ret = place_blocks(s);
        need = div_round_up(qcow2_counts_used(&s->new) * 8, q->geo.cluster_size);
        if (ret || need <= clusters)
            break;
        if (clusters)
            ret =
                qcow2_shadow_ref(s, s->fields.reftable_offset, clusters << q->geo.cluster_bits, -1);
        clusters = need;
        if (!ret)
            ret = qcow2_shadow_alloc(s, clusters, 1, &s->fields.reftable_offset);
    }
    s->fields.reftable_clusters = (uint32_t)clusters;
    if (!ret && clusters << q->geo.cluster_bits > QCOW2_REFTABLE_BYTES_MAX)
        return -EFBIG;
    return ret;
}

static int add_count_pieces(struct qcow2_shadow *s)
{
    uint64_t bytes = (uint64_t)s->fields.reftable_clusters << s->q->geo.cluster_bits;
    uint8_t *table;

    if (!counts_changed(s))
        return 0;
    table = try_alloc_aligned(BUFFER_ALIGN, bytes);
    if (!table)
        return -ENOMEM;
    memset(table, 0, bytes);
    for (uint64_t i = 0; i < qcow2_counts_used(&s->new); i++) {
        if (!s->new.blocks[i])
            continue;
        store_be64(table + i * 8, s->new.places[i]);
        if (i >= s->old.count || s->new.blocks[i] != s->old.blocks[i])
            qcow2_shadow_piece(s, (struct qcow2_piece){ s->new.places[i], s->q->geo.cluster_size,
                                                        s->new.blocks[i], false });
    }
    qcow2_shadow_piece(s, (struct qcow2_piece){ s->fields.reftable_offset, bytes, table, true });
    return 0;
}

static int place_all(struct qcow2_shadow *s)
{
    int ret = place_l1(s);

    if (!ret)
        ret = place_reftable(s);
    return ret ? ret : add_count_pieces(s);
}

/* ---- Loading ---- */

static int load_blocks(struct qcow2_shadow *s)
{
    struct qcow2 *q = s->q;

    if (!s->old.blocks &&
        !qcow2_counts_init(&s->old, q->geo.cluster_bits, q->geo.refcount_order, q->reftable.count))
        return -ENOMEM;
    while (s->load_next < q->reftable.count) {
        uint64_t i = s->load_next++, entry = q->reftable.entries[i];

        if (!entry)
            continue;
        if (entry & QCOW2_REFTABLE_RESERVED || !is_aligned(entry, q->geo.cluster_size))
            return qcow2_corrupt(q, "Refblock offset %#llx unaligned (reftable index: %#llx)",
                                 (unsigned long long)entry, (unsigned long long)i);
        if (entry >= q->file_size)
            return -EIO;
        s->load_bytes += q->geo.cluster_size;
        if (s->load_bytes > LOAD_BYTES_MAX || s->load_bytes > q->file_size)
            return -EFBIG;
        s->old.blocks[i] = try_alloc_aligned(BUFFER_ALIGN, q->geo.cluster_size);
        if (!s->old.blocks[i])
            return -ENOMEM;
        s->old.places[i] = entry;
        return qcow2_shadow_read(s, entry, s->old.blocks[i], q->geo.cluster_size);
    }
    return 0;
}

/* All counts again in another width; every old block is given up. */
static int convert_counts(struct qcow2_shadow *s)
{
    uint64_t clusters = qcow2_counts_used(&s->old) << s->old.block_bits;

    if (!qcow2_counts_init(&s->new, s->old.cluster_bits, s->new_order,
                           (clusters >> (s->old.cluster_bits + 3 - s->new_order)) + 1))
        return -ENOMEM;
    for (uint64_t i = 0; i < s->old.count; i++) {
        if (s->old.places[i])
            vec_push(&s->vacated, s->old.places[i]);
    }
    for (uint64_t cluster = 0; cluster < clusters; cluster++) {
        uint64_t value = qcow2_counts_get(&s->old, cluster);
        int ret = value ? set_count(s, cluster, value) : 0;

        if (value > s->new.max)
            s->err = err_new("Cannot decrease refcount entry width to %u bits: Cluster at offset "
                             "%#llx has a refcount of %llu",
                             1U << s->new_order, (unsigned long long)cluster << s->old.cluster_bits,
                             (unsigned long long)value);
        if (ret)
            return ret;
    }
    return 0;
}

static int prepare_new(struct qcow2_shadow *s)
{
    struct qcow2 *q = s->q;

    s->cursor = 1;
    s->fields = q->header.fields;
    s->fields.refcount_order = s->new_order;
    if (s->new_order != q->geo.refcount_order)
        return convert_counts(s);
    return qcow2_counts_share(&s->new, &s->old) ? 0 : -ENOMEM;
}

/* ---- Publishing ---- */

static int submit_header(struct qcow2_shadow *s)
{
    memcpy(s->sector, s->q->header.sector, QCOW2_SECTOR);
    if (s->phase == QCOW2_SHADOW_HEADER)
        qcow2_header_patch(s->sector, s->q->header.version, &s->fields);
    return submit(s, REQ_WRITE, 0, QCOW2_SECTOR, s->sector);
}

/* The file has the new structures: so does memory. What cannot be had for lack of memory is made before. */
static void publish(struct qcow2_shadow *s, struct qcow2_table *l1, struct qcow2_table *reftable)
{
    struct qcow2 *q = s->q;

    memcpy(q->header.sector, s->sector, QCOW2_SECTOR);
    q->header.fields = q->commit.on_disk = s->fields;
    qcow2_set_geometry(q);
    qcow2_table_fini(&q->l1);
    qcow2_table_fini(&q->reftable);
    q->l1 = *l1;
    q->reftable = *reftable;
    qcow2_cache_clear(&q->l2_cache);
    qcow2_cache_clear(&q->ref_cache);
    if (s->has_snapshots) {
        qcow2_snapshots_fini(&q->snapshots);
        q->snapshots = s->snapshots;
        s->snapshots = (struct qcow2_snapshots){ 0 };
    }
    qcow2_owner_fini(&q->owner);
    if (qcow2_build_owners(q))
        q->broken =
            true; /* The map protects from our own mistakes; without it nothing is written. */
    q->free_hint = 0;
    q->bytes_next = 0;
    q->fresh_from = MAX(q->fresh_from, s->file_end);
    if (s->ops->published)
        s->ops->published(s);
}

static int switch_memory(struct qcow2_shadow *s)
{
    struct qcow2 *q = s->q;
    struct qcow2_table l1, reftable;

    if (!qcow2_table_init(&l1, s->l1_count, s->fields.l1_offset))
        return -ENOMEM;
    if (!qcow2_table_init(&reftable, s->fields.reftable_clusters * (q->geo.cluster_size / 8),
                          s->fields.reftable_offset)) {
        qcow2_table_fini(&l1);
        return -ENOMEM;
    }
    if (s->l1_count)
        memcpy(l1.entries, s->l1, s->l1_count * sizeof(uint64_t));
    for (uint64_t i = 0; i < MIN(s->new.count, (uint64_t)reftable.count); i++)
        reftable.entries[i] = s->new.blocks[i] ? s->new.places[i] : 0;
    publish(s, &l1, &reftable);
    return 0;
}

/* The next run of clusters that were given up. They stay unused while the image is held. */
static int punch_next(struct qcow2_shadow *s)
{
    struct qcow2 *q = s->q;
    uint64_t first, end = MIN(s->punch_end, q->file_size >> q->geo.cluster_bits);

    while (s->punch && s->punch_next < end &&
           (!qcow2_counts_get(&s->old, s->punch_next) || qcow2_counts_get(&s->new, s->punch_next)))
        s->punch_next++;
    first = s->punch_next;
    while (s->punch && s->punch_next < end && qcow2_counts_get(&s->old, s->punch_next) &&
           !qcow2_counts_get(&s->new, s->punch_next))
        s->punch_next++;
    if (!s->punch || first == s->punch_next)
        return 0;
    return submit(s, REQ_DISCARD, first << q->geo.cluster_bits,
                  (s->punch_next - first) << q->geo.cluster_bits, NULL);
}

/* ---- The machine ---- */

static void shadow_enter(struct qcow2_shadow *s, enum qcow2_shadow_phase to)
{
    fsm_check_edge(shadow_edges, s->phase, to);
    trace(qcow2_shadow_phase, "from %d to %d", s->phase, to);
    s->phase = to;
}

static void shadow_end(struct qcow2_shadow *s)
{
    struct err *err = s->err;

    if (!err && s->result)
        err = err_set_errnum(err_new("%s", strerror(-s->result)), -s->result);
    qcow2_counts_fini(&s->new);
    qcow2_counts_fini(&s->old);
    vec_fini(&s->vacated);
    qcow2_snapshots_fini(&s->snapshots);
    vec_for_each(piece, &s->pieces) {
        if (piece->owned)
            xfree(piece->data);
    }
    vec_fini(&s->pieces);
    xfree(s->l1);
    xfree(s->sector);
    if (!s->holder)
        qcow2_exclusive_drop(s->q, &s->wait);
    s->ops->done(s, err);
}

/* What the phase does next: 0 it is over, QCOW2_WAIT, -errno. */
static int run_phase(struct qcow2_shadow *s)
{
    struct qcow2 *q = s->q;
    int ret;

    switch (s->phase) {
    case QCOW2_SHADOW_TAKE: return s->holder ? 0 : qcow2_exclusive_take(q, &s->wait);
    case QCOW2_SHADOW_LOAD: ret = load_blocks(s); return ret ? ret : prepare_new(s);
    case QCOW2_SHADOW_PLAN: ret = s->ops->plan(s); return ret ? ret : place_all(s);
    case QCOW2_SHADOW_WRITE:
        if (s->piece_next < s->pieces.len) {
            const struct qcow2_piece *piece = &s->pieces.items[s->piece_next++];

            return submit(s, REQ_WRITE, piece->offset, piece->len, piece->data);
        }
        return 0;
    case QCOW2_SHADOW_FLUSH:
    case QCOW2_SHADOW_DURABLE:
        if (s->sole)
            return 0;
        s->sole = true;
        return submit(s, REQ_FLUSH, 0, 0, NULL);
    case QCOW2_SHADOW_HEADER:
        if (s->sole)
            return 0;
        s->sole = true;
        return submit_header(s);
    case QCOW2_SHADOW_PUNCH: return punch_next(s);
    case QCOW2_SHADOW_UNDO:
    case QCOW2_SHADOW_PHASE_COUNT: break;
    }
    unreachable();
}

/* The old header again, then a flush. When that fails, too, nobody knows what the file holds. */
static bool run_undo(struct qcow2_shadow *s)
{
    if (s->result) {
        s->q->broken = true;
        return true;
    }
    if (s->piece_next == 2)
        return true;
    if (s->piece_next++ == 0)
        submit_header(s);
    else
        submit(s, REQ_FLUSH, 0, 0, NULL);
    return false;
}

static void shadow_step(struct qcow2_shadow *s)
{
    if (s->stepping)
        return;
    s->stepping = true;
    while (!s->busy) {
        int ret;

        if (s->phase == QCOW2_SHADOW_UNDO) {
            if (!run_undo(s))
                continue;
            s->result = s->undone_for;
            break;
        }
        if (s->result || s->err) {
            if (s->phase != QCOW2_SHADOW_HEADER && s->phase != QCOW2_SHADOW_DURABLE)
                break;
            s->undone_for = s->result;
            s->result = 0;
            s->piece_next = 0;
            shadow_enter(s, QCOW2_SHADOW_UNDO);
            continue;
        }
        s->busy = true; /* A wake-up may come before the call returns. */
        ret = run_phase(s);
        if (ret == QCOW2_WAIT)
            continue;
        s->busy = false;
        if (ret) {
            s->result = ret;
            continue;
        }
        s->sole = false;
        if (s->phase == QCOW2_SHADOW_DURABLE && switch_memory(s)) {
            s->q->broken = true; /* The file is well; this process cannot go on with it. */
            s->result = -ENOMEM;
            break;
        }
        if (s->phase == QCOW2_SHADOW_PUNCH)
            break;
        shadow_enter(s, s->phase + 1);
    }
    s->stepping = false;
    if (!s->busy)
        shadow_end(s);
}

static void shadow_wake(struct qcow2_wait *wait, int result)
{
    struct qcow2_shadow *s = container_of(wait, struct qcow2_shadow, wait);

    s->busy = false;
    if (result < 0)
        s->result = result;
    shadow_step(s);
}

void qcow2_shadow_start(struct qcow2_shadow *s)
{
    qcow2_wait_init(&s->wait, shadow_wake);
    s->sector = try_alloc_aligned(BUFFER_ALIGN, QCOW2_SECTOR);
    if (!s->sector)
        s->result = -ENOMEM;
    s->punch_end = UINT64_MAX;
    shadow_step(s);
}
