/*
 * Tests of what reactor.h promises, run against every body. Each program (uring_test.c, epoll_test.c,
 * sim_conformance_test.c) implements conf_make() and lists CONFORMANCE_TESTS.
 */
#ifndef EMU_REACTOR_CONFORMANCE_TESTING_H
#define EMU_REACTOR_CONFORMANCE_TESTING_H

#include "emu/reactor/reactor.h"
#include "tests/harness/test.h"

struct conf {
    struct reactor *r;
    void *world; /* The simulated world, NULL for real ones. */
    const char *dir;
};

/* Implemented by each program. */
void conf_make(struct conf *c);
void conf_drop(struct conf *c);

/* An op that counts its completions. */
struct probe {
    struct op op;
    unsigned calls;
    unsigned order; /* How many probes of the test had completed before. */
    unsigned *counter;
};

/* Sets up an idle probe; counter may be NULL. */
void probe_init(struct probe *p, unsigned *counter);
/* Runs the loop until the probe is idle; the result. Fails the test when that takes too long. */
int64_t probe_wait(struct conf *c, struct probe *p);
/* Runs what is ready, without waiting. */
void conf_settle(struct conf *c);
/* Lets time pass. */
void conf_sleep(struct conf *c, int64_t ns);
/* A path in the folder of the test; valid until the third next call. */
const char *conf_path(struct conf *c, const char *name);

struct reactor_file *conf_file(struct conf *c, const char *name, unsigned flags);
int64_t conf_pread(struct conf *c, struct reactor_file *f, void *buf, size_t len, uint64_t offset);
int64_t conf_pwrite(struct conf *c, struct reactor_file *f, const void *buf, size_t len,
                    uint64_t offset);
/* Makes a listener at the unix path "sock" and a connected pair through it: client, server. */
void conf_streams(struct conf *c, struct reactor_stream *out[2]);
/* Reads exactly len bytes, or to the end. */
size_t conf_read_all(struct conf *c, struct reactor_stream *s, void *buf, size_t len);

/* Every test: a function of conformance_*_testing.c. */
#define CONFORMANCE_LIST(X)                                                                        \
    X(loop_defers_tasks)                                                                           \
    X(loop_runs_deferred_once)                                                                     \
    X(loop_stops_after_current)                                                                    \
    X(loop_runs_posts_in_order)                                                                    \
    X(loop_fires_timers_in_order)                                                                  \
    X(loop_rearms_timers)                                                                          \
    X(loop_waits_no_longer_than_asked)                                                             \
    X(loop_works_off_thread)                                                                       \
    X(loop_cancels_work_once)                                                                      \
    X(loop_refuses_nesting)                                                                        \
    X(loop_refuses_busy_op)                                                                        \
    X(file_opens_and_creates)                                                                      \
    X(file_reads_what_was_written)                                                                 \
    X(file_reads_short_at_end)                                                                     \
    X(file_moves_vectors)                                                                          \
    X(file_completes_many)                                                                         \
    X(file_never_calls_back)                                                                       \
    X(file_truncates)                                                                              \
    X(file_punches_holes)                                                                          \
    X(file_zeroes_ranges)                                                                          \
    X(file_allocates)                                                                              \
    X(file_finds_extents)                                                                          \
    X(file_copies_ranges)                                                                          \
    X(file_stats)                                                                                  \
    X(file_locks_conflict)                                                                         \
    X(file_locks_end_with_handle)                                                                  \
    X(file_renames_and_unlinks)                                                                    \
    X(file_cancels_every_kind_once)                                                                \
    X(file_syncs)                                                                                  \
    X(file_refuses_close_while_busy)                                                               \
    X(stream_moves_bytes)                                                                          \
    X(stream_writes_all)                                                                           \
    X(stream_sees_end)                                                                             \
    X(stream_half_closes)                                                                          \
    X(stream_shuts_down)                                                                           \
    X(stream_fails_write_after_peer_closed)                                                        \
    X(stream_close_cancels_pending)                                                                \
    X(stream_close_cancels_finished)                                                               \
    X(stream_cancels_read_and_write)                                                               \
    X(stream_connect_refused)                                                                      \
    X(stream_accepts_later)                                                                        \
    X(stream_connects_by_port)                                                                     \
    X(stream_cancels_accept)                                                                       \
    X(stream_listener_close_cancels_accept)                                                        \
    X(stream_cancels_connect)                                                                      \
    X(stream_names)                                                                                \
    X(stream_pair_works)                                                                           \
    X(stream_passes_random_traffic)

#define CONFORMANCE_DECLARE(name) void name(void);
CONFORMANCE_LIST(CONFORMANCE_DECLARE)
#undef CONFORMANCE_DECLARE

#define CONFORMANCE_ROW(name) TEST(name),
#define CONFORMANCE_TESTS CONFORMANCE_LIST(CONFORMANCE_ROW)

#endif
