/* The simulated world: virtual time, the queue of what is under way, crashes. */
#include "emu/reactor/sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/hash.h"
#include "emu/base/nstime.h"
#include "emu/reactor/sim_priv.h"

/* The virtual wall clock starts on a fixed day. */
#define WALL_START_NS (INT64_C(1700000000) * NS_PER_SEC)

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *sim = NEW(struct sim);

    sim->options = *options;
    if (sim->options.latency_max_ns == 0) {
        sim->options.latency_min_ns = NS_PER_US;
        sim->options.latency_max_ns = NS_PER_MS;
    }
    rng_init(&sim->rng, options->seed);
    sim->now_ns = NS_PER_SEC;
    list_init(&sim->slots);
    list_init(&sim->reactors);
    return sim;
}

static void drop_disk(void *disk) { sim_disk_unref(disk); }

void sim_free(struct sim *sim)
{
    if (!sim)
        return;
    check(list_empty(&sim->reactors));
    check(list_empty(&sim->slots));
    sim_fault_clear(sim);
    map_fini_values(&sim->disks, drop_disk);
    map_fini(&sim->listeners);
    map_fini(&sim->stalled);
    heap_fini(&sim->queue);
    xfree(sim);
}

/* ---- Slots ---- */

struct sim_slot *sim_slot_new(struct sim *sim, struct op *op,
                              void (*fn)(struct sim *, struct sim_slot *))
{
    struct sim_slot *slot = NEW(struct sim_slot);

    slot->op = op;
    slot->fire = fn;
    list_add_tail(&sim->slots, &slot->link);
    if (op)
        op->backend = slot;
    return slot;
}

void sim_slot_free(struct sim *sim, struct sim_slot *slot)
{
    sim_slot_unschedule(sim, slot);
    list_del(&slot->link);
    xfree(slot->path);
    xfree(slot->path2);
    xfree(slot);
}

static void schedule_at(struct sim *sim, struct sim_slot *slot, int64_t at)
{
    heap_update(&sim->queue, &slot->due, (uint64_t)at);
}

void sim_slot_schedule(struct sim *sim, struct sim_slot *slot)
{
    const struct sim_options *o = &sim->options;
    uint64_t spread = (uint64_t)(o->latency_max_ns - o->latency_min_ns) + 1;

    if (o->in_order)
        schedule_at(sim, slot, sim->now_ns + o->latency_min_ns);
    else
        schedule_at(sim, slot,
                    sim->now_ns + o->latency_min_ns + (int64_t)rng_below(&sim->rng, spread));
}

void sim_slot_schedule_now(struct sim *sim, struct sim_slot *slot)
{
    schedule_at(sim, slot, sim->now_ns);
}

void sim_slot_unschedule(struct sim *sim, struct sim_slot *slot)
{
    heap_remove(&sim->queue, &slot->due);
}

void sim_slot_finish(struct sim *sim, struct sim_slot *slot, int64_t result)
{
    struct op *op = slot->op;

    sim_slot_free(sim, slot);
    sim->hash = hash_u64(
        sim->hash ^ hash_u64((uint64_t)op->kind << 56 ^ (uint64_t)result ^ (uint64_t)sim->now_ns));
    op_finish(op, result);
}

/* ---- Running ---- */

/* Something that is ready in one of the reactors; which one of several is left to the seed. */
static struct sim_reactor *pick_ready(struct sim *sim)
{
    struct sim_reactor *found = NULL;
    uint64_t count = 0;

    list_for_each(r, &sim->reactors, struct sim_reactor, link) {
        if (reactor_has_ready(&r->reactor) && rng_below(&sim->rng, ++count) == 0)
            found = r;
    }
    return found;
}

static struct sim_reactor *first_timer(struct sim *sim, int64_t *deadline)
{
    struct sim_reactor *found = NULL;

    *deadline = NSTIME_NEVER;
    list_for_each(r, &sim->reactors, struct sim_reactor, link) {
        if (reactor_next_deadline(&r->reactor) < *deadline) {
            *deadline = reactor_next_deadline(&r->reactor);
            found = r;
        }
    }
    return found;
}

static void advance(struct sim *sim, int64_t to)
{
    if (to > sim->now_ns)
        sim->now_ns = to;
    list_for_each(r, &sim->reactors, struct sim_reactor, link)
        r->reactor.now_ns = sim->now_ns;
}

