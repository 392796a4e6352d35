/*
 * Images whose headers and tables lie: each is refused with the text that names the fault, or read with errors where
 * the
 * fault is. Oracle: the texts and results of qemu-img 10.
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

struct lie {
    uint64_t offset;
    unsigned bytes;
    uint64_t value;
    const char *text; /* NULL: it opens. */
};

static struct test_world *world(const struct driver *format)
{
    struct test_world *w = NEW(struct test_world);

    test_world_init_format(w, 1, format);
    return w;
}

static void poke(struct test_disk *disk, const struct lie *lie, bool big_endian)
{
    uint8_t *image = xcalloc(1, disk->size + 8);
    uint64_t size = disk->size;

    memcpy(image, disk->data, size);
    for (unsigned i = 0; i < lie->bytes; i++)
        image[lie->offset + i] = (uint8_t)(lie->value >> 8 * (big_endian ? lie->bytes - 1 - i : i));
    test_disk_load(disk, image, size);
    xfree(image);
}

static void tell(const struct driver *format, const char *create, const struct lie *lie,
                 bool big_endian)
{
    struct test_world *w = world(format);
    struct node *node = NULL;
    struct err *err = test_create(w, "top", create);

    REQUIRE(!err);
    poke(test_disk(w, "top"), lie, big_endian);
    err = test_open(w, "top", "top", "'read-only':true", NODE_OPEN_MONITOR, &node);
    if (lie->text)
        EXPECT_STR(err ? err_text(err) : NULL, lie->text);
    else
        EXPECT(!err);
    err_free(err);
    test_world_fini(w);
    xfree(w);
}

static void qed_headers(void)
{
    static const struct lie lies[] = {
        { 0, 4, 1, "Image not in QED format" },
        { 4, 4, 3, "QED cluster size is invalid" },
        { 4, 4, 128 << 20, "QED cluster size is invalid" },
        { 8, 4, 3, "QED table size is invalid" },
        { 8, 4, 0, "QED table size is invalid" },
        { 12, 4, 0x7fffffff, "QED table offset is invalid" },
        { 16, 8, 8, "Unsupported QED features: 8" },
        { 40, 8, 1, "QED table offset is invalid" },
        { 40, 8, 0x100000, "QED table offset is invalid" },
        { 40, 8, UINT64_MAX - 0xffff, "QED table offset is invalid" },
        { 48, 8, 1, "QED image size is invalid" },
        { 48, 8, 0x7fffffffffffff00, "QED image size is invalid" },
        { 32, 8, 1, NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(lies); i++)
        tell(&driver_qed, "'size':1048576", &lies[i], false);
}

static void qed_backing_name_outside(void)
{
    static const struct lie lies[] = {
        { 56, 4, 0x20000, "QED backing filename offset is invalid" },
        { 60, 4, 0x20000, "QED backing filename offset is invalid" },
        { 56, 4, 0xffffffff, "QED backing filename offset is invalid" },
    };

    for (size_t i = 0; i < ARRAY_LEN(lies); i++)
        tell(&driver_qed, "'size':1048576,'backing-file':'b','backing-fmt':'raw'", &lies[i], false);
}

static void qcow_headers(void)
{
    static const struct lie lies[] = {
        { 0, 4, 1, "Image not in qcow format" },
        { 4, 4, 2, "qcow (v1) does not support qcow version 2" },
        { 24, 8, 1, "Image size is too small (must be at least 2 bytes)" },
        { 24, 8, 0x7fffffffffffffff, "Image too large" },
        { 24, 8, UINT64_MAX, "Image too large" },
        { 32, 1, 8, "Cluster size must be between 512 and 64k" },
        { 32, 1, 17, "Cluster size must be between 512 and 64k" },
        { 33, 1, 5, "L2 table size must be between 512 and 64k" },
        { 33, 1, 255, "L2 table size must be between 512 and 64k" },
        { 36, 4, 2, "invalid encryption method in qcow header" },
    };

    for (size_t i = 0; i < ARRAY_LEN(lies); i++)
        tell(&driver_qcow, "'size':1048576", &lies[i], true);
}

static void parallels_headers(void)
{
    static const struct lie lies[] = {
        { 0, 4, 1, "Image not in Parallels format" },
        { 16, 4, 3, "Image not in Parallels format" },
        { 28, 4, 0, "Invalid image: Zero sectors per track" },
        { 28, 4, 0x800000, "Invalid image: Too big cluster" },
        { 32, 4, 0x40000000, "Catalog too large" },
        { 48, 4, 0, NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(lies); i++)
        tell(&driver_parallels, "'size':1048576", &lies[i], false);
}

/* A table entry that cannot be fails requests there, is found by the check, and mended. */
static void qed_entries(void)
{
    static const struct lie bad[] = { { 0x10000, 8, 0x1000000, NULL }, { 0x10000, 8, 5, NULL } };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct test_world *w = world(&driver_qed);
        struct check_result result;
        struct node *node;
        struct edge *edge;
        uint8_t buf[512];

        REQUIRE(!test_create(w, "top", "'size':1048576"));
        poke(test_disk(w, "top"), &bad[i], false);
        REQUIRE(!test_open(w, "top", "top", NULL, NODE_OPEN_MONITOR, &node));
        edge = test_edge(w, node);
        EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 0, 512, buf), -EINVAL);
        EXPECT_EQ(test_io(w, edge, REQ_WRITE, 0, 0, 512, buf), -EINVAL);
        REQUIRE(!test_check(w, node, 0, &result));
        EXPECT_EQ(result.corruptions, 1);
        REQUIRE(!test_check(w, node, CHECK_FIX_ERRORS, &result));
        EXPECT_EQ(result.corruptions_fixed, 1);
        EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 0, 512, buf), 0);
        edge_detach(edge);
        test_world_fini(w);
        xfree(w);
    }
}

