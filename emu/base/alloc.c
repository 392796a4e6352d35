#include "emu/base/alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/check.h"

/* The test hook of this thread. */
static _Thread_local unsigned long fail_at, fail_seen;

static bool told_to_fail(void)
{
    fail_seen++;
    return fail_at != 0 && fail_seen == fail_at;
}

static void *must(void *ptr, size_t size)
{
    if (!ptr)
        check_failed_fmt(__FILE__, __LINE__, __func__, "out of memory: %zu bytes", size);
    return ptr;
}

void xfree(void *ptr) { free(ptr); }

void *xmalloc(size_t size) { return must(malloc(size ? size : 1), size); }

/* Whether n objects can be asked for at all; allocators of sanitizers end the program if not. */
static bool fits(size_t n, size_t size)
{
    size_t total;

    return !__builtin_mul_overflow(n, size, &total) && total <= PTRDIFF_MAX;
}

void *xcalloc(size_t n, size_t size)
{
    if (!n || !size)
        n = size = 1;
    return must(fits(n, size) ? calloc(n, size) : NULL, size);
}

void *xrealloc(void *ptr, size_t size) { return must(realloc(ptr, size ? size : 1), size); }

void *xrealloc_array(void *ptr, size_t n, size_t size)
{
    return fits(n, size) ? xrealloc(ptr, n * size) : must(NULL, size);
}

char *xstrdup(const char *text) { return text ? xmemdup(text, strlen(text) + 1) : NULL; }

char *xstrndup(const char *text, size_t n)
{
    size_t len = strnlen(text, n);
    char *copy = xmalloc(len + 1);

    memcpy(copy, text, len);
    copy[len] = 0;
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    va_list args;
    char *text;

    va_start(args, fmt);
    text = xvasprintf(fmt, args);
    va_end(args);
    return text;
}

char *xvasprintf(const char *fmt, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, fmt, args) < 0)
        text = NULL;
    return must(text, strlen(fmt));
}

void *xmemdup(const void *from, size_t size)
{
    void *copy = xmalloc(size);

    if (size)
        memcpy(copy, from, size);
    return copy;
}

void *try_alloc(size_t size)
{
    return told_to_fail() || !fits(1, size) ? NULL : malloc(size ? size : 1);
}

void *try_calloc(size_t n, size_t size)
{
    if (!n || !size)
        n = size = 1;
    return told_to_fail() || !fits(n, size) ? NULL : calloc(n, size);
}

void *try_realloc(void *ptr, size_t size)
{
    return told_to_fail() || !fits(1, size) ? NULL : realloc(ptr, size ? size : 1);
}

void *try_alloc_aligned(size_t align, size_t size)
{
    void *ptr = NULL;

    if (told_to_fail() || !fits(1, size))
        return NULL;
    if (align < sizeof(void *))
        align = sizeof(void *);
    return posix_memalign(&ptr, align, size ? size : 1) == 0 ? ptr : NULL;
}

void alloc_fail_after(unsigned long n)
{
    fail_at = n;
    fail_seen = 0;
}

unsigned long alloc_fail_reset(void)
{
    fail_at = 0;
    return fail_seen;
}