/* Brings the next event about, if it is not after limit. */
static bool fire_next(struct sim *sim, int64_t limit)
{
    struct heap_node *node = heap_min(&sim->queue);
    int64_t event = node ? (int64_t)node->key : NSTIME_NEVER, deadline;
    struct sim_reactor *timer = first_timer(sim, &deadline);

    if (MIN(event, deadline) == NSTIME_NEVER || MIN(event, deadline) > limit)
        return false;
    advance(sim, MIN(event, deadline));
    if (event <= deadline) {
        struct sim_slot *slot = container_of(node, struct sim_slot, due);

        heap_remove(&sim->queue, node);
        slot->fire(sim, slot);
        return true;
    }
    sim->events++;
    reactor_run_timer_one(&timer->reactor, sim->now_ns);
    return true;
}

/* One completion, task or timer, at the latest at limit. Firing a slot may only queue something: goes on then. */
static bool step_until(struct sim *sim, int64_t limit)
{
    for (;;) {
        struct sim_reactor *r = pick_ready(sim);

        if (r) {
            sim->events++;
            return reactor_run_ready_one(&r->reactor);
        }
        if (!fire_next(sim, limit))
            return false;
        if (!pick_ready(sim))
            return true;
    }
}

bool sim_step(struct sim *sim) { return step_until(sim, NSTIME_NEVER - 1); }

bool sim_run(struct sim *sim, uint64_t max_events)
{
    while (max_events-- > 0) {
        if (!sim_step(sim))
            return true;
    }
    return false;
}

bool sim_run_until(struct sim *sim, const bool *flag, uint64_t max_events)
{
    while (!*flag && max_events-- > 0 && sim_step(sim))
        ;
    return *flag;
}

void sim_run_for(struct sim *sim, int64_t ns)
{
    int64_t limit = sim->now_ns + ns;

    while (step_until(sim, limit))
        ;
    advance(sim, limit);
}

int64_t sim_now(const struct sim *sim) { return sim->now_ns; }

uint64_t sim_events(const struct sim *sim) { return sim->events; }

uint64_t sim_hash(const struct sim *sim) { return sim->hash; }

/* ---- The body ---- */

static bool body_run_once(struct reactor *r, int64_t timeout_ns)
{
    struct sim *sim = sim_of(r);

    if (timeout_ns < 0)
        return step_until(sim, NSTIME_NEVER - 1);
    if (step_until(sim, sim->now_ns + timeout_ns))
        return true;
    advance(sim, sim->now_ns + timeout_ns);
    return false;
}

static const char *body_name(const struct reactor *r)
{
    (void)r;
    return "sim";
}

static int64_t body_now(struct reactor *r) { return sim_of(r)->now_ns; }

static int64_t body_wall_now(struct reactor *r) { return WALL_START_NS + sim_of(r)->now_ns; }

static void body_wake(struct reactor *r) { (void)r; }

static bool body_is_home(const struct reactor *r)
{
    (void)r;
    return true;
}

static void body_adopt(struct reactor *r) { (void)r; }

struct sim_post {
    struct task task;
    struct list link;
    void (*fn)(void *arg);
    void *arg;
};

static void run_post(struct task *task)
{
    struct sim_post *post = container_of(task, struct sim_post, task);
    void (*fn)(void *arg) = post->fn;
    void *arg = post->arg;

    list_del(&post->link);
    xfree(post);
    fn(arg);
}

static void body_post(struct reactor *r, void (*fn)(void *arg), void *arg)
{
    struct sim_post *post = NEW(struct sim_post);

    post->fn = fn;
    post->arg = arg;
    list_add_tail(&((struct sim_reactor *)r)->posts, &post->link);
    reactor_defer(r, &post->task, run_post);
}

static void drop_reactor(struct sim_reactor *r)
{
    list_for_each_safe(post, &r->posts, struct sim_post, link) {
        list_del(&post->link);
        xfree(post);
    }
    list_del(&r->link);
    heap_fini(&r->reactor.timers);
    xfree(r->thread);
    xfree(r);
}

static void body_free(struct reactor *reactor)
{
    struct sim_reactor *r = (struct sim_reactor *)reactor;

    check(list_empty(&r->posts));
    reactor_fini(reactor);
    drop_reactor(r);
}

static void body_start(struct op *op)
{
    if (op->kind == OP_ACCEPT || op->kind == OP_STREAM_READ || op->kind == OP_STREAM_WRITE)
        sim_net_start(op);
    else
        sim_file_start(op);
}

