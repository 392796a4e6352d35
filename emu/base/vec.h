/*
 * Typed growable vector: `VEC(struct extent) extents = {0}; vec_push(&extents, e);`.
 *
 * The elements are owned by the vector and move when it grows. Zeroed memory is an empty vector.
 * Growth aborts when out of memory; before adding an amount that input decides, use
 * vec_try_reserve. `v` is a pointer to the vector; it is evaluated more than once, so let it be a
 * plain expression.
 */
#ifndef EMU_BASE_VEC_H
#define EMU_BASE_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/check.h"

#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t len, cap;                                                                           \
    }

/* New block for at least `want` items of `size` bytes; updates *cap. Aborts when out of memory. */
MUST_USE void *vec_grow(void *items, size_t *cap, size_t want, size_t size);
/* The same, but NULL (and *cap unchanged, the block still valid) when out of memory. */
MUST_USE void *vec_try_grow(void *items, size_t *cap, size_t want, size_t size);

#define vec_init(v) ((v)->items = NULL, (v)->len = (v)->cap = 0)

/* Frees the block, not what its elements point at; the vector is then empty and usable. */
#define vec_fini(v) (xfree((v)->items), vec_init(v))

#define vec_len(v) ((v)->len)
#define vec_empty(v) ((v)->len == 0)

/* Room for `n` elements in all. */
#define vec_reserve(v, n)                                                                          \
    ((n) > (v)->cap                                                                                \
         ? (void)((v)->items = vec_grow((v)->items, &(v)->cap, (n), sizeof(*(v)->items)))          \
         : (void)0)

/* False when out of memory; the vector is then unchanged. */
#define vec_try_reserve(v, n)                                                                      \
    __extension__({                                                                                \
        bool vec_ok_ = true;                                                                       \
        if ((n) > (v)->cap) {                                                                      \
            void *vec_new_ = vec_try_grow((v)->items, &(v)->cap, (n), sizeof(*(v)->items));        \
            vec_ok_ = vec_new_ != NULL;                                                            \
            if (vec_ok_)                                                                           \
                (v)->items = vec_new_;                                                             \
        }                                                                                          \
        vec_ok_;                                                                                   \
    })

/* Appends a value; the variadic form lets a compound literal with commas through. */
#define vec_push(v, ...)                                                                           \
    do {                                                                                           \
        vec_reserve((v), (v)->len + 1);                                                            \
        (v)->items[(v)->len++] = (__VA_ARGS__);                                                    \
    } while (0)

/* Takes off and returns the last value. */
#define vec_pop(v) ((v)->items[vec_pop_index(&(v)->len)])

/* Element i as an lvalue; i is checked. */
#define vec_at(v, i) ((v)->items[vec_index((i), (v)->len)])
#define vec_last(v) ((v)->items[vec_index((v)->len - 1, (v)->len)])

/* Puts a value before element `at` (at == len appends); the tail moves up. */
#define vec_insert(v, at, ...)                                                                     \
    do {                                                                                           \
        size_t vec_at_ = (at);                                                                     \
        check(vec_at_ <= (v)->len);                                                                \
        vec_reserve((v), (v)->len + 1);                                                            \
        memmove((v)->items + vec_at_ + 1, (v)->items + vec_at_,                                    \
                ((v)->len - vec_at_) * sizeof(*(v)->items));                                       \
        (v)->len++;                                                                                \
        (v)->items[vec_at_] = (__VA_ARGS__);                                                       \
    } while (0)

/* Takes out element `at`; the tail moves down, order is kept. */
#define vec_remove(v, at)                                                                          \
    do {                                                                                           \
        size_t vec_at_ = vec_index((at), (v)->len);                                                \
        (v)->len--;                                                                                \
        memmove((v)->items + vec_at_, (v)->items + vec_at_ + 1,                                    \
                ((v)->len - vec_at_) * sizeof(*(v)->items));                                       \
    } while (0)

/* Drops all elements, or those from `n` on, and keeps the block. */
#define vec_clear(v) ((void)((v)->len = 0))
#define vec_truncate(v, n) ((void)((v)->len = MIN((v)->len, (size_t)(n))))

/* `vec_for_each(item, &v) use(*item);`: item is a pointer into the vector, declared by the macro.
 */
#define vec_for_each(item, v)                                                                      \
    for (typeof((v)->items) item = (v)->items; (v)->len && item < (v)->items + (v)->len; item++)

static inline size_t vec_index(size_t i, size_t len)
{
    check(i < len);
    return i;
}

static inline size_t vec_pop_index(size_t *len)
{
    check(*len > 0);
    return --*len;
}

#endif
