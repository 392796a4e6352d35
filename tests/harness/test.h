/*
 * Tests in C on top of googletest. A test program is a set of functions and one table:
 *
 *     static void adds_small_numbers(void)
 *     {
 *         EXPECT_EQ(add(1, 2), 3);
 *     }
 *
 *     TEST_LIST(TEST(adds_small_numbers), TEST(saturates));
 *
 * EXPECT* records a failure and goes on; REQUIRE* ends the test as well, from any depth of calls but only on the
 * thread that runs the test. The suite is named after the file, so --gtest_filter=add_test.adds_* selects tests.
 * Macros evaluate each argument once.
 *
 * The working directory is the runfiles root: a `data` file is opened by its workspace path.
 */
#ifndef EMU_TESTS_HARNESS_TEST_H
#define EMU_TESTS_HARNESS_TEST_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/harness/test_impl.h"

/* The table. Exactly one in a program. */
#define TEST_LIST(...)                                                                             \
    static const struct test_case test_cases_[] = { __VA_ARGS__, { 0 } };                          \
    const struct test_table test_table = { __FILE__, test_cases_ }
#define TEST(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }

#define EXPECT(x) ((x) ? (void)0 : test_failed_(__FILE__, __LINE__, "expected: %s", #x))
#define REQUIRE(x) ((x) ? (void)0 : test_required_(__FILE__, __LINE__, "required: %s", #x))

/* Fails unless x, with a printf-style text that says which round of a loop this was. */
#define EXPECT_MSG(x, ...) ((x) ? (void)0 : test_failed_(__FILE__, __LINE__, __VA_ARGS__))

/* Integers and enums of any width and sign, compared by value: -1 differs from UINT64_MAX. Both are printed. */
#define EXPECT_EQ(a, b) TEST_COMPARE_(a, b, TEST_EQ)
#define EXPECT_NE(a, b) TEST_COMPARE_(a, b, TEST_NE)
#define EXPECT_LT(a, b) TEST_COMPARE_(a, b, TEST_LT)
#define EXPECT_LE(a, b) TEST_COMPARE_(a, b, TEST_LE)
#define EXPECT_GT(a, b) TEST_COMPARE_(a, b, TEST_GT)
#define EXPECT_GE(a, b) TEST_COMPARE_(a, b, TEST_GE)
#define REQUIRE_EQ(a, b) (EXPECT_EQ(a, b) ? (void)0 : test_end_())

/* Strings; NULL equals only NULL. */
#define EXPECT_STR(a, b) test_expect_str_(__FILE__, __LINE__, #a, a, #b, b)
/* Passes when `part` occurs in `whole`. */
#define EXPECT_CONTAINS(whole, part) test_expect_contains_(__FILE__, __LINE__, #whole, whole, part)
#define EXPECT_PTR(a, b) test_expect_ptr_(__FILE__, __LINE__, #a, a, #b, b)
/* Compares len bytes and prints the surroundings of the first difference. */
#define EXPECT_MEM(a, b, len) test_expect_mem_(__FILE__, __LINE__, #a, a, #b, b, len)

/*
 * Runs stmt in a forked child. Passes when the child is killed or exits with an error, and what it wrote to stderr
 * matches the extended regular expression.
 */
#define EXPECT_DEATH(stmt, regex)                                                                  \
    do {                                                                                           \
        if (test_death_child_(__FILE__, __LINE__, #stmt, regex)) {                                 \
            stmt;                                                                                  \
            test_death_survived_();                                                                \
        }                                                                                          \
    } while (0)

/* Records a failure with a printf-style text. */
#define TEST_FAIL(...) test_failed_(__FILE__, __LINE__, __VA_ARGS__)

/* Ends the test as skipped; the printf-style reason appears in the summary of tools/dev test. */
#define TEST_SKIP(...) test_skip_(__VA_ARGS__)

/* Text added to every later failure of this test, such as the seed or the row of a table. */
void test_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* True when the running test has failed already. */
bool test_has_failed(void);

/*
 * A fresh, empty folder for the running test, removed after it unless it failed. The path is short enough for a
 * socket in it. Owned by the harness.
 */
const char *test_tmpdir(void);

/* Full path of a program in PATH or the sbin folders, NULL when not installed. Valid until the next call. */
const char *test_tool_path(const char *name);

#endif
