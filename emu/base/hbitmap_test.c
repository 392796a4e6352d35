/* Oracle: a plain array of flags, one a granule. */

#include "emu/base/hbitmap.h"

#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/rng.h"
#include "tests/harness/test.h"

enum { SIZE = 3000 * 512 + 100, GRAN = 512, COUNT = 3001 };

struct model {
    struct hbitmap *h;
    bool dirty[COUNT];
};

static uint64_t model_count(const struct model *m)
{
    uint64_t bytes = 0;

    for (uint64_t i = 0; i < COUNT; i++)
        bytes += m->dirty[i] ? MIN((uint64_t)GRAN, SIZE - i * GRAN) : 0;
    return bytes;
}

static void compare(const struct model *m, struct rng *rng)
{
    uint64_t off = rng_below(rng, SIZE), end = off + rng_below(rng, SIZE), found, len, i;
    uint64_t stop = MIN(end, (uint64_t)SIZE);

    EXPECT_EQ(hbitmap_count(m->h), model_count(m));
    for (i = off / GRAN; i < COUNT && !m->dirty[i];)
        i++;
    if (i < COUNT && MAX(i * GRAN, off) < stop) {
        REQUIRE(hbitmap_next_dirty(m->h, off, end, &found));
        EXPECT_EQ(found, MAX(i * GRAN, off));
        REQUIRE(hbitmap_next_dirty_area(m->h, off, end, UINT64_MAX, &found, &len));
        while (i < COUNT && m->dirty[i])
            i++;
        EXPECT_EQ(found + len, MIN(i * GRAN, stop));
    } else {
        EXPECT(!hbitmap_next_dirty(m->h, off, end, &found));
    }
    for (i = off / GRAN; i < COUNT && m->dirty[i];)
        i++;
    if (i < COUNT && MAX(i * GRAN, off) < stop) {
        REQUIRE(hbitmap_next_zero(m->h, off, end, &found));
        EXPECT_EQ(found, MAX(i * GRAN, off));
    } else {
        EXPECT(!hbitmap_next_zero(m->h, off, end, &found));
    }
}

static void random_operations_match_a_plain_array(void)
{
    struct model *m = xcalloc(1, sizeof(*m));
    struct rng rng;

    rng_init(&rng, 1);
    m->h = hbitmap_new(SIZE, GRAN);
    for (int step = 0; step < 3000; step++) {
        uint64_t off = rng_below(&rng, SIZE),
                 len = 1 + rng_below(&rng, rng_chance(&rng, 1, 4) ? SIZE - off : 2000);

        len = MIN(len, SIZE - off);
        if (rng_chance(&rng, 1, 2)) {
            hbitmap_set(m->h, off, len);
            for (uint64_t i = off / GRAN; i <= (off + len - 1) / GRAN; i++)
                m->dirty[i] = true;
        } else {
            hbitmap_reset_inside(m->h, off, len);
            for (uint64_t i = (off + GRAN - 1) / GRAN; i < COUNT && (i + 1) * GRAN <= off + len;
                 i++)
                m->dirty[i] = false;
            if (off + len == SIZE && off <= (COUNT - 1) * (uint64_t)GRAN)
                m->dirty[COUNT - 1] = false;
        }
        compare(m, &rng);
    }
    hbitmap_free(m->h);
    xfree(m);
}

static void serial_form_comes_back(void)
{
    struct hbitmap *a = hbitmap_new(SIZE, GRAN), *b = hbitmap_new(SIZE, GRAN);
    uint64_t size = hbitmap_serial_size(a, 0, SIZE);
    uint8_t *bytes = xmalloc(size);
    struct rng rng;

    rng_init(&rng, 2);
    for (int i = 0; i < 500; i++)
        hbitmap_set(a, rng_below(&rng, SIZE), 1);
    hbitmap_set(a, SIZE - 1, 1);
    EXPECT_EQ(size, (COUNT + 7) / 8);
    hbitmap_serialise(a, 0, SIZE, bytes);
    memset(bytes + size - 1, bytes[size - 1] | 0xfe, 1); /* Bits beyond the size are ignored. */
    hbitmap_deserialise(b, 0, SIZE, bytes);
    EXPECT(hbitmap_equal(a, b));
    hbitmap_deserialise_ones(b, 0, SIZE);
    EXPECT_EQ(hbitmap_count(b), SIZE);
    hbitmap_deserialise_zeroes(b, 0, SIZE);
    EXPECT(!hbitmap_any(b));
    xfree(bytes);
    hbitmap_free(a);
    hbitmap_free(b);
}

static void merge_keeps_every_dirty_byte_across_granularities(void)
{
    struct hbitmap *fine = hbitmap_new(SIZE, 512), *coarse = hbitmap_new(SIZE, 65536);
    uint64_t found;

    hbitmap_set(fine, 70000, 1);
    hbitmap_merge(coarse, fine);
    EXPECT(hbitmap_get(coarse, 65536));
    EXPECT_EQ(hbitmap_count(coarse), 65536);
    hbitmap_merge(fine, coarse);
    EXPECT_EQ(hbitmap_count(fine), 65536);
    REQUIRE(hbitmap_next_zero(fine, 65536, SIZE, &found));
    EXPECT_EQ(found, 131072);
    hbitmap_free(fine);
    hbitmap_free(coarse);
}

static void truncate_makes_new_bits_clean(void)
{
    struct hbitmap *h = hbitmap_new(1 << 20, 4096);

    hbitmap_set(h, 0, 1 << 20);
    REQUIRE(hbitmap_truncate(h, 2 << 20));
    EXPECT_EQ(hbitmap_count(h), 1 << 20);
    REQUIRE(hbitmap_truncate(h, 4096));
    EXPECT_EQ(hbitmap_count(h), 4096);
    hbitmap_free(h);
}

static void running_out_of_memory_is_reported(void)
{
    for (unsigned long n = 1; n <= 3; n++) {
        alloc_fail_after(n);
        EXPECT(hbitmap_new(1 << 30, 512) == NULL);
        alloc_fail_reset();
    }
}

TEST_LIST(TEST(random_operations_match_a_plain_array), TEST(serial_form_comes_back),
          TEST(merge_keeps_every_dirty_byte_across_granularities),
          TEST(truncate_makes_new_bits_clean), TEST(running_out_of_memory_is_reported));
