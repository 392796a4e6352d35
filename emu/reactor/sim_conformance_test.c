/* The conformance tests on the simulated body, with one seed after the other. */
#include "emu/base/check.h"
#include "emu/reactor/conformance_testing.h"
#include "emu/reactor/sim.h"

void conf_make(struct conf *c)
{
    struct sim_options options = { .seed = 1, .split_streams = true };

    c->world = sim_new(&options);
    c->dir = "";
    c->r = sim_reactor_new(c->world);
}

void conf_drop(struct conf *c)
{
    EXPECT_EQ(reactor_ops_pending(c->r), 0);
    reactor_free(c->r);
    sim_free(c->world);
}

static void names_its_kind(void)
{
    struct conf c;

    conf_make(&c);
    EXPECT_STR(reactor_kind_name(c.r), "sim");
    conf_drop(&c);
}

TEST_LIST(CONFORMANCE_TESTS TEST(names_its_kind));
