/*
 * External data files: guest data lies at its own offset in the data file, the image counts none of it, a raw one
 * stays equal to the disk. Oracle: the format's specification ("external data file"), a model of the disk.
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/base/rng.h"
#include "emu/storage/drivers/qcow2/format.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum { SIZE = 1 << 20, OPS = 300 };

static void must(struct err *err)
{
    if (err)
        TEST_FAIL("%s", err_text(err));
    REQUIRE(!err);
}

static struct node *open_image(struct test_world *w)
{
    struct node *node;

    must(test_open(w, "top", "top", "'discard':'unmap','data-file':{'driver':'file','disk':'data'}",
                   NODE_OPEN_MONITOR, &node));
    return node;
}

static void expect_clean(struct test_world *w, struct node *node)
{
    struct check_result result;

    must(test_check(w, node, 0, &result));
    EXPECT_MSG(!result.corruptions && !result.check_errors && !result.leaks, "%s", result.report);
    xfree(result.report);
}

/* Random work; discards only on request, as they leave the raw file as it was. */
static void work(struct test_world *w, struct edge *edge, uint8_t *model, bool discards)
{
    static uint8_t buf[SIZE];

    for (int i = 0; i < OPS; i++) {
        uint64_t offset = rng_below(&w->rng, SIZE / 512) * 512;
        uint64_t len = rng_between(&w->rng, 1, 64) * 512;
        unsigned what = (unsigned)rng_below(&w->rng, discards ? 10 : 8);

        len = len > SIZE - offset ? SIZE - offset : len;
        if (what < 6) {
            memset(buf, 1 + i % 250, len);
            memcpy(model + offset, buf, len);
            EXPECT_EQ(test_io(w, edge, REQ_WRITE, 0, offset, len, buf), 0);
        } else if (what < 8) {
            memset(model + offset, 0, len);
            EXPECT_EQ(test_io(w, edge, REQ_ZERO, what == 6 ? REQ_MAY_UNMAP : 0, offset, len, NULL),
                      0);
        } else {
            offset = offset / 4096 * 4096;
            len = 8192 > SIZE - offset ? SIZE - offset : 8192;
            memset(model + offset, 0, len);
            EXPECT_EQ(test_io(w, edge, REQ_DISCARD, 0, offset, len, NULL), 0);
        }
    }
    EXPECT_EQ(test_io(w, edge, REQ_FLUSH, 0, 0, 0, NULL), 0);
    EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 0, SIZE, buf), 0);
    EXPECT_MEM(buf, model, SIZE);
}

static void model_holds(bool raw)
{
    struct test_world *w = NEW(struct test_world);
    uint8_t *model = xcalloc(1, SIZE), *buf = xcalloc(1, SIZE);
    struct node *node;
    struct edge *edge;

    test_world_init(w, 11);
    must(test_create(
        w, "top",
        raw ? "'size':1048576,'cluster-size':4096,'data-file':{'driver':'file','disk':'data'},"
              "'data-file-raw':true"
            : "'size':1048576,'cluster-size':4096,'data-file':{'driver':'file','disk':'data'}"));
    EXPECT_EQ(test_disk(w, "data")->size, SIZE);
    node = open_image(w);
    edge = test_edge(w, node);
    work(w, edge, model, !raw);
    expect_clean(w, node);
    test_close(w, edge, node);
    node = open_image(w);
    edge = test_edge(w, node);
    EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 0, SIZE, buf), 0);
    EXPECT_MEM(buf, model, SIZE);
    if (raw)
        EXPECT_MEM(test_disk(w, "data")->data, model, SIZE);
    test_close(w, edge, node);
    test_world_fini(w);
    xfree(model);
    xfree(buf);
    xfree(w);
}

static void plain_matches_model(void) { model_holds(false); }
static void raw_equals_the_disk(void) { model_holds(true); }

static void takes_no_compressed_data(void)
{
    struct test_world *w = NEW(struct test_world);
    static uint8_t buf[65536];
    struct node *node;
    struct edge *edge;

    test_world_init(w, 1);
    must(test_create(w, "top", "'size':1048576,'data-file':{'driver':'file','disk':'data'}"));
    node = open_image(w);
    edge = test_edge(w, node);
    EXPECT_EQ(test_io(w, edge, REQ_WRITE, REQ_COMPRESSED, 0, sizeof(buf), buf), -ENOTSUP);
    test_close(w, edge, node);
    test_world_fini(w);
    xfree(w);
}

/* An entry that points elsewhere in the data file is a broken one. */
static void refuses_other_places(void)
{
    struct test_world *w = NEW(struct test_world);
    static uint8_t buf[65536];
    struct test_disk *disk;
    struct node *node;
    struct edge *edge;
    uint64_t l2;

    test_world_init(w, 1);
    must(test_create(w, "top", "'size':1048576,'data-file':{'driver':'file','disk':'data'}"));
    node = open_image(w);
    edge = test_edge(w, node);
    EXPECT_EQ(test_io(w, edge, REQ_WRITE, 0, 0, sizeof(buf), buf), 0);
    test_close(w, edge, node);
    disk = test_disk(w, "top");
    l2 = load_be64(disk->data + load_be64(disk->data + QCOW2_HDR_L1_OFFSET)) & QCOW2_OFFSET_MASK;
    store_be64(disk->data + l2, QCOW2_COPIED | 0x20000);
    node = open_image(w);
    edge = test_edge(w, node);
    EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 0, 512, buf), -EIO);
    test_close(w, edge, node);
    test_world_fini(w);
    xfree(w);
}

static void open_err(struct test_world *w, const char *options, const char *text)
{
    struct node *node;
    struct err *err = test_open(w, "top", "top", options, NODE_OPEN_MONITOR, &node);

    REQUIRE(err);
    EXPECT_STR(err_text(err), text);
    err_free(err);
}

static void names_what_is_missing(void)
{
    struct test_world *w = NEW(struct test_world);
    struct err *err;

    test_world_init(w, 1);
    must(test_create(w, "top", "'size':1048576"));
    open_err(w, "'data-file':{'driver':'file','disk':'data'}",
             "'data-file' can only be set for images with an external data file");
    err = test_create(w, "top", "'size':1048576,'data-file-raw':true");
    REQUIRE(err);
    EXPECT_STR(err_text(err), "data-file-raw requires data-file");
    err_free(err);
    store_be64(test_disk(w, "top")->data + QCOW2_HDR_INCOMPATIBLE, QCOW2_INCOMPAT_DATA_FILE);
    open_err(w, NULL, "'data-file' is required for this image");
    test_world_fini(w);
    xfree(w);
}

TEST_LIST(TEST(plain_matches_model), TEST(raw_equals_the_disk), TEST(takes_no_compressed_data),
          TEST(refuses_other_places), TEST(names_what_is_missing));
