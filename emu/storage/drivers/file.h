/* Private to the file driver: its state, and locks on image files. */
#ifndef EMU_STORAGE_DRIVERS_FILE_H
#define EMU_STORAGE_DRIVERS_FILE_H

#include "emu/base/opts.h"
#include "emu/reactor/reactor.h"
#include "emu/storage/driver.h"

/* ---- Locks (file_lock.c) ---- */

/*
 * What a process takes of an image and does not share, as byte locks that other processes see:
 * byte 100 + bit for each permission taken, 200 + bit for each not shared, all of them shared
 * locks; whether another holds one is found by testing. The bytes are those of the reference, so
 * that both respect each other.
 */
struct file_locks {
    struct reactor_file *file; /* Borrowed. */
    const char *filename;      /* Borrowed; for texts. */
    uint32_t held;             /* Bit i: byte 100 + i; bit 16 + i: byte 200 + i. */
    /* ---- While an application runs. ---- */
    struct op op;
    uint32_t want, fresh, perm, shared;
    bool copying; /* No test: the other handle has done it. */
    unsigned step, bit;
    int pid;
    struct err *err;
    driver_done_fn *done;
    void *arg;
};
/* Takes what is missing, looks for conflicts, gives up what is no longer needed; all or nothing. */
void file_locks_apply(struct file_locks *locks, uint32_t perm, uint32_t shared,
                      driver_done_fn *done, void *arg);

/* Takes the bytes that from holds, without a test: for a second handle of the same owner. */
void file_locks_copy(struct file_locks *locks, const struct file_locks *from, driver_done_fn *done,
                     void *arg);

/* ---- State ---- */

struct file_reopen;

struct file_state {
    struct node *node;
    struct reactor_file *file; /* Owned; NULL while opening. */
    struct file_stat stat;
    struct file_locks locks;
    bool locking;
    bool no_punch, no_zero, no_alloc; /* The file system said so. */
    uint64_t real_size;               /* Of the file; node->size is that rounded up to sectors. */
    /* One extent known from the kernel, valid until the next change of the file. */
    bool extent_known;
    uint64_t extent_start;
    struct file_extent extent;
    uint64_t changes;
    struct file_reopen *reopen; /* Owned; under way. */
    uint64_t discard_ok, discard_failed, discard_bytes; /* For query-blockstats. */
    /* ---- While opening ---- */
    struct op op;
    char *path; /* Owned. */
    unsigned flags;
    driver_done_fn *done;
    void *arg;
};

struct file_req {
    struct op op;
    struct req *req;
    uint64_t pos, end;
    unsigned step;
    uint64_t changes;
    struct file_extent extent;
    struct iovec iov[16];
};

/* file.c: the flags that options ask for. */
MUST_USE struct err *file_read_flags(struct opts *opts, const struct node_options *open,
                                     bool read_only, unsigned *out);

/*
 * file.c: opens a path, which may name a descriptor set (fdset.h). op->done is called with 0 or -errno; for a set from
 * within.
 */
void file_open_path(struct graph *graph, struct op *op, const char *path, unsigned flags,
                    struct reactor_file **out);

/* file_reopen.c */
extern const char *const file_reopen_options[];
void file_reopen_prepare(struct node *node, struct opts *opts, const struct node_options *open,
                         driver_done_fn *done, void *arg);
void file_reopen_ready(struct node *node, driver_done_fn *done, void *arg);
void file_reopen_commit(struct node *node);
void file_reopen_abort(struct node *node);

/* file_io.c */
void file_submit(struct node *node, struct req *req);

/* file_create.c */
void file_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg);
void file_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                   driver_done_fn *done, void *arg);
extern const struct create_option file_create_options[];

/* Sets the size and preallocates as asked: the common part of create and truncate. */
struct file_resize {
    struct reactor_file *file;
    uint64_t old_size, size, pos;
    uint64_t fill_end; /* Where zeroes that are written end. */
    enum prealloc prealloc;
    struct op op;
    struct iovec iov;
    uint8_t *zeroes; /* Owned. */
    driver_done_fn *done;
    void *arg;
};
void file_resize(struct file_resize *resize);

#endif
