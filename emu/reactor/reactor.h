#ifndef EMU_REACTOR_REACTOR_H
#define EMU_REACTOR_REACTOR_H

/*
 * The reactor: the only door to the kernel and to time.
 *
 * A reactor is one event loop that belongs to one thread, its home. Everything that takes time is an
 * operation: the caller embeds a struct op in the object that owns the work, starts it with one of
 * the functions below, and gets exactly one call of op->done from the loop, later, also when the
 * operation fails, is cancelled or the peer dies. Starting never calls back: the completion always
 * comes from a later turn of reactor_run(), in queue order, one at a time.
 *
 * There are three bodies behind this interface: io_uring, epoll with file threads, and the simulated
 * one (sim.h) with a virtual clock, seeded completion order and files, streams and crashes in memory.
 * Which one it is must not be visible through this header.
 *
 * Rules for callers:
 *  (1) Nothing waits. reactor_run() asserts that it is not re-entered.
 *  (2) The op, its buffers, its iovec array and the handle outlive the completion. After done was
 *      entered the op is idle again: done may free it or start it anew.
 *  (3) All functions are called on the home thread, except reactor_post() and reactor_stop().
 *  (4) Results are >= 0 on success or a negative errno. Reads and writes may be short.
 *  (5) A handle is closed by its *_close() while no op on it is pending (asserted), except streams,
 *      whose pending ops are completed with -ECANCELED first.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/heap.h"
#include "emu/base/list.h"

struct reactor;
struct reactor_file;     /* An open file or device. */
struct reactor_stream;   /* A connected byte stream: unix, tcp, pipe, terminal. */
struct reactor_listener; /* A listening socket. */
struct reactor_watch;    /* Somebody else's descriptor. */
struct op;

typedef void op_done_fn(struct op *op);

enum op_state { OP_IDLE, OP_QUEUED, OP_RUNNING, OP_DONE_QUEUED };

/* One operation. Zeroed memory is a valid idle op. Fields below the line belong to the reactor. */
struct op {
    op_done_fn *done; /* Called once per start, on the home thread. */
    int64_t result;   /* Valid in done: >= 0, or -errno. */
    /* ---- */
    struct list link;
    struct reactor *reactor;
    enum op_state state;
    uint8_t kind;
    uint8_t flags;
    uint32_t mode;
    unsigned niov;
    const struct iovec *iov;
    void *handle;  /* File, stream or listener; for path operations the path, during the start. */
    void *handle2; /* Second file or path; argument of CPU work. */
    void *out;     /* Where the output goes. */
    uint64_t offset, offset2, len;
    int64_t (*work)(void *arg);
    void *backend; /* The body's slot while running. */
};

/* True from the start of an op until its done is entered. */
static inline bool op_pending(const struct op *op) { return op->state != OP_IDLE; }

/*
 * Asks for an early end of a pending op. The op still completes exactly once: with -ECANCELED when the
 * cancel was in time, otherwise with its result. An op the kernel does not let go of (a read from a
 * dead network file system) completes when the kernel does. No effect on an idle op.
 */
void op_cancel(struct op *op);

/* ---- The loop ---- */

enum reactor_kind { REACTOR_AUTO, REACTOR_URING, REACTOR_EPOLL };

/*
 * Creates a reactor whose home is the calling thread. REACTOR_AUTO follows the environment variable
 * EMU_REACTOR (uring or epoll) and otherwise takes io_uring when the kernel allows it, else epoll.
 * Fails with an error that names what is missing when the named kind cannot be had.
 */
struct err *reactor_new(enum reactor_kind kind, struct reactor **out) MUST_USE;

/* Frees a reactor. No op may be pending, no handle open. NULL is ignored. */
void reactor_free(struct reactor *r);

/* Makes the calling thread the home of r, for reactors created on another thread before they first run. */
void reactor_adopt(struct reactor *r);

/* Runs the loop until reactor_stop() was called. Asserts that it is not re-entered. */
void reactor_run(struct reactor *r);

/*
 * Runs until nothing is ready, waiting at most timeout_ns for the first event (0: do not wait, -1: no
 * limit). Returns whether anything ran. For tests and for front ends that end by their own condition.
 */
bool reactor_run_once(struct reactor *r, int64_t timeout_ns);

