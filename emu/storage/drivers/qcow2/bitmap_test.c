/*
 * Persistent bitmaps: what is stored is what is loaded; what a crash left is inconsistent; nothing leaks; what hostile
 * directories say is refused. Oracle: the format's specification, the reference's texts, the peer's check.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/hbitmap.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/drivers/qcow2/format.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum { SIZE = 4 << 20, CLUSTER = 4096 };

struct waiting {
    bool done;
    struct err *err;
};

static void done(void *arg, struct err *err)
{
    struct waiting *waiting = arg;

    waiting->done = true;
    waiting->err = err;
}

static void must(struct err *err)
{
    if (err)
        TEST_FAIL("%s", err_text(err));
    REQUIRE(!err);
}

static void expect_err(struct err *err, const char *text)
{
    EXPECT(err && strcmp(err_text(err), text) == 0);
    if (err && strcmp(err_text(err), text) != 0)
        TEST_FAIL("got: %s", err_text(err));
    err_free(err);
}

static void create(struct test_world *w)
{
    test_world_init(w, 3);
    must(test_create(w, "top", "'size':4194304,'cluster-size':4096"));
}

static struct node *open_image(struct test_world *w, const char *options)
{
    struct node *node;

    must(test_open(w, "top", "top", options, NODE_OPEN_MONITOR, &node));
    return node;
}

static struct bitmap *add(struct node *node, const char *name, uint32_t granularity, bool disabled)
{
    struct bitmap *bitmap;

    must(bitmap_check_persistent(node, name, granularity));
    must(bitmap_add(node, name, granularity, true, disabled, &bitmap));
    return bitmap;
}

static void expect_clean(struct test_world *w, struct node *node)
{
    struct check_result result;

    must(test_check(w, node, 0, &result));
    EXPECT_MSG(!result.corruptions && !result.check_errors && !result.leaks, "%s", result.report);
    xfree(result.report);
}

static void write_at(struct test_world *w, struct edge *edge, uint64_t offset)
{
    uint8_t buf[512] = { 1 };

    EXPECT_EQ(test_io(w, edge, REQ_WRITE, 0, offset, sizeof(buf), buf), 0);
}

/* ---- */

static void stored_is_loaded(void)
{
    struct test_world *w = NEW(struct test_world);
    struct hbitmap *fine, *coarse;
    struct node *node;
    struct edge *edge;

    create(w);
    node = open_image(w, NULL);
    edge = test_edge(w, node);
    add(node, "fine", 512, false);
    add(node, "coarse", 65536, false);
    add(node, "off", 0, true);
    for (uint64_t at = 0; at < SIZE; at += at / 3 / 512 * 512 + 1024)
        write_at(w, edge, at);
    fine = hbitmap_copy(bitmap_find(node, "fine")->map);
    coarse = hbitmap_copy(bitmap_find(node, "coarse")->map);
    test_close(w, edge, node);
    node = open_image(w, NULL);
    expect_clean(w, node);
    REQUIRE(bitmap_find(node, "fine") && bitmap_find(node, "coarse") && bitmap_find(node, "off"));
    EXPECT(hbitmap_equal(bitmap_find(node, "fine")->map, fine));
    EXPECT(hbitmap_equal(bitmap_find(node, "coarse")->map, coarse));
    EXPECT(bitmap_find(node, "fine")->enabled && bitmap_find(node, "fine")->persistent);
    EXPECT(!bitmap_find(node, "off")->enabled && !hbitmap_any(bitmap_find(node, "off")->map));
    EXPECT(!bitmap_find(node, "fine")->inconsistent);
    hbitmap_free(fine);
    hbitmap_free(coarse);
    test_close(w, NULL, node);
    test_world_fini(w);
    xfree(w);
}

static void removed_leaves_nothing(void)
{
    struct test_world *w = NEW(struct test_world);
    struct waiting waiting = { 0 };
    struct node *node;
    struct edge *edge;

    create(w);
    node = open_image(w, NULL);
    edge = test_edge(w, node);
    add(node, "a", 512, false);
    add(node, "b", 512, false);
    write_at(w, edge, 8192);
    test_close(w, edge, node);
    node = open_image(w, NULL);
    bitmap_remove(bitmap_find(node, "a"), done, &waiting);
    check(test_wait(w, &waiting.done));
    must(waiting.err);
    EXPECT(!bitmap_find(node, "a"));
    waiting.done = false;
    bitmap_remove(bitmap_find(node, "b"), done, &waiting);
    check(test_wait(w, &waiting.done));
    must(waiting.err);
    test_close(w, NULL, node);
    EXPECT_EQ(load_be64(test_disk(w, "top")->data + QCOW2_HDR_AUTOCLEAR), 0);
    node = open_image(w, NULL);
    expect_clean(w, node);
    EXPECT(list_empty(&node->bitmaps));
    test_close(w, NULL, node);
    test_world_fini(w);
    xfree(w);
}

