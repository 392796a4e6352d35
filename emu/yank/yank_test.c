/* Instances and functions of yank. */
#include "emu/yank/yank.h"

#include "emu/base/alloc.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static void count(void *arg) { ++*(int *)arg; }

static struct qapi_yank_instance node_named(char *name)
{
    struct qapi_yank_instance i = { .type = QAPI_YANK_INSTANCE_TYPE_BLOCK_NODE };

    i.u.block_node.node_name = name;
    return i;
}

static void runs_all_functions_of_the_named_instances(void)
{
    struct yank *yank = yank_new();
    struct yank_instance *a, *b;
    struct yank_function fa1 = { 0 }, fa2 = { 0 }, fb = { 0 };
    struct qapi_yank_instance items[] = { node_named("a"), node_named("a") };
    struct qapi_yank_instance_list list = { items, 1 };
    int n1 = 0, n2 = 0, nb = 0;

    REQUIRE_OK(yank_register_instance(yank, QAPI_YANK_INSTANCE_TYPE_BLOCK_NODE, "a", &a));
    REQUIRE_OK(yank_register_instance(yank, QAPI_YANK_INSTANCE_TYPE_CHARDEV, "a", &b));
    yank_register_function(a, &fa1, count, &n1);
    yank_register_function(a, &fa2, count, &n2);
    yank_register_function(b, &fb, count, &nb);
    EXPECT_OK(yank_run(yank, &list));
    EXPECT_EQ(n1, 1);
    EXPECT_EQ(n2, 1);
    EXPECT_EQ(nb, 0);
    yank_unregister_function(&fa1);
    yank_unregister_function(&fa1);
    list.len = 2; /* Naming one twice is harmless. */
    EXPECT_OK(yank_run(yank, &list));
    EXPECT_EQ(n1, 1);
    EXPECT_EQ(n2, 3);
    yank_unregister_function(&fa2);
    yank_unregister_function(&fb);
    yank_unregister_instance(a);
    yank_unregister_instance(b);
    yank_free(yank);
}

static void does_nothing_when_one_instance_is_unknown(void)
{
    struct yank *yank = yank_new();
    struct yank_instance *a;
    struct yank_function f = { 0 };
    struct qapi_yank_instance items[] = { node_named("a"), node_named("b") };
    struct qapi_yank_instance_list list = { items, 2 };
    struct err *err;
    int n = 0;

    REQUIRE_OK(yank_register_instance(yank, QAPI_YANK_INSTANCE_TYPE_BLOCK_NODE, "a", &a));
    yank_register_function(a, &f, count, &n);
    err = yank_run(yank, &list);
    REQUIRE(err);
    EXPECT_STR(err_text(err), "Instance not found");
    EXPECT_EQ(err_class_of(err), ERR_DEVICE_NOT_FOUND);
    err_free(err);
    EXPECT_EQ(n, 0);
    yank_unregister_function(&f);
    yank_unregister_instance(a);
    yank_free(yank);
}

static void refuses_duplicates_and_lists_oldest_first(void)
{
    struct yank *yank = yank_new();
    struct yank_instance *a, *b, *c, *none = NULL;
    struct qapi_yank_instance_list list = { 0 };

    REQUIRE_OK(yank_register_instance(yank, QAPI_YANK_INSTANCE_TYPE_CHARDEV, "c0", &a));
    REQUIRE_OK(yank_register_instance(yank, QAPI_YANK_INSTANCE_TYPE_MIGRATION, NULL, &b));
    REQUIRE_OK(yank_register_instance(yank, QAPI_YANK_INSTANCE_TYPE_BLOCK_NODE, "c0", &c));
    EXPECT_ERR(yank_register_instance(yank, QAPI_YANK_INSTANCE_TYPE_MIGRATION, "x", &none),
               "duplicate yank instance");
    EXPECT_ERR(yank_register_instance(yank, QAPI_YANK_INSTANCE_TYPE_CHARDEV, "c0", &none),
               "duplicate yank instance");
    EXPECT_PTR(none, NULL);
    yank_query(yank, &list);
    REQUIRE_EQ(list.len, 3);
    EXPECT_STR(list.items[0].u.chardev.id, "c0");
    EXPECT_EQ(list.items[1].type, QAPI_YANK_INSTANCE_TYPE_MIGRATION);
    EXPECT_STR(list.items[2].u.block_node.node_name, "c0");
    qapi_yank_instance_list_fini(&list);
    yank_unregister_instance(a);
    yank_unregister_instance(b);
    yank_unregister_instance(c);
    yank_free(yank);
}

TEST_LIST(TEST(runs_all_functions_of_the_named_instances),
          TEST(does_nothing_when_one_instance_is_unknown),
          TEST(refuses_duplicates_and_lists_oldest_first));