/* Two clusters of the disk in one of the file: the second gets a copy. */
static void parallels_duplicate(void)
{
    struct test_world *w = world(&driver_parallels);
    struct check_result result;
    struct node *node;
    struct edge *edge;
    uint8_t buf[512], got[512];

    REQUIRE(!test_create(w, "top", "'size':1048576,'cluster-size':65536"));
    REQUIRE(!test_open(w, "top", "top", NULL, NODE_OPEN_MONITOR, &node));
    edge = test_edge(w, node);
    memset(buf, 0x5a, sizeof(buf));
    EXPECT_EQ(test_io(w, edge, REQ_WRITE, 0, 0, sizeof(buf), buf), 0);
    test_close(w, edge, node);
    poke(test_disk(w, "top"), &(struct lie){ 68, 4, 1, NULL }, false);
    REQUIRE(!test_open(w, "top", "dup", NULL, NODE_OPEN_MONITOR | NODE_OPEN_CHECK, &node));
    REQUIRE(!test_check(w, node, 0, &result));
    EXPECT_EQ(result.corruptions, 1);
    EXPECT_STR(result.report, "ERROR duplicate offset in BAT entry 1\n");
    xfree(result.report);
    REQUIRE(!test_check(w, node, CHECK_FIX_ERRORS, &result));
    EXPECT_EQ(result.corruptions_fixed, 1);
    xfree(result.report);
    edge = test_edge(w, node);
    memset(buf, 0x77, sizeof(buf));
    EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 65536, sizeof(got), got), 0);
    EXPECT_EQ(got[0], 0x5a);
    EXPECT_EQ(test_io(w, edge, REQ_WRITE, 0, 0, sizeof(buf), buf), 0);
    EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 65536, sizeof(got), got), 0);
    EXPECT_EQ(got[0], 0x5a);
    edge_detach(edge);
    test_world_fini(w);
    xfree(w);
}

TEST_LIST(TEST(qed_headers), TEST(qed_backing_name_outside), TEST(qcow_headers),
          TEST(parallels_headers), TEST(qed_entries), TEST(parallels_duplicate));
