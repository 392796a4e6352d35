/* The world beside its reactors: files as the test sees them, and crashes. */
#include <errno.h>
#include <stdio.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"
#include "emu/reactor/sim_priv.h"

static void drop_disk(void *disk) { sim_disk_unref(disk); }

void sim_disks_drop(struct map *disks) { map_fini_values(disks, drop_disk); }

/* ---- Files of the world, beside the ops ---- */

static struct sim_disk *disk_of(const struct sim *sim, const char *path)
{
    struct sim_disk *disk = map_get(&sim->disks, path);

    if (!disk)
        check_failed_fmt(__FILE__, __LINE__, __func__, "the world has no file '%s'", path);
    return disk;
}

void sim_file_create(struct sim *sim, const char *path, uint64_t size)
{
    struct sim_disk *disk = sim_disk_new(path, 1 + map_count(&sim->disks));

    disk->size = disk->durable_size = size;
    sim_disk_unref(map_put(&sim->disks, path, disk));
}

bool sim_file_exists(const struct sim *sim, const char *path) { return map_has(&sim->disks, path); }

uint64_t sim_file_size(const struct sim *sim, const char *path) { return disk_of(sim, path)->size; }

void sim_file_limit(struct sim *sim, const char *path, uint64_t max_size)
{
    disk_of(sim, path)->max_size = max_size;
}

void sim_file_peek(const struct sim *sim, const char *path, uint64_t offset, void *buf, size_t len)
{
    struct iovec iov = { buf, len };

    sim_disk_read(disk_of(sim, path), offset, iov_view(&iov, 1), len);
}

void sim_file_poke(struct sim *sim, const char *path, uint64_t offset, const void *buf, size_t len)
{
    struct sim_disk *disk = disk_of(sim, path);
    struct iovec iov = { (void *)(uintptr_t)buf, len };

    sim_disk_write(disk, offset, iov_view(&iov, 1), len);
    sim_disk_sync_range(disk, offset, len);
}

struct err *sim_file_export(const struct sim *sim, const char *path, const char *host_path)
{
    const struct sim_disk *disk = disk_of(sim, path);
    FILE *out = fopen(host_path, "wb");
    uint8_t bytes[SIM_PAGE];
    bool ok = out != NULL;

    for (uint64_t at = 0; ok && at < disk->size; at += SIM_PAGE) {
        size_t n = MIN(disk->size - at, (uint64_t)SIM_PAGE);

        sim_file_peek(sim, path, at, bytes, n);
        ok = fwrite(bytes, 1, n, out) == n;
    }
    if (out && fclose(out) != 0)
        ok = false;
    return ok ? NULL : err_new_errno(errno, "cannot write '%s'", host_path);
}

struct err *sim_file_import(struct sim *sim, const char *path, const char *host_path)
{
    FILE *in = fopen(host_path, "rb");
    uint8_t bytes[SIM_PAGE];
    uint64_t at = 0;
    size_t n;

    if (!in)
        return err_new_errno(errno, "cannot read '%s'", host_path);
    sim_file_create(sim, path, 0);
    while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0) {
        if (mem_is_zero(bytes, n))
            sim_disk_truncate(disk_of(sim, path), at + n);
        else
            sim_file_poke(sim, path, at, bytes, n);
        at += n;
    }
    fclose(in);
    sim_disk_sync_all(disk_of(sim, path));
    return NULL;
}

/* ---- Crashes ---- */

struct sim *sim_crash_image(const struct sim *sim, uint64_t crash_seed,
                            const struct sim_options *options)
{
    struct sim *image = sim_new(options);
    struct rng rng;
    const char *path;
    void *disk;

    rng_init(&rng, crash_seed);
    for (size_t pos = 0; map_next(&sim->disks, &pos, &path, &disk);)
        map_put(&image->disks, path, sim_disk_crash_copy(disk, &rng));
    sim_file_crash_inflight(sim, image, &rng);
    return image;
}

void sim_crash(struct sim *sim, uint64_t crash_seed)
{
    struct sim *after = sim_crash_image(sim, crash_seed, &sim->options);
    struct map disks = sim->disks;

    list_for_each_safe(slot, &sim->slots, struct sim_slot, link)
        sim_slot_free(sim, slot);
    list_for_each_safe(r, &sim->reactors, struct sim_reactor, link) {
        list_for_each_safe(file, &r->files, struct sim_file, link)
            sim_file_drop(file);
        sim_net_drop(r);
        sim_reactor_drop(r);
    }
    map_fini(&sim->listeners);
    map_fini(&sim->stalled);
    sim->disks = after->disks;
    map_init(&after->disks);
    sim_disks_drop(&disks);
    sim_free(after);
}

void sim_sync_all(struct sim *sim)
{
    void *disk;

    for (size_t pos = 0; map_next(&sim->disks, &pos, NULL, &disk);)
        sim_disk_sync_all(disk);
}

static bool path_matches(const char *wanted, const char *path)
{
    return !wanted || str_eq(wanted, path);
}

void sim_release(struct sim *sim, const char *path)
{
    vec_for_each(armed, &sim->faults) {
        if (armed->fault.stall && path_matches(path, armed->path))
            armed->fault.count = 0;
    }
    list_for_each(slot, &sim->slots, struct sim_slot, link) {
        if (slot->stalled && slot->op->kind < OP_CONNECT &&
            path_matches(path, sim_file_path(slot))) {
            slot->stalled = false;
            sim_slot_schedule(sim, slot);
        }
    }
    sim_net_resume(sim, path);
}
