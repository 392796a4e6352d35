/* The disks in memory, and running requests to their end. Test code only. */

#include "emu/storage/drivers/qcow2/testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/json_parse.h"
#include "emu/base/log.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"
#include "emu/storage/create.h"

enum { SECTOR = 512, EVENTS_MAX = 20000000, DISK_MAX = 1 << 30 };

struct test_write {
    uint64_t offset, len;
    uint8_t *data; /* owned; NULL: zeroes. */
};

/* ---- The disk ---- */

static void disk_reserve(struct test_disk *disk, uint64_t size)
{
    uint64_t cap = MAX(disk->cap, UINT64_C(65536));

    if (size <= disk->cap)
        return;
    while (cap < size)
        cap *= 2;
    disk->data = xrealloc(disk->data, cap);
    disk->durable = xrealloc(disk->durable, cap);
    memset(disk->data + disk->cap, 0, cap - disk->cap);
    memset(disk->durable + disk->cap, 0, cap - disk->cap);
    disk->cap = cap;
}

static void forget_writes(struct test_disk *disk)
{
    for (size_t i = 0; i < disk->write_count; i++)
        xfree(disk->writes[i].data);
    disk->write_count = 0;
}

void test_disk_load(struct test_disk *disk, const void *data, uint64_t size)
{
    forget_writes(disk);
    disk_reserve(disk, MAX(size, UINT64_C(1)));
    memset(disk->data, 0, disk->cap);
    memset(disk->durable, 0, disk->cap);
    if (size) {
        memcpy(disk->data, data, size);
        memcpy(disk->durable, data, size);
    }
    disk->size = size;
}

static void disk_write(struct test_disk *disk, uint64_t offset, uint64_t len, struct iov_view data,
                       bool zero)
{
    struct test_write *write;

    disk_reserve(disk, offset + len);
    if (disk->write_count == disk->write_cap) {
        disk->write_cap = MAX(disk->write_cap * 2, (size_t)64);
        disk->writes = xrealloc_array(disk->writes, disk->write_cap, sizeof(*disk->writes));
    }
    write = &disk->writes[disk->write_count++];
    *write = (struct test_write){ .offset = offset, .len = len };
    if (zero) {
        memset(disk->data + offset, 0, len);
    } else {
        iov_copy_from(data, len, disk->data + offset);
        write->data = xmemdup(disk->data + offset, len);
    }
    disk->size = MAX(disk->size, offset + len);
}

static void apply(const struct test_write *write, uint8_t *to, struct rng *rng)
{
    for (uint64_t at = 0; at < write->len;) {
        uint64_t n = MIN(write->len - at, SECTOR - (write->offset + at) % SECTOR);

        if (!rng || rng_chance(rng, 1, 2)) {
            if (write->data)
                memcpy(to + write->offset + at, write->data + at, n);
            else
                memset(to + write->offset + at, 0, n);
        }
        at += n;
    }
}

static void disk_flush(struct test_disk *disk, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        apply(&disk->writes[i], disk->durable, NULL);
        xfree(disk->writes[i].data);
    }
    memmove(disk->writes, disk->writes + count,
            (disk->write_count - count) * sizeof(*disk->writes));
    disk->write_count -= count;
}

void test_disk_crash(const struct test_disk *disk, uint64_t seed, struct test_disk *out)
{
    struct rng rng;
    uint64_t size = disk->size;
    uint8_t *image = xmalloc(MAX(disk->cap, UINT64_C(1)));

    rng_init(&rng, seed);
    memcpy(image, disk->durable, disk->cap);
    for (size_t i = 0; i < disk->write_count; i++)
        apply(&disk->writes[i], image, &rng);
    test_disk_load(out, image, size);
    xfree(image);
}

void test_disk_export(const struct test_disk *disk, const char *path)
{
    FILE *f = fopen(path, "wb");

    check(f && fwrite(disk->data, 1, disk->size, f) == disk->size);
    fclose(f);
}

bool test_disk_import(struct test_disk *disk, const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data;
    long size;

    if (!f)
        return false;
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    data = xmalloc((size_t)size + 1);
    check(fread(data, 1, (size_t)size, f) == (size_t)size);
    fclose(f);
    test_disk_load(disk, data, (uint64_t)size);
    xfree(data);
    return true;
}

