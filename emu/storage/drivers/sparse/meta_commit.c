/* Commits of metadata; meta.h tells their steps. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/trace.h"
#include "emu/storage/drivers/sparse/meta_page.h"

enum { RUN_MAX = 1 << 20 };

static void enter(struct meta *meta, enum meta_phase phase);

bool meta_dirty(const struct meta *meta) { return meta->dirty || meta->data_unsafe; }

/* ---- Capture ---- */

static int by_index(const void *a, const void *b)
{
    const struct meta_page *x = *(struct meta_page *const *)a, *y = *(struct meta_page *const *)b;

    return x->index < y->index ? -1 : x->index > y->index;
}

static void captures_free(struct meta *meta)
{
    for (size_t i = 0; i < meta->captures.len; i++)
        xfree(meta->captures.items[i].bytes);
    meta->captures.len = 0;
}

static bool capture_sector(struct meta *meta, const struct meta_page *page, unsigned sector,
                           enum meta_rank rank)
{
    uint64_t offset = page->index * META_PAGE + sector * META_SECTOR;
    meta_captures *all = &meta->captures;
    struct meta_capture *last = all->len ? &all->items[all->len - 1] : NULL;
    uint8_t *bytes;

    if (!last || last->rank != rank || last->offset + last->len != offset || last->len >= RUN_MAX) {
        if (!vec_try_reserve(all, all->len + 1))
            return false;
        last = &all->items[all->len++];
        *last = (struct meta_capture){ .offset = offset, .rank = rank };
    }
    if (is_pow2(last->len) || !last->len) {
        bytes = try_realloc(last->bytes, MAX(last->len * 2, (uint64_t)META_SECTOR));
        if (!bytes)
            return false;
        last->bytes = bytes;
    }
    memcpy(last->bytes + last->len, page->bytes + sector * META_SECTOR, META_SECTOR);
    last->len += META_SECTOR;
    return true;
}