/* Makes reactor_run() return after the current completion. Any thread. */
void reactor_stop(struct reactor *r);

/* Monotonic time in ns, read once per turn of the loop; virtual in the simulator. */
int64_t reactor_now(struct reactor *r);

/* Wall-clock time in ns since the epoch (for event time stamps); virtual in the simulator. */
int64_t reactor_wall_now(struct reactor *r);

bool reactor_is_home(const struct reactor *r);

/* "io_uring", "epoll" or "sim". */
const char *reactor_kind_name(const struct reactor *r);

/* Number of ops started and not yet completed; a quiet program has none (leak check of tests). */
unsigned reactor_ops_pending(const struct reactor *r);

/*
 * Deferred call on the home thread: fn(arg) runs from the loop after the completions already queued.
 * reactor_post() may be called from any thread and allocates; reactor_defer() is the embedded form
 * for the home thread: task memory is the caller's, a task already queued is not queued twice.
 */
struct task {
    struct list link;
    void (*fn)(struct task *task);
    bool queued;
};
void reactor_defer(struct reactor *r, struct task *task, void (*fn)(struct task *task));
void reactor_undefer(struct task *task); /* Takes a queued task back; no effect otherwise. */
void reactor_post(struct reactor *r, void (*fn)(void *arg), void *arg);

/* ---- Timers ---- */

/* A one-shot timer. Zeroed memory with fn set is an idle timer. */
struct timer {
    struct heap_node node;
    struct reactor *reactor;
    void (*fn)(struct timer *timer);
    int64_t deadline_ns;
    bool armed;
};
/* Arms (or re-arms) the timer for the absolute time deadline_ns of reactor_now(). */
void timer_arm(struct reactor *r, struct timer *timer, int64_t deadline_ns);
void timer_disarm(struct timer *timer); /* No effect on an idle timer. */

/* ---- CPU work (compression, hashing) on a small thread pool; in the simulator it runs inline and
 * completes at a seeded later time. work must be a pure function of *arg. result is its return. ---- */
void reactor_work(struct reactor *r, struct op *op, int64_t (*work)(void *arg), void *arg);

/*
 * A call that may block in the kernel and has no operation of its own (mounting), on the threads that
 * serve files; in the simulator as reactor_work(). work uses nothing but *arg, which it has to itself
 * until the completion. result is its return.
 */
void reactor_call(struct reactor *r, struct op *op, int64_t (*work)(void *arg), void *arg);

/* ---- Descriptors that a foreign library reads and writes ---- */

/*
 * Watches fd, which stays the caller's, is non-blocking and outlives the watch. Fails on simulated
 * reactors, which have no descriptors.
 */
struct err *reactor_watch_new(struct reactor *r, int fd, struct reactor_watch **out) MUST_USE;
/*
 * Completes with 0 when fd may be readable, has ended or has failed. Start it when a read said
 * EAGAIN, not before; a completion without data is possible. One op may be pending.
 */
void reactor_watch_read(struct reactor_watch *w, struct op *op);
/* Ends the watch; no op is pending (op_cancel() and its completion come first). NULL is ignored. */
void reactor_watch_free(struct reactor_watch *w);

/* ---- Files ---- */

enum file_flags {
    FILE_READ = 1,
    FILE_WRITE = 2,
    FILE_CREATE = 4,      /* Create with mode 0644 when missing. */
    FILE_EXCL = 8,        /* With CREATE: fail with -EEXIST when present. */
    FILE_TRUNC = 16,
    FILE_DIRECT = 32,     /* O_DIRECT: buffers, offsets and lengths must be aligned. */
    FILE_DSYNC = 64,
    FILE_THREADS = 128,   /* Serve this file's ops from threads even when io_uring is there. */
};

/* What is known of a file; filled by reactor_file_stat(). */
struct file_stat {
    uint64_t size;            /* Bytes; for block devices the device size. */
    uint64_t allocated;       /* Bytes of storage used (st_blocks * 512). */
    uint64_t dev, ino;        /* Identity. */
    uint32_t mode;            /* st_mode. */
    uint32_t logical_block;   /* Alignment that FILE_DIRECT needs for offsets and lengths; >= 1. */
    uint32_t memory_align;    /* Alignment that FILE_DIRECT needs for buffers; >= 1. */
    bool is_block, is_char, is_dir, is_regular;
    bool is_network;          /* Network file system. */
};

