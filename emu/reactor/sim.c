/* The simulated world: virtual time, the queue of what is under way, crashes. */
#include "emu/reactor/sim.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/hash.h"
#include "emu/base/nstime.h"
#include "emu/reactor/sim_priv.h"

/* Of listeners that leave the choice to the system. */
#define FIRST_PORT 49152

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
    sim->next_port = FIRST_PORT;
    list_init(&sim->slots);
    list_init(&sim->reactors);
    return sim;
}

void sim_free(struct sim *sim)
{
    if (!sim)
        return;
    check(list_empty(&sim->reactors));
    check(list_empty(&sim->slots));
    sim_fault_clear(sim);
    sim_disks_drop(&sim->disks);
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

enum sim_next { SIM_NOTHING, SIM_EVENT, SIM_TIMER };

/* Brings the next event about, if it is not after limit. Only a timer runs code of its owner. */
static enum sim_next fire_next(struct sim *sim, int64_t limit)
{
    struct heap_node *node = heap_min(&sim->queue);
    int64_t event = node ? (int64_t)node->key : NSTIME_NEVER, deadline;
    struct sim_reactor *timer = first_timer(sim, &deadline);

    if (MIN(event, deadline) == NSTIME_NEVER || MIN(event, deadline) > limit)
        return SIM_NOTHING;
    advance(sim, MIN(event, deadline));
    if (event <= deadline) {
        struct sim_slot *slot = container_of(node, struct sim_slot, due);

        heap_remove(&sim->queue, node);
        slot->fire(sim, slot);
        return SIM_EVENT;
    }
    sim->events++;
    sim->current = timer;
    reactor_run_timer_one(&timer->reactor, sim->now_ns);
    sim->current = NULL;
    return SIM_TIMER;
}

/* One completion, task or timer, at the latest at limit. Most events only queue a completion. */
static bool step_until(struct sim *sim, int64_t limit)
{
    for (;;) {
        struct sim_reactor *r = pick_ready(sim);

        if (r) {
            sim->events++;
            sim->current = r;
            reactor_run_ready_one(&r->reactor);
            sim->current = NULL;
            return true;
        }
        switch (fire_next(sim, limit)) {
        case SIM_NOTHING: return false;
        case SIM_EVENT: break;
        case SIM_TIMER: return true;
        }
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

/* Code that runs in a completion is on the thread of its reactor; the test itself is on all. */
static bool body_is_home(const struct reactor *r)
{
    const struct sim_reactor *current = sim_of(r)->current;

    return !current || &current->reactor == r;
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
    struct sim *sim = sim_of(r);
    struct sim_reactor *current = sim->current;
    struct sim_post *post = NEW(struct sim_post);

    post->fn = fn;
    post->arg = arg;
    list_add_tail(&((struct sim_reactor *)r)->posts, &post->link);
    sim->current = NULL; /* From any reactor. */
    reactor_defer(r, &post->task, run_post);
    sim->current = current;
}

void sim_reactor_drop(struct sim_reactor *r)
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
    sim_reactor_drop(r);
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

static struct err *no_watch(struct reactor *r, int fd, struct reactor_watch **out)
{
    (void)r;
    (void)out;
    return err_new("descriptor %d cannot be watched in the simulator", fd);
}

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
    .watch_new = no_watch,
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
