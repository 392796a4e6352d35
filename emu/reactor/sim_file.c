/* File and path operations, and CPU work, of simulated reactors. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/reactor/sim_priv.h"

/* Short transfers are a multiple of this. */
#define SHORT_IO_UNIT 16
#define COPY_BYTES_MAX (UINT64_C(16) << 20)

static struct sim_file *file_of(const struct op *op) { return op->handle; }

static int64_t do_open(struct sim *sim, struct sim_slot *slot)
{
    unsigned flags = slot->op->mode;
    struct sim_disk *disk = map_get(&sim->disks, slot->path);
    struct sim_reactor *r = (struct sim_reactor *)slot->op->reactor;
    struct sim_file *file;

    if (!disk && !(flags & FILE_CREATE))
        return -ENOENT;
    if (disk && (flags & FILE_CREATE) && (flags & FILE_EXCL))
        return -EEXIST;
    if (!disk) {
        disk = sim_disk_new(slot->path, 1 + map_count(&sim->disks) + sim->events * 1000);
        map_put(&sim->disks, slot->path, disk);
    }
    if (flags & FILE_TRUNC)
        sim_disk_truncate(disk, 0);
    file = NEW(struct sim_file);
    file->file.reactor = slot->op->reactor;
    file->file.flags = flags;
    file->disk = sim_disk_ref(disk);
    list_add_tail(&r->files, &file->link);
    slot->op->reactor->handles++;
    *(struct reactor_file **)slot->op->out = &file->file;
    return 0;
}

static uint32_t direct_block(const struct sim *sim)
{
    return sim->options.direct_block ? sim->options.direct_block : SIM_SECTOR;
}

static void fill_stat(const struct sim *sim, const struct sim_disk *disk, unsigned flags,
                      struct file_stat *out)
{
    memset(out, 0, sizeof(*out));
    out->size = disk->size;
    out->allocated = sim_disk_allocated(disk);
    out->dev = 1;
    out->ino = disk->ino;
    out->mode = S_IFREG | 0644;
    out->logical_block = flags & FILE_DIRECT ? direct_block(sim) : 1;
    out->memory_align = flags & FILE_DIRECT ? SIM_SECTOR : 1;
    out->is_regular = true;
}

static int64_t do_path(struct sim *sim, struct sim_slot *slot)
{
    struct sim_disk *disk = map_get(&sim->disks, slot->path);

    if (!disk)
        return -ENOENT;
    if (slot->op->kind == OP_PATH_STAT) {
        fill_stat(sim, disk, 0, slot->op->out);
        return 0;
    }
    map_remove(&sim->disks, slot->path);
    if (slot->op->kind == OP_PATH_UNLINK) {
        sim_disk_unref(disk);
        return 0;
    }
    xfree(disk->path);
    disk->path = xstrdup(slot->path2);
    sim_disk_unref(map_put(&sim->disks, slot->path2, disk));
    return 0;
}

/* How much of a transfer happens: sometimes less than asked for, in whole units. */
static uint64_t transfer_len(struct sim *sim, const struct sim_file *file, uint64_t len)
{
    uint64_t unit = file->file.flags & FILE_DIRECT ? direct_block(sim) : SHORT_IO_UNIT;

    if (len > unit && sim->options.short_io_per_mille &&
        rng_chance(&sim->rng, sim->options.short_io_per_mille, 1000))
        return unit * (1 + rng_below(&sim->rng, (len - 1) / unit));
    return len;
}

static bool misaligned(const struct sim *sim, const struct sim_file *file, const struct op *op,
                       uint64_t len)
{
    uint32_t block = direct_block(sim);

    return (file->file.flags & FILE_DIRECT) &&
           (op->offset % block || len % block ||
            !iov_is_aligned(iov_view(op->iov, op->niov), len, SIM_SECTOR));
}

static int64_t do_read(struct sim *sim, struct sim_slot *slot)
{
    const struct op *op = slot->op;
    struct sim_file *file = file_of(op);
    uint64_t len = iov_total(op->iov, op->niov);

    if (!(file->file.flags & FILE_READ))
        return -EBADF;
    if (misaligned(sim, file, op, len))
        return -EINVAL;
    if (op->offset >= file->disk->size)
        return 0;
    len = transfer_len(sim, file, MIN(len, file->disk->size - op->offset));
    sim_disk_read(file->disk, op->offset, iov_view(op->iov, op->niov), len);
    return (int64_t)len;
}

