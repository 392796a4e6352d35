/* What the macros of test.h expand to. Include test.h instead. */
#ifndef EMU_TESTS_HARNESS_TEST_IMPL_H
#define EMU_TESTS_HARNESS_TEST_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct test_case {
    const char *name; /* NULL ends the table. */
    void (*run)(void);
};

struct test_table {
    const char *file; /* Names the suite. */
    const struct test_case *cases;
};

extern const struct test_table test_table;

/* An integer by value, whatever its type was. */
struct test_int {
    uint64_t bits;
    bool negative;
};

enum test_relation { TEST_EQ, TEST_NE, TEST_LT, TEST_LE, TEST_GT, TEST_GE };

struct test_int test_int_signed_(int64_t value);
struct test_int test_int_unsigned_(uint64_t value);

/* Adding 0 promotes bit-fields, bool and narrow types: only the three wide unsigned types are left to tell. */
#define TEST_INT_(x)                                                                               \
    _Generic((x) + 0, unsigned                                                                     \
             : test_int_unsigned_, unsigned long                                                   \
             : test_int_unsigned_, unsigned long long                                              \
             : test_int_unsigned_, default                                                         \
             : test_int_signed_)(x)

#define TEST_COMPARE_(a, b, relation)                                                              \
    test_compare_(__FILE__, __LINE__, #a, TEST_INT_(a), #b, TEST_INT_(b), relation)

void test_failed_(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void test_required_(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
void test_skip_(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void test_end_(void) __attribute__((noreturn));

/* These return whether the expectation held. */
bool test_compare_(const char *file, int line, const char *a_text, struct test_int a,
                   const char *b_text, struct test_int b, enum test_relation relation);
bool test_expect_str_(const char *file, int line, const char *a_text, const char *a,
                      const char *b_text, const char *b);
bool test_expect_contains_(const char *file, int line, const char *whole_text, const char *whole,
                           const char *part);
bool test_expect_ptr_(const char *file, int line, const char *a_text, const void *a,
                      const char *b_text, const void *b);
bool test_expect_mem_(const char *file, int line, const char *a_text, const void *a,
                      const char *b_text, const void *b, size_t len);

/* True in the child, which runs the statement; the parent has judged the child when this returns false. */
bool test_death_child_(const char *file, int line, const char *stmt, const char *regex);
void test_death_survived_(void) __attribute__((noreturn));

/* Between the C half of the harness (test.c) and its googletest half (test_main.cc). */
void test_run_(void (*run)(void)); /* Runs one test to its end, normal or early. */
void test_cleanup_(void);          /* After each test: folder, note. */
void test_gtest_fail_(const char *file, int line, const char *text);
void test_gtest_skip_(const char *text);
bool test_gtest_has_failed_(void);

#ifdef __cplusplus
}
#endif

#endif
