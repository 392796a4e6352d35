#ifndef EMU_REACTOR_SIM_H
#define EMU_REACTOR_SIM_H

/*
 * The simulated reactor: one thread, a virtual clock, and a world of files and streams in memory, all
 * driven by one seed. The same seed and the same calls give the same run, event for event.
 *
 * A world (struct sim) outlives the reactors made in it, so that a test can crash "the process" (drop
 * its reactor and everything on it), let the disks lose what was not flushed, and start again.
 *
 * Fault model of files:
 *  - Every write goes to a volatile cache. sync makes what was written before its start durable when it
 *    succeeds. At sim_crash() each unflushed 512-byte sector is independently kept or lost by seed, so
 *    writes are reordered and torn; metadata (size, holes) follows the same rule per operation.
 *  - Faults are armed per path: errors once or sticky on the nth matching op, ENOSPC at a size, short
 *    reads and writes, delay ranges, and stalls (ops that never complete until released).
 *  - fsync that fails once drops the dirty sectors it covered (fsync-gate).
 * Of streams: writes are split and delivered late by seed; they can stall, be reset or half closed.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/reactor/reactor.h"

struct sim;

struct sim_options {
    uint64_t seed;
    int64_t latency_min_ns, latency_max_ns; /* Per file op; 0,0: 1 us to 1 ms. */
    bool in_order;               /* Completions in start order (for tests of logic only). */
    bool split_streams;                     /* Deliver stream bytes in random pieces. */
    uint32_t short_io_per_mille;            /* Chance of a short file read or write. */
    uint32_t direct_block; /* Alignment that direct access needs; 0: 512. */
};

struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *sim);
struct reactor *sim_reactor_new(struct sim *sim);

/* Runs reactor r until idle: nothing ready and no timer armed; advances virtual time. Returns false when
 * max_events completions did not suffice (a livelock). Ops that are stalled do not count as work. */
bool sim_run(struct sim *sim, uint64_t max_events);
/* Runs until *flag is true, idle or max_events; returns *flag. */
bool sim_run_until(struct sim *sim, const bool *flag, uint64_t max_events);
/* Runs exactly one completion or timer; false when idle. */
bool sim_step(struct sim *sim);
/* Runs at most until virtual time advanced by ns. */
void sim_run_for(struct sim *sim, int64_t ns);
int64_t sim_now(const struct sim *sim);
uint64_t sim_events(const struct sim *sim); /* Completions so far: the crash-point coordinate. */
uint64_t sim_hash(
    const struct sim *sim); /* Digest of all completions so far: equal for equal runs. */

/* Files of the world. */
void sim_file_create(struct sim *sim, const char *path, uint64_t size);
bool sim_file_exists(const struct sim *sim, const char *path);
uint64_t sim_file_size(const struct sim *sim, const char *path);
/* Direct access beside the ops, for oracles: current (cached) content. Reading past the end gives zeroes. */
void sim_file_peek(const struct sim *sim, const char *path, uint64_t offset, void *buf, size_t len);
void sim_file_poke(struct sim *sim, const char *path, uint64_t offset, const void *buf,
                   size_t len); /* durable */
/* Copies between the world and the host file system, for checks by peers. */
struct err *sim_file_export(const struct sim *sim, const char *path,
                            const char *host_path) MUST_USE;
struct err *sim_file_import(struct sim *sim, const char *path, const char *host_path) MUST_USE;

/*
 * The process dies: every reactor of the world is gone with all its ops (owners must not touch them;
 * the test frees its objects' memory by dropping its arena or by the *_abandon functions), locks are
 * released, each unflushed sector is kept or lost by the seed rng given.
 */
void sim_crash(struct sim *sim, uint64_t crash_seed);
/* All unflushed data becomes durable, as at an orderly end. */
void sim_sync_all(struct sim *sim);
/* A copy of all files as they would be after a crash now, with that seed, as a new world: the running
 * world goes on undisturbed. This is what crash exploration uses. */
struct sim *sim_crash_image(const struct sim *sim, uint64_t crash_seed,
                            const struct sim_options *options);

enum sim_fault_kind {
    SIM_FAULT_READ,
    SIM_FAULT_WRITE,
    SIM_FAULT_SYNC,
    SIM_FAULT_ALLOC,
    SIM_FAULT_TRUNCATE,
    SIM_FAULT_OPEN,
    SIM_FAULT_EXTENT,
    SIM_FAULT_ANY
};
struct sim_fault {
    const char *path;          /* NULL: any file. */
    enum sim_fault_kind kind;
    uint64_t skip;             /* Let this many matching ops pass first. */
    uint64_t count;            /* Then hit this many; UINT64_MAX: sticky. */
    int error;                 /* Positive errno; 0 with stall: no error. */
    bool stall;                /* Never complete until sim_release(). */
    uint64_t min_offset, max_offset; /* Only ops that touch [min,max); 0,0: all. */
};
void sim_fault_add(struct sim *sim, const struct sim_fault *fault);
void sim_fault_clear(struct sim *sim);
/* Lets stalled ops of path (NULL: all) complete and stops stalling; stalled streams too. */
void sim_release(struct sim *sim, const char *path);
/* Fails the nth file op from now, counting all kinds, once, with error (nth-failure loops); 0 disarms. */
void sim_fail_nth(struct sim *sim, uint64_t nth, int error);
uint64_t sim_file_ops(const struct sim *sim); /* File ops started so far. */
/* Writes beyond this file size fail with ENOSPC; UINT64_MAX: none. */
void sim_file_limit(struct sim *sim, const char *path, uint64_t max_size);

/* Streams: the listeners of a world are found by address text (unix path or "host:port"). */
void sim_stream_stall(struct sim *sim, const char *listener_name,
                      bool on); /* No byte moves either way. */
void sim_stream_reset(struct sim *sim,
                      const char *listener_name); /* All connections: ECONNRESET. */

#endif