static int64_t do_write(struct sim *sim, struct sim_slot *slot)
{
    const struct op *op = slot->op;
    struct sim_file *file = file_of(op);
    uint64_t len = iov_total(op->iov, op->niov);

    if (!(file->file.flags & FILE_WRITE))
        return -EBADF;
    if (misaligned(sim, file, op, len))
        return -EINVAL;
    if (len > 0 && op->offset >= file->disk->max_size)
        return -ENOSPC;
    len = transfer_len(sim, file, MIN(len, file->disk->max_size - op->offset));
    sim_disk_write(file->disk, op->offset, iov_view(op->iov, op->niov), len);
    if (file->file.flags & FILE_DSYNC)
        sim_disk_sync_range(file->disk, op->offset, len);
    return (int64_t)len;
}

static int change_allocation(struct sim_disk *disk, const struct op *op)
{
    uint64_t end = add_saturate_u64(op->offset, op->len);

    if (op->mode == FILE_ALLOC) {
        if (end > disk->max_size)
            return -ENOSPC;
        sim_disk_reserve(disk, op->offset, op->len);
    } else if (op->offset < disk->size) {
        sim_disk_zero(disk, op->offset, MIN(end, disk->size) - op->offset, op->mode == FILE_PUNCH);
    }
    return 0;
}

static int64_t do_allocate(struct sim_slot *slot)
{
    const struct op *op = slot->op;

    if (!(file_of(op)->file.flags & FILE_WRITE))
        return -EBADF;
    if (op->len == 0)
        return -EINVAL;
    return change_allocation(file_of(op)->disk, op);
}

static int64_t do_extent(struct sim_slot *slot)
{
    struct file_extent *out = slot->op->out;
    struct sim_disk *disk = file_of(slot->op)->disk;

    if (slot->op->offset >= disk->size)
        return -ENXIO;
    out->data = sim_disk_extent(disk, slot->op->offset, &out->end);
    return 0;
}

static int64_t do_copy(struct sim *sim, struct sim_slot *slot)
{
    const struct op *op = slot->op;
    struct sim_disk *from = file_of(op)->disk, *to = ((struct sim_file *)op->handle2)->disk;
    uint64_t len = op->offset < from->size ? MIN(op->len, from->size - op->offset) : 0;
    uint8_t *bytes;
    struct iovec iov;

    if (from == to && ranges_overlap(op->offset, len, op->offset2, len))
        return -EINVAL;
    len = transfer_len(sim, file_of(op), MIN(len, COPY_BYTES_MAX));
    if (len > 0 && op->offset2 + len > to->max_size)
        return -ENOSPC;
    bytes = xmalloc(len);
    iov = (struct iovec){ bytes, len };
    sim_disk_read(from, op->offset, iov_view(&iov, 1), len);
    sim_disk_write(to, op->offset2, iov_view(&iov, 1), len);
    xfree(bytes);
    return (int64_t)len;
}

static int64_t do_sync(struct sim_slot *slot)
{
    sim_disk_sync_end(file_of(slot->op)->disk, &slot->epoch, SIM_SYNC_DONE);
    return 0;
}

static int64_t do_lock(struct sim_slot *slot)
{
    const struct op *op = slot->op;
    struct sim_disk *disk = file_of(op)->disk;
    bool conflict;

    if (op->kind == OP_FILE_LOCK)
        return sim_lock_set(disk, file_of(op), op->mode, op->offset, op->len);
    conflict = sim_lock_conflict(disk, file_of(op), op->mode, op->offset, op->len);
    if (conflict && op->out)
        *(int *)op->out = -1;
    return conflict;
}

static int64_t do_truncate(struct sim_slot *slot)
{
    struct sim_disk *disk = file_of(slot->op)->disk;

    if (slot->op->len > disk->max_size)
        return -ENOSPC;
    sim_disk_truncate(disk, slot->op->len);
    return 0;
}

static int64_t apply(struct sim *sim, struct sim_slot *slot)
{
    struct op *op = slot->op;

    switch ((enum op_kind)op->kind) {
    case OP_WORK:
    case OP_CALL: return op->work(op->handle2);
    case OP_FILE_OPEN: return do_open(sim, slot);
    case OP_PATH_UNLINK:
    case OP_PATH_RENAME:
    case OP_PATH_STAT: return do_path(sim, slot);
    case OP_FILE_READV: return do_read(sim, slot);
    case OP_FILE_WRITEV: return do_write(sim, slot);
    case OP_FILE_SYNC: return do_sync(slot);
    case OP_FILE_ALLOCATE: return do_allocate(slot);
    case OP_FILE_TRUNCATE: return do_truncate(slot);
    case OP_FILE_STAT:
        fill_stat(sim, file_of(op)->disk, file_of(op)->file.flags, op->out);
        return 0;
    case OP_FILE_EXTENT: return do_extent(slot);
    case OP_FILE_COPY: return do_copy(sim, slot);
    case OP_FILE_LOCK:
    case OP_FILE_LOCK_TEST: return do_lock(slot);
    default: unreachable();
    }
}