static void resized_with_the_disk(void)
{
    struct test_world *w = NEW(struct test_world);
    struct node *node;
    struct edge *edge;

    create(w);
    node = open_image(w, NULL);
    edge = test_edge(w, node);
    add(node, "b", 512, false);
    write_at(w, edge, 512);
    must(test_resize(w, edge, SIZE * 16, PREALLOC_OFF));
    write_at(w, edge, SIZE * 15);
    test_close(w, edge, node);
    node = open_image(w, NULL);
    expect_clean(w, node);
    EXPECT_EQ(hbitmap_size(bitmap_find(node, "b")->map), SIZE * 16);
    EXPECT_EQ(hbitmap_count(bitmap_find(node, "b")->map), 1024);
    EXPECT(hbitmap_get(bitmap_find(node, "b")->map, SIZE * 15));
    test_close(w, NULL, node);
    test_world_fini(w);
    xfree(w);
}

/* After a crash they are in use in the file: too old, and only good for removal. */
static void crashed_is_inconsistent(void)
{
    struct test_world *w = NEW(struct test_world), *after = NEW(struct test_world);
    struct waiting waiting = { 0 };
    struct node *node;
    struct edge *edge;

    create(w);
    node = open_image(w, NULL);
    add(node, "b", 512, false);
    test_close(w, NULL, node);
    node = open_image(w, NULL);
    edge = test_edge(w, node);
    write_at(w, edge, 0);
    test_world_init(after, 5);
    test_disk_crash(test_disk(w, "top"), 5, test_disk(after, "top"));
    must(test_open(after, "top", "top", NULL, NODE_OPEN_MONITOR, &node));
    REQUIRE(bitmap_find(node, "b"));
    expect_err(bitmap_check(bitmap_find(node, "b"), BITMAP_USE_CHANGE),
               "Bitmap 'b' is inconsistent and cannot be used");
    bitmap_remove(bitmap_find(node, "b"), done, &waiting);
    check(test_wait(after, &waiting.done));
    must(waiting.err);
    expect_clean(after, node);
    test_close(after, NULL, node);
    test_world_fini(after);
    xfree(after);
    edge_detach(edge);
    node_unref(graph_find(w->graph, "top"));
    test_world_fini(w);
    xfree(w);
}

static void read_only_keeps_all(void)
{
    struct test_world *w = NEW(struct test_world);
    struct node *node;

    create(w);
    node = open_image(w, NULL);
    add(node, "b", 512, false);
    test_close(w, NULL, node);
    node = open_image(w, "'read-only':true");
    REQUIRE(bitmap_find(node, "b"));
    EXPECT(!bitmap_find(node, "b")->inconsistent);
    expect_err(bitmap_check(bitmap_find(node, "b"), BITMAP_USE_CHANGE),
               "Bitmap 'b' is readonly and cannot be modified");
    expect_err(bitmap_check(bitmap_find(node, "b"), BITMAP_USE_REMOVE),
               "Bitmap 'b' is readonly and cannot be modified");
    test_close(w, NULL, node);
    node = open_image(w, NULL);
    EXPECT(!bitmap_check(bitmap_find(node, "b"), BITMAP_USE_CHANGE));
    test_close(w, NULL, node);
    test_world_fini(w);
    xfree(w);
}

/* A program that knows nothing of bitmaps clears the bit: nothing of the extension may be trusted then. */
static void without_the_bit_all_is_dropped(void)
{
    struct test_world *w = NEW(struct test_world);
    struct node *node;

    create(w);
    node = open_image(w, NULL);
    add(node, "b", 512, false);
    test_close(w, NULL, node);
    memset(test_disk(w, "top")->data + QCOW2_HDR_AUTOCLEAR, 0, 8);
    node = open_image(w, NULL);
    EXPECT(list_empty(&node->bitmaps));
    test_close(w, NULL, node);
    node = open_image(w, NULL);
    EXPECT(list_empty(&node->bitmaps));
    test_close(w, NULL, node);
    test_world_fini(w);
    xfree(w);
}

static void refuses_what_does_not_fit(void)
{
    struct test_world *w = NEW(struct test_world);
    char name[1026] = { 0 };
    struct node *node;

    create(w);
    node = open_image(w, NULL);
    memset(name, 'x', 1024);
    expect_err(
        bitmap_check_persistent(node, "b", 256),
        "Can't make bitmap 'b' persistent in 'top': Granularity is under minimum (512 bytes)");
    err_free(bitmap_check_persistent(node, name, 512));
    EXPECT(!bitmap_check_persistent(node, "b", UINT32_C(1) << 31));
    test_close(w, NULL, node);
    must(test_create(w, "old", "'size':4194304,'version':'v2'"));
    must(test_open(w, "old", "old", NULL, NODE_OPEN_MONITOR, &node));
    expect_err(
        bitmap_check_persistent(node, "b", 512),
        "Can't make bitmap 'b' persistent in 'old': Cannot store dirty bitmaps in qcow2 v2 files");
    test_close(w, NULL, node);
    test_world_fini(w);
    xfree(w);
}

