/*
 * Assertions that stay on in release builds.
 *
 * They are for our own bugs only; input from a guest, peer, file or user is checked and reported.
 * Including this file also makes the plain assert() of <assert.h> stay on, whatever NDEBUG says.
 */
#ifndef EMU_BASE_CHECK_H
#define EMU_BASE_CHECK_H

#include "emu/base/attrs.h"

#undef NDEBUG
#include <assert.h>

/* Prints "file:line: function: check 'what' failed" to stderr and aborts. */
NORETURN void check_failed(const char *what, const char *file, int line, const char *function);

/* The same with a printf-like explanation in place of the expression. */
NORETURN PRINTF(4, 5) void check_failed_fmt(const char *file, int line, const char *function,
                                            const char *fmt, ...);

/* Aborts with the place and the text of the condition unless it holds. Never compiled out. */
#define check(cond)                                                                                \
    (__builtin_expect(!(cond), 0) ? check_failed(#cond, __FILE__, __LINE__, __func__) : (void)0)

/* A place control flow cannot reach; aborts if it does. */
#define unreachable() check_failed("unreachable", __FILE__, __LINE__, __func__)

#endif
