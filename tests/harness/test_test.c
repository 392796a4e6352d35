/* The harness tested by itself: expectations that must fail run in a death test's child. */
#include "tests/harness/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Runs an expectation in a child, which dies with this text when it was recorded as failed. */
static void must_have_failed(void)
{
    if (test_has_failed()) {
        fprintf(stderr, "it failed as it should\n");
        exit(1);
    }
}

#define EXPECT_FAILS(stmt)                                                                         \
    EXPECT_DEATH(                                                                                  \
        {                                                                                          \
            stmt;                                                                                  \
            must_have_failed();                                                                    \
        },                                                                                         \
        "as it should")

enum colour { RED, GREEN };

struct flags {
    unsigned low : 3;
    bool on : 1;
};

static void compares_integers_of_any_type(void)
{
    const struct flags flags = { 5, true };
    const uint8_t narrow = 200;
    const enum colour colour = GREEN;

    EXPECT_EQ(flags.low, 5);
    EXPECT_EQ(flags.on, true);
    EXPECT_EQ(narrow, 200);
    EXPECT_EQ(colour, GREEN);
    EXPECT_EQ(-3, (int64_t)-3);
    EXPECT_EQ(UINT64_MAX, UINT64_MAX);
    EXPECT_NE(-1, UINT64_MAX);
    EXPECT_LT(-1, 0u);
    EXPECT_LT(INT64_MIN, -1);
    EXPECT_LE(7, 7ull);
    EXPECT_GT(UINT64_MAX, INT64_MAX);
    EXPECT_GE('b', 'a');
}

static void evaluates_arguments_once(void)
{
    int count = 0;

    EXPECT_EQ(count++, 0);
    EXPECT_EQ(count, 1);
}

static void reports_unequal_integers(void)
{
    EXPECT_FAILS(EXPECT_EQ(1, 2));
    EXPECT_FAILS(EXPECT_NE(3, 3));
    EXPECT_FAILS(EXPECT_LT(2, 1));
}

static void compares_strings(void)
{
    EXPECT_STR("abc", "abc");
    EXPECT_STR(NULL, NULL);
    EXPECT_CONTAINS("the whole text", "whole");
    EXPECT_FAILS(EXPECT_STR("abc", "abd"));
    EXPECT_FAILS(EXPECT_STR("abc", NULL));
    EXPECT_FAILS(EXPECT_CONTAINS("the whole text", "part"));
}

static void compares_memory(void)
{
    const uint8_t a[4] = { 1, 2, 3, 4 }, b[4] = { 1, 2, 3, 5 };

    EXPECT_MEM(a, b, 3);
    EXPECT_FAILS(EXPECT_MEM(a, b, 4));
}

static void sees_a_death_and_its_text(void)
{
    EXPECT_DEATH(abort(), "");
    EXPECT_DEATH(
        {
            fprintf(stderr, "no space left\n");
            exit(3);
        },
        "no (space|time) left");
}

static void reports_a_survivor(void)
{
    EXPECT_FAILS(EXPECT_DEATH((void)0, ""));
    EXPECT_FAILS(EXPECT_DEATH(abort(), "some text"));
}

static void skip_deep(const char *reason) { TEST_SKIP("%s", reason); }

static void skips_from_any_depth(void)
{
    skip_deep("the harness skips itself to see that it can");
    TEST_FAIL("not reached");
}

static char first_dir[4096];

static void makes_a_short_empty_folder(void)
{
    struct stat st;

    snprintf(first_dir, sizeof(first_dir), "%s", test_tmpdir());
    EXPECT_STR(test_tmpdir(), first_dir);
    EXPECT_LT(strlen(first_dir), 80);
    EXPECT_EQ(stat(first_dir, &st), 0);
    EXPECT(S_ISDIR(st.st_mode));
}

static void removes_the_folder_after_the_test(void)
{
    if (!first_dir[0])
        TEST_SKIP("the test before this one was filtered out");
    EXPECT(access(first_dir, F_OK) != 0);
}

static void finds_tools(void)
{
    EXPECT_CONTAINS(test_tool_path("sh"), "/sh");
    EXPECT(test_tool_path("no-such-program") == NULL);
}

TEST_LIST(TEST(compares_integers_of_any_type), TEST(evaluates_arguments_once),
          TEST(reports_unequal_integers), TEST(compares_strings), TEST(compares_memory),
          TEST(sees_a_death_and_its_text), TEST(reports_a_survivor), TEST(skips_from_any_depth),
          TEST(makes_a_short_empty_folder), TEST(removes_the_folder_after_the_test),
          TEST(finds_tools));