/* Opens path; on result 0 *out is the new handle. Errors are those of open(2). */
void reactor_file_open(struct reactor *r, struct op *op, const char *path, unsigned flags,
                       struct reactor_file **out);
/* Wraps an open descriptor (fd passing). Takes fd. */
struct reactor_file *reactor_file_from_fd(struct reactor *r, int fd, unsigned flags);
/* Closes at once (no completion; the kernel's close may linger on a thread). NULL is ignored. */
void reactor_file_close(struct reactor_file *file);
struct reactor *reactor_file_reactor(struct reactor_file *file);
int reactor_file_fd(const struct reactor_file *file); /* -1 in the simulator. */

/* Reads or writes at offset; result is the number of bytes, 0 at end of file. */
void reactor_file_readv(struct reactor_file *file, struct op *op, const struct iovec *iov,
                        unsigned niov, uint64_t offset);
void reactor_file_writev(struct reactor_file *file, struct op *op, const struct iovec *iov,
                         unsigned niov, uint64_t offset);
/* fdatasync (data_only) or fsync. */
void reactor_file_sync(struct reactor_file *file, struct op *op, bool data_only);

enum file_alloc_mode {
    FILE_ALLOC,          /* Reserve space, reading as before; extends the file when needed. */
    FILE_PUNCH,          /* Deallocate, keep size; reads as zeroes afterwards. */
    FILE_ZERO,           /* Make it read as zeroes, keep it allocated; keeps size. */
};
/* fallocate(2). -EOPNOTSUPP when the file system cannot. For block devices PUNCH is BLKDISCARD-like zeroing. */
void reactor_file_allocate(struct reactor_file *file, struct op *op, enum file_alloc_mode mode,
                           uint64_t offset, uint64_t len);
void reactor_file_truncate(struct reactor_file *file, struct op *op, uint64_t size);
void reactor_file_stat(struct reactor_file *file, struct op *op, struct file_stat *out);

/* Which extent offset lies in: *data tells whether it is data, *end where it ends (file size at most).
 * -ENXIO when offset is at or beyond the end; -EOPNOTSUPP never: without SEEK_HOLE all is data. */
struct file_extent {
    uint64_t end;
    bool data;
};
void reactor_file_extent(struct reactor_file *file, struct op *op, uint64_t offset,
                         struct file_extent *out);

/* copy_file_range between two files of one reactor; may be short; -EOPNOTSUPP/-EXDEV when impossible. */
void reactor_file_copy(struct reactor_file *src, uint64_t src_offset, struct reactor_file *dst,
                       uint64_t dst_offset, uint64_t len, struct op *op);

/*
 * Open-file-description byte locks (F_OFD_SETLK), never waiting.
 * lock: result 0, or -EAGAIN/-EACCES when another holder conflicts. test: result 0 when the range is
 * free for that kind of lock, 1 when it is not and *pid then is the holder's pid or -1 when unknown.
 */
enum file_lock { FILE_LOCK_NONE, FILE_LOCK_SHARED, FILE_LOCK_EXCLUSIVE };
void reactor_file_lock(struct reactor_file *file, struct op *op, enum file_lock kind,
                       uint64_t offset, uint64_t len);
void reactor_file_lock_test(struct reactor_file *file, struct op *op, enum file_lock kind,
                            uint64_t offset, uint64_t len, int *pid);

/* Path operations. */
void reactor_path_unlink(struct reactor *r, struct op *op, const char *path);
void reactor_path_rename(struct reactor *r, struct op *op, const char *from, const char *to);
/* stat(2) without opening. */
void reactor_path_stat(struct reactor *r, struct op *op, const char *path, struct file_stat *out);

/* ---- Streams ---- */

enum addr_kind { ADDR_UNIX, ADDR_INET, ADDR_VSOCK, ADDR_FD };

/* A socket address; strings are borrowed for the duration of the call. */
struct addr {
    enum addr_kind kind;
    const char *path;      /* UNIX: path; a leading '@' is not special. */
    bool abstract, tight;  /* UNIX: abstract name space; tight: no zero padding. */
    const char
        *host; /* INET: host name or number, "" or NULL for any when listening. VSOCK: cid. */
    const char *port;      /* INET: number or service. VSOCK: port. */
    uint16_t port_to;      /* INET listen: try ports up to this one; 0: just port. */
    int ipv4, ipv6;        /* INET: -1 default, 0 off, 1 on. */
    bool keep_alive;
    int fd;                /* FD: an open socket; taken on success. */
};

