/* The metadata cache: hash table and LRU list, loads, and copy-on-change of captured blocks. */

#include "emu/storage/drivers/qcow2/cache.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/hash.h"
#include "emu/base/trace.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum { BLOCK_ALIGN = 4096, BUCKETS_MAX = 1 << 16 };

bool qcow2_cache_init(struct qcow2_cache *cache, struct qcow2 *q, uint32_t block_size,
                      uint32_t limit)
{
    *cache = (struct qcow2_cache){ .q = q, .block_size = block_size, .limit = limit };
    list_init(&cache->lru);
    list_init(&cache->dirty);
    cache->bucket_mask = (uint32_t)pow2_ceil_u64(MIN(limit, (uint32_t)BUCKETS_MAX)) - 1;
    cache->buckets = try_calloc((size_t)cache->bucket_mask + 1, sizeof(*cache->buckets));
    return cache->buckets != NULL;
}

static struct qcow2_block **bucket_of(struct qcow2_cache *cache, uint64_t offset)
{
    return &cache->buckets[hash_u64(offset) & cache->bucket_mask];
}

static struct qcow2_block *find(struct qcow2_cache *cache, uint64_t offset)
{
    struct qcow2_block *block = *bucket_of(cache, offset);

    while (block && block->offset != offset)
        block = block->hash_next;
    return block;
}

static void unhash(struct qcow2_block *block)
{
    struct qcow2_block **at = bucket_of(block->cache, block->offset);

    while (*at != block)
        at = &(*at)->hash_next;
    *at = block->hash_next;
}

static void hash(struct qcow2_block *block)
{
    struct qcow2_block **bucket = bucket_of(block->cache, block->offset);

    block->hash_next = *bucket;
    *bucket = block;
}

static void clear_dirty(struct qcow2_block *block)
{
    if (block->dirty) {
        block->dirty = false;
        block->cache->dirty_count--;
        list_del(&block->dirty_link);
    }
}

static void destroy(struct qcow2_block *block)
{
    clear_dirty(block);
    list_del(&block->lru);
    unhash(block);
    block->cache->count--;
    if (block->captured_data != block->data)
        xfree(block->captured_data);
    xfree(block->data);
    xfree(block);
}

void qcow2_cache_fini(struct qcow2_cache *cache)
{
    if (!cache->buckets)
        return;
    check(cache->loading == 0);
    list_for_each_safe(block, &cache->lru, struct qcow2_block, lru)
        destroy(block);
    xfree(cache->buckets);
    *cache = (struct qcow2_cache){ 0 };
}

static bool evictable(const struct qcow2_block *block)
{
    return !block->dirty && !block->captured_data && !block->loading && !block->pins;
}

/* Frees the oldest blocks that can go until there is room for one more. */
static void make_room(struct qcow2_cache *cache)
{
    unsigned looked = 0;

    list_for_each_safe(block, &cache->lru, struct qcow2_block, lru) {
        if (cache->count < cache->limit || looked++ > 64)
            return;
        if (evictable(block))
            destroy(block);
    }
}

static struct qcow2_block *block_new(struct qcow2_cache *cache, uint64_t offset)
{
    struct qcow2_block *block;

    if (cache->count >= cache->limit)
        make_room(cache);
    block = TRY_NEW(struct qcow2_block);
    if (!block)
        return NULL;
    block->data = try_alloc_aligned(BLOCK_ALIGN, cache->block_size);
    if (!block->data) {
        xfree(block);
        return NULL;
    }
    block->cache = cache;
    block->offset = offset;
    list_init(&block->dirty_link);
    list_init(&block->waiters);
    list_add_tail(&cache->lru, &block->lru);
    hash(block);
    cache->count++;
    return block;
}

static void load_done(struct req *req)
{
    struct qcow2_block *block = container_of(req, struct qcow2_block, io);
    struct list waiters = LIST_INIT(waiters);
    int result = req->result;

    block->loading = false;
    block->cache->loading--;
    list_splice_tail(&waiters, &block->waiters);
    if (result || block->doomed)
        destroy(block);
    qcow2_wait_wake_all(&waiters, result);
}

/* Starts the read of a block. Past the end of the file there are zeroes: then it is complete at once. */
static void load(struct qcow2_block *block)
{
    struct qcow2 *q = block->cache->q;
    uint32_t size = block->cache->block_size;
    uint64_t have = sub_saturate_u64(q->file_size, block->offset);

    if (have < size)
        memset(block->data + have, 0, size - have);
    if (!have)
        return;
    block->loading = true;
    block->cache->loading++;
    block->iov = (struct iovec){ block->data, MIN(have, (uint64_t)size) };
    debug_event(q->node->file, block->cache == &q->l2_cache ? "l2_load" : "refblock_load");
    req_submit_part(&block->io, q->node->file, REQ_READ, 0, block->offset, block->iov.iov_len,
                    iov_view(&block->iov, 1), load_done);
}

