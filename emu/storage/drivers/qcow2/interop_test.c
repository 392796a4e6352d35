/*
 * The peer is qemu-img: images it made must read here as they do there, also after being written here; images
 * made here must be clean and equal for it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum { SIZE = 3 << 20 };

struct fixture {
    struct test_world w;
    uint8_t *content;
    struct node *node;
    struct edge *edge;
};

static void must(struct err *err)
{
    if (err)
        TEST_FAIL("%s", err_text(err));
    REQUIRE(!err);
}

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *fmt, ...)
{
    va_list args;
    CLEANUP(xfree) char *command = NULL;
    int status;

    va_start(args, fmt);
    command = xvasprintf(fmt, args);
    va_end(args);
    status = system(command);
    EXPECT_MSG(status == 0, "'%s' failed with %d", command, status);
}

/* Stretches of text, noise and holes. */
static void fill(uint8_t *buf, uint64_t seed)
{
    struct rng rng;

    rng_init(&rng, seed);
    for (uint64_t at = 0; at < SIZE;) {
        uint64_t n = rng_between(&rng, 1, 200) * 512;

        n = n > SIZE - at ? SIZE - at : n;
        switch (rng_below(&rng, 3)) {
        case 0: memset(buf + at, 0, n); break;
        case 1: memset(buf + at, (int)rng_below(&rng, 256), n); break;
        default: rng_fill(&rng, buf + at, n); break;
        }
        at += n;
    }
}

static void save(const char *name, const uint8_t *data)
{
    CLEANUP(xfree) char *path = xasprintf("%s/%s", test_tmpdir(), name);
    FILE *f = fopen(path, "wb");

    REQUIRE(f && fwrite(data, 1, SIZE, f) == SIZE);
    fclose(f);
}

static void setup(struct fixture *f, uint64_t seed)
{
    if (!test_tool_path("qemu-img"))
        TEST_SKIP("qemu-img is not installed");
    test_world_init(&f->w, seed);
    f->content = xmalloc(SIZE);
    fill(f->content, seed);
    save("raw", f->content);
}

static void teardown(struct fixture *f)
{
    test_world_fini(&f->w);
    xfree(f->content);
}

static void import(struct fixture *f, const char *disk, const char *name)
{
    CLEANUP(xfree) char *path = xasprintf("%s/%s", test_tmpdir(), name);

    REQUIRE(test_disk_import(test_disk(&f->w, disk), path));
}

static void expect_clean(struct fixture *f)
{
    struct check_result result;

    must(test_check(&f->w, f->node, 0, &result));
    EXPECT_MSG(!result.corruptions && !result.leaks && !result.check_errors, "%s", result.report);
    xfree(result.report);
}

static void expect_content(struct fixture *f)
{
    uint8_t *buf = xmalloc(SIZE);

    EXPECT_EQ(test_io(&f->w, f->edge, REQ_READ, 0, 0, SIZE, buf), 0);
    EXPECT_MEM(buf, f->content, SIZE);
    xfree(buf);
}

/* Random changes, also in the model. */
static void scribble(struct fixture *f, bool compress, uint32_t cluster)
{
    uint8_t *buf = xmalloc(SIZE);

    for (int i = 0; i < 60; i++) {
        uint64_t offset = rng_below(&f->w.rng, SIZE / 512) * 512,
                 len = rng_between(&f->w.rng, 1, 300) * 512;
        uint32_t flags = 0;

        if (compress && i % 3 == 0) {
            offset = offset / cluster * cluster;
            len = cluster;
            flags = REQ_COMPRESSED;
        }
        len = len > SIZE - offset ? SIZE - offset : len;
        memset(buf, i + 1, len);
        memcpy(f->content + offset, buf, len);
        EXPECT_EQ(test_io(&f->w, f->edge, REQ_WRITE, flags, offset, len, buf), 0);
    }
    xfree(buf);
}

static void open_top(struct fixture *f, const char *options)
{
    must(test_open(&f->w, "top", "top", options, NODE_OPEN_MONITOR, &f->node));
    f->edge = test_edge(&f->w, f->node);
}

static void close_top(struct fixture *f)
{
    test_close(&f->w, f->edge, f->node);
    f->edge = NULL;
}

static void peer_accepts(struct fixture *f, const char *extra)
{
    CLEANUP(xfree) char *path = xasprintf("%s/ours.qcow2", test_tmpdir());

    test_disk_export(test_disk(&f->w, "top"), path);
    save("raw", f->content);
    shell("cd %s && qemu-img check -q ours.qcow2", test_tmpdir());
    shell("cd %s && qemu-img compare -q -F raw %s ours.qcow2 raw", test_tmpdir(), extra);
}

