/* Filters above qcow2. Oracle: what each filter's file says it does, seen by the status of the image below. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/attrs.h"
#include "emu/base/json_parse.h"
#include "emu/storage/driver.h"
#include "emu/storage/testing.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

enum { CLUSTER = 65536, DISK_SIZE = 8 * CLUSTER };

static const struct driver *const drivers[] = {
    &driver_file, &driver_null_co, &driver_qcow2, &driver_compress, &driver_copy_on_read, NULL,
};

struct outcome {
    bool done;
    struct err *err;
};

static void created(void *arg, struct err *err)
{
    struct outcome *out = arg;

    out->done = true;
    out->err = err;
}

static void create(struct storage_world *w, const struct driver *driver, const char *text)
{
    CLEANUP(json_free) struct json *options = NULL;
    struct outcome out = { 0 };

    EXPECT_OK(json_parse_text(text, &options));
    driver->create(w->graph, options, created, &out);
    REQUIRE(storage_run_until(w, &out.done));
    EXPECT_OK(out.err);
}

/* A qcow2 image of that name, above another or NULL. */
static struct node *image(struct storage_world *w, const char *name, const char *backing)
{
    char text[400], more[64] = "";

    snprintf(text, sizeof(text), "{'driver': 'file', 'filename': '%s', 'size': 0}", name);
    create(w, &driver_file, text);
    snprintf(text, sizeof(text), "{'driver': 'file', 'filename': '%s', 'node-name': 'file-%s'}",
             name, name);
    storage_must_open(w, text);
    snprintf(text, sizeof(text), "{'driver': 'qcow2', 'file': 'file-%s', 'size': %d}", name,
             DISK_SIZE);
    create(w, &driver_qcow2, text);
    if (backing)
        snprintf(more, sizeof(more), ", 'backing': '%s'", backing);
    snprintf(text, sizeof(text), "{'driver': 'qcow2', 'file': 'file-%s', 'node-name': '%s'%s}",
             name, name, more);
    return storage_must_open(w, text);
}

static uint32_t flags_at(struct storage_world *w, struct node *node, uint64_t offset)
{
    struct edge *edge = storage_edge(w, node, PERM_CONSISTENT_READ, PERM_ALL);
    struct req_status status;

    EXPECT_EQ(storage_status(w, edge, REQ_STATUS_ONE, offset, CLUSTER, &status), 0);
    edge_detach(edge);
    return status.flags;
}

static void fill(struct storage_world *w, struct node *node, uint64_t offset, uint8_t byte)
{
    static uint8_t buf[CLUSTER];
    struct edge *edge = storage_edge(w, node, PERM_WRITE, PERM_ALL);

    memset(buf, byte, sizeof(buf));
    EXPECT_EQ(storage_io(w, edge, REQ_WRITE, 0, offset, sizeof(buf), buf), 0);
    edge_detach(edge);
}

static void writes_are_compressed(void)
{
    struct storage_world w;
    struct node *disk;

    storage_world_init(&w, 1, drivers);
    disk = image(&w, "disk", NULL);
    fill(&w, storage_must_open(&w, "{'driver': 'compress', 'node-name': 'c', 'file': 'disk'}"),
         CLUSTER, 7);
    EXPECT(flags_at(&w, disk, CLUSTER) & STATUS_COMPRESSED);
    storage_world_fini(&w);
}

static void compression_needs_a_format_that_can(void)
{
    struct storage_world w;
    struct node *node;

    storage_world_init(&w, 1, drivers);
    EXPECT_ERR(storage_open(&w,
                            "{'driver': 'compress', 'node-name': 'c', "
                            "'file': {'driver': 'null-co'}}",
                            &node),
               "Compression is not supported for underlying format: null-co");
    storage_world_fini(&w);
}

static void what_is_read_is_stored(void)
{
    struct storage_world w;
    struct node *base, *top;
    struct edge *edge;
    uint8_t buf[512];

    storage_world_init(&w, 1, drivers);
    base = image(&w, "base", NULL);
    fill(&w, base, CLUSTER, 7);
    fill(&w, base, 3 * CLUSTER, 8);
    top = image(&w, "top", "base");
    edge = storage_edge(&w,
                        storage_must_open(&w, "{'driver': 'copy-on-read', 'node-name': 'c', "
                                              "'file': 'top'}"),
                        PERM_CONSISTENT_READ, PERM_ALL);
    EXPECT_EQ(storage_io(&w, edge, REQ_READ, 0, CLUSTER + 512, sizeof(buf), buf), 0);
    EXPECT_EQ(buf[0], 7);
    EXPECT(flags_at(&w, top, CLUSTER) & STATUS_DATA);
    EXPECT(!(flags_at(&w, top, 3 * CLUSTER) & STATUS_DATA));
    edge_detach(edge);
    storage_world_fini(&w);
}

/* Data of the base, below the bottom, is read but not copied. */
static void data_below_the_bottom_stays(void)
{
    static uint8_t buf[DISK_SIZE];
    struct storage_world w;
    struct node *base, *mid, *top, *node;
    struct edge *edge;

    storage_world_init(&w, 1, drivers);
    base = image(&w, "base", NULL);
    fill(&w, base, CLUSTER, 7);
    mid = image(&w, "mid", "base");
    fill(&w, mid, 2 * CLUSTER, 8);
    top = image(&w, "top", "mid");
    EXPECT_ERR(storage_open(&w,
                            "{'driver': 'copy-on-read', 'node-name': 'c', 'file': 'top', "
                            "'bottom': 'x'}",
                            &node),
               "Bottom node 'x' not found");
    edge = storage_edge(&w,
                        storage_must_open(&w, "{'driver': 'copy-on-read', 'node-name': 'c', "
                                              "'file': 'top', 'bottom': 'mid'}"),
                        PERM_CONSISTENT_READ, PERM_ALL);
    EXPECT_EQ(storage_io(&w, edge, REQ_READ, 0, 0, sizeof(buf), buf), 0);
    EXPECT_EQ(buf[CLUSTER], 7);
    EXPECT_EQ(buf[2 * CLUSTER], 8);
    EXPECT(!(flags_at(&w, top, CLUSTER) & STATUS_DATA));
    EXPECT(flags_at(&w, top, 2 * CLUSTER) & STATUS_DATA);
    edge_detach(edge);
    storage_world_fini(&w);
}

TEST_LIST(TEST(writes_are_compressed), TEST(compression_needs_a_format_that_can),
          TEST(what_is_read_is_stored), TEST(data_below_the_bottom_stays));
