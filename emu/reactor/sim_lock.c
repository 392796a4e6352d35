/* Open-file-description locks of simulated files. */
#include <errno.h>

#include "emu/reactor/sim_priv.h"

static bool overlap(const struct sim_disk_lock *lock, uint64_t off, uint64_t len)
{
    return off < lock->off + lock->len && lock->off < off + len;
}

bool sim_lock_conflict(const struct sim_disk *disk, const void *owner, enum file_lock kind,
                       uint64_t off, uint64_t len)
{
    for (size_t i = 0; i < vec_len(&disk->locks); i++) {
        const struct sim_disk_lock *lock = &vec_at(&disk->locks, i);

        if (lock->owner != owner && overlap(lock, off, len) &&
            (kind == FILE_LOCK_EXCLUSIVE || lock->exclusive))
            return true;
    }
    return false;
}

/* Takes [off, off+len) out of the owner's locks; what sticks out on either side stays. */
static void cut(struct sim_disk *disk, const void *owner, uint64_t off, uint64_t len)
{
    for (size_t i = 0; i < vec_len(&disk->locks);) {
        struct sim_disk_lock lock = vec_at(&disk->locks, i);

        if (lock.owner != owner || !overlap(&lock, off, len)) {
            i++;
            continue;
        }
        vec_at(&disk->locks, i) = vec_last(&disk->locks);
        (void)vec_pop(&disk->locks);
        if (lock.off < off)
            vec_push(&disk->locks,
                     ((struct sim_disk_lock){ owner, lock.off, off - lock.off, lock.exclusive }));
        if (lock.off + lock.len > off + len)
            vec_push(&disk->locks,
                     ((struct sim_disk_lock){ owner, off + len, lock.off + lock.len - off - len,
                                              lock.exclusive }));
    }
}

int64_t sim_lock_set(struct sim_disk *disk, const void *owner, enum file_lock kind, uint64_t off,
                     uint64_t len)
{
    if (kind != FILE_LOCK_NONE && sim_lock_conflict(disk, owner, kind, off, len))
        return -EAGAIN;
    cut(disk, owner, off, len);
    if (kind != FILE_LOCK_NONE)
        vec_push(&disk->locks,
                 ((struct sim_disk_lock){ owner, off, len, kind == FILE_LOCK_EXCLUSIVE }));
    return 0;
}

void sim_lock_release(struct sim_disk *disk, const void *owner) { cut(disk, owner, 0, UINT64_MAX); }
