/* The core's behaviour, one by one, over the drivers file, raw and null. */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json.h"
#include "emu/base/json_write.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/query.h"
#include "emu/storage/testing.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static const struct driver *const drivers[] = { &driver_file, &driver_raw, &driver_null_co,
                                                &driver_null_aio, NULL };

#define RAW                                                                                        \
    "{'driver': 'raw', 'node-name': 'r', 'file': {'driver': 'file', 'filename': 'disk', 'node-name': 'f'}}"
#define READ_WRITE (PERM_CONSISTENT_READ | PERM_WRITE)

static void init(struct storage_world *w)
{
    storage_world_init(w, 1, drivers);
    sim_file_create(w->sim, "disk", 1 << 20);
}

static struct err *open_err(struct storage_world *w, const char *text)
{
    struct node *node;

    return storage_open(w, text, &node);
}

/* ---- Opening ---- */

static void refuses_bad_names_and_files(void)
{
    struct storage_world w;

    init(&w);
    storage_must_open(&w, RAW);
    EXPECT_ERR(open_err(&w, "{'driver': 'null-co', 'node-name': '1x'}"), "Invalid node-name: '1x'");
    EXPECT_ERR(open_err(&w, "{'driver': 'null-co', 'node-name': 'r'}"),
               "Duplicate nodes with node-name='r'");
    EXPECT_ERR(
        open_err(&w,
                 "{'driver': 'null-co', 'node-name': 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'}"),
        "Node name too long");
    EXPECT_ERR(open_err(&w, "{'driver': 'raw', 'node-name': 'z', 'file': 'nope'}"),
               "Cannot find device='nope' nor node-name='nope'");
    EXPECT_ERR(
        open_err(
            &w,
            "{'driver': 'raw', 'node-name': 'z', 'file': {'driver': 'file', 'filename': 'nope'}}"),
        "Could not open 'nope': No such file or directory");
    EXPECT_ERR(
        open_err(
            &w,
            "{'driver': 'raw', 'node-name': 'z', 'offset': 512, 'size': 1073741824, 'file': {'driver': 'file', "
            "'filename': 'disk'}}"),
        "The sum of offset (512) and size (1073741824) has to be smaller or equal to the  actual size of the "
        "containing file (1048576)");
    EXPECT_ERR(
        open_err(&w, "{'driver': 'file', 'node-name': 'z', 'filename': 'disk', 'aio': 'native'}"),
        "aio=native was specified, but it requires cache.direct=on, which was not specified.");
    EXPECT_ERR(open_err(&w, "{'driver': 'null-co', 'node-name': 'z', 'foo': 1}"),
               "Block protocol 'null-co' does not support the option 'foo'");
    storage_world_fini(&w);
}

static void probes_and_names_nodes(void)
{
    struct storage_world w;
    struct node *node;

    init(&w);
    node = storage_must_open(&w, "{'file': {'driver': 'file', 'filename': 'disk'}}");
    EXPECT_STR(node->driver->name, "raw");
    EXPECT_STR(node->filename, "disk");
    EXPECT(strncmp(node->name, "#block", 6) == 0);
    EXPECT_EQ(node->size, 1u << 20);
    node_unref(node);
    storage_world_fini(&w);
}

static void guessed_raw_protects_its_first_sector(void)
{
    struct storage_world w;
    struct node *node;
    struct edge *edge;
    uint8_t buf[1024] = { 'x' };

    init(&w);
    node = storage_must_open(&w, "{'file': {'driver': 'file', 'filename': 'disk'}}");
    edge = storage_edge(&w, node, READ_WRITE, PERM_ALL);
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 0, 1024, buf), 0);
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 10, 20, buf), -EPERM);
    edge_detach(edge);
    node_unref(node);
    storage_world_fini(&w);
}

/* ---- Ranges, sizes, status ---- */

