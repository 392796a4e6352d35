/*
 * Pool of objects of one size: request slots and the like. Grows by chunks up to a limit; memory is
 * given back only by pool_fini. Single thread.
 *
 * An object is zeroed when it is handed out for the first time; later it comes back as it was put.
 */
#ifndef EMU_BASE_POOL_H
#define EMU_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "emu/base/attrs.h"
#include "emu/base/vec.h"

struct pool {
    size_t obj_size;    /* Rounded up to keep every object aligned to 16 bytes. */
    size_t max;         /* Limit of objects. */
    size_t made;        /* Objects in chunks. */
    size_t out;         /* Objects handed out. */
    VEC(void *) chunks; /* owned */
    VEC(void *) idle;   /* Stack: the object put last is warm and goes out first. */
};

/* obj_size in bytes; max is the number of objects that may be out at once. Allocates nothing. */
void pool_init(struct pool *p, size_t obj_size, size_t max);

/* Asserts that no object is out. Zeroed is fine. */
void pool_fini(struct pool *p);

/* Makes sure that n objects exist, so that that many pool_get calls cannot fail. False: out of
 * memory or over the limit. */
MUST_USE bool pool_reserve(struct pool *p, size_t n);

/* NULL at the limit or when out of memory. */
MUST_USE void *pool_get(struct pool *p);

/* Gives back an object of this pool. NULL is fine. */
void pool_put(struct pool *p, void *object);

static inline size_t pool_out(const struct pool *p) { return p->out; }

#endif
