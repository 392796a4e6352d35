/*
 * What the parts of this package share: the reactor, the kinds of op, and the table of functions a
 * body (io_uring, epoll, simulator) implements. Private to the package.
 *
 * The front (file.c, stream.c, loop.c, timer.c) checks the rules for callers, fills in the op and
 * calls the body. A body never calls done: it calls op_finish(), which queues the op, and the loop
 * completes it. Invariants:
 *  (1) A running op belongs to the body; from op_finish() on it belongs to the loop.
 *  (2) op->handle of a finished op is the open handle it was started on, or NULL when that was closed.
 */
#ifndef EMU_REACTOR_BACKEND_H
#define EMU_REACTOR_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/heap.h"
#include "emu/base/list.h"
#include "emu/reactor/reactor.h"
#include "emu/reactor/stream_layer.h"

enum op_kind {
    OP_WORK,
    OP_CALL,
    OP_FILE_OPEN,
    OP_PATH_UNLINK,
    OP_PATH_RENAME,
    OP_PATH_STAT,
    /* On a file: handle is the struct reactor_file. */
    OP_FILE_READV,
    OP_FILE_WRITEV,
    OP_FILE_SYNC,
    OP_FILE_ALLOCATE,
    OP_FILE_TRUNCATE,
    OP_FILE_STAT,
    OP_FILE_EXTENT,
    OP_FILE_COPY, /* handle2 and offset2 are the destination. */
    OP_FILE_LOCK,
    OP_FILE_LOCK_TEST,
    /* On streams and listeners. */
    OP_CONNECT,
    OP_ACCEPT,
    OP_STREAM_READ,
    OP_STREAM_WRITE,
    OP_WATCH,  /* handle is the struct reactor_watch. */
    OP_SIGNAL, /* Internal: waits for the signal descriptor. */
    OP_KIND_COUNT,
};

static inline bool op_kind_is_file(enum op_kind kind)
{
    return kind >= OP_FILE_READV && kind <= OP_FILE_LOCK_TEST;
}

/* op->flags; home thread only. */
enum {
    OPF_CANCELLED = 1, /* op_cancel() was called. */
    OPF_BODY_1 = 16,   /* Free for the body. */
    OPF_BODY_2 = 32,
    OPF_BODY_4 = 64,
};

/* The heads of the handles; each body has its own fields behind. */
struct reactor_file {
    struct reactor *reactor;
    unsigned flags;       /* enum file_flags */
    unsigned ops_pending; /* From start until done is entered. */
};

/* The ops are set from start until done is entered, or the handle is closed. */
struct reactor_stream {
    struct reactor *reactor;
    struct op *read_op, *write_op;
    const struct stream_layer_ops *layer; /* NULL: a stream of the body. */
    void *layer_arg;
};

struct reactor_listener {
    struct reactor *reactor;
    struct op *accept_op;
};

struct reactor_watch {
    struct reactor *reactor;
    struct op *op; /* From start until done is entered. */
};

/* What a body implements. Functions run on the home thread unless said otherwise. */
struct backend {
    const char *(*name)(const struct reactor *r);

    /* Starts what was queued, then collects completions, waiting at most timeout_ns for the first
     * (0: not at all, -1: for ever). May return early. */
    void (*poll)(struct reactor *r, int64_t timeout_ns);
    /* Takes the place of the loop in loop.c for a body that drives several reactors. Optional. */
    bool (*run_once)(struct reactor *r, int64_t timeout_ns);
    int64_t (*now)(struct reactor *r);
    int64_t (*wall_now)(struct reactor *r);
    /* Ends a poll that waits, or the next one that would. Any thread. */
    void (*wake)(struct reactor *r);
    bool (*is_home)(const struct reactor *r);
    void (*adopt)(struct reactor *r);
    void (*post)(struct reactor *r, void (*fn)(void *arg), void *arg); /* Any thread. */
    void (*free)(struct reactor *r);

