#ifndef EMU_STORAGE_DRIVERS_SPARSE_META_H
#define EMU_STORAGE_DRIVERS_SPARSE_META_H

/*
 * The metadata of an image file in memory: pages loaded when first used, changed in memory, and written by
 * commits.
 *
 * Functions that need a page either finish at once or return META_WAIT, having changed nothing: the caller's
 * struct meta_wait is then called back and the caller tries again from the start. So a change of several
 * places is atomic when all of them are got (meta_get) before the first is changed (meta_edit), and no lock is held.
 *
 * A commit captures all changed sectors at one moment and writes them in an order that is safe at any point:
 *
 *   DATA    flush: what was written to new blocks is durable before a table refers to it
 *   LOG     ops->log, for formats with a journal
 *   LEAF    sectors that nothing durable refers to yet (new tables), or whose order does not matter
 *   ORDER   flush, when both kinds are there
 *   ROOT    sectors that refer to leaves or to blocks
 *   FLUSH
 *   AFTER   ops->after, for formats with a journal to be retired
 *
 * When a step fails everything captured counts as changed again, and whoever waited gets the error. Memory:
 * at most pages_max pages of 4 KiB; changed ones make room by commits.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/list.h"
#include "emu/base/vec.h"
#include "emu/reactor/reactor.h"
#include "emu/storage/req.h"

struct edge;
struct meta;
struct meta_page;

/* What functions return that have arranged for wake to be called; no errno has this value. */
#define META_WAIT 1

enum { META_PAGE = 4096, META_SECTOR = 512, META_PAGES_DEFAULT = 4096 };

/*
 * A place in a queue of things that try again later. The owner embeds one and may stand in one queue at a
 * time. It is taken out before wake is called. result: 0 (try again) or the -errno that makes trying pointless.
 */
struct meta_wait {
    struct list link;
    void (*wake)(struct meta_wait *wait, int result);
};
void meta_wait_init(struct meta_wait *wait, void (*wake)(struct meta_wait *wait, int result));
/* Puts wait at the end of the queue. Returns META_WAIT. */
int meta_wait_add(struct list *queue, struct meta_wait *wait);
/* Wakes those that stand in the queue now. */
void meta_wait_wake_all(struct list *queue, int result);

/* Order of writing; see above. */
enum meta_rank { META_LEAF, META_ROOT };

/* A captured run of changed sectors. */
struct meta_capture {
    uint64_t offset, len;
    uint8_t *bytes; /* owned */
    enum meta_rank rank;
};
typedef VEC(struct meta_capture) meta_captures;

typedef void meta_done_fn(struct meta *meta, int result);

/* All may be NULL. log and after end by calling done, from within or later. */
struct meta_ops {
    /* Called when a commit begins, before the capture: the last chance to change pages. 0 or -errno; no waiting. */
    int (*before)(struct meta *meta);
    void (*log)(struct meta *meta, const meta_captures *captures, meta_done_fn *done);
    void (*after)(struct meta *meta, meta_done_fn *done);
};

enum meta_phase {
    META_IDLE,
    META_DATA,
    META_LOG,
    META_WRITE_LEAF,
    META_ORDER,
    META_WRITE_ROOT,
    META_FLUSH,
    META_AFTER,
    META_PHASE_COUNT,
};

struct meta {
    struct edge *file; /* Borrowed. */
    struct reactor *reactor;
    const struct meta_ops *ops;
    void *owner;
    bool data_unsafe; /* Data was written that the DATA step has to make durable. */
    /* ---- Private ---- */
    struct meta_page **buckets; /* owned */
    uint32_t bucket_mask, pages, pages_max, dirty;
    struct list lru, dirty_list;
    struct list room_waiters;
    enum meta_phase phase;
    meta_captures captures;
    size_t next;
    bool kicked;
    int result;
    struct req req;
    struct iovec iov;
    struct list current, following; /* struct meta_wait: for this commit, for the one after it. */
    struct task task;
};

/* False when out of memory. file outlives meta; pages_max 0: the default. */
MUST_USE bool meta_init(struct meta *meta, struct edge *file, const struct meta_ops *ops,
                        void *owner, uint32_t pages_max);
/* No commit runs. What is changed and not committed is lost. Zeroed memory is fine. */
void meta_fini(struct meta *meta);

/*
 * The len bytes at offset of the file, which lie within one page. *bytes is valid until the next call that may wait.
 * 0, META_WAIT or -errno; -EIO when they cross a page.
 */
MUST_USE int meta_get(struct meta *meta, uint64_t offset, uint32_t len, struct meta_wait *wait,
                      uint8_t **bytes);
/* The same, and the sectors they touch count as changed. Nothing is changed when it does not return 0. */
MUST_USE int meta_edit(struct meta *meta, uint64_t offset, uint32_t len, enum meta_rank rank,
                       struct meta_wait *wait, uint8_t **bytes);
/*
 * A new area of whole sectors, changed, filled with byte, without reading the file. At most 1 MiB. May wait for
 * room; when it has not returned 0, some of it may be there, and trying again is harmless.
 */
MUST_USE int meta_fresh(struct meta *meta, uint64_t offset, uint32_t len, uint8_t byte,
                        enum meta_rank rank, struct meta_wait *wait);

/* The area was written by other means: what is cached of it (unchanged sectors) is read anew when wanted. */
void meta_forget(struct meta *meta, uint64_t offset, uint64_t len);

/* Whether memory differs from the file. */
bool meta_dirty(const struct meta *meta);
/* Starts a commit soon, if needed. */
void meta_kick(struct meta *meta);
/* Wakes wait when a commit that captured everything changed so far has ended. Returns META_WAIT. */
int meta_commit_wait(struct meta *meta, struct meta_wait *wait);

#endif
