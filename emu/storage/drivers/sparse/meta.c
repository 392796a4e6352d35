/* Pages of metadata: finding, loading, making room, changing. Commits are in meta_commit.c. */

#include "emu/storage/drivers/sparse/meta.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/sparse/meta_page.h"

enum { FRESH_MAX = 1 << 20, DIRTY_KICK = 1024 };

/* ---- Queues ---- */

void meta_wait_init(struct meta_wait *wait, void (*wake)(struct meta_wait *wait, int result))
{
    list_init(&wait->link);
    wait->wake = wake;
}

int meta_wait_add(struct list *queue, struct meta_wait *wait)
{
    list_add_tail(queue, &wait->link);
    return META_WAIT;
}

void meta_wait_wake_all(struct list *queue, int result)
{
    struct list now = LIST_INIT(now);
    struct meta_wait *wait;

    list_splice_tail(&now, queue);
    while ((wait = list_pop_head(&now, struct meta_wait, link)))
        wait->wake(wait, result);
}

/* ---- The cache ---- */

bool meta_init(struct meta *meta, struct edge *file, const struct meta_ops *ops, void *owner,
               uint32_t pages_max)
{
    uint32_t max = pages_max ? pages_max : META_PAGES_DEFAULT;
    uint32_t buckets = (uint32_t)pow2_ceil_u64(max);

    *meta = (struct meta){ .file = file, .ops = ops, .owner = owner, .pages_max = max };
    meta->reactor = graph_reactor(file->node->graph);
    meta->bucket_mask = buckets - 1;
    list_init(&meta->lru);
    list_init(&meta->dirty_list);
    list_init(&meta->room_waiters);
    list_init(&meta->current);
    list_init(&meta->following);
    meta->buckets = try_calloc(buckets, sizeof(struct meta_page *));
    return meta->buckets != NULL;
}

void meta_fini(struct meta *meta)
{
    if (!meta->buckets)
        return;
    check(meta->phase == META_IDLE && list_empty(&meta->current) && list_empty(&meta->following));
    reactor_undefer(&meta->task);
    for (uint32_t i = 0; i <= meta->bucket_mask; i++) {
        struct meta_page *page = meta->buckets[i];

        while (page) {
            struct meta_page *next = page->hash_next;

            check(!page->load);
            xfree(page);
            page = next;
        }
    }
    xfree(meta->buckets);
    vec_fini(&meta->captures);
    *meta = (struct meta){ 0 };
}

static struct meta_page **bucket(struct meta *meta, uint64_t index)
{
    return &meta->buckets[(index * UINT64_C(0x9e3779b97f4a7c15) >> 32) & meta->bucket_mask];
}

static struct meta_page *find(struct meta *meta, uint64_t index)
{
    struct meta_page *page = *bucket(meta, index);

    while (page && page->index != index)
        page = page->hash_next;
    return page;
}

static void drop(struct meta *meta, struct meta_page *page)
{
    struct meta_page **at = bucket(meta, page->index);

    while (*at != page)
        at = &(*at)->hash_next;
    *at = page->hash_next;
    list_del(&page->lru);
    meta->pages--;
    xfree(page);
}

/* Whether there is room for one more page; the least recently used clean one makes it. */
static bool make_room(struct meta *meta)
{
    if (meta->pages < meta->pages_max)
        return true;
    list_for_each_reverse(page, &meta->lru, struct meta_page, lru) {
        if (!page->load && !meta_page_dirty(page)) {
            drop(meta, page);
            return true;
        }
    }
    return false;
}

/* The page, made with no valid sector when it is not there. */
static int get_page(struct meta *meta, uint64_t index, struct meta_wait *wait,
                    struct meta_page **out)
{
    struct meta_page *page = find(meta, index);

    if (page) {
        list_del(&page->lru);
    } else {
        if (!make_room(meta)) {
            meta_kick(meta);
            return meta_wait_add(&meta->room_waiters, wait);
        }
        page = TRY_NEW(struct meta_page);
        if (!page)
            return -ENOMEM;
        page->index = index;
        page->meta = meta;
        list_init(&page->dirty);
        list_init(&page->waiters);
        page->hash_next = *bucket(meta, index);
        *bucket(meta, index) = page;
        meta->pages++;
    }
    list_add_head(&meta->lru, &page->lru);
    *out = page;
    return 0;
}

/* ---- Loading ---- */