/* One image made by the peer with these options: read, write, give back. */
static void round_trip(const char *options, const char *convert, uint32_t cluster, uint64_t seed)
{
    struct fixture f = { 0 };

    setup(&f, seed);
    test_note("options %s %s", options, convert);
    shell("cd %s && qemu-img convert -q %s -f raw -O qcow2 -o %s raw img", test_tmpdir(), convert,
          options);
    import(&f, "top", "img");
    open_top(&f, NULL);
    expect_content(&f);
    expect_clean(&f);
    scribble(&f, true, cluster);
    expect_content(&f);
    close_top(&f);
    peer_accepts(&f, "");
    open_top(&f, NULL);
    expect_content(&f);
    expect_clean(&f);
    close_top(&f);
    teardown(&f);
}

static void peer_images_of_all_cluster_sizes(void)
{
    for (unsigned bits = 9; bits <= 21 && !test_has_failed(); bits++) {
        CLEANUP(xfree) char *options = xasprintf("cluster_size=%u", 1U << bits);

        round_trip(options, "", 1U << bits, bits);
        round_trip(options, "-c", 1U << bits, bits);
    }
}

static void peer_images_of_all_refcount_widths(void)
{
    for (unsigned order = 0; order <= 6 && !test_has_failed(); order++) {
        CLEANUP(xfree) char *options = xasprintf("refcount_bits=%u,cluster_size=4096", 1U << order);

        round_trip(options, "", 4096, order);
        round_trip(options, "-c", 4096, order);
    }
}

static void peer_images_of_other_kinds(void)
{
    round_trip("compat=0.10", "", 65536, 1);
    round_trip("compat=0.10", "-c", 65536, 2);
    round_trip("compression_type=zstd", "-c", 65536, 3);
    round_trip("extended_l2=on", "", 65536, 4);
    round_trip("extended_l2=on,cluster_size=16384", "-c", 16384, 5);
    round_trip("preallocation=metadata", "", 65536, 6);
    round_trip("preallocation=falloc,extended_l2=on", "", 65536, 7);
    round_trip("lazy_refcounts=on", "", 65536, 8);
}

/* The active layer is written; the snapshot must still be what it was. */
static void writing_leaves_snapshots_alone(void)
{
    static const char *const options[] = { "cluster_size=4096", "cluster_size=65536,compat=0.10",
                                           "extended_l2=on" };

    for (size_t i = 0; i < ARRAY_LEN(options) && !test_has_failed(); i++) {
        struct fixture f = { 0 };

        setup(&f, 10 + i);
        shell("cd %s && qemu-img convert -q -f raw -O qcow2 -o %s raw img && cp raw before && "
              "qemu-img snapshot -c one img",
              test_tmpdir(), options[i]);
        import(&f, "top", "img");
        open_top(&f, "'discard':'unmap'");
        expect_content(&f);
        expect_clean(&f);
        scribble(&f, false, 4096);
        EXPECT_EQ(test_io(&f.w, f.edge, REQ_DISCARD, 0, SIZE / 2, SIZE / 4, NULL), 0);
        memset(f.content + SIZE / 2, 0, SIZE / 4);
        expect_content(&f);
        expect_clean(&f);
        close_top(&f);
        peer_accepts(&f, "");
        shell(
            "cd %s && qemu-img convert -q -l snapshot.name=one -O raw ours.qcow2 old && cmp -s old before",
            test_tmpdir());
        teardown(&f);
    }
}

static void reads_through_a_peers_backing_file(void)
{
    struct fixture f = { 0 };
    struct node *base;

    setup(&f, 20);
    shell(
        "cd %s && qemu-img convert -q -f raw -O qcow2 raw base && qemu-img create -q -f qcow2 -F qcow2 -b base -o "
        "cluster_size=8192 img",
        test_tmpdir());
    import(&f, "top", "img");
    import(&f, "base", "base");
    must(test_open(&f.w, "base", "base", "'read-only':true", NODE_OPEN_MONITOR, &base));
    open_top(&f, "'backing':'base'");
    expect_content(&f);
    scribble(&f, true, 8192);
    expect_content(&f);
    expect_clean(&f);
    close_top(&f);
    node_unref(base);
    peer_accepts(&f, "");
    teardown(&f);
}