/* ---- The driver of the disk ---- */

struct memdisk {
    struct test_disk *disk;
    struct test_world *world;
    struct list queue; /* struct memdisk_req */
    struct task task;
};

struct memdisk_req {
    struct list link;
    struct req *req;
    size_t flush_count;
    uint64_t nth;
};

/* The world that is open; drivers have no other way to it. Test code may have such a thing. */
static struct test_world *current_world;

static int memdisk_do(struct test_disk *disk, struct memdisk_req *m)
{
    struct req *req = m->req;
    uint64_t end = req->offset + req->len, have;

    if (disk->fail_nth && m->nth >= disk->fail_nth &&
        m->nth < disk->fail_nth + MAX(disk->fail_count, UINT64_C(1)))
        return -disk->fail_error;
    switch (req->kind) {
    case REQ_READ:
        disk->reads++;
        have = MIN(req->len, sub_saturate_u64(disk->size, req->offset));
        iov_copy_to(req->data, have, disk->data + req->offset);
        if (have < req->len)
            iov_fill(iov_view_advance(req->data, have), req->len - have, 0);
        return 0;
    case REQ_WRITE:
    case REQ_ZERO:
        if ((disk->limit && end > disk->limit) || end > DISK_MAX)
            return -ENOSPC;
        disk->write_ops++;
        disk->bytes_written += req->len;
        disk_write(disk, req->offset, req->len, req->data, req->kind == REQ_ZERO);
        return 0;
    case REQ_DISCARD:
        disk->discards++;
        if (end <= disk->size) {
            /* What was there is gone; garbage finds those who still rely on it. */
            struct iovec iov = { xmalloc(req->len), req->len };

            memset(iov.iov_base, 0xdd, req->len);
            disk_write(disk, req->offset, req->len, iov_view(&iov, 1), false);
            xfree(iov.iov_base);
        }
        return 0;
    case REQ_FLUSH:
        disk->flushes++;
        disk_flush(disk, MIN(m->flush_count, disk->write_count));
        return 0;
    case REQ_STATUS:
        req->status = (struct req_status){ .flags = STATUS_DATA, .len = req->len };
        return 0;
    case REQ_KIND_COUNT: break;
    }
    unreachable();
}

static void memdisk_run(struct task *task)
{
    struct memdisk *d = container_of(task, struct memdisk, task);
    size_t n = list_count(&d->queue), pick = d->disk->in_order ? 0 : rng_below(&d->world->rng, n);
    struct memdisk_req *m = NULL;
    struct node *node;
    struct req *req;
    int result;

    list_for_each(at, &d->queue, struct memdisk_req, link) {
        bool late = d->disk->late_len && at->req->kind == d->disk->late_kind &&
                    at->req->len == d->disk->late_len;

        m = m && late ? m : at;
        if (!pick-- && !late)
            break;
    }
    if (d->disk->late_len && m->req->kind == d->disk->late_kind && m->req->len == d->disk->late_len)
        return; /* The next request to the disk looks again. */
    list_del(&m->link);
    if (n > 1)
        reactor_defer(d->world->reactor, &d->task, memdisk_run);
    req = m->req;
    node = req->node;
    result = memdisk_do(d->disk, m);
    if (!result && req->kind == REQ_WRITE && node->size < d->disk->size)
        node_set_size(node, align_up_u64(d->disk->size, SECTOR));
    req_complete(req, result);
}

static void memdisk_submit(struct node *node, struct req *req)
{
    struct memdisk *d = node->state;
    struct memdisk_req *m = req->ctx;
    size_t flush_count = d->disk->write_count;

    /* Flushes cover writes before them in the list only, and those move up when an earlier flush ends. */
    list_for_each(other, &d->queue, struct memdisk_req, link) {
        if (other->req->kind == REQ_FLUSH)
            flush_count = 0;
    }
    m->req = req;
    m->nth = ++d->disk->ops;
    m->flush_count = flush_count;
    list_add_tail(&d->queue, &m->link);
    reactor_defer(d->world->reactor, &d->task, memdisk_run);
}