static void load_done(struct req *req)
{
    struct meta_page *page = container_of(req, struct meta_page, req);
    struct meta *meta = page->meta;
    struct list waiters = LIST_INIT(waiters), room = LIST_INIT(room);
    int result = req->result;

    for (unsigned i = 0; i < META_SECTORS && !result && !page->stale; i++) {
        /* Sectors made new meanwhile are newer than the file. */
        if (!(page->valid & BIT(i)))
            memcpy(page->bytes + i * META_SECTOR, page->load + i * META_SECTOR, META_SECTOR);
    }
    if (!result && !page->stale)
        page->valid = (uint8_t)bits_mask32(META_SECTORS);
    page->stale = false;
    xfree(page->load);
    page->load = NULL;
    list_splice_tail(&waiters, &page->waiters);
    list_splice_tail(&room, &meta->room_waiters);
    /* One of those may close meta: an open function that finds the image wanting. */
    meta_wait_wake_all(&waiters, result);
    meta_wait_wake_all(&room, 0);
}

static int load(struct meta *meta, struct meta_page *page, struct meta_wait *wait)
{
    if (!page->load) {
        page->load = try_alloc_aligned(META_PAGE, META_PAGE);
        if (!page->load)
            return -ENOMEM;
        page->req = (struct req){ 0 };
        page->iov = (struct iovec){ page->load, META_PAGE };
        req_submit_part(&page->req, meta->file, REQ_READ, 0, page->index * META_PAGE, META_PAGE,
                        iov_view(&page->iov, 1), load_done);
    }
    return meta_wait_add(&page->waiters, wait);
}

/* Bits of the sectors that [at, at + len) of a page touches. */
static uint8_t sectors_of(uint32_t at, uint32_t len)
{
    return (uint8_t)(bits_mask32((at + len - 1) / META_SECTOR + 1) &
                     ~bits_mask32(at / META_SECTOR));
}

static int get(struct meta *meta, uint64_t offset, uint32_t len, struct meta_wait *wait,
               struct meta_page **out)
{
    uint32_t at = (uint32_t)(offset % META_PAGE);
    uint8_t need;
    int ret;

    if (!len || len > META_PAGE - at || offset > INT64_MAX - META_PAGE)
        return -EIO;
    need = sectors_of(at, len);
    ret = get_page(meta, offset / META_PAGE, wait, out);
    if (!ret && (need & ~(*out)->valid))
        ret = load(meta, *out, wait);
    return ret;
}

int meta_get(struct meta *meta, uint64_t offset, uint32_t len, struct meta_wait *wait,
             uint8_t **bytes)
{
    struct meta_page *page;
    int ret = get(meta, offset, len, wait, &page);

    if (!ret)
        *bytes = page->bytes + offset % META_PAGE;
    return ret;
}

/* ---- Changing ---- */

static void mark(struct meta *meta, struct meta_page *page, uint8_t sectors, enum meta_rank rank)
{
    if (!meta_page_dirty(page)) {
        list_add_tail(&meta->dirty_list, &page->dirty);
        if (++meta->dirty >= DIRTY_KICK)
            meta_kick(meta);
    }
    /* A sector that changes for both reasons is written last. */
    if (rank == META_ROOT) {
        page->changed[META_ROOT] |= sectors;
        page->changed[META_LEAF] &= (uint8_t)~sectors;
    } else {
        page->changed[META_LEAF] |= sectors & (uint8_t)~page->changed[META_ROOT];
    }
}

int meta_edit(struct meta *meta, uint64_t offset, uint32_t len, enum meta_rank rank,
              struct meta_wait *wait, uint8_t **bytes)
{
    struct meta_page *page;
    int ret = get(meta, offset, len, wait, &page);

    if (ret)
        return ret;
    mark(meta, page, sectors_of((uint32_t)(offset % META_PAGE), len), rank);
    *bytes = page->bytes + offset % META_PAGE;
    return 0;
}

int meta_fresh(struct meta *meta, uint64_t offset, uint32_t len, uint8_t byte, enum meta_rank rank,
               struct meta_wait *wait)
{
    check(offset % META_SECTOR == 0 && len % META_SECTOR == 0 && len && len <= FRESH_MAX);
    if (offset > INT64_MAX - FRESH_MAX - META_PAGE)
        return -EFBIG;
    while (len) {
        uint32_t at = (uint32_t)(offset % META_PAGE), n = MIN(len, META_PAGE - at);
        struct meta_page *page;
        int ret = get_page(meta, offset / META_PAGE, wait, &page);

        if (ret)
            return ret;
        memset(page->bytes + at, byte, n);
        page->valid |= sectors_of(at, n);
        mark(meta, page, sectors_of(at, n), rank);
        offset += n;
        len -= n;
    }
    return 0;
}

void meta_forget(struct meta *meta, uint64_t offset, uint64_t len)
{
    for (uint64_t end = offset + len; offset < end;) {
        uint32_t at = (uint32_t)(offset % META_PAGE);
        uint32_t n = (uint32_t)MIN(end - offset, (uint64_t)(META_PAGE - at));
        struct meta_page *page = find(meta, offset / META_PAGE);

        if (page) {
            page->valid &= (uint8_t) ~(sectors_of(at, n) & ~(page->changed[0] | page->changed[1]));
            page->stale = page->load != NULL;
        }
        offset += n;
    }
}