static void requests_beyond_the_end_fail(void)
{
    struct storage_world w;
    struct edge *edge;
    uint8_t buf[1024];

    init(&w);
    edge = storage_edge(&w, storage_must_open(&w, RAW), READ_WRITE, PERM_ALL);
    EXPECT_EQ(storage_io(&w, edge, REQ_READ, 0, (1 << 20) - 512, 1024, buf), -EIO);
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 1 << 20, 512, buf), -EIO);
    EXPECT_EQ(storage_io(&w, edge, REQ_ZERO, 0, UINT64_MAX - 100, 512, NULL), -EIO);
    EXPECT_EQ(storage_io(&w, edge, REQ_READ, 0, 0, 0, buf), 0);
    edge_detach(edge);
    storage_world_fini(&w);
}

static void writes_with_resize_grow_the_node(void)
{
    struct storage_world w;
    struct edge *edge;
    struct node *node;
    uint8_t buf[1000];

    init(&w);
    node = storage_must_open(&w, RAW);
    edge = storage_edge(&w, node, READ_WRITE | PERM_RESIZE, PERM_ALL);
    memset(buf, 7, sizeof(buf));
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 1 << 20, 1000, buf), 0);
    EXPECT_EQ(node->size, (1u << 20) + 1024);
    EXPECT_EQ(storage_io(&w, edge, REQ_ZERO, 0, 2 << 20, 65536, NULL), 0);
    EXPECT_EQ(node->size, (2u << 20) + 65536);
    EXPECT_OK(storage_truncate(&w, edge, 4096));
    EXPECT_EQ(node->size, 4096u);
    EXPECT_EQ(sim_file_size(w.sim, "disk"), 4096u);
    edge_detach(edge);
    storage_world_fini(&w);
}

static void status_tells_holes_from_data(void)
{
    struct storage_world w;
    struct edge *edge;
    struct req_status status;
    uint8_t buf[4096];

    init(&w);
    edge = storage_edge(&w, storage_must_open(&w, RAW), READ_WRITE, PERM_ALL);
    memset(buf, 1, sizeof(buf));
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 65536, 4096, buf), 0);
    EXPECT_EQ(storage_status(&w, edge, REQ_WANT_ZERO, 0, 1 << 20, &status), 0);
    EXPECT_EQ(status.flags & (STATUS_ZERO | STATUS_DATA | STATUS_ALLOCATED),
              (uint32_t)(STATUS_ZERO | STATUS_ALLOCATED));
    EXPECT_EQ(status.len, 65536u);
    EXPECT_EQ(storage_status(&w, edge, REQ_WANT_ZERO, 66000, 900000, &status), 0);
    EXPECT(status.flags & STATUS_DATA);
    EXPECT_EQ(status.len, 65536u + 4096 - 66000);
    EXPECT_EQ(status.host_offset, 66000u);
    EXPECT_EQ(storage_status(&w, edge, REQ_WANT_ZERO, 100000, (1 << 20) - 100000, &status), 0);
    EXPECT(status.flags & STATUS_EOF);
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 253952, 512, buf), 0);
    EXPECT_EQ(storage_status(&w, edge, REQ_WANT_ZERO, 100000, (1 << 20) - 100000, &status), 0);
    EXPECT_EQ(status.len, 253952u - 100000);
    edge_detach(edge);
    storage_world_fini(&w);
}

static void window_of_raw_is_a_window(void)
{
    struct storage_world w;
    struct edge *edge;
    uint8_t buf[512], got[512];

    init(&w);
    edge = storage_edge(
        &w,
        storage_must_open(
            &w, "{'driver': 'raw', 'node-name': 'r', 'offset': 1000, 'size': 4096, 'file': "
                "{'driver': 'file', 'filename': 'disk'}}"),
        READ_WRITE, PERM_ALL);
    memset(buf, 3, sizeof(buf));
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 512, 512, buf), 0);
    sim_file_peek(w.sim, "disk", 1512, got, 512);
    EXPECT_MEM(buf, got, 512);
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 3840, 512, buf), -EIO);
    edge_detach(edge);
    storage_world_fini(&w);
}

/* ---- Flush ---- */