    /* The op is filled in and RUNNING. The body must not complete it but may op_finish() it. */
    void (*start)(struct op *op);
    /* The op is RUNNING (not yet finished) and not cancelled before. */
    void (*cancel)(struct op *op);

    struct reactor_file *(*file_from_fd)(struct reactor *r, int fd, unsigned flags);
    void (*file_close)(struct reactor_file *file);
    int (*file_fd)(const struct reactor_file *file);

    void (*connect)(struct op *op, const struct addr *addr);
    struct reactor_stream *(*stream_from_fd)(struct reactor *r, int fd);
    struct err *(*stream_pair)(struct reactor *r, struct reactor_stream *out[2]);
    void (*stream_write_fds)(struct op *op, const int *fds, unsigned nfds);
    unsigned (*stream_take_fds)(struct reactor_stream *s, int *fds, unsigned max);
    void (*stream_shutdown)(struct reactor_stream *s, bool both);
    /* Finishes its running ops with -ECANCELED, now or later, and frees the stream. */
    void (*stream_close)(struct reactor_stream *s);
    int (*stream_fd)(const struct reactor_stream *s);
    char *(*stream_name)(const struct reactor_stream *s, bool peer);
    void (*stream_set_nodelay)(struct reactor_stream *s, bool on);

    struct err *(*listen)(struct reactor *r, const struct addr *addr, int backlog,
                          struct reactor_listener **out);
    void (*listener_close)(struct reactor_listener *l);
    unsigned (*listener_port)(const struct reactor_listener *l);

    struct err *(*watch_new)(struct reactor *r, int fd, struct reactor_watch **out);
    void (*watch_free)(struct reactor_watch *w);

    struct err *(*on_signals)(struct reactor *r, const int *signals,
                              void (*fn)(void *arg, int signo), void *arg);
    void (*off_signals)(struct reactor *r);
    struct err *(*thread_new)(struct reactor *parent, const char *name,
                              struct reactor_thread **out);
    void (*thread_stop)(struct reactor_thread *t);
};

/* The head of a thread; each body has its own fields behind. */
struct reactor_thread {
    struct reactor *reactor;
};

struct reactor {
    const struct backend *backend;
    struct list ready; /* Finished ops, oldest first. */
    struct list tasks; /* Deferred tasks, oldest first. */
    struct heap timers;
    int64_t now_ns;
    unsigned ops_pending;
    unsigned handles; /* Open files, streams and listeners. */
    bool running;
    atomic_bool stop;
};

/* Sets up the common part; the body's fields are its own affair. */
void reactor_init(struct reactor *r, const struct backend *backend);
/* Asserts that nothing is pending. */
void reactor_fini(struct reactor *r);

/* Whether ops or tasks wait to be run. */
static inline bool reactor_has_ready(const struct reactor *r)
{
    return !list_empty(&r->ready) || !list_empty(&r->tasks);
}

/* Runs the oldest finished op, or else the oldest task; false when there is none. */
bool reactor_run_ready_one(struct reactor *r);
/* The deadline of the first timer, or NSTIME_NEVER. */
int64_t reactor_next_deadline(const struct reactor *r);
/* Runs the first timer when its deadline is at most now_ns; false otherwise. */
bool reactor_run_timer_one(struct reactor *r, int64_t now_ns);

/* Makes an idle op a running one of that kind, with its fields cleared; for the front. */
void op_begin(struct reactor *r, struct op *op, enum op_kind kind);
/* Queues a running op for completion; for the bodies. */
void op_finish(struct op *op, int64_t result);
/* Takes a finished op off the queue's books and calls done; for the loop. */
void op_complete(struct op *op);
/* Closes the books of a handle's op: a result not yet delivered becomes -ECANCELED. */
void op_detach(struct op *op);
const char *op_kind_name(enum op_kind kind);

/* Ends the running ops with -ECANCELED and frees a stream that is a layer. */
void stream_layer_close(struct reactor_stream *s);

#endif
