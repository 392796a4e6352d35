/* The tables of QED (QED specification, "Tables"), as the request machine wants them. */

#include <errno.h>

#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qed/qed.h"

enum { WORD = 8 };

static struct qed *qed_from(struct sparse *s) { return container_of(s, struct qed, sparse); }

bool qed_offset_valid(const struct qed *q, uint64_t offset, uint64_t clusters)
{
    const struct qed_header *h = &q->header;
    uint64_t header_bytes = (uint64_t)h->header_clusters * h->cluster_size;

    return offset && offset % h->cluster_size == 0 && offset >= header_bytes &&
           range_within(offset, clusters * h->cluster_size, q->file_end);
}

/* The offset of the L2 table for a cluster, 0 when there is none. 0, META_WAIT or -errno. */
static int l2_table(struct qed *q, uint64_t cluster, struct meta_wait *wait, uint64_t *table)
{
    uint64_t words = qed_table_words(&q->header);
    uint8_t *bytes;
    int ret =
        meta_get(&q->sparse.meta, q->header.l1_offset + cluster / words * WORD, WORD, wait, &bytes);

    if (ret)
        return ret;
    *table = load_le64(bytes);
    return !*table || qed_offset_valid(q, *table, q->header.table_clusters) ? 0 : -EINVAL;
}

static uint64_t word_at(const struct qed *q, uint64_t table, uint64_t cluster)
{
    return table + cluster % qed_table_words(&q->header) * WORD;
}

static int qed_find(struct sparse *s, uint64_t cluster, struct meta_wait *wait,
                    struct sparse_place *out)
{
    struct qed *q = qed_from(s);
    uint64_t table, word;
    uint8_t *bytes;
    int ret = l2_table(q, cluster, wait, &table);

    *out = (struct sparse_place){ .kind = SPARSE_HOLE };
    if (ret || !table)
        return ret;
    ret = meta_get(&s->meta, word_at(q, table, cluster), WORD, wait, &bytes);
    if (ret)
        return ret;
    word = load_le64(bytes);
    if (word == QED_UNALLOCATED)
        return 0;
    out->kind = word == QED_ZERO ? SPARSE_ZERO : SPARSE_DATA;
    out->host = word == QED_ZERO ? 0 : word;
    return word == QED_ZERO || qed_offset_valid(q, word, 1) ? 0 : -EINVAL;
}

/* Where the next cluster of the file may go: what was written without being linked is not used again for tables. */
static uint64_t next_place(const struct qed *q)
{
    return MAX(q->file_end, align_up_u64(q->sparse.fresh_from, q->header.cluster_size));
}

static int qed_place(struct sparse *s, uint64_t cluster, uint64_t *count, struct meta_wait *wait,
                     uint64_t *host)
{
    struct qed *q = qed_from(s);
    uint64_t words = qed_table_words(&q->header), table, end = next_place(q);
    uint8_t *bytes;
    int ret = l2_table(q, cluster, wait, &table);

    if (ret)
        return ret;
    *count = MIN(*count, words - cluster % words);
    if (table)
        ret = meta_get(&s->meta, word_at(q, table, cluster), WORD, wait, &bytes);
    else
        end += (uint64_t)q->header.table_clusters * q->header.cluster_size;
    if (end > INT64_MAX - *count * q->header.cluster_size)
        return -EFBIG;
    *host = end;
    return ret;
}

/* Makes the table at the next place: all of it reads as zeroes, and the file is made to reach to its end. */
static int new_table(struct qed *q, uint64_t cluster, struct meta_wait *wait, uint64_t *table)
{
    uint64_t bytes = (uint64_t)q->header.table_clusters * q->header.cluster_size;
    uint64_t offset = next_place(q),
             l1 = q->header.l1_offset + cluster / qed_table_words(&q->header) * WORD;
    uint8_t *word;
    int ret;

    if (offset > INT64_MAX - bytes)
        return -EFBIG;
    ret =
        meta_fresh(&q->sparse.meta, offset + bytes - META_SECTOR, META_SECTOR, 0, META_LEAF, wait);
    if (!ret)
        ret = meta_edit(&q->sparse.meta, l1, WORD, META_ROOT, wait, &word);
    if (ret)
        return ret;
    store_le64(word, offset);
    q->file_end = offset + bytes;
    q->sparse.fresh_from = MAX(q->sparse.fresh_from, q->file_end);
    *table = offset;
    return 0;
}

static int qed_link(struct sparse *s, uint64_t cluster, uint64_t count, struct sparse_place place,
                    struct meta_wait *wait)
{
    struct qed *q = qed_from(s);
    uint64_t table, words = META_PAGE / WORD;
    uint8_t *bytes;
    int ret = l2_table(q, cluster, wait, &table);

    if (!ret && !table)
        ret = new_table(q, cluster, wait, &table);
    /* All pages first, so that nothing has changed when one has to be waited for. */
    for (uint64_t i = 0; i < count && !ret; i += words - (cluster + i) % words)
        ret = meta_get(&s->meta, word_at(q, table, cluster + i), WORD, wait, &bytes);
    for (uint64_t i = 0; i < count && !ret; i++) {
        ret = meta_edit(&s->meta, word_at(q, table, cluster + i), WORD, META_LEAF, wait, &bytes);
        if (!ret)
            store_le64(bytes, place.kind == SPARSE_ZERO ? QED_ZERO
                                                        : place.host + i * q->header.cluster_size);
    }
    if (!ret && place.kind == SPARSE_DATA)
        q->file_end = MAX(q->file_end, place.host + count * q->header.cluster_size);
    return ret;
}

const struct sparse_ops qed_sparse_ops = {
    .find = qed_find,
    .place = qed_place,
    .link = qed_link,
};
