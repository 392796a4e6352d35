/*
 * Changing options of images: after each change the content, the snapshots and the header are as asked, and every
 * crash in between leaves an image with the same content whose check finds nothing. Oracle: the content written
 * before, the format specification (what version 2 cannot say), and the reference's check where it is installed.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum { SIZE = 256 << 10, CLUSTER = 4096 };

struct fixture {
    struct test_world w;
    struct node *base, *node;
    struct edge *base_edge, *edge;
    uint8_t *content, *kept; /* Now, and of the snapshot. */
};

static void must(struct err *err)
{
    if (err)
        TEST_FAIL("%s", err_text(err));
    REQUIRE(!err);
}

static void refused(struct err *err, const char *text)
{
    REQUIRE(err != NULL);
    EXPECT_STR(err_text(err), text);
    err_free(err);
}

struct acting {
    bool done;
    struct err *err;
};

static void acted(void *arg, struct err *err)
{
    struct acting *a = arg;

    a->done = true;
    a->err = err;
}

static void put(struct fixture *f, enum req_kind kind, uint64_t offset, uint64_t len, uint8_t byte)
{
    memset(f->content + offset, kind == REQ_WRITE ? byte : 0, len);
    EXPECT_EQ(test_io(&f->w, f->edge, kind, kind == REQ_ZERO ? REQ_MAY_UNMAP : 0, offset, len,
                      kind == REQ_WRITE ? f->content + offset : NULL),
              0);
}

/* Data, zero clusters with and without a place, over a backing file or not; the same once more in a snapshot. */
static void begin(struct fixture *f, uint64_t seed, bool backing, bool snapshot,
                  const char *options)
{
    CLEANUP(xfree)
    char *create = xasprintf("'size':%d,'cluster-size':%d%s", SIZE, CLUSTER, options);
    struct snapshot_info info = { .name = "s", .icount = UINT64_MAX };
    struct acting a = { 0 };

    test_world_init(&f->w, seed);
    f->content = xcalloc(1, SIZE);
    f->kept = xcalloc(1, SIZE);
    must(test_create(&f->w, "base", "'size':262144"));
    must(test_open(&f->w, "base", "base", "'backing':null", NODE_OPEN_MONITOR, &f->base));
    f->base_edge = test_edge(&f->w, f->base);
    if (backing) {
        memset(f->content, 0xbb, SIZE);
        EXPECT_EQ(test_io(&f->w, f->base_edge, REQ_WRITE, 0, 0, SIZE, f->content), 0);
    }
    EXPECT_EQ(test_io(&f->w, f->base_edge, REQ_FLUSH, 0, 0, 0, NULL), 0);
    edge_detach(f->base_edge);
    must(test_create(&f->w, "top", create));
    must(test_open(&f->w, "top", "top", backing ? "'backing':'base'" : "'backing':null",
                   NODE_OPEN_MONITOR, &f->node));
    f->edge = test_edge(&f->w, f->node);
    put(f, REQ_WRITE, 0, 8 * CLUSTER, 0x11);
    put(f, REQ_WRITE, 20 * CLUSTER, 3 * CLUSTER + 512, 0x22);
    if (!strstr(options, "v2")) {
        put(f, REQ_ZERO, 2 * CLUSTER, 2 * CLUSTER, 0);
        put(f, REQ_ZERO, 30 * CLUSTER, 4 * CLUSTER, 0);
    }
    memcpy(f->kept, f->content, SIZE);
    if (!snapshot)
        return;
    node_snapshot_create(f->node, &info, acted, &a);
    REQUIRE(test_wait(&f->w, &a.done));
    must(a.err);
    put(f, REQ_WRITE, 21 * CLUSTER, CLUSTER, 0x33);
}

static void check_clean(struct test_world *w, struct node *node)
{
    struct check_result result;

    must(test_check(w, node, 0, &result));
    EXPECT_MSG(!result.corruptions && !result.check_errors && !result.leaks, "check: %s",
               result.report);
    xfree(result.report);
}

static void same(struct test_world *w, struct node *node, const uint8_t *content)
{
    struct edge *edge = test_edge(w, node);
    uint8_t *buf = xmalloc(SIZE);

    EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 0, SIZE, buf), 0);
    EXPECT_MSG(memcmp(buf, content, SIZE) == 0, "the content differs");
    edge_detach(edge);
    xfree(buf);
}

/* What a crash now would leave, with the backing file beside it. */
static void crash(struct fixture *f, uint64_t seed)
{
    struct test_world *w = NEW(struct test_world);
    struct node *base, *node;

    test_world_init(w, seed);
    test_disk_crash(test_disk(&f->w, "base"), seed, test_disk(w, "base"));
    test_disk_crash(test_disk(&f->w, "top"), seed, test_disk(w, "top"));
    must(test_open(w, "base", "base", "'backing':null,'read-only':true", NODE_OPEN_MONITOR, &base));
    must(test_open(w, "top", "top", "'backing':'base'", NODE_OPEN_MONITOR, &node));
    check_clean(w, node);
    same(w, node, f->content);
    test_close(w, NULL, node);
    test_close(w, NULL, base);
    test_world_fini(w);
    xfree(w);
}

static void peer_check(struct fixture *f)
{
    CLEANUP(xfree) char *path = xasprintf("%s/amend.qcow2", test_tmpdir());
    CLEANUP(xfree) char *command = xasprintf("qemu-img check -q %s", path);

    if (!test_tool_path("qemu-img"))
        return;
    test_disk_export(test_disk(&f->w, "top"), path);
    EXPECT_EQ(system(command), 0);
    remove(path);
}

