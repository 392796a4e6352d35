/*
 * Throttled disks by a stepped clock. Oracles: the definition of the leaky buckets in limits.h and the texts of the
 * reference.
 */
#include <stdio.h>

#include "emu/base/attrs.h"
#include "emu/base/json_parse.h"
#include "emu/object/object.h"
#include "emu/reactor/clock.h"
#include "emu/storage/driver.h"
#include "emu/storage/testing.h"
#include "emu/storage/throttle/group.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

enum { REQUESTS = 64, SIZE = 512 };

#define SECOND INT64_C(1000000000)

static const struct object_type *const types[] = { &throttle_group_type, NULL };
static const struct driver *const drivers[] = { &driver_null_co, &driver_throttle, NULL };

struct world {
    struct storage_world w;
    struct objects *objects;
    struct clock *clock;
    struct edge *disks[2];
    struct load {
        struct req reqs[REQUESTS];
        uint8_t buf[SIZE * 16];
        struct iovec iov;
        unsigned done;
    } loads[2];
};

static struct err *add_group(struct world *t, const char *text)
{
    CLEANUP(json_free) struct json *options = NULL;

    TRY(json_parse_text(text, &options));
    return objects_add(t->objects, options);
}

static void world_init(struct world *t, const char *limits)
{
    *t = (struct world){ 0 };
    storage_world_init(&t->w, 1, drivers);
    t->objects = objects_new(t->w.reactor, types);
    graph_set_objects(t->w.graph, t->objects);
    t->clock = objects_clock(t->objects);
    clock_set_stepped(t->clock);
    EXPECT_OK(add_group(t, limits));
    for (size_t i = 0; i < ARRAY_LEN(t->disks); i++)
        t->disks[i] = storage_edge(
            &t->w,
            storage_must_open(&t->w, i ? "{'driver': 'throttle', 'node-name': 't1', "
                                         "'throttle-group': 'g', 'file': {'driver': 'null-co'}}"
                                       : "{'driver': 'throttle', 'node-name': 't0', "
                                         "'throttle-group': 'g', 'file': {'driver': 'null-co'}}"),
            PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
}

static void world_fini(struct world *t)
{
    for (size_t i = 0; i < ARRAY_LEN(t->disks); i++)
        edge_detach(t->disks[i]);
    storage_world_fini(&t->w);
    objects_free(t->objects);
}

static void load_done(struct req *req)
{
    struct load *load = container_of(req->data.iov, struct load, iov);

    EXPECT_EQ(req->result, 0);
    load->done++;
}

static void settle(struct world *t)
{
    const bool never = false;

    storage_run_until(&t->w, &never);
}

static void submit(struct world *t, size_t disk, unsigned n, enum req_kind kind, size_t len)
{
    struct load *load = &t->loads[disk];

    load->done = 0;
    load->iov = (struct iovec){ load->buf, sizeof(load->buf) };
    for (unsigned i = 0; i < n; i++) {
        load->reqs[i] = (struct req){ .kind = kind,
                                      .offset = 0,
                                      .len = len,
                                      .data = iov_view(&load->iov, 1),
                                      .done = load_done };
        edge_submit(t->disks[disk], &load->reqs[i]);
    }
    settle(t);
}

static void step(struct world *t, int64_t ns)
{
    clock_step_to(t->clock, clock_now(t->clock) + ns);
    settle(t);
}

/* A tenth of a second's worth at once, and one more to fill the bucket over; then the rate. */
static void requests_keep_to_the_rate(void)
{
    struct world t;

    world_init(&t, "{'qom-type': 'throttle-group', 'id': 'g', 'limits': {'iops-total': 10}}");
    submit(&t, 0, 40, REQ_READ, SIZE);
    EXPECT_EQ(t.loads[0].done, 2);
    step(&t, SECOND);
    EXPECT_EQ(t.loads[0].done, 12);
    step(&t, 2 * SECOND);
    EXPECT_EQ(t.loads[0].done, 32);
    step(&t, SECOND);
    EXPECT_EQ(t.loads[0].done, 40);
    world_fini(&t);
}

static void reads_are_not_held_by_limits_of_writes(void)
{
    struct world t;

    world_init(&t, "{'qom-type': 'throttle-group', 'id': 'g', 'limits': {'bps-write': 512}}");
    submit(&t, 0, 10, REQ_READ, SIZE);
    EXPECT_EQ(t.loads[0].done, 10);
    submit(&t, 0, 10, REQ_WRITE, SIZE);
    EXPECT_EQ(t.loads[0].done, 1);
    step(&t, 5 * SECOND);
    EXPECT_EQ(t.loads[0].done, 6);
    step(&t, 10 * SECOND);
    world_fini(&t);
}

static void members_take_turns(void)
{
    struct world t;

    world_init(&t, "{'qom-type': 'throttle-group', 'id': 'g', 'limits': {'iops-read': 10}}");
    submit(&t, 0, 40, REQ_READ, SIZE);
    submit(&t, 1, 10, REQ_READ, SIZE);
    EXPECT_EQ(t.loads[1].done, 0);
    step(&t, SECOND);
    EXPECT_EQ(t.loads[0].done, 2 + 5);
    EXPECT_EQ(t.loads[1].done, 5);
    step(&t, 5 * SECOND);
    world_fini(&t);
}

/* Ten a second for three seconds, then one. */
static void bursts_last_as_long_as_they_may(void)
{
    struct world t;

    world_init(&t, "{'qom-type': 'throttle-group', 'id': 'g', 'limits': {'iops-total': 1, "
                   "'iops-total-max': 10, 'iops-total-max-length': 3}}");
    submit(&t, 0, 50, REQ_READ, SIZE);
    EXPECT_EQ(t.loads[0].done, 2);
    step(&t, 2 * SECOND);
    EXPECT_EQ(t.loads[0].done, 22);
    step(&t, SECOND);
    EXPECT_EQ(t.loads[0].done, 32);
    step(&t, SECOND);
    EXPECT_GE(t.loads[0].done, 32);
    EXPECT_LE(t.loads[0].done, 36);
    step(&t, 40 * SECOND);
    world_fini(&t);
}

static void large_requests_count_by_iops_size(void)
{
    struct world t;

    world_init(&t, "{'qom-type': 'throttle-group', 'id': 'g', 'limits': {'iops-total': 10, "
                   "'iops-size': 512}}");
    submit(&t, 0, 4, REQ_READ, SIZE * 10);
    EXPECT_EQ(t.loads[0].done, 1);
    step(&t, SECOND);
    EXPECT_EQ(t.loads[0].done, 2);
    step(&t, 5 * SECOND);
    EXPECT_EQ(t.loads[0].done, 4);
    world_fini(&t);
}

static void a_drain_does_not_wait_for_the_limits(void)
{
    struct world t;
    struct drain drain = { 0 };

    world_init(&t, "{'qom-type': 'throttle-group', 'id': 'g', 'limits': {'iops-total': 1}}");
    submit(&t, 0, 10, REQ_READ, SIZE);
    EXPECT_EQ(t.loads[0].done, 1);
    drain_begin(&drain, t.disks[0]->node, NULL);
    drain_end(&drain);
    settle(&t);
    EXPECT_EQ(t.loads[0].done, 10);
    world_fini(&t);
}

static void limits_change_at_run_time(void)
{
    struct world t;
    CLEANUP(json_free) struct json *value = NULL;
    struct object *group;

    world_init(&t, "{'qom-type': 'throttle-group', 'id': 'g', 'x-iops-total': 1}");
    group = objects_find(t.objects, "g");
    submit(&t, 0, 10, REQ_READ, SIZE);
    EXPECT_EQ(t.loads[0].done, 1);
    EXPECT_OK(json_parse_text("{'iops-total': 0}", &value));
    EXPECT_ERR(object_set(group, "x-iops-total", value),
               "Property cannot be set after initialization");
    EXPECT_OK(object_set(group, "limits", value));
    settle(&t);
    EXPECT_EQ(t.loads[0].done, 10);
    EXPECT_ERR(objects_del(t.objects, "g"), "object 'g' is in use, can not be deleted");
    world_fini(&t);
}

static void limits_that_make_no_sense_are_refused(void)
{
    static const struct {
        const char *limits, *text;
    } rows[] = {
        { "{'iops-total': 1, 'iops-read': 1}",
          "bps/iops/max total values and read/write values cannot be used at the same time" },
        { "{'iops-total-max': 1}", "bps_max/iops_max require corresponding bps/iops values" },
        { "{'bps-read': 5, 'bps-read-max': 4}", "bps_max/iops_max cannot be lower than bps/iops" },
        { "{'iops-write-max-length': 0}", "the burst length cannot be 0" },
        { "{'iops-total': 5, 'iops-total-max-length': 2}", "burst length set without burst rate" },
        { "{'iops-total': -1}", "bps/iops/max values must be within [0, 1000000000000000]" },
        { "{'bps-total': 1000000000000001}",
          "bps/iops/max values must be within [0, 1000000000000000]" },
        { "{'iops-size': 5}", "iops size requires an iops value to be set" },
        { "{'iops-total': 1, 'iops-total-max': 100000000000000, 'iops-total-max-length': 100}",
          "burst length too high for this burst rate" },
        { "{'iops-total': 1, 'iops-total-max': 9, 'iops-total-max-length': 4294967296}",
          "iops-total-max-length value must be in the range [0, 4294967295]" },
        { "{'foo': 1}", "Parameter 'limits.foo' is unexpected" },
    };
    struct world t;
    char text[256];

    world_init(&t, "{'qom-type': 'throttle-group', 'id': 'g'}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(text, sizeof(text), "{'qom-type': 'throttle-group', 'id': 'h', 'limits': %s}",
                 rows[i].limits);
        EXPECT_ERR(add_group(&t, text), rows[i].text);
    }
    EXPECT_ERR(add_group(&t, "{'qom-type': 'throttle-group', 'id': 'h', 'x-bps-read': -5}"),
               "Property values cannot be negative");
    world_fini(&t);
}

TEST_LIST(TEST(requests_keep_to_the_rate), TEST(reads_are_not_held_by_limits_of_writes),
          TEST(members_take_turns), TEST(bursts_last_as_long_as_they_may),
          TEST(large_requests_count_by_iops_size), TEST(a_drain_does_not_wait_for_the_limits),
          TEST(limits_change_at_run_time), TEST(limits_that_make_no_sense_are_refused));
