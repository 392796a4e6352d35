/*
 * Images that lie, and disks that fail. Nothing may crash, hang or damage what was right: errors come back,
 * and the corrupt bit is set where the format asks for it.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/base/log.h"
#include "emu/storage/drivers/qcow2/format.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum { SIZE = 1 << 20, REFTABLE = 0x10000, REFBLOCK = 0x20000, L1 = 0x30000 };

struct edit {
    uint32_t offset;
    unsigned bytes;
    uint64_t value;
};

static void quiet(void *arg, enum log_level level, const char *line) { *(int *)arg += 1; }

static int logged;

static void begin(struct test_world *w, const char *options)
{
    struct err *err;

    logged = 0;
    log_set_sink(quiet, &logged);
    test_world_init(w, 1);
    err = test_create(w, "top", options);
    REQUIRE(!err);
}

static void edit(struct test_world *w, struct edit e)
{
    struct test_disk *disk = test_disk(w, "top");
    uint8_t *p = disk->data + e.offset;

    switch (e.bytes) {
    case 1: *p = (uint8_t)e.value; break;
    case 4: store_be32(p, (uint32_t)e.value); break;
    default: store_be64(p, e.value); break;
    }
}

/* The texts are those of the reference. */
static void refuses_bad_headers(void)
{
    static const struct {
        struct edit edits[2];
        const char *text;
    } rows[] = {
        { { { 0, 4, 0 } }, "Image is not in qcow2 format" },
        { { { 4, 4, 4 } }, "Unsupported qcow2 version 4" },
        { { { 20, 4, 8 } }, "Unsupported cluster size: 2^8" },
        { { { 20, 4, 22 } }, "Unsupported cluster size: 2^22" },
        { { { 100, 4, 100 } }, "qcow2 header too short" },
        { { { 100, 4, 70000 } }, "qcow2 header exceeds cluster size" },
        { { { 96, 4, 7 } }, "Reference count entry width too large; may not exceed 64 bits" },
        { { { 72, 8, 1 << 5 } }, "Unsupported qcow2 feature(s): Unknown incompatible feature: 20" },
        { { { 72, 8, 1 << 5 | 1 << 9 } },
          "Unsupported qcow2 feature(s): Unknown incompatible feature: 220" },
        { { { 104, 1, 1 } }, "qcow2: Compression type incompatible feature bit must be set" },
        { { { 72, 8, 8 } }, "qcow2: Compression type incompatible feature bit must not be set" },
        { { { 72, 8, 8 }, { 104, 1, 2 } }, "qcow2: unknown compression type: 2" },
        { { { 32, 4, 3 } }, "Unsupported encryption method 3" },
        { { { 36, 4, 0 } }, "L1 table is too small" },
        { { { 36, 4, 0x2000000 } }, "Active L1 table too large" },
        { { { 40, 8, 0x30001 } }, "Active L1 table offset invalid" },
        { { { 48, 8, 0x10001 } }, "Reference count table offset invalid" },
        { { { 56, 4, 1000 } }, "Reference count table too large" },
        { { { 56, 4, 0 } }, "Image does not contain a reference count table" },
        { { { 60, 4, 70000 } }, "Snapshot table too large" },
        { { { 60, 4, 1 }, { 64, 8, 3 } }, "Snapshot table offset invalid" },
        { { { 8, 8, 0x20000 }, { 16, 4, 5 } }, "Invalid backing file offset" },
        { { { 8, 8, 0x2000 }, { 16, 4, 2000 } }, "Backing file name too long" },
        { { { 24, 8, UINT64_C(1) << 62 } }, "Image is too big" },
        { { { 0x74, 4, 0x20000 } }, "Header extension too large" },
        { { { 72, 8, 2 } }, "qcow2: Image is corrupt; cannot be opened read/write" },
        { { { 72, 8, 4 } }, "'data-file' is required for this image" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_world *w = NEW(struct test_world);
        struct node *node = NULL;
        struct err *err;

        begin(w, "'size':1048576");
        for (int j = 0; j < 2; j++) {
            if (rows[i].edits[j].bytes)
                edit(w, rows[i].edits[j]);
        }
        err = test_open(w, "top", "top", NULL, NODE_OPEN_MONITOR, &node);
        EXPECT_MSG(err, "opened, must fail with: %s", rows[i].text);
        if (err)
            EXPECT_CONTAINS(err_text(err), rows[i].text);
        err_free(err);
        test_world_fini(w);
        xfree(w);
    }
}

static void work(struct test_world *w, struct edge *edge, bool *failed)
{
    uint8_t *buf = xcalloc(1, SIZE);

    for (uint64_t at = 0; at < SIZE; at += SIZE / 8)
        *failed |= test_io(w, edge, REQ_READ, 0, at, SIZE / 8, buf) != 0;
    for (uint64_t at = 0; at < SIZE; at += SIZE / 8) {
        memset(buf, 1 + (int)(at >> 17), 3000);
        *failed |= test_io(w, edge, REQ_WRITE, 0, at + 512, 2560, buf) != 0;
    }
    *failed |= test_io(w, edge, REQ_WRITE, REQ_COMPRESSED, 0, 65536, buf) != 0;
    *failed |= test_io(w, edge, REQ_ZERO, REQ_MAY_UNMAP, SIZE / 2, SIZE / 8, NULL) != 0;
    *failed |= test_io(w, edge, REQ_DISCARD, 0, SIZE / 4, SIZE / 8, NULL) != 0;
    *failed |= test_io(w, edge, REQ_FLUSH, 0, 0, 0, NULL) != 0;
    xfree(buf);
}

/* Each of these must be noticed by a write at the latest, and mark the image. */
static void marks_broken_metadata(void)
{
    static const struct edit rows[] = {
        { REFTABLE, 8, 0x20200 },                          /* Block not aligned. */
        { REFBLOCK, 8, 0 },                                /* Metadata counted as free. */
        { L1, 8, UINT64_C(0x8000000000050003) },           /* Reserved bits. */
        { L1, 8, UINT64_C(0x8000000000000000) | 0x10000 }, /* L2 table on the refcount table. */
        { L1, 8, UINT64_C(0x8000000000000000) | 0x30000 }, /* L2 table on the L1 table. */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_world *w = NEW(struct test_world);
        bool failed = false;
        struct node *node;
        struct edge *edge;
        struct err *err;

        test_note("row %zu", i);
        begin(w, "'size':1048576");
        edit(w, rows[i]);
        err = test_open(w, "top", "top", "'discard':'unmap'", NODE_OPEN_MONITOR, &node);
        REQUIRE(!err);
        edge = test_edge(w, node);
        work(w, edge, &failed);
        EXPECT(failed);
        EXPECT_EQ(test_io(w, edge, REQ_WRITE, 0, 0, 512, (uint8_t[512]){ 0 }), -ENOMEDIUM);
        test_close(w, edge, node);
        EXPECT_EQ(load_be64(test_disk(w, "top")->data + QCOW2_HDR_INCOMPATIBLE),
                  QCOW2_INCOMPAT_CORRUPT);
        test_world_fini(w);
        xfree(w);
    }
}

/* Every request to the disk fails once, in turn: errors come back, and what is then on disk is consistent. */
static void survives_any_failing_request(void)
{
    for (uint64_t nth = 1;; nth++) {
        struct test_world *w = NEW(struct test_world);
        struct check_result result = { 0 };
        struct node *node = NULL;
        struct edge *edge;
        struct test_disk *disk;
        bool failed = false, all_done;
        struct err *err;

        test_note("request %llu fails", (unsigned long long)nth);
        begin(w, "'size':1048576,'cluster-size':4096");
        disk = test_disk(w, "top");
        disk->ops = 0;
        disk->fail_nth = nth;
        disk->fail_error = nth % 2 ? EIO : ENOSPC;
        err = test_open(w, "top", "top", "'discard':'unmap'", NODE_OPEN_MONITOR, &node);
        if (!err) {
            edge = test_edge(w, node);
            work(w, edge, &failed);
            test_close(w, edge, node);
        }
        err_free(err);
        all_done = disk->ops < nth;
        disk->fail_nth = 0;
        err = test_open(w, "top", "top", NULL, NODE_OPEN_MONITOR, &node);
        REQUIRE(!err);
        err = test_check(w, node, 0, &result);
        REQUIRE(!err);
        EXPECT_MSG(!result.corruptions && !result.check_errors, "%s", result.report);
        xfree(result.report);
        node_unref(node);
        test_world_fini(w);
        xfree(w);
        if (all_done || test_has_failed())
            return;
    }
}

/* A full disk in the middle of writing: every request ends, and the image stays consistent. */
static void survives_a_full_disk(void)
{
    for (uint64_t limit = 300 << 10; limit < 340 << 10; limit += 1024) {
        struct test_world *w = NEW(struct test_world);
        struct check_result result = { 0 };
        struct node *node = NULL;
        struct edge *edge;
        bool failed = false;
        struct err *err;

        begin(w, "'size':1048576");
        test_disk(w, "top")->limit = limit;
        err = test_open(w, "top", "top", NULL, NODE_OPEN_MONITOR, &node);
        REQUIRE(!err);
        edge = test_edge(w, node);
        work(w, edge, &failed);
        EXPECT(failed);
        test_close(w, edge, node);
        test_disk(w, "top")->limit = 0;
        err = test_open(w, "top", "top", NULL, NODE_OPEN_MONITOR, &node);
        REQUIRE(!err);
        err = test_check(w, node, 0, &result);
        REQUIRE(!err);
        EXPECT_MSG(!result.corruptions && !result.check_errors, "limit %llu: %s",
                   (unsigned long long)limit, result.report);
        xfree(result.report);
        node_unref(node);
        test_world_fini(w);
        xfree(w);
    }
}

TEST_LIST(TEST(refuses_bad_headers), TEST(marks_broken_metadata),
          TEST(survives_any_failing_request), TEST(survives_a_full_disk));