static void memdisk_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                         void *arg)
{
    struct memdisk *d = node->state;
    const char *name = "";
    struct err *err = opts_str(opts, "disk", &name);

    if (!err) {
        d->world = current_world;
        d->disk = test_disk(current_world, name);
        list_init(&d->queue);
        node->size = align_up_u64(d->disk->size, SECTOR);
        node->limits.request_alignment = 1;
        node->limits.memory_alignment = 1;
    }
    done(arg, err);
}

static void memdisk_close(struct node *node, driver_done_fn *done, void *arg) { done(arg, NULL); }

static void memdisk_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                             driver_done_fn *done, void *arg)
{
    struct memdisk *d = node->state;

    disk_reserve(d->disk, size);
    if (size < d->disk->size) {
        memset(d->disk->data + size, 0, d->disk->size - size);
        memset(d->disk->durable + size, 0, d->disk->cap - size);
    }
    d->disk->size = size;
    node_set_size(node, size);
    done(arg, NULL);
}

static const struct driver driver_memdisk = {
    .name = "file",
    .is_protocol = true,
    .can_grow = true,
    .state_size = sizeof(struct memdisk),
    .req_size = sizeof(struct memdisk_req),
    .open = memdisk_open,
    .close = memdisk_close,
    .submit = memdisk_submit,
    .truncate = memdisk_truncate,
};

/* ---- The world ---- */

void test_world_init(struct test_world *w, uint64_t seed)
{
    test_world_init_format(w, seed, &driver_qcow2);
}

void test_world_init_format(struct test_world *w, uint64_t seed, const struct driver *format)
{
    struct sim_options options = { .seed = seed };

    memset(w, 0, sizeof(*w));
    rng_init(&w->rng, seed);
    w->sim = sim_new(&options);
    w->reactor = sim_reactor_new(w->sim);
    w->format = format;
    w->drivers[0] = &driver_memdisk;
    w->drivers[1] = format;
    w->graph = graph_new(w->reactor, w->drivers);
    w->outer = current_world;
    current_world = w;
}

bool test_wait(struct test_world *w, const bool *flag)
{
    return *flag || sim_run_until(w->sim, flag, EVENTS_MAX);
}

struct waiter {
    bool done;
    struct err *err;
    struct node *node;
};

static void waiter_done(void *arg, struct err *err)
{
    struct waiter *waiter = arg;

    waiter->err = err;
    waiter->done = true;
}

static struct err *wait_for(struct test_world *w, struct waiter *waiter)
{
    check(test_wait(w, &waiter->done));
    return waiter->err;
}

void test_world_fini(struct test_world *w)
{
    struct waiter waiter = { 0 };

    graph_close_all(w->graph, waiter_done, &waiter);
    err_free(wait_for(w, &waiter));
    check(sim_run(w->sim, EVENTS_MAX));
    graph_free(w->graph);
    reactor_free(w->reactor);
    sim_free(w->sim);
    current_world = w->outer;
    for (int i = 0; i < TEST_DISKS; i++) {
        forget_writes(&w->disks[i]);
        xfree(w->disks[i].writes);
        xfree(w->disks[i].data);
        xfree(w->disks[i].durable);
    }
}

struct test_disk *test_disk(struct test_world *w, const char *name)
{
    for (int i = 0; i < TEST_DISKS; i++) {
        if (w->disks[i].name[0] && strcmp(w->disks[i].name, name) == 0)
            return &w->disks[i];
        if (!w->disks[i].name[0]) {
            snprintf(w->disks[i].name, sizeof(w->disks[i].name), "%s", name);
            return &w->disks[i];
        }
    }
    unreachable();
}

struct json *test_json(const char *text)
{
    CLEANUP(xfree) char *copy = xstrdup(text);
    struct json *value = NULL;

    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    err_free(json_parse(copy, strlen(copy), &value));
    check(value);
    return value;
}

