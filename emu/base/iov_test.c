/* Views against a flat buffer; mem_is_zero against a loop. */
#include "emu/base/iov.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/rng.h"
#include "tests/harness/test.h"

enum { BYTES = 200, PIECES = 8 };

/* A buffer cut at random places, some pieces empty, and a view some bytes into it. */
struct cut {
    uint8_t bytes[BYTES];
    struct iovec iov[PIECES];
    struct iov_view view;
    size_t len; /* Of the view. */
};

static void cut_at_random(struct cut *c, struct rng *rng)
{
    size_t at = 0, skip = rng_below(rng, BYTES);

    rng_fill(rng, c->bytes, BYTES);
    for (int i = 0; i < PIECES; i++) {
        size_t n = i == PIECES - 1 ? BYTES - at : rng_below(rng, 2 * (BYTES - at) / PIECES + 1);

        if (rng_chance(rng, 1, 6) && i < PIECES - 1)
            n = 0;
        c->iov[i] = (struct iovec){ c->bytes + at, n };
        at += n;
    }
    c->view = (struct iov_view){ c->iov, PIECES, skip };
    if (rng_chance(rng, 1, 2))
        c->view = iov_view_advance(iov_view(c->iov, PIECES), skip);
    c->len = BYTES - skip;
}

static uint8_t *start(struct cut *c) { return c->bytes + BYTES - c->len; }

static void copies_match_a_flat_buffer(void)
{
    struct rng rng;
    struct cut c;

    rng_init(&rng, 1);
    for (int round = 0; round < 2000; round++) {
        uint8_t data[BYTES], model[BYTES];
        size_t n;

        cut_at_random(&c, &rng);
        n = rng_below(&rng, c.len + 1);
        EXPECT_EQ(iov_view_len(c.view), c.len);
        memset(data, 0, sizeof(data));
        iov_copy_from(c.view, n, data);
        EXPECT_MEM(data, start(&c), n);
        memcpy(model, c.bytes, BYTES);
        rng_fill(&rng, data, n);
        memcpy(model + BYTES - c.len, data, n);
        iov_copy_to(c.view, n, data);
        EXPECT_MEM(c.bytes, model, BYTES);
    }
}

static void views_copy_to_views(void)
{
    struct rng rng;
    struct cut a, b;

    rng_init(&rng, 2);
    for (int round = 0; round < 2000; round++) {
        uint8_t model[BYTES];
        size_t n;

        cut_at_random(&a, &rng);
        cut_at_random(&b, &rng);
        n = rng_below(&rng, MIN(a.len, b.len) + 1);
        memcpy(model, a.bytes, BYTES);
        memcpy(model + BYTES - a.len, start(&b), n);
        iov_copy(a.view, b.view, n);
        EXPECT_MEM(a.bytes, model, BYTES);
        EXPECT(iov_equal(a.view, b.view, n));
    }
}

static void the_first_difference_is_found(void)
{
    struct rng rng;
    struct cut a, b;

    rng_init(&rng, 3);
    for (int round = 0; round < 2000; round++) {
        size_t n, at;

        cut_at_random(&a, &rng);
        cut_at_random(&b, &rng);
        n = MIN(a.len, b.len);
        at = rng_below(&rng, n);
        iov_copy(a.view, b.view, n);
        start(&a)[at] ^= 1;
        EXPECT_EQ(iov_first_difference(a.view, b.view, n), at);
        EXPECT(!iov_equal(a.view, b.view, n));
        EXPECT(iov_equal(a.view, b.view, at));
    }
}

static void a_slice_covers_exactly_the_bytes(void)
{
    struct rng rng;
    struct cut c;

    rng_init(&rng, 4);
    for (int round = 0; round < 2000; round++) {
        struct iovec out[PIECES];
        unsigned count;
        size_t n;

        cut_at_random(&c, &rng);
        n = rng_below(&rng, c.len + 1);
        count = iov_slice(c.view, n, out, PIECES);
        EXPECT_EQ(count, iov_slice(c.view, n, NULL, 0));
        EXPECT_EQ(iov_total(out, count), n);
        EXPECT(count == 0 || out[0].iov_base == start(&c));
        for (unsigned i = 0; i < count; i++)
            EXPECT_GT(out[i].iov_len, 0);
    }
}

