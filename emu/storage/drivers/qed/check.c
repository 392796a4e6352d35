/*
 * Checking an image: walks the tables and notes which clusters of the file are in use. With fixing, entries that
 * cannot be are made unallocated; clusters that two entries share cannot be mended, leaked ones are only counted.
 */

#include <errno.h>
#include <inttypes.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bitset.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qed/qed.h"

enum { WORD = 8 };
#define USED_BITS_MAX (UINT64_C(1) << 33) /* Clusters of a file: 32 TiB of the smallest. */

struct checking {
    struct node *node;
    struct qed *q;
    unsigned fix;
    struct check_result *result;
    driver_done_fn *done;
    void *arg;
    struct bitset used; /* Clusters of the file. */
    uint64_t l1_index, l2_index;
    uint64_t table;       /* The L2 table being walked, 0: none. */
    uint64_t last_offset; /* Of the cluster before in this table. */
    struct meta_wait wait;
};

static void check_end(struct checking *c, struct err *err)
{
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    bitset_fini(&c->used);
    xfree(c);
    done(arg, err);
}

/* False: some of them were in use already. */
static bool use(struct checking *c, uint64_t offset, uint64_t clusters)
{
    uint64_t first = offset / c->q->header.cluster_size;
    bool fresh = true;

    for (uint64_t i = first; i < first + clusters && i < c->used.nbits; i++) {
        if (bitset_test(&c->used, i)) {
            c->result->corruptions++;
            fresh = false;
        }
        bitset_set(&c->used, i);
    }
    return fresh;
}

static void count_leaks(struct checking *c)
{
    for (uint64_t i = 0; i < c->used.nbits; i++)
        c->result->leaks += !bitset_test(&c->used, i);
}

static void header_written(void *arg, int result)
{
    check_end(arg, result ? err_new_errno(result, "Check failed") : NULL);
}

static void finish(struct checking *c)
{
    struct check_result *r = c->result;
    struct qed_header *h = &c->q->header;

    count_leaks(c);
    if (!c->fix || c->node->read_only || r->check_errors || r->corruptions > r->corruptions_fixed) {
        check_end(c, NULL);
        return;
    }
    h->features &= ~(uint64_t)QED_NEED_CHECK;
    qed_write_header(c->q, header_written, c);
}

/* What a bad entry at offset becomes. 0, META_WAIT or -errno. */
static int clear_entry(struct checking *c, uint64_t offset, enum meta_rank rank)
{
    uint8_t *bytes;
    int ret;

    if (c->fix & CHECK_FIX_ERRORS) {
        ret = meta_edit(&c->q->sparse.meta, offset, WORD, rank, &c->wait, &bytes);
        if (ret)
            return ret;
        store_le64(bytes, QED_UNALLOCATED);
        c->result->corruptions_fixed++;
    }
    c->result->corruptions++;
    return 0;
}

/* Looks at one word of the L2 table. */
static int l2_step(struct checking *c)
{
    struct qed *q = c->q;
    uint64_t at = c->table + c->l2_index * WORD, word;
    uint8_t *bytes;
    int ret = meta_get(&q->sparse.meta, at, WORD, &c->wait, &bytes);

    if (ret)
        return ret;
    word = load_le64(bytes);
    if (word == QED_UNALLOCATED || word == QED_ZERO)
        return 0;
    if (!qed_offset_valid(q, word, 1))
        return clear_entry(c, at, META_LEAF);
    c->result->allocated_clusters++;
    if (c->last_offset && c->last_offset + q->header.cluster_size != word)
        c->result->fragmented_clusters++;
    c->last_offset = word;
    use(c, word, 1);
    return 0;
}

/* Looks at one word of L1, and enters its table. */
static int l1_step(struct checking *c)
{
    struct qed *q = c->q;
    uint64_t at = q->header.l1_offset + c->l1_index * WORD, word;
    uint8_t *bytes;
    int ret = meta_get(&q->sparse.meta, at, WORD, &c->wait, &bytes);

    if (ret)
        return ret;
    word = load_le64(bytes);
    if (!word)
        return 0;
    if (!qed_offset_valid(q, word, q->header.table_clusters))
        return clear_entry(c, at, META_ROOT);
    if (!use(c, word, q->header.table_clusters))
        return 0; /* Walking a table that is something else too would tell nothing. */
    c->table = word;
    c->l2_index = 0;
    c->last_offset = 0;
    return 0;
}

static void check_step(struct checking *c)
{
    uint64_t words = qed_table_words(&c->q->header);
    int ret = 0;

    while (!ret && (c->table || c->l1_index < words)) {
        if (c->table) {
            ret = l2_step(c);
            if (!ret && ++c->l2_index == words)
                c->table = 0;
        } else {
            ret = l1_step(c);
        }
        if (!ret && !c->table)
            c->l1_index++;
    }
    if (ret == META_WAIT)
        return;
    if (ret)
        check_end(c, err_new_errno(ret, "Check failed"));
    else
        finish(c);
}

static void check_wake(struct meta_wait *wait, int result)
{
    struct checking *c = container_of(wait, struct checking, wait);

    if (result)
        check_end(c, err_new_errno(result, "Check failed"));
    else
        check_step(c);
}

void qed_check(struct node *node, unsigned fix, struct check_result *result, driver_done_fn *done,
               void *arg)
{
    struct checking *c = NEW(struct checking);
    struct qed *q = qed_of(node);
    const struct qed_header *h = &q->header;
    uint64_t clusters = q->levels.end / h->cluster_size;

    *c = (struct checking){
        .node = node, .q = q, .fix = fix, .result = result, .done = done, .arg = arg
    };
    meta_wait_init(&c->wait, check_wake);
    if (clusters > USED_BITS_MAX || !bitset_try_init(&c->used, clusters)) {
        check_end(c, err_new_errno(ENOMEM, "Check failed"));
        return;
    }
    result->total_clusters = div_round_up(h->image_size, h->cluster_size);
    use(c, 0, h->header_clusters);
    use(c, h->l1_offset, h->table_clusters);
    check_step(c);
}
