/*
 * What the two real bodies share: threads for blocking calls, the wake-up descriptor, files, streams.
 * Private to the package.
 *
 * A real reactor is split in two: this part knows what the operations mean and is the struct backend;
 * the body (uring.c, epoll.c) knows how to wait. The body table below is all the body has to offer.
 */
#ifndef EMU_REACTOR_REAL_H
#define EMU_REACTOR_REAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "emu/base/pool.h"
#include "emu/reactor/backend.h"
#include "emu/reactor/workers.h"

struct real;

/*
 * A descriptor whose readiness is waited for, embedded in its owner; set up by watch_init().
 *
 * can_read and can_write say whether a call is worth a try. Who tries and would have blocked clears
 * the flag and waits; the body sets it again.
 */
struct watch {
    int fd;
    bool can_read, can_write;
    /* For the epoll body. */
    bool added;                 /* Registered. */
    bool ended;                 /* The peer's end or an error was reported. */
    struct op *reader, *writer; /* Who waits. */
};

static inline void watch_init(struct watch *watch, int fd)
{
    *watch = (struct watch){ .fd = fd, .can_read = true, .can_write = true };
}

enum watch_dir { WATCH_READ, WATCH_WRITE };

struct body {
    const char *name;
    /* Submits, waits for the first event (as backend.poll), collects all. */
    void (*wait)(struct real *real, int64_t timeout_ns);
    void (*free)(struct real *real);
    /* Starts a READV, WRITEV, SYNC or ALLOCATE without a thread; false when it cannot. */
    bool (*file_io)(struct op *op, int fd);
    void (*file_io_cancel)(struct op *op);
    /* Waits once for readiness, then calls real_ready(op). One op per direction. */
    void (*watch)(struct watch *watch, struct op *op, enum watch_dir dir);
    /* Ends the wait, or the transfer, early: its end is reported now or later. */
    void (*watch_cancel)(struct watch *watch, struct op *op);
    /* Before the descriptor is closed. */
    void (*watch_close)(struct real *real, struct watch *watch);
    /*
     * Optional, for sockets: receives or sends without waiting for readiness first, then calls
     * real_stream_moved(). What msg points at stays until then.
     */
    void (*transfer)(struct watch *watch, struct op *op, struct msghdr *msg);
};

extern const struct body uring_body;
extern const struct body epoll_body;

struct post;
struct real_signals;

struct real {
    struct reactor reactor; /* First. */
    const struct body *body;
    void *body_state; /* Owned by the body. */
    pthread_t home;
    int wake_fd; /* eventfd, blocking; the body reads it and then calls real_woken(). */
    atomic_bool sleeping, wake_sent;
    _Atomic(struct post *) posts;  /* Newest first. */
    _Atomic(struct job *) finished; /* Newest first. */
    struct workers *file_workers, *cpu_workers; /* Made when first needed. */
    struct pool op_jobs;
    struct real_signals *signals;
};

static inline struct real *real_of(struct reactor *r) { return (struct real *)r; }

/* Common set-up, with the body's state yet to come; *out is new. */
struct err *real_new(const struct body *body, struct real **out) MUST_USE;
/* Frees what real_new() made; for the body's own failure to start. */
void real_discard(struct real *real);
struct err *uring_new(struct reactor **out) MUST_USE;
struct err *epoll_new(struct reactor **out) MUST_USE;

static inline void real_woken(struct real *real) { atomic_store(&real->wake_sent, false); }

/* The awaited readiness of op is there, or its wait was cancelled. */
void real_ready(struct op *op);

/* ---- Jobs on threads (real.c) ---- */

/* Runs on a worker; then finish runs on the home thread and frees the job. */
struct real_job {
    struct job job; /* First. */
    struct real *real;
    void (*finish)(struct real_job *job);
};
void real_submit(struct real *real, struct real_job *job);
/* True when the job will neither run nor finish. */
bool real_revoke(struct real_job *job);
/* Runs real_file_call() or CPU work for op on a thread and finishes it with the result. */
void real_submit_op(struct op *op);
/* Cancels a real_submit_op() that has not started. */
void real_cancel_op(struct op *op);