static void flush_happens_only_after_writes(void)
{
    struct storage_world w;
    struct edge *edge;
    uint8_t buf[512] = { 0 };
    uint64_t ops;

    init(&w);
    edge = storage_edge(&w, storage_must_open(&w, RAW), READ_WRITE, PERM_ALL);
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 0, 512, buf), 0);
    ops = sim_file_ops(w.sim);
    EXPECT_EQ(storage_io(&w, edge, REQ_FLUSH, 0, 0, 0, NULL), 0);
    EXPECT_EQ(sim_file_ops(w.sim), ops + 1);
    EXPECT_EQ(storage_io(&w, edge, REQ_FLUSH, 0, 0, 0, NULL), 0);
    EXPECT_EQ(sim_file_ops(w.sim), ops + 1);
    /* FUA is a write and a flush. */
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, REQ_FUA, 0, 512, buf), 0);
    EXPECT_EQ(sim_file_ops(w.sim), ops + 3);
    edge_detach(edge);
    storage_world_fini(&w);
}

static void failed_flush_is_remembered(void)
{
    struct storage_world w;
    struct edge *edge;
    uint8_t buf[512] = { 0 };

    init(&w);
    edge = storage_edge(&w, storage_must_open(&w, RAW), READ_WRITE, PERM_ALL);
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 0, 512, buf), 0);
    sim_fault_add(w.sim, &(struct sim_fault){ .kind = SIM_FAULT_SYNC, .count = 1, .error = EIO });
    EXPECT_EQ(storage_io(&w, edge, REQ_FLUSH, 0, 0, 0, NULL), -EIO);
    EXPECT_EQ(storage_io(&w, edge, REQ_FLUSH, 0, 0, 0, NULL), -EIO);
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, REQ_FUA, 0, 512, buf), -EIO);
    edge_detach(edge);
    storage_world_fini(&w);
}

/* ---- Permissions ---- */

static char *identify(struct edge *edge)
{
    (void)edge;
    return xstrdup("block job 'j0'");
}
static char *busy_text(struct edge *edge)
{
    (void)edge;
    return xstrdup("block device is in use by block job: backup");
}
static const struct edge_parent_ops job_ops = { .what = "block job",
                                                .identify = identify,
                                                .describe = busy_text };

static void conflicts_name_both_sides(void)
{
    struct storage_world w;
    struct edge *job, *other = NULL;
    struct node *node;

    init(&w);
    node = storage_must_open(&w, RAW);
    EXPECT_OK(edge_attach(node, "source", &job_ops, NULL, PERM_CONSISTENT_READ,
                          PERM_CONSISTENT_READ, &job));
    EXPECT_ERR(
        edge_attach(node, "root", NULL, NULL, READ_WRITE, PERM_ALL, &other),
        "Permission conflict on node 'r': permissions 'write' are both required by an unnamed block device (uses "
        "node 'r' as 'root' child) and unshared by block job 'j0' (uses node 'r' as 'source' child).");
    EXPECT_OK(edge_set_perm(job, PERM_CONSISTENT_READ, PERM_ALL));
    EXPECT_OK(edge_attach(node, "root", NULL, NULL, READ_WRITE, PERM_ALL, &other));
    /* What was refused changed nothing. */
    struct err *err = edge_set_perm(job, PERM_CONSISTENT_READ, PERM_CONSISTENT_READ);

    EXPECT(err);
    err_free(err);
    EXPECT_EQ(job->shared, (uint32_t)PERM_ALL);
    EXPECT_EQ(node->file->perm, (uint32_t)READ_WRITE);
    edge_detach(other);
    edge_detach(job);
    EXPECT_EQ(node->file->perm, 0u);
    storage_world_fini(&w);
}

static void read_only_nodes_refuse_writers(void)
{
    struct storage_world w;
    struct edge *edge;
    struct node *node;

    init(&w);
    node = storage_must_open(
        &w, "{'driver': 'file', 'node-name': 'f', 'filename': 'disk', 'read-only': true}");
    EXPECT_ERR(edge_attach(node, "root", NULL, NULL, READ_WRITE, PERM_ALL, &edge),
               "Block node is read-only");
    storage_world_fini(&w);
}

