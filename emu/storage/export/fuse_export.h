/*
 * A FUSE export: a node as a regular file, mounted over an existing file (specs: linux/fuse.h).
 *
 * libfuse's low-level session parses and answers messages of the kernel; its descriptor is watched by
 * the graph's reactor, where everything but mounting and unmounting happens. A message becomes a slot
 * (fuse_slot) until it is answered; when all slots are taken nothing is read from the kernel. The file
 * shows the node as it is at any time: sizes and data are never cached by the kernel.
 *
 * Invariants:
 *  (1) The session belongs to the thread that mounts or unmounts in MOUNT and UNMOUNT, and to the
 *      home reactor otherwise.
 *  (2) A request that is in flight when UNMOUNT begins is dropped instead of answered.
 *  (3) At most one export of a list is past WAIT on one mount point.
 */
#ifndef EMU_STORAGE_EXPORT_FUSE_EXPORT_H
#define EMU_STORAGE_EXPORT_FUSE_EXPORT_H

#include <sys/stat.h>

#define FUSE_USE_VERSION 35
#include <fuse3/fuse_lowlevel.h>

#include "emu/storage/export/export.h"

enum {
    FUSE_SLOTS = 64,           /* Requests in flight per export. */
    FUSE_SPARES = 4,           /* Message buffers kept for reuse. */
    FUSE_TURN_MESSAGES = 32,   /* Messages read in one turn of the loop. */
    FUSE_READ_BYTES = 1 << 20, /* The longest read; the kernel asks for no more. */
};

enum fuse_state {
    FUSE_WAIT,    /* A former export is still being taken off the mount point. */
    FUSE_LOOK,    /* The mount point is being looked at. */
    FUSE_MOUNT,   /* A thread mounts. */
    FUSE_SERVE,   /* Mounted; messages are read. */
    FUSE_DRAIN,   /* Nothing more is read; requests in flight are awaited for a while. */
    FUSE_UNMOUNT, /* A thread unmounts. */
    FUSE_GONE,    /* Not mounted; what is in flight below ends by itself. Terminal. */
    FUSE_STATE_COUNT,
};

struct fuse_export;

/* A message that is being worked on. */
struct fuse_slot {
    struct fuse_export *fuse;
    struct fuse_slot *next; /* In the free stack. */
    struct list link;       /* In fuse->resizes. */
    fuse_req_t request;     /* NULL: the slot is free. */
    struct req req;
    struct iovec iov;
    void *message; /* owned; the message that holds the data of a write. */
    void *buffer;  /* owned; of a read. */
    uint64_t offset, len;
    int mode; /* Of lseek and fallocate. */
    struct {
        uint64_t size;
        bool at_least; /* Never shrinks. */
        enum prealloc prealloc;
        void (*done)(struct fuse_slot *slot, int result);
    } resize;
};

struct fuse_export {
    struct export *export;   /* borrowed */
    struct reactor *reactor; /* borrowed */
    enum fuse_state state;
    bool ending; /* The user deleted it. */
    bool growable;
    bool allow_other; /* What the mount got in the end. */
    enum export_allow_other allow_other_wish;
    char *mountpoint; /* owned */
    mode_t mode;      /* Permissions that the file shows. */
    uid_t uid;
    gid_t gid;
    graph_done_fn *started; /* Until it was called. */
    void *started_arg;
    struct file_stat stat;
    struct fuse_session *session; /* owned; see (1). */
    struct reactor_watch *watch;  /* owned */
    struct op watch_op, call_op;
    struct task pump;
    struct timer drain_timer;
    bool drain_over; /* What is in flight is not waited for any longer. */
    struct fuse_buf message;
    void *spares[FUSE_SPARES];
    unsigned spare_count;
    struct fuse_slot slots[FUSE_SLOTS];
    struct fuse_slot *free_slots;
    unsigned in_flight;  /* Slots taken. */
    struct list resizes; /* Slots that want another size, one at a time. */
    bool resizing;       /* The first of them is being served. */
};

/* ---- For export.c ---- */

/* Refuses a mount point that another export of the list has. */
struct err *fuse_export_new(struct export *export, const struct export_fuse_options *options,
                            struct fuse_export **out) MUST_USE;
/* Mounts. done is called once, later. After success the export is in use (export_use) until it is unmounted. */
void fuse_export_start(struct fuse_export *fuse, graph_done_fn *done, void *arg);
/* Begins the end. */
void fuse_export_end(struct fuse_export *fuse);
/* NULL is fine. It must be GONE, or never have been mounted. */
void fuse_export_free(struct fuse_export *fuse);

/* ---- fuse_slot.c ---- */

extern const struct fuse_lowlevel_ops fuse_operations;

/* Each of these answers the message and frees the slot. */
void fuse_slot_error(struct fuse_slot *slot, int result); /* result: 0 or -errno. */
void fuse_slot_written(struct fuse_slot *slot, size_t len);
void fuse_slot_data(struct fuse_slot *slot, const void *data, size_t len);
void fuse_slot_position(struct fuse_slot *slot, uint64_t offset);
void fuse_slot_attributes(struct fuse_slot *slot, const struct stat *st);

/* A slot for a message; there is always one, as nothing is read without. */
struct fuse_slot *fuse_slot_new(fuse_req_t request);
/* Called by fuse_slot.c when a slot became free. */
void fuse_export_slot_freed(struct fuse_export *fuse);

/* ---- fuse_attr.c ---- */

void fuse_getattr(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_setattr(fuse_req_t request, fuse_ino_t ino, struct stat *attr, int to_set,
                  struct fuse_file_info *fi);
/* Resizes the node as slot->resize says and calls its done; one after the other. */
void fuse_resize(struct fuse_slot *slot);

static inline struct node *fuse_node(const struct fuse_export *fuse)
{
    return fuse->export->edge->node;
}

#endif