/* Where the file has the directory. */
static uint8_t *directory(struct test_disk *disk)
{
    for (uint64_t at = 112; at < CLUSTER - 32; at += 8) {
        if (load_be32(disk->data + at) == QCOW2_EXT_BITMAPS)
            return disk->data + load_be64(disk->data + at + 24);
    }
    unreachable();
}

static void refuses_hostile_directories(void)
{
    static const struct {
        uint8_t at, len;
        uint64_t value;
        const char *text;
    } rows[] = {
        { 0, 8, 0, "Bitmap 'b' doesn't satisfy the constraints" },
        { 0, 8, 0x1001, "Bitmap 'b' doesn't satisfy the constraints" },
        { 0, 8, UINT64_C(1) << 50, "Bitmap 'b' doesn't satisfy the constraints" },
        { 8, 4, 0, "Bitmap 'b' doesn't satisfy the constraints" },
        { 8, 4, UINT32_MAX, "Bitmap 'b' doesn't satisfy the constraints" },
        { 12, 4, 8, "Bitmap 'b' doesn't satisfy the constraints" },
        { 16, 1, 2, "Bitmap 'b' doesn't satisfy the constraints" },
        { 17, 1, 8, "Bitmap 'b' doesn't satisfy the constraints" },
        { 17, 1, 63, "Bitmap 'b' doesn't satisfy the constraints" },
        { 18, 2, 60000, "Broken bitmap directory" },
        { 20, 4, UINT32_MAX, "Broken bitmap directory" },
        { 20, 4, 1, "Bitmap extra data is not supported" },
    };
    struct test_world *w = NEW(struct test_world);
    uint8_t entry[32];
    struct node *node;

    create(w);
    node = open_image(w, NULL);
    add(node, "b", 512, false);
    test_close(w, NULL, node);
    memcpy(entry, directory(test_disk(w, "top")), sizeof(entry));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t *p = directory(test_disk(w, "top")) + rows[i].at;
        uint8_t value[8];

        test_note("row %zu", i);
        store_be64(value, rows[i].value);
        memcpy(p, value + 8 - rows[i].len, rows[i].len);
        expect_err(test_open(w, "top", "top", NULL, NODE_OPEN_MONITOR, &node), rows[i].text);
        memcpy(directory(test_disk(w, "top")), entry, sizeof(entry));
    }
    must(test_open(w, "top", "top", NULL, NODE_OPEN_MONITOR, &node));
    test_close(w, NULL, node);
    test_world_fini(w);
    xfree(w);
}

static void peer_agrees(void)
{
    struct test_world *w = NEW(struct test_world);
    CLEANUP(xfree) char *path = xasprintf("%s/bitmaps.qcow2", test_tmpdir());
    CLEANUP(xfree)
    char *command = xasprintf("qemu-img check -q %s && qemu-img bitmap --add --merge a %s c && "
                              "qemu-img check -q %s",
                              path, path, path);
    struct node *node;
    struct edge *edge;

    if (!test_tool_path("qemu-img")) {
        xfree(w);
        return;
    }
    create(w);
    node = open_image(w, NULL);
    edge = test_edge(w, node);
    add(node, "a", 4096, false);
    for (uint64_t at = 0; at < SIZE; at += 40960)
        write_at(w, edge, at);
    test_close(w, edge, node);
    test_disk_export(test_disk(w, "top"), path);
    EXPECT_EQ(system(command), 0);
    REQUIRE(test_disk_import(test_disk(w, "top"), path));
    node = open_image(w, NULL);
    REQUIRE(bitmap_find(node, "a") && bitmap_find(node, "c"));
    EXPECT(hbitmap_equal(bitmap_find(node, "a")->map, bitmap_find(node, "c")->map) ||
           hbitmap_granularity(bitmap_find(node, "c")->map) != 4096);
    EXPECT(hbitmap_count(bitmap_find(node, "a")->map) == div_round_up(SIZE, 40960) * 4096);
    test_close(w, NULL, node);
    test_world_fini(w);
    remove(path);
    xfree(w);
}

TEST_LIST(TEST(stored_is_loaded), TEST(removed_leaves_nothing), TEST(resized_with_the_disk),
          TEST(crashed_is_inconsistent), TEST(read_only_keeps_all),
          TEST(without_the_bit_all_is_dropped), TEST(refuses_what_does_not_fit),
          TEST(refuses_hostile_directories), TEST(peer_agrees));
