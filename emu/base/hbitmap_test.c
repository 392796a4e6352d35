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

/* Taking a large dirty bitmap out piece by piece must not look at all of it each time. */
static void small_areas_of_a_large_dirty_bitmap_are_cheap(void)
{
    enum { GRANULES = 1 << 22 };
    struct hbitmap *h = hbitmap_new(UINT64_C(512) * GRANULES, 512);
    uint64_t at = 0, off, len, areas = 0;

    hbitmap_set(h, 0, hbitmap_size(h));
    while (hbitmap_next_dirty_area(h, at, UINT64_MAX, 1024, &off, &len)) {
        REQUIRE(off == at && len == 1024);
        at = off + len;
        areas++;
    }
    EXPECT_EQ(areas, GRANULES / 2);
    hbitmap_free(h);
}

static void a_sparse_bitmap_is_searched_by_levels(void)
{
    struct hbitmap *h = hbitmap_new(UINT64_C(1) << 44, 65536);
    uint64_t found;

    hbitmap_set(h, (UINT64_C(1) << 44) - 1, 1);
    for (uint64_t i = 0; i < 1000000; i++) {
        REQUIRE(hbitmap_next_dirty(h, i << 20, UINT64_MAX, &found));
        REQUIRE(found == (UINT64_C(1) << 44) - 65536);
    }
    hbitmap_free(h);
}

static void parts_of_the_serial_form_fit_together(void)
{
    struct hbitmap *a = hbitmap_new(SIZE, GRAN), *b = hbitmap_new(SIZE, GRAN);
    uint64_t align = hbitmap_serial_align(a);
    uint8_t whole[(COUNT + 7) / 8], part[64];
    struct rng rng;

    rng_init(&rng, 3);
    for (int i = 0; i < 700; i++)
        hbitmap_set(a, rng_below(&rng, SIZE), 1);
    hbitmap_set(b, 0, SIZE);
    hbitmap_serialise(a, 0, SIZE, whole);
    EXPECT_EQ(whole[0] & 1, hbitmap_get(a, 0));
    EXPECT_EQ(whole[1] >> 2 & 1, hbitmap_get(a, 10 * GRAN));
    for (uint64_t off = 0; off < SIZE; off += 4 * align) {
        uint64_t len = MIN(4 * align, SIZE - off), n = hbitmap_serial_size(a, off, len);

        REQUIRE(n <= sizeof(part));
        hbitmap_serialise(a, off, len, part);
        EXPECT_MEM(part, whole + off / GRAN / 8, n);
        hbitmap_deserialise(b, off, len, part);
    }
    EXPECT(hbitmap_equal(a, b));
    hbitmap_free(a);
    hbitmap_free(b);
}

static void reset_of_a_part_of_a_granule_aborts(void)
{
    struct hbitmap *h = hbitmap_new(SIZE, GRAN);

    hbitmap_reset(h, SIZE / GRAN * GRAN, SIZE % GRAN);
    EXPECT_DEATH(hbitmap_reset(h, 1, GRAN - 1), "check");
    EXPECT_DEATH(hbitmap_reset(h, 0, GRAN + 1), "check");
    EXPECT_DEATH(hbitmap_set(h, SIZE, 1), "check");
    hbitmap_free(h);
}

static void a_copy_is_apart(void)
{
    struct hbitmap *a = hbitmap_new(SIZE, GRAN), *b;

    hbitmap_set(a, 5000, 100000);
    b = hbitmap_copy(a);
    REQUIRE(b);
    EXPECT(hbitmap_equal(a, b));
    hbitmap_reset_all(b);
    EXPECT(!hbitmap_any(b));
    EXPECT(hbitmap_any(a));
    EXPECT(!hbitmap_equal(a, b));
    hbitmap_free(a);
    hbitmap_free(b);
}

static void an_empty_bitmap_works(void)
{
    struct hbitmap *h = hbitmap_new(0, 65536);
    uint64_t found;

    EXPECT(!hbitmap_any(h));
    EXPECT_EQ(hbitmap_count(h), 0);
    EXPECT(!hbitmap_next_dirty(h, 0, UINT64_MAX, &found));
    EXPECT(!hbitmap_next_zero(h, 0, UINT64_MAX, &found));
    EXPECT_EQ(hbitmap_serial_size(h, 0, 0), 0);
    hbitmap_deserialise_ones(h, 0, 0);
    EXPECT(!hbitmap_any(h));
    REQUIRE(hbitmap_truncate(h, 100));
    hbitmap_set(h, 0, 100);
    EXPECT_EQ(hbitmap_count(h), 100);
    hbitmap_free(h);
}

/* The digest of 8 bytes: one word with bits 0 and 2, least significant byte first. */
static void the_digest_is_that_of_little_endian_words(void)
{
    struct hbitmap *h = hbitmap_new(3 * 512, 512);
    char hex[SHA256_HEX_SIZE], expected[SHA256_HEX_SIZE];
    uint8_t word[8] = { 5 };
    struct sha256 sha;

    hbitmap_set(h, 0, 1);
    hbitmap_set(h, 1024, 1);
    sha256_init(&sha);
    sha256_update(&sha, word, 8);
    sha256_final_hex(&sha, expected);
    EXPECT_STR(hbitmap_sha256(h, hex), expected);
    hbitmap_free(h);
}

static void a_failed_truncate_changes_nothing(void)
{
    struct hbitmap *h = hbitmap_new(SIZE, GRAN), *before;

    hbitmap_set(h, 1000, 70000);
    before = hbitmap_copy(h);
    for (unsigned long n = 1; n <= 4; n++) {
        alloc_fail_after(n);
        EXPECT(!hbitmap_truncate(h, 1 << 24));
        alloc_fail_reset();
        EXPECT(hbitmap_equal(h, before));
    }
    hbitmap_free(h);
    hbitmap_free(before);
}

TEST_LIST(TEST(random_operations_match_a_plain_array), TEST(serial_form_comes_back),
          TEST(parts_of_the_serial_form_fit_together),
          TEST(merge_keeps_every_dirty_byte_across_granularities),
          TEST(truncate_makes_new_bits_clean), TEST(running_out_of_memory_is_reported),
          TEST(small_areas_of_a_large_dirty_bitmap_are_cheap),
          TEST(a_sparse_bitmap_is_searched_by_levels), TEST(reset_of_a_part_of_a_granule_aborts),
          TEST(a_copy_is_apart), TEST(an_empty_bitmap_works),
          TEST(the_digest_is_that_of_little_endian_words), TEST(a_failed_truncate_changes_nothing));
