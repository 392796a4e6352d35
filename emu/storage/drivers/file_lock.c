/* Byte locks on image files, see file.h. */
#include <errno.h>

#include "emu/base/check.h"
#include "emu/storage/drivers/file.h"

enum { BYTE_TAKEN = 100, BYTE_UNSHARED = 200, PERM_COUNT = 4, HELD_UNSHARED = 16 };
enum { STEP_TAKE, STEP_TEST, STEP_RELEASE };

static const char *const perm_text[PERM_COUNT] = { "consistent read", "write", "write unchanged",
                                                   "resize" };

static uint64_t byte_of(unsigned bit)
{
    return bit < HELD_UNSHARED ? BYTE_TAKEN + bit : BYTE_UNSHARED + bit - HELD_UNSHARED;
}

/* The byte that another holder would have locked if it minds what this bit says. */
static uint64_t opposite_of(unsigned bit)
{
    return bit < HELD_UNSHARED ? BYTE_UNSHARED + bit : BYTE_TAKEN + bit - HELD_UNSHARED;
}

static void step(struct file_locks *locks);

static void refuse(struct file_locks *locks, struct err *err)
{
    locks->err = err;
    /* Give back what was taken now, keep what was held before. */
    locks->want = locks->held & ~locks->fresh;
    locks->step = STEP_RELEASE;
    locks->bit = 0;
}

static struct err *conflict(const struct file_locks *locks)
{
    bool unshared = locks->bit >= HELD_UNSHARED;
    struct err *err = err_new("Failed to get %s\"%s\" lock", unshared ? "shared " : "",
                              perm_text[locks->bit % HELD_UNSHARED]);

    err_hint_append(err, "Is another process using the image [%s]?\n", locks->filename);
    if (locks->pid > 0)
        err_hint_append(err, "It is locked by process %d.\n", locks->pid);
    return err_set_errnum(err, EAGAIN);
}

static void op_done(struct op *op)
{
    struct file_locks *locks = container_of(op, struct file_locks, op);
    uint32_t bit = UINT32_C(1) << locks->bit;

    switch (locks->step) {
    case STEP_TAKE:
        if (op->result < 0) {
            refuse(locks, err_new_errno((int)op->result, "Failed to lock byte %llu",
                                        (unsigned long long)byte_of(locks->bit)));
            break;
        }
        locks->held |= bit;
        locks->fresh |= bit;
        locks->bit++;
        break;
    case STEP_TEST:
        if (op->result > 0)
            refuse(locks, conflict(locks));
        else if (op->result < 0)
            refuse(locks, err_new_errno((int)op->result, "Failed to test a lock of '%s'",
                                        locks->filename));
        else
            locks->bit++;
        break;
    case STEP_RELEASE:
        locks->held &= ~bit;
        locks->bit++;
        break;
    }
    step(locks);
}

static void step(struct file_locks *locks)
{
    struct op *op = &locks->op;
    struct reactor_file *file = locks->file;

    for (; locks->step <= STEP_RELEASE; locks->step++, locks->bit = 0) {
        /* Nothing new taken: nothing can conflict. */
        if (locks->step == STEP_TEST && (!locks->fresh || locks->copying))
            continue;
        for (; locks->bit < 32; locks->bit++) {
            uint32_t bit = UINT32_C(1) << locks->bit;

            if (locks->step == STEP_TAKE && (locks->want & bit) && !(locks->held & bit)) {
                reactor_file_lock(file, op, FILE_LOCK_SHARED, byte_of(locks->bit), 1);
                return;
            }
            if (locks->step == STEP_TEST && (locks->want & bit)) {
                reactor_file_lock_test(file, op, FILE_LOCK_EXCLUSIVE, opposite_of(locks->bit), 1,
                                       &locks->pid);
                return;
            }
            if (locks->step == STEP_RELEASE && (locks->held & bit) && !(locks->want & bit)) {
                reactor_file_lock(file, op, FILE_LOCK_NONE, byte_of(locks->bit), 1);
                return;
            }
        }
    }
    struct err *err = locks->err;

    locks->err = NULL;
    locks->done(locks->arg, err);
}

static void start(struct file_locks *locks, uint32_t want, driver_done_fn *done, void *arg)
{
    check(!op_pending(&locks->op));
    locks->want = want;
    locks->fresh = 0;
    locks->step = STEP_TAKE;
    locks->bit = 0;
    locks->pid = -1;
    locks->done = done;
    locks->arg = arg;
    locks->op.done = op_done;
    step(locks);
}

void file_locks_apply(struct file_locks *locks, uint32_t perm, uint32_t shared,
                      driver_done_fn *done, void *arg)
{
    locks->copying = false;
    start(locks, perm | (~shared & PERM_ALL) << HELD_UNSHARED, done, arg);
}

void file_locks_copy(struct file_locks *locks, const struct file_locks *from, driver_done_fn *done,
                     void *arg)
{
    locks->copying = true;
    start(locks, from->held, done, arg);
}