static void a_short_slice_writes_no_more_than_asked(void)
{
    uint8_t bytes[30];
    struct iovec iov[3] = { { bytes, 10 }, { bytes + 10, 10 }, { bytes + 20, 10 } };
    struct iovec out[3] = { { 0 } };

    EXPECT_EQ(iov_slice(iov_view(iov, 3), 30, out, 1), 3);
    EXPECT_PTR(out[0].iov_base, bytes);
    EXPECT(out[1].iov_base == NULL);
}

static void a_view_can_be_empty(void)
{
    struct iov_view view = iov_view(NULL, 0);
    uint8_t bytes[4];
    struct iovec iov = { bytes, 4 };

    EXPECT_EQ(iov_view_len(view), 0);
    EXPECT_EQ(iov_view_len(iov_view_advance(iov_view(&iov, 1), 4)), 0);
    EXPECT(iov_is_zero(view, 0));
    iov_fill(view, 0, 1);
    EXPECT_DEATH(iov_fill(iov_view(&iov, 1), 5, 1), "check");
}

static void filled_bytes_are_zero_or_not(void)
{
    struct rng rng;
    struct cut c;

    rng_init(&rng, 5);
    for (int round = 0; round < 500; round++) {
        size_t n;

        cut_at_random(&c, &rng);
        n = 1 + rng_below(&rng, c.len);
        iov_fill(c.view, n, 0);
        EXPECT(iov_is_zero(c.view, n));
        start(&c)[rng_below(&rng, n)] = 1;
        EXPECT(!iov_is_zero(c.view, n));
    }
}

static void alignment_counts_addresses_and_lengths(void)
{
    uint8_t *bytes = try_alloc_aligned(4096, 8192);
    struct iovec iov[2] = { { bytes, 512 }, { bytes + 1024, 1024 } };

    REQUIRE(bytes);
    EXPECT(iov_is_aligned(iov_view(iov, 2), 1536, 512));
    EXPECT(!iov_is_aligned(iov_view(iov, 2), 1536, 1024));
    EXPECT(!iov_is_aligned(iov_view(iov, 2), 700, 512));
    iov[1].iov_base = bytes + 1025;
    EXPECT(!iov_is_aligned(iov_view(iov, 2), 1536, 512));
    EXPECT(iov_is_aligned(iov_view(iov, 2), 512, 512));
    xfree(bytes);
}

/* Every length and offset of the short paths, with the one byte at every place. */
static void a_single_byte_is_found_at_any_place(void)
{
    enum { MOST = 700 };
    uint8_t *p = xcalloc(1, MOST + 16);

    for (size_t len = 0; len <= MOST; len += len < 80 ? 1 : 37) {
        for (size_t off = 0; off < 16; off += 5) {
            p[off + len] = 1;
            if (off)
                p[off - 1] = 1;
            EXPECT_MSG(mem_is_zero(p + off, len), "length %zu", len);
            for (size_t at = 0; at < len; at++) {
                p[off + at] = 0x80;
                EXPECT_MSG(!mem_is_zero(p + off, len), "length %zu at %zu", len, at);
                p[off + at] = 0;
            }
            p[off + len] = 0;
            if (off)
                p[off - 1] = 0;
        }
    }
    xfree(p);
}

TEST_LIST(TEST(copies_match_a_flat_buffer), TEST(views_copy_to_views),
          TEST(the_first_difference_is_found), TEST(a_slice_covers_exactly_the_bytes),
          TEST(a_short_slice_writes_no_more_than_asked), TEST(a_view_can_be_empty),
          TEST(filled_bytes_are_zero_or_not), TEST(alignment_counts_addresses_and_lengths),
          TEST(a_single_byte_is_found_at_any_place));
