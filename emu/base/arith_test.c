/* Arithmetic, byte order, bit fields and small macros. Oracle: expected values at the limits. */
#include "emu/base/arith.h"

#include "emu/base/bytes.h"
#include "emu/base/fsm.h"
#include "emu/base/nstime.h"
#include "tests/harness/test.h"

static void overflow_is_reported(void)
{
    uint64_t u;
    int64_t i;
    uint32_t w;

    EXPECT(!add_overflow_u64(UINT64_MAX - 1, 1, &u));
    EXPECT_EQ(u, UINT64_MAX);
    EXPECT(add_overflow_u64(UINT64_MAX, 1, &u));
    EXPECT(sub_overflow_u64(0, 1, &u));
    EXPECT(mul_overflow_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &u));
    EXPECT(add_overflow_i64(INT64_MAX, 1, &i));
    EXPECT(sub_overflow_i64(INT64_MIN, 1, &i));
    EXPECT(mul_overflow_u32(65536, 65536, &w));
    EXPECT_EQ(add_saturate_u64(UINT64_MAX, 5), UINT64_MAX);
    EXPECT_EQ(mul_saturate_u64(UINT64_MAX, 2), UINT64_MAX);
    EXPECT_EQ(sub_saturate_u64(1, 2), 0);
}

static void alignment(void)
{
    uint64_t u;

    EXPECT_EQ(align_up_u64(513, 512), 1024);
    EXPECT_EQ(align_up_u64(512, 512), 512);
    EXPECT_EQ(align_down_u64(1023, 512), 512);
    EXPECT(align_up_overflow_u64(UINT64_MAX, 512, &u));
    EXPECT(!align_up_overflow_u64(0, 512, &u));
    EXPECT_EQ(div_round_up(UINT64_MAX, 2), UINT64_C(1) << 63);
    EXPECT_EQ(round_up_any(7, 3), 9);
    EXPECT(is_aligned(0, 4096));
    EXPECT(!is_aligned(1, 2));
}

static void powers_of_two(void)
{
    EXPECT(is_pow2(1));
    EXPECT(!is_pow2(0));
    EXPECT(!is_pow2(12));
    EXPECT_EQ(pow2_ceil_u64(0), 1);
    EXPECT_EQ(pow2_ceil_u64(5), 8);
    EXPECT_EQ(pow2_ceil_u64(UINT64_C(1) << 63), UINT64_C(1) << 63);
    EXPECT_EQ(pow2_ceil_u64((UINT64_C(1) << 63) + 1), 0);
    EXPECT_EQ(pow2_floor_u64(5), 4);
    EXPECT_EQ(pow2_floor_u64(0), 0);
    EXPECT_EQ(ilog2_u64(UINT64_MAX), 63);
    EXPECT_DEATH(ilog2_u64(0), "check");
}

static void counts_of_zero_bits(void)
{
    EXPECT_EQ(ctz32(0), 32);
    EXPECT_EQ(ctz64(0), 64);
    EXPECT_EQ(clz32(0), 32);
    EXPECT_EQ(clz64(1), 63);
    EXPECT_EQ(ctz64(UINT64_C(1) << 40), 40);
    EXPECT_EQ(popcount64(UINT64_MAX), 64);
}

static void ranges_at_the_end_of_the_world(void)
{
    EXPECT(ranges_overlap(0, 10, 9, 1));
    EXPECT(!ranges_overlap(0, 10, 10, 1));
    EXPECT(!ranges_overlap(5, 0, 0, 10));
    EXPECT(!ranges_overlap(0, 10, 5, 0));
    EXPECT(ranges_overlap(UINT64_MAX, 1, UINT64_MAX - 1, 2));
    EXPECT(!ranges_overlap(UINT64_MAX - 1, 2, 0, 5));
    EXPECT(range_within(5, 5, 10));
    EXPECT(!range_within(5, 6, 10));
    EXPECT(!range_within(UINT64_MAX, 2, 10));
    EXPECT(range_within(10, 0, 10));
}

static void bytes_in_both_orders(void)
{
    uint8_t b[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, out[8];

    EXPECT_EQ(load_be16(b), 0x0102);
    EXPECT_EQ(load_le16(b), 0x0201);
    EXPECT_EQ(load_be24(b), 0x010203);
    EXPECT_EQ(load_be32(b + 1), 0x02030405);
    EXPECT_EQ(load_le32(b), 0x04030201);
    EXPECT_EQ(load_be64(b), UINT64_C(0x0102030405060708));
    store_be64(out, load_be64(b));
    EXPECT_MEM(out, b, 8);
    store_le64(out, load_be64(b));
    EXPECT_EQ(out[0], 8);
    store_be24(out, 0x0a0b0c);
    EXPECT_EQ(out[2], 0x0c);
}

static void fields_of_bits(void)
{
    EXPECT_EQ(bits_get64(0xabcd, 4, 8), 0xbc);
    EXPECT_EQ(bits_set64(0xffff, 4, 8, 0x12), 0xf12f);
    EXPECT_EQ(bits_get64(UINT64_MAX, 0, 64), UINT64_MAX);
    EXPECT_EQ(bits_set32(0, 31, 1, 3), UINT32_C(1) << 31);
    EXPECT_EQ(bits_sign_extend(0x80, 8), -128);
    EXPECT_EQ(bits_sign_extend(0x7f, 8), 127);
}

static void times_saturate(void)
{
    EXPECT_EQ(nstime_from_ms(5), 5 * NS_PER_MS);
    EXPECT_EQ(nstime_from_sec(INT64_MAX), NSTIME_NEVER);
    EXPECT_EQ(nstime_add(INT64_MAX, 1), NSTIME_NEVER);
    EXPECT_EQ(nstime_to_ms_up(1), 1);
    EXPECT_EQ(nstime_to_ms_up(NS_PER_MS), 1);
    EXPECT_EQ(nstime_to_ms_up(0), 0);
}

static void macros_evaluate_once(void)
{
    int a = 1, b = 5;

    EXPECT_EQ(MAX(a++, 0), 1);
    EXPECT_EQ(a, 2);
    EXPECT_EQ(MIN(MIN(a, b--), 9), 2);
    EXPECT_EQ(b, 4);
}

static void an_edge_that_is_not_in_the_table_aborts(void)
{
    enum { A, B, COUNT };
    static const uint32_t edges[COUNT] = { [A] = BIT(B) };

    fsm_check_edge(edges, A, B);
    EXPECT(fsm_edge_ok(edges, A, B));
    EXPECT(!fsm_edge_ok(edges, B, A));
    EXPECT(!fsm_edge_ok(edges, COUNT, A));
    EXPECT_DEATH(fsm_check_edge(edges, B, A), "no edge from 1 to 0 in edges");
}

TEST_LIST(TEST(overflow_is_reported), TEST(alignment), TEST(powers_of_two),
          TEST(counts_of_zero_bits), TEST(ranges_at_the_end_of_the_world),
          TEST(bytes_in_both_orders), TEST(fields_of_bits), TEST(times_saturate),
          TEST(macros_evaluate_once), TEST(an_edge_that_is_not_in_the_table_aborts));
