/* Messages of the kernel as requests to the node, and their answers. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/storage/export/fuse_export.h"

/* ---- Slots ---- */

struct fuse_slot *fuse_slot_new(fuse_req_t request)
{
    struct fuse_export *fuse = fuse_req_userdata(request);
    struct fuse_slot *slot = fuse->free_slots;

    check(slot);
    fuse->free_slots = slot->next;
    fuse->in_flight++;
    slot->request = request;
    return slot;
}

static void release(struct fuse_slot *slot)
{
    struct fuse_export *fuse = slot->fuse;

    if (slot->message && fuse->spare_count < FUSE_SPARES)
        fuse->spares[fuse->spare_count++] = slot->message;
    else
        free(slot->message);
    slot->message = NULL;
    xfree(slot->buffer);
    slot->buffer = NULL;
    slot->request = NULL;
    slot->next = fuse->free_slots;
    fuse->free_slots = slot;
    fuse->in_flight--;
    fuse_export_slot_freed(fuse);
}

/* Keeps invariant (2): true when the message must not be answered any more. */
static bool dropped(struct fuse_slot *slot)
{
    if (slot->fuse->state < FUSE_UNMOUNT)
        return false;
    fuse_reply_none(slot->request);
    release(slot);
    return true;
}

void fuse_slot_error(struct fuse_slot *slot, int result)
{
    if (dropped(slot))
        return;
    fuse_reply_err(slot->request, -result);
    release(slot);
}

void fuse_slot_written(struct fuse_slot *slot, size_t len)
{
    if (dropped(slot))
        return;
    fuse_reply_write(slot->request, len);
    release(slot);
}

void fuse_slot_data(struct fuse_slot *slot, const void *data, size_t len)
{
    if (dropped(slot))
        return;
    fuse_reply_buf(slot->request, data, len);
    release(slot);
}

void fuse_slot_position(struct fuse_slot *slot, uint64_t offset)
{
    if (dropped(slot))
        return;
    fuse_reply_lseek(slot->request, (off_t)offset);
    release(slot);
}

/* Valid for no time: others may write to the node. */
void fuse_slot_attributes(struct fuse_slot *slot, const struct stat *st)
{
    if (dropped(slot))
        return;
    fuse_reply_attr(slot->request, st, 0);
    release(slot);
}

static void submit(struct fuse_slot *slot, enum req_kind kind, uint32_t flags, req_done_fn *done)
{
    struct req *req = &slot->req;

    req->kind = kind;
    req->flags = flags;
    req->offset = slot->offset;
    req->len = slot->len;
    req->done = done;
    req->data = iov_view(NULL, 0);
    if (kind == REQ_READ || kind == REQ_WRITE)
        req->data = iov_view(&slot->iov, 1);
    edge_submit(slot->fuse->export->edge, req);
}

static struct fuse_slot *slot_of(struct req *req)
{
    return container_of(req, struct fuse_slot, req);
}

static void finished(struct req *req) { fuse_slot_error(slot_of(req), req->result); }

/* ---- Opening ---- */

static void init(void *userdata, struct fuse_conn_info *conn)
{
    conn->max_background = FUSE_SLOTS;
    conn->congestion_threshold = FUSE_SLOTS;
}

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    fuse_reply_err(request, ENOENT);
}

/* Direct: the kernel keeps nothing. O_TRUNC has no effect, as on a device. */
static void open_file(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fi->direct_io = 1;
    fuse_reply_open(request, fi);
}

/* ---- Data ---- */

static void read_done(struct req *req)
{
    struct fuse_slot *slot = slot_of(req);

    if (req->result < 0)
        fuse_slot_error(slot, req->result);
    else
        fuse_slot_data(slot, slot->buffer, slot->len);
}

/* The node ends where it ends now: a read across it is short. */
static void read_file(fuse_req_t request, fuse_ino_t ino, size_t size, off_t off,
                      struct fuse_file_info *fi)
{
    struct fuse_slot *slot = fuse_slot_new(request);
    uint64_t end = fuse_node(slot->fuse)->size, offset = (uint64_t)off;

    if (off < 0 || size > FUSE_READ_BYTES) {
        fuse_slot_error(slot, -EINVAL);
        return;
    }
    if (offset >= end || size == 0) {
        fuse_slot_data(slot, NULL, 0);
        return;
    }
    slot->offset = offset;
    slot->len = MIN(size, end - offset);
    slot->buffer = try_alloc_aligned(fuse_node(slot->fuse)->limits.memory_alignment, slot->len);
    if (!slot->buffer) {
        fuse_slot_error(slot, -ENOMEM);
        return;
    }
    slot->iov = (struct iovec){ slot->buffer, slot->len };
    submit(slot, REQ_READ, 0, read_done);
}

static void write_done(struct req *req)
{
    struct fuse_slot *slot = slot_of(req);

    if (req->result < 0)
        fuse_slot_error(slot, req->result);
    else
        fuse_slot_written(slot, slot->len);
}

static void write_resized(struct fuse_slot *slot, int result)
{
    uint64_t end = fuse_node(slot->fuse)->size;

    if (result < 0 || slot->offset >= end) {
        fuse_slot_error(slot, result < 0 ? result : -EIO);
        return;
    }
    slot->len = MIN(slot->len, end - slot->offset);
    slot->iov.iov_len = slot->len;
    submit(slot, REQ_WRITE, slot->fuse->export->writethrough ? REQ_FUA : 0, write_done);
}