/* ---- Files (real_file.c, real_path.c) ---- */

struct real_file {
    struct reactor_file file; /* First. */
    int fd;
    bool local;   /* A kind of file for which quick calls never block. */
    bool regular; /* A regular file. */
    bool locked;  /* A lock was taken at some time. */
};

static inline struct real_file *real_file_of(const struct op *op) { return op->handle; }

struct file_facts {
    struct file_stat stat;
    bool local;
};

void real_file_start(struct op *op);
void real_file_cancel(struct op *op);
/* The blocking system call of a file op. Any thread. */
int64_t real_file_call(struct op *op);
struct reactor_file *real_file_make(struct real *real, int fd, unsigned flags,
                                    const struct file_facts *facts);
struct reactor_file *real_file_from_fd(struct reactor *r, int fd, unsigned flags);
void real_file_close(struct reactor_file *file);
int real_file_fd(const struct reactor_file *file);

/* fstat and what belongs to it; 0 or -errno. Any thread; may block. */
int real_facts_of_fd(int fd, struct file_facts *out);
int real_facts_of_path(const char *path, struct file_facts *out);

void real_path_start(struct op *op);
void real_path_cancel(struct op *op);
/* Closes a descriptor on a thread. */
void real_close_later(struct real *real, int fd);

/* ---- Streams (real_stream.c, real_connect.c, real_listen.c) ---- */

struct reactor_stream *real_stream_from_fd(struct reactor *r, int fd);
struct err *real_stream_pair(struct reactor *r, struct reactor_stream *out[2]) MUST_USE;
void real_stream_start(struct op *op);
void real_stream_ready(struct op *op);
void real_stream_cancel(struct op *op);
/* The outcome of body.transfer: bytes or -errno. */
void real_stream_moved(struct op *op, int result);
/* Wraps a descriptor of a known kind; takes fd. */
struct reactor_stream *real_stream_of_socket(struct real *real, int fd);
void real_stream_write_fds(struct op *op, const int *fds, unsigned nfds);
unsigned real_stream_take_fds(struct reactor_stream *s, int *fds, unsigned max);
void real_stream_shutdown(struct reactor_stream *s, bool both);
void real_stream_close(struct reactor_stream *s);
int real_stream_fd(const struct reactor_stream *s);
char *real_stream_name(const struct reactor_stream *s, bool peer);
void real_stream_set_nodelay(struct reactor_stream *s, bool on);

void real_connect(struct op *op, const struct addr *addr);
void real_connect_ready(struct op *op);
void real_connect_cancel(struct op *op);

struct err *real_listen(struct reactor *r, const struct addr *addr, int backlog,
                        struct reactor_listener **out) MUST_USE;
void real_accept_start(struct op *op);
void real_accept_ready(struct op *op);
void real_accept_cancel(struct op *op);
void real_listener_close(struct reactor_listener *l);
unsigned real_listener_port(const struct reactor_listener *l);

/* ---- Foreign descriptors (real_watch.c) ---- */

struct err *real_watch_new(struct reactor *r, int fd, struct reactor_watch **out) MUST_USE;
void real_watch_free(struct reactor_watch *w);
void real_watch_start(struct op *op);
void real_watch_ready(struct op *op);
void real_watch_cancel(struct op *op);

/* ---- Signals and threads (sig.c, thread.c) ---- */

struct err *real_on_signals(struct reactor *r, const int *signals, void (*fn)(void *arg, int signo),
                            void *arg) MUST_USE;
void real_off_signals(struct reactor *r);
void real_signals_ready(struct op *op);
struct err *real_thread_new(struct reactor *parent, const char *name,
                            struct reactor_thread **out) MUST_USE;
void real_thread_stop(struct reactor_thread *t);

#endif
