/* The tables of QED (QED specification, "Tables"), as the request machine wants them. */

#include <errno.h>

#include "emu/base/arith.h"
#include "emu/storage/drivers/qed/qed.h"

static struct qed *qed_from(struct sparse *s) { return container_of(s, struct qed, sparse); }

bool qed_offset_valid(const struct qed *q, uint64_t offset, uint64_t clusters)
{
    const struct qed_header *h = &q->header;
    uint64_t header_bytes = (uint64_t)h->header_clusters * h->cluster_size;

    return offset && offset % h->cluster_size == 0 && offset >= header_bytes &&
           range_within(offset, clusters * h->cluster_size, q->levels.end);
}

bool qed_table_valid(const struct levels *l, uint64_t offset)
{
    const struct qed *q = container_of(l, struct qed, levels);

    return qed_offset_valid(q, offset, q->header.table_clusters);
}

static int qed_find(struct sparse *s, uint64_t cluster, struct meta_wait *wait,
                    struct sparse_place *out)
{
    struct qed *q = qed_from(s);
    uint64_t word;
    int ret = levels_word(&q->levels, cluster, wait, &word);

    *out = (struct sparse_place){ .kind = SPARSE_HOLE };
    if (ret || word == QED_UNALLOCATED)
        return ret;
    if (word == QED_ZERO) {
        out->kind = SPARSE_ZERO;
        return 0;
    }
    out->kind = SPARSE_DATA;
    out->host = word;
    return qed_offset_valid(q, word, 1) ? 0 : -EINVAL;
}

static int qed_place(struct sparse *s, uint64_t cluster, uint64_t *count, struct meta_wait *wait,
                     uint64_t *host)
{
    return levels_place(&qed_from(s)->levels, cluster, count, wait, host);
}

static int qed_link(struct sparse *s, uint64_t cluster, uint64_t count, struct sparse_place place,
                    struct meta_wait *wait)
{
    struct levels_run run = { .block = cluster, .count = count, .first = QED_ZERO };

    if (place.kind == SPARSE_DATA) {
        run.first = place.host;
        run.step = s->block_size;
        run.end = place.host + count * s->block_size;
    }
    return levels_link(&qed_from(s)->levels, run, wait);
}

const struct sparse_ops qed_sparse_ops = {
    .find = qed_find,
    .place = qed_place,
    .link = qed_link,
};