/*
 * Connects; on result 0 *out is the stream. Name resolution happens on a thread. May take for ever with
 * a dead peer: op_cancel() ends it. Errors are those of connect(2); -ENXIO when the name does not resolve.
 */
void reactor_connect(struct reactor *r, struct op *op, const struct addr *addr,
                     struct reactor_stream **out);
/* Wraps a connected socket, pipe or terminal. Takes fd. can_read/can_write are found out by fcntl. */
struct reactor_stream *reactor_stream_from_fd(struct reactor *r, int fd);
/* A connected pair: in the simulator with faults; otherwise socketpair(2). */
struct err *reactor_stream_pair(struct reactor *r, struct reactor_stream *out[2]) MUST_USE;

/* Reads what is there (at least 1 byte, at most len); 0 at end of stream. One read may be pending. */
void stream_read(struct reactor_stream *s, struct op *op, void *buf, size_t len);
/* Writes all of the vector before it completes; result is the total or -errno. One write may be pending. */
void stream_writev(struct reactor_stream *s, struct op *op, const struct iovec *iov, unsigned niov);
/* Sends bytes with descriptors (SCM_RIGHTS); fds are borrowed until completion. */
void stream_write_fds(struct reactor_stream *s, struct op *op, const void *buf, size_t len,
                      const int *fds, unsigned nfds);
/* Descriptors received with the bytes read so far: fills at most max, returns the count; the caller owns them. */
unsigned stream_take_fds(struct reactor_stream *s, int *fds, unsigned max);
/* shutdown(2) in both directions at once: pending and later ops fail soon, the peer sees the end. */
void stream_shutdown(struct reactor_stream *s);
/* Half close: the peer reads end of stream, reading here goes on. */
void stream_shutdown_write(struct reactor_stream *s);
/*
 * Closes. Pending ops are completed with -ECANCELED from the loop; their memory must live until then.
 * NULL is ignored.
 */
void stream_close(struct reactor_stream *s);
int stream_fd(const struct reactor_stream *s); /* -1 in the simulator. */
/* What a layer (stream_layer.h) knows of its last failed read or write; NULL: the error number says it all. */
const char *stream_error(const struct reactor_stream *s);
/* A text for people and query-chardev: "unix:/path", "127.0.0.1:4711"; peer selects the other end. Returns new. */
char *stream_name(const struct reactor_stream *s, bool peer);
void stream_set_nodelay(struct reactor_stream *s, bool on);

/* Listens. A unix path that exists as a stale socket is replaced. On success *out accepts until closed. */
struct err *reactor_listen(struct reactor *r, const struct addr *addr, int backlog,
                           struct reactor_listener **out) MUST_USE;
/* Waits for one connection; on result 0 *out is the stream. One accept may be pending. */
void listener_accept(struct reactor_listener *l, struct op *op, struct reactor_stream **out);
/* Closes; a pending accept completes with -ECANCELED. Unlinks a unix path it made. */
void listener_close(struct reactor_listener *l);
/* The bound port of an inet listener, else 0. */
unsigned listener_port(const struct reactor_listener *l);

/* ---- Signals and threads ---- */

/*
 * Calls fn(arg, signo) from the loop when one of the signals (zero-terminated list) arrives. The signals
 * are blocked for the process; call before other threads exist. One such registration per process.
 */
struct err *reactor_on_signals(struct reactor *r, const int *signals,
                               void (*fn)(void *arg, int signo), void *arg) MUST_USE;
void reactor_off_signals(struct reactor *r);

/*
 * A thread that runs a reactor of its own until reactor_thread_stop(), which stops the loop and joins.
 * All ops and handles of that reactor must be gone by then. Not available on simulated reactors: there
 * reactor_thread_new() gives another simulated reactor of the same world, run by the same thread.
 */
struct reactor_thread;
struct err *reactor_thread_new(struct reactor *parent, const char *name,
                               struct reactor_thread **out) MUST_USE;
struct reactor *reactor_thread_reactor(struct reactor_thread *t);
void reactor_thread_stop(struct reactor_thread *t);

#endif
