#ifndef EMU_QMP_HANDLERS_TRANSACTION_PRIV_H
#define EMU_QMP_HANDLERS_TRANSACTION_PRIV_H

/* Private to transactions: a transaction on its way, and what kinds of action there are. */

#include "emu/base/hbitmap.h"
#include "emu/jobs/block/block_job.h"
#include "emu/qmp/call.h"
#include "emu/qmp/handlers/transaction.h"
#include "emu/storage/snapshot.h"

struct transaction;
struct step;

/*
 * What a kind of action does, in this order; all but apply or apply_start are optional.
 * Steps that take time end once in step_done().
 */
struct action_ops {
    /* Looks up, makes files, opens nodes: nothing that users of the nodes see. */
    void (*prepare)(struct transaction *t, struct step *step);
    bool
        drains; /* step->node, found by prepare, takes no requests while the actions take effect. */
    /* Takes effect, when the preparations of all have succeeded. One of the two. */
    struct err *(*apply)(struct transaction *t, struct step *step);
    void (*apply_start)(struct transaction *t, struct step *step);
    /* Undoes what was done; also for an action whose apply failed half way. */
    void (*undo)(struct transaction *t, struct step *step);
    /* All have succeeded. Cannot fail. */
    void (*commit)(struct transaction *t, struct step *step);
    /* After commit: what takes time and cannot change the outcome. */
    void (*finish)(struct transaction *t, struct step *step);
    bool grouped; /* May be part of a transaction with completion-mode grouped. */
};

/* What an action did. */
struct step {
    struct transaction *t;
    const struct qapi_transaction_action *action;
    const struct action_ops *ops;
    struct bitmap *bitmap;  /* Borrowed; after a remove: out of its node's list. */
    struct hbitmap *before; /* Owned; content to go back to. */
    bool was_enabled;
    char *job_id;       /* Owned. */
    struct node *node;  /* Reference; what a snapshot or backup is about. */
    struct node *other; /* Reference; the overlay or target. */
    struct snapshot_info snapshot;
    struct drain drain;
    bool done;
};

struct transaction {
    struct qmp_call *call;
    struct job_txn *txn; /* Owned; NULL unless grouped. */
    struct step *steps;  /* Owned; one per action. */
    size_t count, next;
    enum {
        TRANSACTION_PREPARE, /* Files and nodes are being made. */
        TRANSACTION_DRAIN,   /* Requests in flight end. */
        TRANSACTION_APPLY,   /* Actions take effect. */
        TRANSACTION_SETTLE,  /* Locks are being taken. */
        TRANSACTION_END,     /* Committed, or undone. */
    } phase;
    size_t reached; /* Steps whose apply was called. */
    unsigned draining;
    unsigned
        undoing; /* What was begun to undo a failure and has not ended; the reply waits for it. */
    struct err *err;  /* Owned; the failure. */
    struct qapi_transaction_action single; /* Of a command that is one action. */
};

const struct action_ops *action_ops_of(enum qapi_transaction_action_kind kind);
void step_done(struct step *step, struct err *err);
/* One of t->undoing has ended. */
void transaction_undone(struct transaction *t);
/* The job of a step if it can still be started; another client may have cancelled it. */
struct block_job *step_job(const struct step *step);

/* transaction_bitmap.c */
extern const struct action_ops bitmap_add_action, bitmap_remove_action, bitmap_clear_action,
    bitmap_enable_action, bitmap_disable_action, bitmap_merge_action;
/* transaction_snapshot.c */
extern const struct action_ops snapshot_action, snapshot_sync_action, snapshot_internal_action;
/* transaction_backup.c */
extern const struct action_ops blockdev_backup_action, drive_backup_action;

#endif