static void file_locks_keep_others_out(void)
{
    struct storage_world w;
    struct edge *a, *b;
    struct node *second;
    struct err *err;
    uint8_t buf[512] = { 0 };

    init(&w);
    a = storage_edge(&w, storage_must_open(&w, RAW), READ_WRITE, PERM_CONSISTENT_READ);
    second = storage_must_open(&w, "{'driver': 'file', 'node-name': 'f2', 'filename': 'disk'}");
    EXPECT_OK(edge_attach(second, "root", NULL, NULL, READ_WRITE, PERM_ALL, &b));
    err = storage_settle(&w, b);
    REQUIRE(err);
    EXPECT_STR(err_text(err), "Failed to get \"write\" lock");
    EXPECT_STR(err_hint(err), "Is another process using the image [disk]?\n");
    err_free(err);
    EXPECT_EQ(storage_io(&w, b, REQ_WRITE, 0, 0, 512, buf), -EACCES);
    edge_detach(b);
    edge_detach(a);
    /* With the first gone the second gets it. */
    EXPECT_OK(edge_attach(second, "root", NULL, NULL, READ_WRITE, PERM_CONSISTENT_READ, &b));
    EXPECT_OK(storage_settle(&w, b));
    EXPECT_EQ(storage_io(&w, b, REQ_WRITE, 0, 0, 512, buf), 0);
    edge_detach(b);
    storage_world_fini(&w);
}

/* ---- Deleting ---- */

static void delete_says_why_not(void)
{
    struct storage_world w;
    struct node *node;
    struct edge *edge;

    init(&w);
    node = storage_must_open(&w, RAW);
    EXPECT_ERR(storage_delete(&w, "n0"), "Failed to find node with node-name='n0'");
    EXPECT_OK(edge_attach(node, "target", &job_ops, NULL, 0, PERM_ALL, &edge));
    EXPECT_ERR(storage_delete(&w, "r"),
               "Node 'r' is busy: block device is in use by block job: backup");
    edge_detach(edge);
    EXPECT_OK(edge_attach(node, "root", NULL, NULL, 0, PERM_ALL, &edge));
    EXPECT_ERR(storage_delete(&w, "r"), "Node r is in use");
    edge_detach(edge);
    EXPECT_ERR(storage_delete(&w, "f"), "Node f is not owned by the monitor");
    storage_must_open(&w, "{'driver': 'null-co', 'node-name': 'b'}");
    storage_must_open(&w, "{'driver': 'raw', 'node-name': 'top', 'file': 'b'}");
    EXPECT_ERR(storage_delete(&w, "b"), "Block device b is in use");
    EXPECT_OK(storage_delete(&w, "top"));
    EXPECT_OK(storage_delete(&w, "b"));
    EXPECT_OK(storage_delete(&w, "r"));
    EXPECT(!graph_find(w.graph, "f"));
    storage_world_fini(&w);
}

/* ---- Drain, graph changes ---- */

struct load {
    struct req req;
    struct edge *edge;
    uint8_t buf[512];
    struct iovec iov;
    unsigned done;
    bool stop, stopped;
};

static void load_done(struct req *req)
{
    struct load *load = container_of(req, struct load, req);

    EXPECT_EQ(req->result, 0);
    load->done++;
    if (load->stop)
        load->stopped = true;
    else
        edge_submit(load->edge, req);
}

static void load_start(struct load *load, struct edge *edge, enum req_kind kind)
{
    *load = (struct load){ .edge = edge };
    load->iov = (struct iovec){ load->buf, sizeof(load->buf) };
    load->req = (struct req){
        .kind = kind, .len = 512, .data = iov_view(&load->iov, 1), .done = load_done
    };
    edge_submit(edge, &load->req);
}

struct drain_wait {
    struct drain drain;
    bool drained;
};
static void drained(struct drain *drain)
{
    container_of(drain, struct drain_wait, drain)->drained = true;
}