static void created(const char *options, enum prealloc prealloc, uint64_t grow)
{
    CLEANUP(xfree) char *text = xasprintf("'size':%u%s", grow ? SIZE / 4 : SIZE, options);
    struct fixture f = { 0 };

    setup(&f, 30);
    test_note("create options %s", options);
    memset(f.content, 0, SIZE);
    must(test_create(&f.w, "top", text));
    open_top(&f, NULL);
    if (grow)
        must(test_resize(&f.w, f.edge, SIZE, prealloc));
    expect_content(&f);
    expect_clean(&f);
    scribble(&f, !strstr(options, "2097152"), 65536);
    expect_content(&f);
    close_top(&f);
    peer_accepts(&f, "");
    teardown(&f);
}

static void peer_accepts_what_is_created(void)
{
    static const char *const options[] = {
        "",
        ",'version':'v2'",
        ",'cluster-size':512",
        ",'cluster-size':2097152",
        ",'refcount-bits':1",
        ",'refcount-bits':64,'cluster-size':512",
        ",'extended-l2':true",
        ",'compression-type':'zstd','lazy-refcounts':true",
        ",'preallocation':'metadata'",
        ",'preallocation':'falloc','cluster-size':4096",
        ",'preallocation':'full','extended-l2':true",
    };

    for (size_t i = 0; i < ARRAY_LEN(options) && !test_has_failed(); i++)
        created(options[i], PREALLOC_OFF, 0);
}

static void peer_accepts_what_was_grown(void)
{
    created(",'cluster-size':512", PREALLOC_OFF, SIZE);
    created("", PREALLOC_METADATA, SIZE);
    created(",'cluster-size':512,'refcount-bits':64", PREALLOC_FULL, SIZE);
}

static void peer_accepts_what_was_shrunk(void)
{
    struct fixture f = { 0 };

    setup(&f, 40);
    must(test_create(&f.w, "top", "'size':3145728,'cluster-size':4096"));
    open_top(&f, "'discard':'unmap'");
    EXPECT_EQ(test_io(&f.w, f.edge, REQ_WRITE, 0, 0, SIZE, f.content), 0);
    must(test_resize(&f.w, f.edge, SIZE / 3 / 512 * 512, PREALLOC_OFF));
    must(test_resize(&f.w, f.edge, SIZE, PREALLOC_OFF));
    memset(f.content + SIZE / 3 / 512 * 512, 0, SIZE - SIZE / 3 / 512 * 512);
    expect_content(&f);
    expect_clean(&f);
    close_top(&f);
    peer_accepts(&f, "");
    teardown(&f);
}

/* The peer breaks nothing itself, so refcounts are broken by hand, mended here, and judged by the peer. */
static void repairs_refcounts(void)
{
    for (int kind = 0; kind < 3 && !test_has_failed(); kind++) {
        struct fixture f = { 0 };
        struct check_result result;
        struct test_disk *disk;

        setup(&f, 50);
        shell("cd %s && qemu-img convert -q -f raw -O qcow2 -o cluster_size=4096 raw img",
              test_tmpdir());
        import(&f, "top", "img");
        disk = test_disk(&f.w, "top");
        if (kind == 0)
            memset(disk->data + 0x2000, 0, 256); /* The counts of the first clusters. */
        else if (kind == 1)
            disk->data[0x2000 + 301] = 7; /* Too many references. */
        else
            memset(disk->data + 0x1000, 0, 8); /* The first entry of the table. */
        must(test_open(&f.w, "top", "top", NULL, NODE_OPEN_MONITOR | NODE_OPEN_CHECK, &f.node));
        f.edge = test_edge(&f.w, f.node);
        must(test_check(&f.w, f.node, CHECK_FIX_ERRORS | CHECK_FIX_LEAKS, &result));
        EXPECT(result.corruptions + result.leaks > 0);
        EXPECT_EQ(result.corruptions, result.corruptions_fixed);
        EXPECT_EQ(result.leaks, result.leaks_fixed);
        xfree(result.report);
        expect_clean(&f);
        expect_content(&f);
        scribble(&f, true, 4096);
        expect_clean(&f);
        close_top(&f);
        peer_accepts(&f, "");
        teardown(&f);
    }
}

TEST_LIST(TEST(peer_images_of_all_cluster_sizes), TEST(peer_images_of_all_refcount_widths),
          TEST(peer_images_of_other_kinds), TEST(writing_leaves_snapshots_alone),
          TEST(reads_through_a_peers_backing_file), TEST(peer_accepts_what_is_created),
          TEST(peer_accepts_what_was_grown), TEST(peer_accepts_what_was_shrunk),
          TEST(repairs_refcounts));
