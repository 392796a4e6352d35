#ifndef EMU_JOBS_BLOCK_CBW_H
#define EMU_JOBS_BLOCK_CBW_H

/*
 * Copy before write: keeps, on a target, what a node held at one moment.
 *
 * A filter node lies above the source. Before a guest's write, zero or discard reaches a cluster that has not been
 * copied, the old data is copied to the target; the write waits for exactly the clusters it
 * touches. The owner copies the rest in the background through cbw_claim() and cbw_release(). A
 * cluster is in one of three states: to do, claimed (a copy of it is in flight), and done; only
 * claimed ones make guests wait.
 *
 * Guest copies have a copy window of their own, so that they never queue behind the bulk.
 * When the window or the target is gone (cbw_bypass), writes pass at once.
 *
 * The moment is that of cbw_open(): writes acknowledged before it are in, writes submitted later are not.
 */

#include "emu/base/extent.h"
#include "emu/base/hbitmap.h"
#include "emu/storage/copy.h"
#include "emu/storage/driver.h"

struct cbw;

struct cbw_options {
    struct edge *source, *target; /* Borrowed. */
    struct hbitmap *todo;         /* Taken; its granularity is the cluster size. */
    bool use_status, detect_zeroes, top_only, unmap;
    uint32_t write_flags;
    /* Whether guests' data is still worth copying; no: new writes pass, claims are respected. */
    bool (*wanted)(void *owner);
    /* A copy for a guest was started / has ended: the owner must not end before. */
    void (*guest_began)(void *owner);
    void (*guest_ended)(void *owner);
    void *owner;
};

/* Binds a filter node of driver_cbw, just made, to a new copy engine. */
struct cbw *cbw_open(struct node *filter, const struct cbw_options *options);

/*
 * Lets nobody write below the filter but through it, as long as it has users; takes effect with the next change
 * of permissions. Before graph_insert_filter().
 */
void cbw_unshare_writes(struct node *filter);

/*
 * No more copies for guests: those in flight are let go and their ranges are to do, waiting
 * writes go on. From then on the filter passes everything. The owner has released its claims.
 */
void cbw_bypass(struct cbw *cbw);
/* The same, and frees. NULL is ignored. */
void cbw_free(struct cbw *cbw);

/* A claimed range; the owner's for its background copies. */
struct cbw_claim {
    struct extent range;
};
/* Claims up to max bytes of the first range to do at or after *cursor (going round once). False: none is free. */
bool cbw_claim(struct cbw *cbw, struct cbw_claim *claim, uint64_t *cursor, uint64_t max);
/* Ends a claim: the range is done, or to do again. Wakes the guests that wait for it. */
void cbw_release(struct cbw *cbw, struct cbw_claim *claim, bool done);

const struct hbitmap *cbw_todo(const struct cbw *cbw);
/* Nothing to do and nothing claimed. */
bool cbw_finished(const struct cbw *cbw);
uint64_t cbw_guest_bytes(const struct cbw *cbw); /* Copied for guests so far. */

extern const struct driver driver_cbw; /* "copy-before-write", made by node_new_filter() only. */

#endif
