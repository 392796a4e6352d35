/* Errors and allocation. Oracle: expected texts. */
#include "emu/base/err.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static void errno_is_worded_and_remembered(void)
{
    struct err *e = err_new_errno(-ENOENT, "Could not open '%s'", "x");

    EXPECT_STR(err_text(e), "Could not open 'x': No such file or directory");
    EXPECT_EQ(err_errnum(e), ENOENT);
    EXPECT_EQ(err_class_of(e), ERR_GENERIC);
    err_free(e);
    e = err_new_errno(0, "plain");
    EXPECT_STR(err_text(e), "plain");
    EXPECT_EQ(err_errnum(e), 0);
    err_free(e);
}

static void a_prefix_keeps_the_rest(void)
{
    struct err *e = err_new_class(ERR_DEVICE_NOT_FOUND, "Device '%s' not found", "d");

    e = err_prefix(err_set_errnum(e, -ENODEV), "job '%s': ", "j");
    EXPECT_STR(err_text(e), "job 'j': Device 'd' not found");
    EXPECT_STR(err_class_name(err_class_of(e)), "DeviceNotFound");
    EXPECT_EQ(err_errnum(e), ENODEV);
    err_free(e);
    EXPECT(err_prefix(NULL, "x") == NULL);
}

static void hints_add_up(void)
{
    struct err *e = err_new("bad");

    EXPECT_STR(err_hint(e), "");
    err_hint_append(e, "Try %d.\n", 1);
    err_hint_append(e, "Or 2.\n");
    err_hint_append(NULL, "nothing");
    EXPECT_STR(err_hint(e), "Try 1.\nOr 2.\n");
    err_free(e);
}

static void a_copy_is_equal(void)
{
    struct err *e = err_new_errno(EIO, "x"), *copy;

    err_hint_append(e, "h");
    copy = err_copy(e);
    err_free(e);
    EXPECT_STR(err_text(copy), "x: Input/output error");
    EXPECT_STR(err_hint(copy), "h");
    EXPECT_EQ(err_errnum(copy), EIO);
    err_free(copy);
    EXPECT(err_copy(NULL) == NULL);
}

static void the_first_error_is_kept(void)
{
    struct err *first = NULL;

    err_keep_first(&first, NULL);
    EXPECT(first == NULL);
    err_keep_first(&first, err_new("a"));
    err_keep_first(&first, err_new("b"));
    err_keep_first(&first, NULL);
    EXPECT_ERR(first, "a");
}

static unsigned frees;

static void free_text(char *text)
{
    frees += text != NULL;
    xfree(text);
}
CLEANUP_FREE(free_text, char);

static struct err *leaves_early(bool fail)
{
    CLEANUP(free_text) char *text = xstrdup("x");

    TRY(fail ? err_new("%s failed", text) : NULL);
    return NULL;
}

static void try_leaves_and_cleans_up(void)
{
    frees = 0;
    EXPECT_ERR(leaves_early(true), "x failed");
    EXPECT_OK(leaves_early(false));
    EXPECT_EQ(frees, 2);
}

static void only_the_nth_allocation_fails(void)
{
    void *p[4];

    alloc_fail_after(2);
    p[0] = try_alloc(8);
    p[1] = try_calloc(2, 8);
    p[2] = try_alloc_aligned(64, 8);
    p[3] = try_realloc(NULL, 8);
    EXPECT_EQ(alloc_fail_reset(), 4);
    EXPECT(p[0] && !p[1] && p[2] && p[3]);
    for (int i = 0; i < 4; i++)
        xfree(p[i]);
}

static void sizes_that_do_not_fit_fail(void)
{
    EXPECT(try_calloc(SIZE_MAX / 2, 3) == NULL);
    EXPECT_DEATH(xfree(xcalloc(SIZE_MAX / 2, 3)), "out of memory");
    EXPECT_DEATH(xfree(xrealloc_array(NULL, SIZE_MAX / 2, 3)), "out of memory");
}

static void copies_of_text(void)
{
    char *a = xstrndup("hello", 3), *b = xasprintf("%d%s", 1, "x");

    EXPECT_STR(a, "hel");
    EXPECT_STR(b, "1x");
    EXPECT(xstrdup(NULL) == NULL);
    xfree(a);
    xfree(b);
    a = xmemdup("ab", 2);
    EXPECT_MEM(a, "ab", 2);
    xfree(a);
}

TEST_LIST(TEST(errno_is_worded_and_remembered), TEST(a_prefix_keeps_the_rest), TEST(hints_add_up),
          TEST(a_copy_is_equal), TEST(the_first_error_is_kept), TEST(try_leaves_and_cleans_up),
          TEST(only_the_nth_allocation_fails), TEST(sizes_that_do_not_fit_fail),
          TEST(copies_of_text));
