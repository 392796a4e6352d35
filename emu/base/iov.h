/*
 * Byte views of I/O vectors, and fast tests for zeroes.
 *
 * A view borrows the vector and the memory. It starts `skip` bytes into the vector (skip may reach
 * past the first elements) and ends where the vector ends. Views are passed by value. Functions
 * that take a length assert that the view has that many bytes.
 */
#ifndef EMU_BASE_IOV_H
#define EMU_BASE_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "emu/base/attrs.h"

struct iov_view {
    const struct iovec *iov;
    unsigned niov;
    size_t skip;
};

static inline struct iov_view iov_view(const struct iovec *iov, unsigned niov)
{
    return (struct iov_view){ iov, niov, 0 };
}

/* Bytes in a vector. */
size_t iov_total(const struct iovec *iov, unsigned niov);

/* Bytes in a view. */
size_t iov_view_len(struct iov_view view);

/* The view n bytes further; its skip is less than the length of its first element. n may be the
 * whole length, which gives an empty view. */
struct iov_view iov_view_advance(struct iov_view view, size_t n);

/*
 * Writes to out the elements that cover the first len bytes, clipped at both ends, and returns how
 * many that needs. When this is more than out_max, only out_max are written; (NULL, 0) just counts.
 * Elements of length 0 are left out.
 */
unsigned iov_slice(struct iov_view view, size_t len, struct iovec *out, unsigned out_max);

/* Copies len bytes from src into the view / from the view to dst. */
void iov_copy_to(struct iov_view view, size_t len, const void *src);
void iov_copy_from(struct iov_view view, size_t len, void *dst);

/* Copies between views that do not overlap in memory. */
void iov_copy(struct iov_view dst, struct iov_view src, size_t len);

/* Sets len bytes. */
void iov_fill(struct iov_view view, size_t len, uint8_t byte);

/* Whether the first len bytes are all zero. */
bool iov_is_zero(struct iov_view view, size_t len);

/* Whether the first len bytes of both are equal. */
bool iov_equal(struct iov_view a, struct iov_view b, size_t len);

/* The first offset below len where they differ, or len. */
size_t iov_first_difference(struct iov_view a, struct iov_view b, size_t len);

/* Whether all elements are aligned (address and length) to align, a power of two. */
bool iov_is_aligned(struct iov_view view, size_t len, size_t align);

/* Whether len bytes at p are all zero. Uses AVX2 where the processor has it. */
bool mem_is_zero(const void *p, size_t len);

#endif
