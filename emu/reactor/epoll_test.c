/* The conformance tests on the epoll body. */
#include "emu/reactor/conformance_testing.h"
#include "tests/harness/expect_err.h"

void conf_make(struct conf *c)
{
    *c = (struct conf){ .dir = test_tmpdir() };
    REQUIRE_OK(reactor_new(REACTOR_EPOLL, &c->r));
}

void conf_drop(struct conf *c)
{
    EXPECT_EQ(reactor_ops_pending(c->r), 0);
    reactor_free(c->r);
}

static void names_its_kind(void)
{
    struct conf c;

    conf_make(&c);
    EXPECT_STR(reactor_kind_name(c.r), "epoll");
    conf_drop(&c);
}

TEST_LIST(CONFORMANCE_TESTS TEST(names_its_kind));
