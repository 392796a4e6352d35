#include "emu/base/buf.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

/* What the buffers of a pool point at; lives until the pool is gone and the last of them is back. */
struct buf_pool_core {
    struct buf *free;
    size_t size, align;
    unsigned idle, max_free, out;
    bool closed;
};

static void destroy(struct buf *b)
{
    xfree(b->data);
    xfree(b);
}

struct buf *buf_try_new(size_t size, size_t align)
{
    struct buf *b = TRY_NEW(struct buf);

    if (!b)
        return NULL;
    b->data = try_alloc_aligned(align, size);
    if (!b->data) {
        xfree(b);
        return NULL;
    }
    b->size = size;
    b->refs = 1;
    return b;
}

struct buf *buf_ref(struct buf *b)
{
    check(b->refs > 0);
    b->refs++;
    return b;
}

static void give_back(struct buf_pool_core *core, struct buf *b)
{
    check(core->out > 0);
    core->out--;
    if (core->closed || core->idle >= core->max_free) {
        destroy(b);
    } else {
        b->next_free = core->free;
        core->free = b;
        core->idle++;
    }
    if (core->closed && core->out == 0)
        xfree(core);
}

void buf_unref(struct buf *b)
{
    if (!b)
        return;
    check(b->refs > 0);
    if (--b->refs > 0)
        return;
    if (b->core)
        give_back(b->core, b);
    else
        destroy(b);
}

void buf_pool_init(struct buf_pool *pool, size_t size, size_t align, unsigned max_free)
{
    pool->core = NEW(struct buf_pool_core);
    pool->core->size = size;
    pool->core->align = align;
    pool->core->max_free = max_free;
}

void buf_pool_trim(struct buf_pool *pool)
{
    struct buf_pool_core *core = pool->core;

    while (core->free) {
        struct buf *b = core->free;

        core->free = b->next_free;
        destroy(b);
    }
    core->idle = 0;
}

void buf_pool_fini(struct buf_pool *pool)
{
    if (!pool->core)
        return;
    buf_pool_trim(pool);
    pool->core->closed = true;
    if (pool->core->out == 0)
        xfree(pool->core);
    pool->core = NULL;
}

struct buf *buf_pool_get(struct buf_pool *pool)
{
    struct buf_pool_core *core = pool->core;
    struct buf *b = core->free;

    if (b) {
        core->free = b->next_free;
        core->idle--;
        b->next_free = NULL;
        b->refs = 1;
    } else {
        b = buf_try_new(core->size, core->align);
        if (!b)
            return NULL;
        b->core = core;
    }
    core->out++;
    return b;
}

unsigned buf_pool_out(const struct buf_pool *pool) { return pool->core->out; }
