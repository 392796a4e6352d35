#include "emu/base/vec.h"

#include <stdint.h>

#include "emu/base/alloc.h"

/* Doubling keeps appending cheap; the first block is a cache line or so. */
static size_t next_cap(size_t cap, size_t want)
{
    size_t next = cap ? cap : 8;

    while (next < want && next <= SIZE_MAX / 2)
        next *= 2;
    return next < want ? want : next;
}

void *vec_grow(void *items, size_t *cap, size_t want, size_t size)
{
    size_t next = next_cap(*cap, want);

    items = xrealloc_array(items, next, size);
    *cap = next;
    return items;
}

void *vec_try_grow(void *items, size_t *cap, size_t want, size_t size)
{
    size_t next = next_cap(*cap, want), total;
    void *grown;

    if (__builtin_mul_overflow(next, size, &total))
        return NULL;
    grown = try_realloc(items, total);
    if (grown)
        *cap = next;
    return grown;
}