static void fire(struct sim *sim, struct sim_slot *slot)
{
    int64_t result = slot->error;

    if (slot->error == 0)
        result = apply(sim, slot);
    else if (slot->op->kind == OP_FILE_SYNC)
        sim_disk_sync_end(file_of(slot->op)->disk, &slot->epoch, SIM_SYNC_LOST);
    sim_slot_finish(sim, slot, result);
}

const char *sim_file_path(const struct sim_slot *slot)
{
    if (slot->path)
        return slot->path;
    return op_kind_is_file(slot->op->kind) ? file_of(slot->op)->disk->path : NULL;
}

void sim_file_start(struct op *op)
{
    struct sim *sim = sim_of(op->reactor);
    struct sim_slot *slot = sim_slot_new(sim, op, fire);

    if (op->kind >= OP_FILE_OPEN && op->kind <= OP_PATH_STAT) {
        slot->path = xstrdup(op->handle);
        slot->path2 = xstrdup(op->handle2);
    }
    if (op->kind == OP_FILE_SYNC)
        slot->epoch = sim_disk_sync_begin(file_of(op)->disk);
    if (op->kind != OP_WORK && op->kind != OP_CALL)
        sim_fault_apply(sim, slot, sim_file_path(slot));
    if (!slot->stalled)
        sim_slot_schedule(sim, slot);
}

/*
 * As with a real kernel, operations on a file may be past cancelling, and certainly are when they hang.
 * Those by path always let go.
 */
void sim_file_cancel(struct op *op)
{
    struct sim *sim = sim_of(op->reactor);
    struct sim_slot *slot = op->backend;
    bool by_path = op->kind >= OP_FILE_OPEN && op->kind <= OP_PATH_STAT;

    if (!by_path && (slot->stalled || rng_chance(&sim->rng, 1, 2)))
        return;
    if (op->kind == OP_FILE_SYNC)
        sim_disk_sync_end(file_of(op)->disk, &slot->epoch, SIM_SYNC_DROPPED);
    sim_slot_finish(sim, slot, -ECANCELED);
}

void sim_file_drop(struct sim_file *file)
{
    list_del(&file->link);
    sim_disk_unref(file->disk);
    xfree(file);
}

void sim_file_close(struct reactor_file *file)
{
    struct sim_file *f = (struct sim_file *)file;

    sim_lock_release(f->disk, f);
    sim_file_drop(f);
}

/* ---- Crash ---- */

/* Each sector of a write under way may have reached the disk. */
static void crash_write(const struct op *op, struct sim_disk *disk, struct rng *rng)
{
    struct iov_view from = iov_view(op->iov, op->niov);
    uint64_t off = op->offset;

    for (uint64_t left = iov_view_len(from); left > 0;) {
        uint64_t n = MIN(left, SIM_SECTOR - off % SIM_SECTOR);

        if (rng_chance(rng, 1, 2) && off + n <= disk->max_size)
            sim_disk_write(disk, off, from, n);
        from = iov_view_advance(from, n);
        off += n;
        left -= n;
    }
}

/* Other changes under way happened or not. */
static void crash_change(const struct op *op, struct sim_disk *disk, struct rng *rng)
{
    if (rng_chance(rng, 1, 2))
        return;
    if (op->kind == OP_FILE_TRUNCATE && op->len <= disk->max_size)
        sim_disk_truncate(disk, op->len);
    else if (op->kind == OP_FILE_ALLOCATE)
        change_allocation(disk, op);
}

void sim_file_crash_inflight(const struct sim *sim, struct sim *image, struct rng *rng)
{
    list_for_each(slot, &sim->slots, struct sim_slot, link) {
        const struct op *op = slot->op;
        struct sim_disk *disk;

        if (!op || slot->error ||
            (op->kind != OP_FILE_WRITEV && op->kind != OP_FILE_TRUNCATE &&
             op->kind != OP_FILE_ALLOCATE))
            continue;
        disk = map_get(&image->disks, file_of(op)->disk->path);
        if (!disk)
            continue; /* Unlinked. */
        if (op->kind == OP_FILE_WRITEV)
            crash_write(op, disk, rng);
        else
            crash_change(op, disk, rng);
        sim_disk_sync_all(disk);
    }
}
