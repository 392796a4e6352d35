/*
 * Expectations about control-path errors (struct err of emu/base/err.h), apart from test.h so that tests of base
 * itself need not link err.c. Both macros take and free the error.
 */
#ifndef EMU_TESTS_HARNESS_EXPECT_ERR_H
#define EMU_TESTS_HARNESS_EXPECT_ERR_H

#include <stddef.h>

#include "tests/harness/test.h"

struct err;
const char *err_text(const struct err *err);
void err_free(struct err *err);

/* The call succeeded; otherwise its text is printed. */
#define EXPECT_OK(call) test_expect_ok_(__FILE__, __LINE__, #call, call)
/* The same, and a failure ends the test. */
#define REQUIRE_OK(call) (test_expect_ok_(__FILE__, __LINE__, #call, call) ? (void)0 : test_end_())
/* The call failed with exactly this text. */
#define EXPECT_ERR(call, text) test_expect_err_(__FILE__, __LINE__, #call, call, text)

static inline bool test_expect_ok_(const char *file, int line, const char *call, struct err *err)
{
    if (!err)
        return true;
    test_failed_(file, line, "expected success: %s\n  error: %s", call, err_text(err));
    err_free(err);
    return false;
}

static inline bool test_expect_err_(const char *file, int line, const char *call, struct err *err,
                                    const char *text)
{
    bool held;

    if (!err) {
        test_failed_(file, line, "expected to fail: %s\n  with: %s", call, text);
        return false;
    }
    held = test_expect_str_(file, line, call, err_text(err), "the text", text);
    err_free(err);
    return held;
}

#endif