static void drain_stops_the_load_and_lets_it_go_on(void)
{
    struct storage_world w;
    struct node *node;
    struct edge *edge;
    struct load load;
    struct drain_wait a = { 0 }, b = { 0 };
    unsigned before;

    init(&w);
    node = storage_must_open(&w, RAW);
    edge = storage_edge(&w, node, READ_WRITE, PERM_ALL);
    load_start(&load, edge, REQ_WRITE);
    for (int i = 0; i < 50; i++)
        sim_step(w.sim);
    drain_begin(&a.drain, node->file->node, drained);
    drain_begin(&b.drain, node, drained);
    EXPECT(!a.drained);
    REQUIRE(storage_run_until(&w, &a.drained));
    REQUIRE(storage_run_until(&w, &b.drained));
    EXPECT_EQ(node->in_flight, 0u);
    EXPECT(req_pending(&load.req));
    before = load.done;
    sim_run(w.sim, 1000);
    EXPECT_EQ(load.done, before);
    drain_end(&a.drain);
    sim_run(w.sim, 1000);
    EXPECT_EQ(load.done, before);
    drain_end(&b.drain);
    load.stop = true;
    REQUIRE(storage_run_until(&w, &load.stopped));
    EXPECT_EQ(load.done, before + 1);
    /* A drain that still waits may be given up. */
    a.drained = false;
    drain_begin(&a.drain, node, drained);
    drain_end(&a.drain);
    sim_run(w.sim, 1000);
    EXPECT(!a.drained);
    edge_detach(edge);
    storage_world_fini(&w);
}

static void replaced_under_load(void)
{
    struct storage_world w;
    struct node *a, *b;
    struct edge *edge;
    struct load load;
    struct drain_wait drain = { 0 };
    uint8_t got[512], want[512];

    init(&w);
    sim_file_create(w.sim, "other", 1 << 20);
    a = storage_must_open(&w, RAW);
    b = storage_must_open(&w, "{'driver': 'file', 'node-name': 'o', 'filename': 'other'}");
    edge = storage_edge(&w, a, READ_WRITE, PERM_ALL);
    load_start(&load, edge, REQ_WRITE);
    for (int i = 0; i < 20; i++)
        sim_step(w.sim);
    drain_begin(&drain.drain, a, drained);
    REQUIRE(storage_run_until(&w, &drain.drained));
    /* The request at the gate goes to the new node, which has no drain. */
    memset(load.buf, 9, sizeof(load.buf));
    memset(want, 9, sizeof(want));
    EXPECT_OK(graph_replace_node(a, b));
    EXPECT_PTR(edge->node, b);
    load.stop = true;
    REQUIRE(storage_run_until(&w, &load.stopped));
    sim_file_peek(w.sim, "other", 0, got, 512);
    EXPECT_MEM(got, want, 512);
    drain_end(&drain.drain);
    EXPECT_OK(storage_delete(&w, "r"));
    edge_detach(edge);
    storage_world_fini(&w);
}

static void frozen_edges_stay(void)
{
    struct storage_world w;
    struct node *a, *b;
    struct edge *edge;

    init(&w);
    a = storage_must_open(&w, RAW);
    b = storage_must_open(&w, "{'driver': 'null-co', 'node-name': 'o'}");
    edge = storage_edge(&w, a, READ_WRITE, PERM_ALL);
    edge->frozen = true;
    EXPECT_ERR(graph_replace_node(a, b), "Cannot change 'root' link to 'r'");
    EXPECT_PTR(edge->node, a);
    edge->frozen = false;
    edge_detach(edge);
    storage_world_fini(&w);
}

static void fence_ends_new_requests(void)
{
    struct storage_world w;
    struct node *node;
    struct edge *edge;
    uint8_t buf[512];

    init(&w);
    node = storage_must_open(&w, RAW);
    edge = storage_edge(&w, node, READ_WRITE, PERM_ALL);
    node_fence(node);
    EXPECT_EQ(storage_io(&w, edge, REQ_READ, 0, 0, 512, buf), -EIO);
    edge_detach(edge);
    storage_world_fini(&w);
}

/* ---- Errors ---- */

