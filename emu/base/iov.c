#include "emu/base/iov.h"

#include <string.h>

#include "emu/base/check.h"

size_t iov_total(const struct iovec *iov, unsigned niov)
{
    size_t total = 0;

    for (unsigned i = 0; i < niov; i++)
        total += iov[i].iov_len;
    return total;
}

size_t iov_view_len(struct iov_view view) { return iov_total(view.iov, view.niov) - view.skip; }

struct iov_view iov_view_advance(struct iov_view view, size_t n)
{
    view.skip += n;
    while (view.niov > 0 && view.skip >= view.iov->iov_len) {
        view.skip -= view.iov->iov_len;
        view.iov++;
        view.niov--;
    }
    check(view.niov > 0 || view.skip == 0);
    return view;
}

/* The next piece of a view: takes at most len bytes of one element. The view must have bytes. */
static struct iovec next_piece(struct iov_view *view, size_t len)
{
    struct iovec piece;

    *view = iov_view_advance(*view, 0);
    check(view->niov > 0);
    piece.iov_base = (uint8_t *)view->iov->iov_base + view->skip;
    piece.iov_len = MIN(view->iov->iov_len - view->skip, len);
    view->skip += piece.iov_len;
    return piece;
}

unsigned iov_slice(struct iov_view view, size_t len, struct iovec *out, unsigned out_max)
{
    unsigned count = 0;

    while (len > 0) {
        struct iovec piece = next_piece(&view, len);

        if (count < out_max)
            out[count] = piece;
        count++;
        len -= piece.iov_len;
    }
    return count;
}

void iov_copy_to(struct iov_view view, size_t len, const void *src)
{
    const uint8_t *from = src;

    while (len > 0) {
        struct iovec piece = next_piece(&view, len);

        memcpy(piece.iov_base, from, piece.iov_len);
        from += piece.iov_len;
        len -= piece.iov_len;
    }
}

void iov_copy_from(struct iov_view view, size_t len, void *dst)
{
    uint8_t *to = dst;

    while (len > 0) {
        struct iovec piece = next_piece(&view, len);

        memcpy(to, piece.iov_base, piece.iov_len);
        to += piece.iov_len;
        len -= piece.iov_len;
    }
}

void iov_copy(struct iov_view dst, struct iov_view src, size_t len)
{
    while (len > 0) {
        struct iovec piece = next_piece(&src, len);

        iov_copy_to(dst, piece.iov_len, piece.iov_base);
        dst = iov_view_advance(dst, piece.iov_len);
        len -= piece.iov_len;
    }
}

void iov_fill(struct iov_view view, size_t len, uint8_t byte)
{
    while (len > 0) {
        struct iovec piece = next_piece(&view, len);

        memset(piece.iov_base, byte, piece.iov_len);
        len -= piece.iov_len;
    }
}

bool iov_is_zero(struct iov_view view, size_t len)
{
    while (len > 0) {
        struct iovec piece = next_piece(&view, len);

        if (!mem_is_zero(piece.iov_base, piece.iov_len))
            return false;
        len -= piece.iov_len;
    }
    return true;
}

size_t iov_first_difference(struct iov_view a, struct iov_view b, size_t len)
{
    size_t at = 0;

    while (at < len) {
        struct iov_view rest_a = iov_view_advance(a, 0), rest_b = iov_view_advance(b, 0);
        struct iovec pa, pb;
        size_t n;

        pa = next_piece(&rest_a, len - at);
        pb = next_piece(&rest_b, len - at);
        n = MIN(pa.iov_len, pb.iov_len);
        if (memcmp(pa.iov_base, pb.iov_base, n) != 0) {
            const uint8_t *x = pa.iov_base, *y = pb.iov_base;

            while (*x++ == *y++)
                at++;
            return at;
        }
        a = iov_view_advance(a, n);
        b = iov_view_advance(b, n);
        at += n;
    }
    return len;
}

bool iov_equal(struct iov_view a, struct iov_view b, size_t len)
{
    return iov_first_difference(a, b, len) == len;
}

bool iov_is_aligned(struct iov_view view, size_t len, size_t align)
{
    while (len > 0) {
        struct iovec piece = next_piece(&view, len);

        if (((uintptr_t)piece.iov_base | piece.iov_len) & (align - 1))
            return false;
        len -= piece.iov_len;
    }
    return true;
}