static void body_cancel(struct op *op)
{
    if (op->kind >= OP_CONNECT)
        sim_net_cancel(op);
    else
        sim_file_cancel(op);
}

static int no_fd(const struct reactor_file *file)
{
    (void)file;
    return -1;
}

static int no_stream_fd(const struct reactor_stream *s)
{
    (void)s;
    return -1;
}

/* Descriptors of the host have no place in a simulated world. */
static struct reactor_file *no_file_from_fd(struct reactor *r, int fd, unsigned flags)
{
    check_failed_fmt(__FILE__, __LINE__, __func__, "descriptor %d (flags %u) in reactor %p", fd,
                     flags, (void *)r);
}

static struct reactor_stream *no_stream_from_fd(struct reactor *r, int fd)
{
    check_failed_fmt(__FILE__, __LINE__, __func__, "descriptor %d in reactor %p", fd, (void *)r);
}

static unsigned no_fds(struct reactor_stream *s, int *fds, unsigned max)
{
    (void)s;
    (void)fds;
    (void)max;
    return 0;
}

/* Descriptors cannot travel: the bytes do. */
static void write_without_fds(struct op *op, const int *fds, unsigned nfds)
{
    (void)fds;
    (void)nfds;
    sim_net_start(op);
}

static void ignore_nodelay(struct reactor_stream *s, bool on)
{
    (void)s;
    (void)on;
}

static struct err *no_signals(struct reactor *r, const int *signals,
                              void (*fn)(void *arg, int signo), void *arg)
{
    (void)r;
    (void)signals;
    (void)fn;
    (void)arg;
    return NULL;
}

static void off_signals(struct reactor *r) { (void)r; }

static struct err *thread_new(struct reactor *parent, const char *name, struct reactor_thread **out)
{
    struct sim_reactor *r = (struct sim_reactor *)sim_reactor_new(sim_of(parent));

    (void)name;
    r->thread = NEW(struct reactor_thread);
    r->thread->reactor = &r->reactor;
    *out = r->thread;
    return NULL;
}

static void thread_stop(struct reactor_thread *t) { reactor_free(t->reactor); }

static const struct backend sim_backend = {
    .name = body_name,
    .run_once = body_run_once,
    .now = body_now,
    .wall_now = body_wall_now,
    .wake = body_wake,
    .is_home = body_is_home,
    .adopt = body_adopt,
    .post = body_post,
    .free = body_free,
    .start = body_start,
    .cancel = body_cancel,
    .file_from_fd = no_file_from_fd,
    .file_close = sim_file_close,
    .file_fd = no_fd,
    .connect = sim_net_connect,
    .stream_from_fd = no_stream_from_fd,
    .stream_pair = sim_net_pair,
    .stream_write_fds = write_without_fds,
    .stream_take_fds = no_fds,
    .stream_shutdown = sim_net_shutdown,
    .stream_close = sim_net_close,
    .stream_fd = no_stream_fd,
    .stream_name = sim_net_name,
    .stream_set_nodelay = ignore_nodelay,
    .listen = sim_net_listen,
    .listener_close = sim_net_listener_close,
    .listener_port = sim_net_listener_port,
    .on_signals = no_signals,
    .off_signals = off_signals,
    .thread_new = thread_new,
    .thread_stop = thread_stop,
};

struct reactor *sim_reactor_new(struct sim *sim)
{
    struct sim_reactor *r = NEW(struct sim_reactor);

    r->sim = sim;
    list_init(&r->files);
    list_init(&r->streams);
    list_init(&r->listeners);
    list_init(&r->posts);
    list_add_tail(&sim->reactors, &r->link);
    reactor_init(&r->reactor, &sim_backend);
    return &r->reactor;
}

/* ---- Files of the world, beside the ops ---- */

static struct sim_disk *disk_of(const struct sim *sim, const char *path)
{
    struct sim_disk *disk = map_get(&sim->disks, path);

    if (!disk)
        check_failed_fmt(__FILE__, __LINE__, __func__, "the world has no file '%s'", path);
    return disk;
}

void sim_file_create(struct sim *sim, const char *path, uint64_t size)
{
    struct sim_disk *disk = sim_disk_new(path, 1 + map_count(&sim->disks));

    disk->size = disk->durable_size = size;
    sim_disk_unref(map_put(&sim->disks, path, disk));
}

bool sim_file_exists(const struct sim *sim, const char *path) { return map_has(&sim->disks, path); }