static void every_failing_file_op_is_survived(void)
{
    uint8_t buf[2000];

    memset(buf, 5, sizeof(buf));
    for (unsigned nth = 1; nth < 40; nth++) {
        struct storage_world w;
        struct node *node = NULL;
        struct edge *edge;
        struct err *err;

        test_note("file op %u fails", nth);
        init(&w);
        sim_fail_nth(w.sim, nth, EIO);
        err = storage_open(&w,
                           "{'driver': 'raw', 'node-name': 'r', 'file': {'driver': 'file', "
                           "'filename': 'disk', 'cache': {'direct': true}}}",
                           &node);
        if (!err) {
            err = edge_attach(node, "root", NULL, NULL, READ_WRITE, PERM_CONSISTENT_READ, &edge);
            EXPECT(!err);
            struct err *conflict = storage_settle(&w, edge);

            (void)storage_io(&w, edge, REQ_WRITE, REQ_FUA, 100, 2000, buf);
            (void)storage_io(&w, edge, REQ_ZERO, 0, 300, 5000, NULL);
            (void)storage_io(&w, edge, REQ_READ, 0, 1, 1000, buf);
            err_free(conflict);
            edge_detach(edge);
        }
        err_free(err);
        sim_fail_nth(w.sim, 0, 0);
        storage_world_fini(&w);
    }
}

static void every_failing_allocation_is_survived(void)
{
    struct storage_world w;
    struct edge *edge;
    uint8_t buf[2000];

    memset(buf, 5, sizeof(buf));
    init(&w);
    edge = storage_edge(
        &w,
        storage_must_open(&w, "{'driver': 'raw', 'node-name': 'r', 'file': {'driver': 'file', "
                              "'filename': 'disk', 'cache': {'direct': true}}}"),
        READ_WRITE, PERM_ALL);
    for (unsigned nth = 1; nth < 12; nth++) {
        int result;

        alloc_fail_after(nth);
        result = storage_io(&w, edge, REQ_WRITE, 0, 100 + nth, 1900, buf);
        EXPECT(result <= 0);
        result = storage_io(&w, edge, REQ_ZERO, 0, 512, 2048, NULL);
        EXPECT(result <= 0);
        alloc_fail_reset();
    }
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 100, 1900, buf), 0);
    edge_detach(edge);
    storage_world_fini(&w);
}

/* ---- Bitmaps ---- */

static void bitmaps_record_writes(void)
{
    struct storage_world w;
    struct node *node;
    struct edge *edge;
    struct bitmap *bitmap, *other;
    uint8_t buf[512] = { 0 };

    init(&w);
    node = storage_must_open(&w, RAW);
    edge = storage_edge(&w, node, READ_WRITE | PERM_RESIZE, PERM_ALL);
    EXPECT_OK(bitmap_add(node, "b0", 4096, false, false, &bitmap));
    EXPECT_ERR(bitmap_add(node, "b0", 4096, false, false, &other), "Bitmap already exists: b0");
    EXPECT_ERR(bitmap_add(node, "b1", 100, false, false, &other),
               "Granularity must be power of 2 and at least 512");
    EXPECT_ERR(bitmap_lookup(w.graph, "r", "zz", &other), "Dirty bitmap 'zz' not found");
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 5000, 512, buf), 0);
    EXPECT_EQ(hbitmap_count(bitmap->map), 4096u);
    EXPECT_EQ(storage_io(&w, edge, REQ_ZERO, 0, 65536, 8192, NULL), 0);
    EXPECT_EQ(hbitmap_count(bitmap->map), 3 * 4096u);
    /* A discard that is ignored changes nothing. */
    EXPECT_EQ(storage_io(&w, edge, REQ_DISCARD, 0, 500 << 10, 8192, NULL), 0);
    EXPECT_EQ(hbitmap_count(bitmap->map), 3 * 4096u);
    EXPECT_OK(bitmap_freeze(bitmap));
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 0, 512, buf), 0);
    EXPECT_EQ(hbitmap_count(bitmap->map), 3 * 4096u);
    EXPECT_ERR(bitmap_check(bitmap, BITMAP_USE_CHANGE),
               "Bitmap 'b0' is currently in use by another operation and cannot be used");
    bitmap_reclaim(bitmap);
    EXPECT_EQ(hbitmap_count(bitmap->map), 4 * 4096u);
    EXPECT_OK(bitmap_freeze(bitmap));
    EXPECT_EQ(storage_io(&w, edge, REQ_WRITE, 0, 0, 512, buf), 0);
    bitmap_abdicate(bitmap);
    EXPECT_EQ(hbitmap_count(bitmap->map), 4096u);
    EXPECT_OK(storage_truncate(&w, edge, 2 << 20));
    EXPECT_EQ(hbitmap_size(bitmap->map), 2u << 20);
    edge_detach(edge);
    storage_world_fini(&w);
}

