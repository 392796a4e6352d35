/* Oracle: the accounting by slices, worked out by hand. */
#include "emu/base/ratelimit.h"

#include "emu/base/nstime.h"
#include "tests/harness/test.h"

static void within_the_quota_nothing_waits(void)
{
    struct ratelimit rl = { 0 };

    ratelimit_set_speed(&rl, 1000, RATELIMIT_SLICE_NS); /* 100 bytes a slice. */
    EXPECT_EQ(ratelimit_delay_ns(&rl, 60, 5), 0);
    EXPECT_EQ(ratelimit_delay_ns(&rl, 39, 6), 0);
    EXPECT_EQ(ratelimit_delay_ns(&rl, 1, 10), RATELIMIT_SLICE_NS - 5);
}

static void too_many_bytes_stretch_the_slice(void)
{
    struct ratelimit rl = { 0 };

    ratelimit_set_speed(&rl, 1000, RATELIMIT_SLICE_NS);
    EXPECT_EQ(ratelimit_delay_ns(&rl, 250, 0), 250 * NS_PER_MS);
    EXPECT_EQ(ratelimit_wait_ns(&rl, 200 * NS_PER_MS), 50 * NS_PER_MS);
    EXPECT_EQ(ratelimit_wait_ns(&rl, 250 * NS_PER_MS), 0);
    EXPECT_EQ(ratelimit_delay_ns(&rl, 10, 250 * NS_PER_MS), 0);
}

static void no_speed_is_no_limit(void)
{
    struct ratelimit rl;

    ratelimit_init(&rl);
    EXPECT_EQ(ratelimit_delay_ns(&rl, UINT64_MAX, 0), 0);
    ratelimit_set_speed(&rl, 1, RATELIMIT_SLICE_NS);
    EXPECT_GT(ratelimit_delay_ns(&rl, 1, 0), 0);
    ratelimit_set_speed(&rl, 0, RATELIMIT_SLICE_NS);
    EXPECT_EQ(ratelimit_wait_ns(&rl, 0), 0);
}

static void a_slow_speed_still_moves(void)
{
    struct ratelimit rl = { 0 };

    ratelimit_set_speed(&rl, 1, RATELIMIT_SLICE_NS); /* One byte a slice is the least. */
    EXPECT_EQ(ratelimit_delay_ns(&rl, 1, 0), RATELIMIT_SLICE_NS);
}

static void a_new_speed_counts_at_once(void)
{
    struct ratelimit rl = { 0 };

    ratelimit_set_speed(&rl, 1000, RATELIMIT_SLICE_NS);
    EXPECT_EQ(ratelimit_delay_ns(&rl, 1000000, 0), 1000 * NS_PER_SEC);
    ratelimit_set_speed(&rl, 1000000, RATELIMIT_SLICE_NS);
    EXPECT_EQ(ratelimit_wait_ns(&rl, 0), NS_PER_SEC);
}

static void the_speed_holds_on_average(void)
{
    struct ratelimit rl = { 0 };
    int64_t now = 0;
    uint64_t sent = 0;

    ratelimit_set_speed(&rl, 64 << 10, RATELIMIT_SLICE_NS);
    while (now < 100 * NS_PER_SEC) {
        sent += 1 << 20;
        now += ratelimit_delay_ns(&rl, 1 << 20, now);
    }
    EXPECT_GE(sent, UINT64_C(100) * (64 << 10));
    EXPECT_LE(sent, UINT64_C(120) * (64 << 10));
}

static void huge_numbers_do_not_wrap(void)
{
    struct ratelimit rl = { 0 };

    ratelimit_set_speed(&rl, 1, RATELIMIT_SLICE_NS);
    EXPECT_GT(ratelimit_delay_ns(&rl, UINT64_MAX, NS_PER_SEC), INT64_MAX / 2);
    ratelimit_set_speed(&rl, UINT64_MAX, RATELIMIT_SLICE_NS);
    EXPECT_LE(ratelimit_wait_ns(&rl, NS_PER_SEC), NS_PER_SEC);
}

TEST_LIST(TEST(within_the_quota_nothing_waits), TEST(too_many_bytes_stretch_the_slice),
          TEST(no_speed_is_no_limit), TEST(a_slow_speed_still_moves),
          TEST(a_new_speed_counts_at_once), TEST(the_speed_holds_on_average),
          TEST(huge_numbers_do_not_wrap));
