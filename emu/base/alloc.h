/*
 * Memory.
 *
 * x* functions abort when memory is exhausted; they are for small objects of the control path.
 * try_* functions return NULL instead and are for every size that a guest, image or client
 * influences. Everything is freed with xfree (or free). Sizes are bytes; a size of 0 gives a unique
 * pointer.
 */
#ifndef EMU_BASE_ALLOC_H
#define EMU_BASE_ALLOC_H

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include "emu/base/attrs.h"

/* NULL is fine. */
void xfree(void *ptr);
static inline void xfree_cleanup(void *variable) { xfree(*(void **)variable); }

#define ALLOC_RETURNS __attribute__((malloc, returns_nonnull)) MUST_USE

ALLOC_RETURNS void *xmalloc(size_t size);
/* Zeroed; n * size that does not fit aborts. */
ALLOC_RETURNS void *xcalloc(size_t n, size_t size);
__attribute__((returns_nonnull)) MUST_USE void *xrealloc(void *ptr, size_t size);
/* xrealloc to n * size; aborts when that does not fit. */
__attribute__((returns_nonnull)) MUST_USE void *xrealloc_array(void *ptr, size_t n, size_t size);
/* Returns new text; NULL gives NULL. */
MUST_USE char *xstrdup(const char *text);
/* At most n bytes of text, always terminated. */
ALLOC_RETURNS char *xstrndup(const char *text, size_t n);
ALLOC_RETURNS PRINTF(1, 2) char *xasprintf(const char *fmt, ...);
ALLOC_RETURNS PRINTF(1, 0) char *xvasprintf(const char *fmt, va_list args);
ALLOC_RETURNS void *xmemdup(const void *from, size_t size);

/* One zeroed object. */
#define NEW(type) ((type *)xcalloc(1, sizeof(type)))
/* n zeroed objects. */
#define NEW_ARRAY(type, n) ((type *)xcalloc((n), sizeof(type)))

/* NULL when out of memory (or told to fail by alloc_fail_after). Contents undefined. */
MUST_USE void *try_alloc(size_t size);
/* Zeroed; NULL also when n * size does not fit. */
MUST_USE void *try_calloc(size_t n, size_t size);
/* As realloc: on NULL the old block is untouched. */
MUST_USE void *try_realloc(void *ptr, size_t size);
/* align is a power of two; the size is not rounded for the caller. Freed with xfree. */
MUST_USE void *try_alloc_aligned(size_t align, size_t size);

#define TRY_NEW(type) ((type *)try_calloc(1, sizeof(type)))

/*
 * Test hook, per thread. After alloc_fail_after(n) the nth try_* call of this thread (counting from
 * 1) returns NULL, and only that one; 0 fails none but still counts.
 */
void alloc_fail_after(unsigned long n);
/* Ends the effect; returns how many try_* calls were seen since alloc_fail_after. */
unsigned long alloc_fail_reset(void);

#endif