static int capture(struct meta *meta)
{
    size_t n = 0, count = list_count(&meta->dirty_list);
    CLEANUP(xfree)
    struct meta_page **pages = try_calloc(count + 1, sizeof(struct meta_page *));

    if (!pages)
        return -ENOMEM;
    list_for_each(page, &meta->dirty_list, struct meta_page, dirty)
        pages[n++] = page;
    qsort(pages, n, sizeof(struct meta_page *), by_index);
    for (unsigned rank = 0; rank < META_RANKS; rank++) {
        for (size_t i = 0; i < n * META_SECTORS; i++) {
            struct meta_page *page = pages[i / META_SECTORS];

            if ((page->changed[rank] & BIT(i % META_SECTORS)) &&
                !capture_sector(meta, page, i % META_SECTORS, rank))
                return -ENOMEM;
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (unsigned rank = 0; rank < META_RANKS; rank++) {
            pages[i]->captured[rank] = pages[i]->changed[rank];
            pages[i]->changed[rank] = 0;
        }
    }
    return 0;
}

/* The pages are clean but for what changed meanwhile; after a failure all of it counts as changed. */
static void release(struct meta *meta, bool failed)
{
    captures_free(meta);
    list_for_each_safe(page, &meta->dirty_list, struct meta_page, dirty) {
        for (unsigned rank = 0; rank < META_RANKS; rank++) {
            if (failed)
                page->changed[rank] |= page->captured[rank];
            page->captured[rank] = 0;
        }
        page->changed[META_LEAF] &= (uint8_t)~page->changed[META_ROOT];
        if (!meta_page_dirty(page)) {
            list_del(&page->dirty);
            meta->dirty--;
        }
    }
    meta->data_unsafe |= failed;
}

/* ---- The machine ---- */

static void start_task(struct task *task);

static void end(struct meta *meta, int result)
{
    struct list done = LIST_INIT(done);

    trace(meta_commit_done, "result %d", result);
    release(meta, result != 0);
    meta->phase = META_IDLE;
    list_splice_tail(&done, &meta->current);
    if (meta->kicked || !list_empty(&meta->following))
        reactor_defer(meta->reactor, &meta->task, start_task);
    meta->kicked = false;
    /* Nothing of meta is used after those that may close it. */
    meta_wait_wake_all(&meta->room_waiters, result);
    meta_wait_wake_all(&done, result);
}

static void step_done(struct meta *meta, int result)
{
    if (result)
        end(meta, result);
    else
        enter(meta, meta->phase + 1);
}

static void req_done(struct req *req)
{
    step_done(container_of(req, struct meta, req), req->result);
}

static void flush(struct meta *meta)
{
    meta->req = (struct req){ 0 };
    req_submit_part(&meta->req, meta->file, REQ_FLUSH, 0, 0, 0, (struct iov_view){ 0 }, req_done);
}

static void write_next(struct meta *meta, enum meta_rank rank);

static void write_done(struct req *req)
{
    struct meta *meta = container_of(req, struct meta, req);

    if (req->result)
        end(meta, req->result);
    else
        write_next(meta, meta->phase == META_WRITE_LEAF ? META_LEAF : META_ROOT);
}

/* Captures are in order of rank. */
static void write_next(struct meta *meta, enum meta_rank rank)
{
    struct meta_capture *capture;

    if (meta->next == meta->captures.len || meta->captures.items[meta->next].rank != rank) {
        enter(meta, meta->phase + 1);
        return;
    }
    capture = &meta->captures.items[meta->next++];
    meta->iov = (struct iovec){ capture->bytes, capture->len };
    meta->req = (struct req){ 0 };
    req_submit_part(&meta->req, meta->file, REQ_WRITE, 0, capture->offset, capture->len,
                    iov_view(&meta->iov, 1), write_done);
}

/* The only writer of meta->phase but for the return to IDLE. */
static void enter(struct meta *meta, enum meta_phase phase)
{
    bool hooks = meta->ops && meta->captures.len;

    meta->phase = phase;
    switch (phase) {
    case META_DATA:
        /* Without tables to write, the last flush does it. */
        if (meta->data_unsafe && meta->captures.len) {
            meta->data_unsafe = false;
            flush(meta);
            return;
        }
        enter(meta, META_LOG);
        return;
    case META_LOG:
        if (hooks && meta->ops->log)
            meta->ops->log(meta, &meta->captures, step_done);
        else
            enter(meta, META_WRITE_LEAF);
        return;
    case META_WRITE_LEAF: write_next(meta, META_LEAF); return;
    case META_ORDER:
        if (meta->next && meta->next < meta->captures.len)
            flush(meta);
        else
            enter(meta, META_WRITE_ROOT);
        return;
    case META_WRITE_ROOT: write_next(meta, META_ROOT); return;
    case META_FLUSH: flush(meta); return;
    case META_AFTER:
        if (hooks && meta->ops->after)
            meta->ops->after(meta, step_done);
        else
            end(meta, 0);
        return;
    case META_PHASE_COUNT: end(meta, 0); return;
    case META_IDLE: break;
    }
    unreachable();
}

static void start(struct meta *meta)
{
    int ret;

    meta->kicked = false;
    if (!meta_dirty(meta) && list_empty(&meta->following))
        return;
    ret = meta->ops && meta->ops->before ? meta->ops->before(meta) : 0;
    list_splice_tail(&meta->current, &meta->following);
    meta->next = 0;
    ret = ret ? ret : capture(meta);
    if (ret)
        end(meta, ret);
    else
        enter(meta, META_DATA);
}

static void start_task(struct task *task)
{
    struct meta *meta = container_of(task, struct meta, task);

    if (meta->phase == META_IDLE)
        start(meta);
}

void meta_kick(struct meta *meta)
{
    meta->kicked = true;
    if (meta->phase == META_IDLE)
        reactor_defer(meta->reactor, &meta->task, start_task);
}

int meta_commit_wait(struct meta *meta, struct meta_wait *wait)
{
    meta_kick(meta);
    return meta_wait_add(&meta->following, wait);
}