/* ---- Queries ---- */

struct answer {
    struct json *json;
    bool done;
};

static void answered(void *arg, struct json *json)
{
    *(struct answer *)arg = (struct answer){ json, true };
}

static void nodes_are_described_as_by_the_reference(void)
{
    struct storage_world w;
    struct answer answer = { 0 };
    struct bitmap *bitmap;
    char *text;

    init(&w);
    EXPECT_OK(bitmap_add(storage_must_open(&w, RAW), "b0", 65536, false, false, &bitmap));
    storage_must_open(&w, "{'driver': 'null-co', 'node-name': 'n', 'size': 1048576}");
    query_nodes(w.graph, false, answered, &answer);
    REQUIRE(storage_run_until(&w, &answer.done));
    REQUIRE_EQ(json_array_len(answer.json), 3u);
    text = json_to_text(json_array_get(answer.json, 0), JSON_COMPACT | JSON_HASH_ORDER);
    EXPECT_STR(
        text,
        "{\"iops_rd\": 0, \"detect_zeroes\": \"off\", \"active\": true, \"image\": {\"virtual-size\": "
        "1048576, \"filename\": \"json:{\\\"driver\\\": \\\"null-co\\\", \\\"size\\\": 1048576}\", "
        "\"format\": \"null-co\", \"actual-size\": 0}, \"iops_wr\": 0, \"ro\": false, \"node-name\": "
        "\"n\", \"backing_file_depth\": 0, \"drv\": \"null-co\", \"iops\": 0, \"bps_wr\": 0, "
        "\"write_threshold\": 0, \"encrypted\": false, \"bps\": 0, \"bps_rd\": 0, \"cache\": "
        "{\"no-flush\": false, \"direct\": false, \"writeback\": true}, \"file\": "
        "\"json:{\\\"driver\\\": \\\"null-co\\\", \\\"size\\\": 1048576}\"}");
    xfree(text);
    text = json_to_text(json_object_get(json_array_get(answer.json, 1), "dirty-bitmaps"),
                        JSON_COMPACT | JSON_HASH_ORDER);
    EXPECT_STR(text,
               "[{\"name\": \"b0\", \"recording\": true, \"persistent\": false, \"busy\": false, "
               "\"granularity\": 65536, \"count\": 0}]");
    xfree(text);
    json_free(answer.json);
    storage_world_fini(&w);
}

TEST_LIST(TEST(refuses_bad_names_and_files), TEST(probes_and_names_nodes),
          TEST(guessed_raw_protects_its_first_sector), TEST(requests_beyond_the_end_fail),
          TEST(writes_with_resize_grow_the_node), TEST(status_tells_holes_from_data),
          TEST(window_of_raw_is_a_window), TEST(flush_happens_only_after_writes),
          TEST(failed_flush_is_remembered), TEST(conflicts_name_both_sides),
          TEST(read_only_nodes_refuse_writers), TEST(file_locks_keep_others_out),
          TEST(delete_says_why_not), TEST(drain_stops_the_load_and_lets_it_go_on),
          TEST(replaced_under_load), TEST(frozen_edges_stay), TEST(fence_ends_new_requests),
          TEST(every_failing_file_op_is_survived), TEST(every_failing_allocation_is_survived),
          TEST(bitmaps_record_writes), TEST(nodes_are_described_as_by_the_reference));
