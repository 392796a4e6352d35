#include "emu/base/pool.h"

#include <stdint.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

enum { POOL_CHUNK_FIRST = 8, POOL_CHUNK_MAX = 256 };

void pool_init(struct pool *p, size_t obj_size, size_t max)
{
    memset(p, 0, sizeof(*p));
    p->obj_size = (obj_size + 15) & ~(size_t)15;
    if (p->obj_size == 0)
        p->obj_size = 16;
    p->max = max;
}

void pool_fini(struct pool *p)
{
    check(p->out == 0);
    for (size_t i = 0; i < vec_len(&p->chunks); i++)
        xfree(vec_at(&p->chunks, i));
    vec_fini(&p->chunks);
    vec_fini(&p->idle);
    memset(p, 0, sizeof(*p));
}

static bool grow(struct pool *p, size_t n)
{
    uint8_t *chunk = try_calloc(n, p->obj_size);

    if (!chunk)
        return false;
    vec_push(&p->chunks, (void *)chunk);
    for (size_t i = n; i-- > 0;)
        vec_push(&p->idle, (void *)(chunk + i * p->obj_size));
    p->made += n;
    return true;
}

bool pool_reserve(struct pool *p, size_t n)
{
    if (n > p->max)
        return false;
    return p->made >= n || grow(p, n - p->made);
}

void *pool_get(struct pool *p)
{
    if (vec_len(&p->idle) == 0) {
        size_t n = MIN(p->made ? p->made : (size_t)POOL_CHUNK_FIRST, (size_t)POOL_CHUNK_MAX);

        n = MIN(n, p->max - p->made);
        if (n == 0 || !grow(p, n))
            return NULL;
    }
    p->out++;
    return vec_pop(&p->idle);
}

void pool_put(struct pool *p, void *object)
{
    if (!object)
        return;
    check(p->out > 0);
    p->out--;
    vec_push(&p->idle, object);
}