struct err *test_create(struct test_world *w, const char *disk, const char *options)
{
    CLEANUP(xfree)
    char *text = xasprintf("{'driver':'%s','file':{'driver':'file','disk':'%s'},%s}",
                           w->format->name, disk, options);
    struct json *json = test_json(text);
    struct waiter waiter = { 0 };

    (w->format->create)(w->graph, json, waiter_done, &waiter);
    json_free(json);
    return wait_for(w, &waiter);
}

static void node_opened(void *arg, struct node *node, struct err *err)
{
    struct waiter *waiter = arg;

    waiter->node = node;
    waiter_done(arg, err);
}

struct err *test_open(struct test_world *w, const char *disk, const char *node_name,
                      const char *options, unsigned flags, struct node **out)
{
    CLEANUP(xfree)
    char *text =
        xasprintf("{'driver':'%s','node-name':'%s','file':{'driver':'file','disk':'%s'}%s%s}",
                  w->format->name, node_name, disk, options ? "," : "", options ? options : "");
    struct json *json = test_json(text);
    struct waiter waiter = { 0 };

    node_open(w->graph, json, flags, node_opened, &waiter);
    json_free(json);
    wait_for(w, &waiter);
    *out = waiter.node;
    return waiter.err;
}

static const struct edge_parent_ops test_parent = { .what = "test" };

struct edge *test_edge(struct test_world *w, struct node *node)
{
    struct edge *edge = NULL;
    uint32_t perm = PERM_CONSISTENT_READ | (node->read_only ? 0 : PERM_WRITE | PERM_RESIZE);
    struct err *err = edge_attach(node, "root", &test_parent, w, perm, PERM_ALL, &edge);

    if (err)
        log_err("attach", err);
    check(edge);
    return edge;
}

void test_close(struct test_world *w, struct edge *edge, struct node *node)
{
    if (edge)
        edge_detach(edge);
    node_unref(node);
    check(sim_run(w->sim, EVENTS_MAX));
}

struct io_waiter {
    struct req req;
    bool done;
};

static void io_done(struct req *req) { container_of(req, struct io_waiter, req)->done = true; }

int test_io(struct test_world *w, struct edge *edge, enum req_kind kind, uint32_t flags,
            uint64_t offset, uint64_t len, void *buf)
{
    struct iovec iov = { buf, len };
    struct io_waiter io = {
        .req = { .kind = kind, .flags = flags, .offset = offset, .len = len, .done = io_done }
    };

    if (buf)
        io.req.data = iov_view(&iov, 1);
    edge_submit(edge, &io.req);
    check(test_wait(w, &io.done));
    return io.req.result;
}

struct err *test_resize(struct test_world *w, struct edge *edge, uint64_t size,
                        enum prealloc prealloc)
{
    struct waiter waiter = { 0 };

    edge_truncate(edge, size, true, prealloc, waiter_done, &waiter);
    return wait_for(w, &waiter);
}

struct err *test_check(struct test_world *w, struct node *node, unsigned fix,
                       struct check_result *result)
{
    struct waiter waiter = { 0 };

    memset(result, 0, sizeof(*result));
    (w->format->check)(node, fix, result, waiter_done, &waiter);
    return wait_for(w, &waiter);
}

struct err *test_snapshot_show(struct test_world *w, struct node *node, const char *id)
{
    struct waiter waiter = { 0 };

    node_snapshot_show(node, id, waiter_done, &waiter);
    return wait_for(w, &waiter);
}

int test_vmstate(struct test_world *w, struct node *node, enum req_kind kind, uint64_t offset,
                 uint64_t len, void *buf)
{
    struct iovec iov = { buf, len };
    struct io_waiter io = { .req = { .kind = kind,
                                     .offset = offset,
                                     .len = len,
                                     .data = iov_view(&iov, 1),
                                     .done = io_done } };

    node_submit_vmstate(node, &io.req);
    check(test_wait(w, &io.done));
    return io.req.result;
}

struct err *test_amend(struct test_world *w, struct node *node, const char *options)
{
    struct json *json = test_json(options);
    struct waiter waiter = { 0 };

    (driver_qcow2.amend)(node, json, 0, NULL, waiter_done, &waiter);
    json_free(json);
    return wait_for(w, &waiter);
}
