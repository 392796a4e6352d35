/*
 * What the parts of the simulator share. Private to the package.
 *
 * A running op has a slot: when it is due in virtual time, its effect is applied and it is finished. So
 * the effect of an op happens at one moment between its start and its completion, and ops that overlap
 * take effect in an order that follows from the seed.
 */
#ifndef EMU_REACTOR_SIM_PRIV_H
#define EMU_REACTOR_SIM_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/list.h"
#include "emu/base/map.h"
#include "emu/base/rng.h"
#include "emu/base/vec.h"
#include "emu/reactor/backend.h"
#include "emu/reactor/sim.h"
#include "emu/reactor/sim_disk.h"

struct sim_slot {
    struct heap_node due;  /* First. In sim->queue while scheduled. */
    struct list link;      /* In sim->slots. */
    struct op *op;         /* NULL: an internal event. */
    void (*fire)(struct sim *sim,
                 struct sim_slot *slot); /* Applies and finishes; slot_free is its duty. */
    int error;             /* Injected: negative errno. */
    bool stalled;          /* Waits for sim_release(). */
    char *path, *path2;    /* Owned. */
    struct sim_disk_epoch epoch; /* SYNC: what it covers. */
    struct sim_stream *stream;
    size_t moved;          /* STREAM_WRITE: bytes delivered so far. */
};

struct sim_file {
    struct reactor_file file; /* First. */
    struct list link;
    struct sim_disk *disk; /* Holds a reference. */
};

struct sim_reactor {
    struct reactor reactor; /* First. */
    struct reactor_thread *thread; /* Owned; of reactor_thread_new(). */
    struct sim *sim;
    struct list link;
    struct list files, streams, listeners, posts;
};

struct sim_armed_fault {
    struct sim_fault fault;
    char *path; /* Owned; NULL: any. */
};

struct sim {
    struct sim_options options;
    struct rng rng;
    int64_t now_ns;
    uint64_t events, hash, file_ops;
    struct heap queue; /* struct sim_slot, by time. */
    struct list slots; /* All running. */
    struct list reactors;
    struct map disks;     /* Path to struct sim_disk, referenced. */
    struct map listeners; /* Name to struct sim_listener, borrowed. */
    struct map stalled;   /* Names of listeners whose connections stand still. */
    VEC(struct sim_armed_fault) faults;
    struct sim_reactor *current; /* Whose code runs; NULL: the test. */
    unsigned next_port;          /* For listeners that ask for any. */
    uint64_t fail_nth;
    int fail_error;
};

static inline struct sim *sim_of(const struct reactor *r)
{
    return ((const struct sim_reactor *)r)->sim;
}

/* ---- Slots (sim.c) ---- */
struct sim_slot *sim_slot_new(struct sim *sim, struct op *op,
                              void (*fire)(struct sim *, struct sim_slot *));
void sim_slot_free(struct sim *sim, struct sim_slot *slot);
/* Due after the usual random latency. */
void sim_slot_schedule(struct sim *sim, struct sim_slot *slot);
/* Due now, after what is due now already. */
void sim_slot_schedule_now(struct sim *sim, struct sim_slot *slot);
void sim_slot_unschedule(struct sim *sim, struct sim_slot *slot);
/* Frees the slot and finishes its op. */
void sim_slot_finish(struct sim *sim, struct sim_slot *slot, int64_t result);

/* Frees a reactor whose ops and handles are gone. */
void sim_reactor_drop(struct sim_reactor *r);

/* ---- The world (sim_world.c) ---- */
/* Empties a map of disks. */
void sim_disks_drop(struct map *disks);

/* ---- Files (sim_file.c) ---- */
void sim_file_start(struct op *op);
void sim_file_cancel(struct op *op);
/* The path the op is about; NULL: none. */
const char *sim_file_path(const struct sim_slot *slot);
void sim_file_close(struct reactor_file *file);
void sim_file_drop(struct sim_file *file); /* At a crash. */
/* The sectors of writes under way may reach the disk at a crash. */
void sim_file_crash_inflight(const struct sim *sim, struct sim *image, struct rng *rng);

/* ---- Locks (sim_lock.c) ---- */
int64_t sim_lock_set(struct sim_disk *disk, const void *owner, enum file_lock kind, uint64_t off,
                     uint64_t len);
bool sim_lock_conflict(const struct sim_disk *disk, const void *owner, enum file_lock kind,
                       uint64_t off, uint64_t len);
void sim_lock_release(struct sim_disk *disk, const void *owner);

/* ---- Faults (sim_fault.c) ---- */
/* Looks whether the op meets an armed fault and notes it in the slot. */
void sim_fault_apply(struct sim *sim, struct sim_slot *slot, const char *path);

/* ---- Streams (sim_net.c) ---- */
void sim_net_connect(struct op *op, const struct addr *addr);
void sim_net_start(struct op *op);
void sim_net_cancel(struct op *op);
struct err *sim_net_pair(struct reactor *r, struct reactor_stream *out[2]);
struct err *sim_net_listen(struct reactor *r, const struct addr *addr, int backlog,
                           struct reactor_listener **out);
void sim_net_listener_close(struct reactor_listener *l);
unsigned sim_net_listener_port(const struct reactor_listener *l);
void sim_net_shutdown(struct reactor_stream *s, bool both);
void sim_net_close(struct reactor_stream *s);
char *sim_net_name(const struct reactor_stream *s, bool peer);
/* Lets everything that stood still go on. */
void sim_net_resume(struct sim *sim, const char *name);
/* At a crash: frees the streams and listeners of a reactor; peers in other reactors see the end. */
void sim_net_drop(struct sim_reactor *r);

#endif