static void end(struct fixture *f, bool snapshot)
{
    const struct snapshot_info *all;

    check_clean(&f->w, f->node);
    same(&f->w, f->node, f->content);
    if (snapshot && node_snapshots(f->node, &all) && f->node->size == SIZE) {
        struct acting a = { 0 };

        node_snapshot_apply(f->node, "1", acted, &a);
        REQUIRE(test_wait(&f->w, &a.done));
        must(a.err);
        same(&f->w, f->node, f->kept);
    }
    test_close(&f->w, f->edge, f->node);
    peer_check(f);
    test_close(&f->w, NULL, f->base);
    test_world_fini(&f->w);
    xfree(f->content);
    xfree(f->kept);
    xfree(f);
}

static void expect_fact(struct fixture *f, const char *key, const char *text)
{
    struct image_facts facts = { 0 };
    struct acting a = { 0 };
    const struct json *data;

    f->node->driver->facts(f->node, &facts, acted, &a);
    REQUIRE(test_wait(&f->w, &a.done));
    data = json_object_get(facts.format_specific, "data");
    REQUIRE(json_object_has(data, key));
    if (json_type_of(json_object_get(data, key)) == JSON_STRING) {
        EXPECT_STR(json_object_get_str(data, key), text);
    } else if (json_type_of(json_object_get(data, key)) == JSON_BOOL) {
        EXPECT_STR(json_get_bool(json_object_get(data, key)) ? "true" : "false", text);
    } else {
        int64_t value = 0, expected = 0;

        EXPECT(json_as_int64(json_object_get(data, key), &value));
        EXPECT(parse_i64(text, &expected));
        EXPECT_EQ(value, expected);
    }
    image_facts_fini(&facts);
}

/* Amends with a crash at every step. */
static void amend(struct fixture *f, const char *options)
{
    struct json *json = test_json(options);
    struct acting a = { 0 };
    uint64_t seed = 1;

    check_clean(&f->w, f->node); /* Everything is on the disk now. */
    f->node->driver->amend(f->node, json, 0, NULL, acted, &a);
    while (!a.done && !test_has_failed()) {
        REQUIRE(sim_step(f->w.sim));
        crash(f, ++seed);
    }
    must(a.err);
    json_free(json);
}

static void refcount_widths(void)
{
    struct fixture *f = NEW(struct fixture);

    begin(f, 1, true, true, ",'refcount-bits':16");
    amend(f, "{'refcount_bits':64}");
    expect_fact(f, "refcount-bits", "64");
    amend(f, "{'refcount_bits':2}");
    expect_fact(f, "refcount-bits", "2");
    refused(test_amend(&f->w, f->node, "{'refcount_bits':1}"),
            "Cannot decrease refcount entry width to 1 bits: Cluster at offset 0x5000 has a "
            "refcount of 2");
    amend(f, "{'refcount_bits':'8'}");
    end(f, true);
}

static void downgrade_and_upgrade(void)
{
    for (int i = 0; i < 4; i++) {
        struct fixture *f = NEW(struct fixture);

        begin(f, 2, i & 1, i & 2, "");
        amend(f, "{'compat':'0.10'}");
        expect_fact(f, "compat", "0.10");
        amend(f, "{'compat':'1.1','lazy_refcounts':'on'}");
        expect_fact(f, "compat", "1.1");
        expect_fact(f, "lazy-refcounts", "true");
        amend(f, "{'lazy-refcounts':false}");
        expect_fact(f, "lazy-refcounts", "false");
        end(f, i & 2);
    }
}

static void what_is_refused(void)
{
    struct fixture *f = NEW(struct fixture);

    begin(f, 3, false, true, "");
    refused(test_amend(&f->w, f->node, "{'compat':'0.42'}"), "Unknown compatibility level 0.42");
    refused(test_amend(&f->w, f->node, "{'refcount_bits':3}"),
            "Refcount width must be a power of two and may not exceed 64 bits");
    refused(test_amend(&f->w, f->node, "{'refcount_bits':8,'compat':'0.10'}"),
            "Refcount widths other than 16 bits require compatibility level 1.1 or above (use "
            "compat=1.1 or greater)");
    refused(test_amend(&f->w, f->node, "{'lazy_refcounts':true,'compat':'v2'}"),
            "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 "
            "or greater)");
    refused(test_amend(&f->w, f->node, "{'backing_file':'x'}"), "Cannot amend the backing file");
    refused(test_amend(&f->w, f->node, "{'data_file':'x'}"),
            "data-file can only be set for images that use an external data file");
    refused(test_amend(&f->w, f->node, "{'data_file_raw':true}"),
            "data-file-raw cannot be set on existing images");
    refused(test_amend(&f->w, f->node, "{'size':100}"), "The new size must be a multiple of 512");
    must(test_amend(&f->w, f->node, "{'size':'512k'}"));
    EXPECT_EQ(f->node->size, 512 << 10);
    refused(test_amend(&f->w, f->node, "{'compat':'0.10'}"),
            "Internal snapshots prevent downgrade of image");
    must(test_amend(&f->w, f->node, "{'refcount_bits':8,'size':262144}"));
    refused(test_amend(&f->w, f->node, "{'compat':'0.10'}"),
            "compat=0.10 requires refcount_bits=16");
    end(f, true);
}

TEST_LIST(TEST(refcount_widths), TEST(downgrade_and_upgrade), TEST(what_is_refused));