int qcow2_cache_get(struct qcow2_cache *cache, uint64_t offset, struct qcow2_wait *wait,
                    struct qcow2_block **out)
{
    struct qcow2_block *block = find(cache, offset);

    check(is_aligned(offset, cache->block_size));
    if (LIKELY(block && !block->loading)) {
        list_del(&block->lru);
        list_add_tail(&cache->lru, &block->lru);
        *out = block;
        return 0;
    }
    if (!block) {
        if (cache->dirty_count >= cache->limit * 2)
            return qcow2_commit_wait(cache->q, wait);
        block = block_new(cache, offset);
        if (!block)
            return -ENOMEM;
        trace(qcow2_cache_load, "offset %llu", (unsigned long long)offset);
        load(block);
        if (!block->loading) {
            *out = block;
            return 0;
        }
    }
    return qcow2_wait_add(&block->waiters, wait);
}

int qcow2_cache_create(struct qcow2_cache *cache, uint64_t offset, struct qcow2_block **out)
{
    struct qcow2_block *block = find(cache, offset);
    int ret;

    /* A load of what was at this place can still run when its last user has gone. */
    if (block && block->loading)
        return -EAGAIN;
    if (!block)
        block = block_new(cache, offset);
    if (!block)
        return -ENOMEM;
    ret = qcow2_cache_edit(block);
    if (ret)
        return ret;
    memset(block->data, 0, cache->block_size);
    *out = block;
    return 0;
}

int qcow2_cache_edit(struct qcow2_block *block)
{
    struct qcow2_cache *cache = block->cache;

    check(!block->loading);
    if (block->captured_data == block->data) {
        uint8_t *copy = try_alloc_aligned(BLOCK_ALIGN, cache->block_size);

        if (!copy)
            return -ENOMEM;
        memcpy(copy, block->data, cache->block_size);
        block->data = copy; /* The commit goes on with the old memory. */
    }
    if (!block->dirty) {
        block->dirty = true;
        cache->dirty_count++;
        /* While captured the link is in the commit's list; the release moves it. */
        if (!block->captured_data)
            list_add_tail(&cache->dirty, &block->dirty_link);
        if (cache->dirty_count >= cache->limit / 2)
            qcow2_commit_kick(cache->q);
    }
    return 0;
}

void qcow2_cache_forget(struct qcow2_cache *cache, uint64_t offset, uint64_t len)
{
    for (uint64_t at = offset; at < offset + len; at += cache->block_size) {
        struct qcow2_block *block = find(cache, at);

        if (!block)
            continue;
        if (block->captured_data || block->loading) {
            block->doomed = true;
            continue;
        }
        check(block->pins == 0);
        destroy(block);
    }
}

void qcow2_cache_clear(struct qcow2_cache *cache)
{
    list_for_each_safe(block, &cache->lru, struct qcow2_block, lru) {
        check(!block->dirty && !block->captured_data && !block->loading && !block->pins);
        destroy(block);
    }
}

/* Merge sort by offset of the blocks in list. */
static void sort(struct list *list, uint32_t count)
{
    struct list low = LIST_INIT(low), high = LIST_INIT(high);
    uint32_t half = count / 2;

    if (count < 2)
        return;
    for (uint32_t i = 0; i < half; i++)
        list_add_tail(&low, &list_pop_head(list, struct qcow2_block, dirty_link)->dirty_link);
    list_splice_tail(&high, list);
    sort(&low, half);
    sort(&high, count - half);
    while (!list_empty(&low) && !list_empty(&high)) {
        struct list *from = list_first(&low, struct qcow2_block, dirty_link)->offset <
                                    list_first(&high, struct qcow2_block, dirty_link)->offset
                                ? &low
                                : &high;

        list_add_tail(list, &list_pop_head(from, struct qcow2_block, dirty_link)->dirty_link);
    }
    list_splice_tail(list, &low);
    list_splice_tail(list, &high);
}

uint32_t qcow2_cache_capture(struct qcow2_cache *cache, struct list *list)
{
    uint32_t count = 0;

    list_splice_tail(list, &cache->dirty);
    list_for_each(block, list, struct qcow2_block, dirty_link) {
        check(block->dirty && !block->captured_data);
        block->dirty = false;
        cache->dirty_count--;
        block->captured_data = block->data;
        count++;
    }
    sort(list, count);
    return count;
}

void qcow2_cache_release(struct qcow2_block *block, bool written)
{
    struct qcow2_cache *cache = block->cache;

    if (block->captured_data != block->data)
        xfree(block->captured_data);
    block->captured_data = NULL;
    list_del(&block->dirty_link);
    if (block->doomed) {
        destroy(block);
        return;
    }
    if (!written && !block->dirty) {
        block->dirty = true;
        cache->dirty_count++;
    }
    if (block->dirty)
        list_add_tail(&cache->dirty, &block->dirty_link);
}