uint64_t sim_file_size(const struct sim *sim, const char *path) { return disk_of(sim, path)->size; }

void sim_file_limit(struct sim *sim, const char *path, uint64_t max_size)
{
    disk_of(sim, path)->max_size = max_size;
}

void sim_file_peek(const struct sim *sim, const char *path, uint64_t offset, void *buf, size_t len)
{
    struct iovec iov = { buf, len };

    sim_disk_read(disk_of(sim, path), offset, iov_view(&iov, 1), len);
}

void sim_file_poke(struct sim *sim, const char *path, uint64_t offset, const void *buf, size_t len)
{
    struct sim_disk *disk = disk_of(sim, path);
    struct iovec iov = { (void *)(uintptr_t)buf, len };

    sim_disk_write(disk, offset, iov_view(&iov, 1), len);
    sim_disk_sync(disk, disk->gen);
}

struct err *sim_file_export(const struct sim *sim, const char *path, const char *host_path)
{
    const struct sim_disk *disk = disk_of(sim, path);
    FILE *out = fopen(host_path, "wb");
    uint8_t bytes[SIM_PAGE];
    bool ok = out != NULL;

    for (uint64_t at = 0; ok && at < disk->size; at += SIM_PAGE) {
        size_t n = MIN(disk->size - at, (uint64_t)SIM_PAGE);

        sim_file_peek(sim, path, at, bytes, n);
        ok = fwrite(bytes, 1, n, out) == n;
    }
    if (out && fclose(out) != 0)
        ok = false;
    return ok ? NULL : err_new_errno(errno, "cannot write '%s'", host_path);
}

struct err *sim_file_import(struct sim *sim, const char *path, const char *host_path)
{
    FILE *in = fopen(host_path, "rb");
    uint8_t bytes[SIM_PAGE];
    uint64_t at = 0;
    size_t n;

    if (!in)
        return err_new_errno(errno, "cannot read '%s'", host_path);
    sim_file_create(sim, path, 0);
    while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0) {
        if (mem_is_zero(bytes, n))
            sim_disk_truncate(disk_of(sim, path), at + n);
        else
            sim_file_poke(sim, path, at, bytes, n);
        at += n;
    }
    fclose(in);
    sim_disk_sync(disk_of(sim, path), UINT64_MAX);
    return NULL;
}

/* ---- Crashes ---- */

struct sim *sim_crash_image(const struct sim *sim, uint64_t crash_seed,
                            const struct sim_options *options)
{
    struct sim *image = sim_new(options);
    struct rng rng;
    const char *path;
    void *disk;

    rng_init(&rng, crash_seed);
    for (size_t pos = 0; map_next(&sim->disks, &pos, &path, &disk);)
        map_put(&image->disks, path, sim_disk_crash_copy(disk, &rng));
    sim_file_crash_inflight(sim, image, &rng);
    return image;
}

void sim_crash(struct sim *sim, uint64_t crash_seed)
{
    struct sim *after = sim_crash_image(sim, crash_seed, &sim->options);
    struct map disks = sim->disks;

    list_for_each_safe(slot, &sim->slots, struct sim_slot, link)
        sim_slot_free(sim, slot);
    list_for_each_safe(r, &sim->reactors, struct sim_reactor, link) {
        list_for_each_safe(file, &r->files, struct sim_file, link)
            sim_file_drop(file);
        sim_net_drop(r);
        drop_reactor(r);
    }
    map_fini(&sim->listeners);
    map_fini(&sim->stalled);
    sim->disks = after->disks;
    map_init(&after->disks);
    map_fini_values(&disks, drop_disk);
    sim_free(after);
}

void sim_sync_all(struct sim *sim)
{
    void *disk;

    for (size_t pos = 0; map_next(&sim->disks, &pos, NULL, &disk);)
        sim_disk_sync(disk, UINT64_MAX);
}

void sim_release(struct sim *sim, const char *path)
{
    for (size_t i = 0; i < vec_len(&sim->faults); i++) {
        struct sim_armed_fault *armed = &vec_at(&sim->faults, i);

        if (armed->fault.stall && (!path || (armed->path && strcmp(armed->path, path) == 0)))
            armed->fault.count = 0;
    }
    list_for_each(slot, &sim->slots, struct sim_slot, link) {
        if (!slot->stalled || !slot->op)
            continue;
        slot->stalled = false;
        sim_slot_schedule(sim, slot);
    }
    sim_net_resume(sim, path);
}