/* buf lies in the message, which goes with the request. */
static void write_file(fuse_req_t request, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    struct fuse_slot *slot = fuse_slot_new(request);
    struct fuse_export *fuse = slot->fuse;
    uint64_t end = fuse_node(fuse)->size;

    if (!fuse->export->writable || off < 0 || size > INT64_MAX - (uint64_t)off) {
        fuse_slot_error(slot, fuse->export->writable ? -EINVAL : -EACCES);
        return;
    }
    if (size == 0) {
        fuse_slot_written(slot, 0);
        return;
    }
    slot->message = fuse->message.mem;
    fuse->message.mem = NULL;
    slot->offset = (uint64_t)off;
    slot->len = size;
    slot->iov = (struct iovec){ (void *)(uintptr_t)buf, size };
    if (!fuse->growable || slot->offset + size <= end) {
        write_resized(slot, 0);
        return;
    }
    slot->resize.size = slot->offset + size;
    slot->resize.at_least = true;
    slot->resize.prealloc = PREALLOC_OFF;
    slot->resize.done = write_resized;
    fuse_resize(slot);
}

static void flush_node(fuse_req_t request)
{
    struct fuse_slot *slot = fuse_slot_new(request);

    slot->offset = 0;
    slot->len = 0;
    submit(slot, REQ_FLUSH, 0, finished);
}

static void sync_file(fuse_req_t request, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    flush_node(request);
}

static void close_file(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi)
{
    flush_node(request);
}

/* ---- Allocation ---- */

/* The part of the range that exists is made zero; ZERO_RANGE has grown the node before. */
static void zero_resized(struct fuse_slot *slot, int result)
{
    uint64_t end = fuse_node(slot->fuse)->size;
    bool punch = slot->mode & FALLOC_FL_PUNCH_HOLE;

    if (result < 0 || slot->offset >= end) {
        fuse_slot_error(slot, result);
        return;
    }
    slot->len = MIN(slot->len, end - slot->offset);
    submit(slot, REQ_ZERO,
           (punch ? REQ_MAY_UNMAP | REQ_NO_FALLBACK : 0) |
               (slot->fuse->export->writethrough ? REQ_FUA : 0),
           finished);
}

static void resize_to(struct fuse_slot *slot, uint64_t size, enum prealloc prealloc,
                      void (*done)(struct fuse_slot *slot, int result))
{
    slot->resize.size = size;
    slot->resize.at_least = true;
    slot->resize.prealloc = prealloc;
    slot->resize.done = done;
    fuse_resize(slot);
}

/* Only the range is to be allocated, not the gap before it, which is there by now. */
static void gap_made(struct fuse_slot *slot, int result)
{
    if (result < 0)
        fuse_slot_error(slot, result);
    else
        resize_to(slot, slot->offset + slot->len, PREALLOC_FALLOC, fuse_slot_error);
}

static void allocate(fuse_req_t request, fuse_ino_t ino, int mode, off_t off, off_t len,
                     struct fuse_file_info *fi)
{
    struct fuse_slot *slot = fuse_slot_new(request);
    uint64_t end = fuse_node(slot->fuse)->size;

    if (!slot->fuse->export->writable) {
        fuse_slot_error(slot, -EACCES);
        return;
    }
    if (off < 0 || len <= 0 || len > INT64_MAX - off) {
        fuse_slot_error(slot, -EINVAL);
        return;
    }
    slot->mode = mode;
    slot->offset = (uint64_t)off;
    slot->len = (uint64_t)len;
    if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) ||
        mode == (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE))
        zero_resized(slot, 0);
    else if (mode == FALLOC_FL_ZERO_RANGE)
        resize_to(slot, slot->offset + slot->len, PREALLOC_OFF, zero_resized);
    else if (mode == 0 && slot->offset >= end)
        resize_to(slot, slot->offset, PREALLOC_OFF, gap_made);
    else
        fuse_slot_error(slot, -EOPNOTSUPP); /* Whether what is there is allocated is not known. */
}

/* ---- Data and holes ---- */

static void seek_on(struct fuse_slot *slot);

static void sought(struct req *req)
{
    struct fuse_slot *slot = slot_of(req);
    bool data = req->status.flags & STATUS_DATA;

    if (req->result < 0) {
        fuse_slot_error(slot, req->result);
    } else if (data == (slot->mode == SEEK_DATA)) {
        fuse_slot_position(slot, slot->offset);
    } else {
        slot->offset += req->status.len;
        seek_on(slot);
    }
}

/* The end of the file is a hole. */
static void seek_on(struct fuse_slot *slot)
{
    uint64_t end = fuse_node(slot->fuse)->size;

    if (slot->offset < end) {
        slot->len = end - slot->offset;
        submit(slot, REQ_STATUS, REQ_WANT_ZERO, sought);
    } else if (slot->mode == SEEK_HOLE) {
        fuse_slot_position(slot, end);
    } else {
        fuse_slot_error(slot, -ENXIO);
    }
}

static void seek(fuse_req_t request, fuse_ino_t ino, off_t off, int whence,
                 struct fuse_file_info *fi)
{
    struct fuse_slot *slot = fuse_slot_new(request);

    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
        fuse_slot_error(slot, -EINVAL);
        return;
    }
    if (off < 0 || (uint64_t)off >= fuse_node(slot->fuse)->size) {
        fuse_slot_error(slot, -ENXIO);
        return;
    }
    slot->mode = whence;
    slot->offset = (uint64_t)off;
    seek_on(slot);
}

const struct fuse_lowlevel_ops fuse_operations = {
    .init = init,
    .lookup = lookup,
    .getattr = fuse_getattr,
    .setattr = fuse_setattr,
    .open = open_file,
    .read = read_file,
    .write = write_file,
    .flush = close_file,
    .fsync = sync_file,
    .fallocate = allocate,
    .lseek = seek,
};
