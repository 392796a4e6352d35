#ifndef EMU_STORAGE_SNAPSHOT_H
#define EMU_STORAGE_SNAPSHOT_H

/* Internal snapshots: what a driver whose format keeps them provides, and how others use it. */

#include "emu/storage/node.h"

enum { SNAPSHOT_ID_MAX = 127, SNAPSHOT_NAME_MAX = 255 };

struct snapshot_info {
    char id[SNAPSHOT_ID_MAX + 1];
    char name[SNAPSHOT_NAME_MAX + 1];
    uint64_t vm_state_size; /* Bytes. */
    int64_t date_sec;       /* UTC, since 1970. */
    uint32_t date_nsec;
    uint64_t vm_clock_nsec;
    uint64_t icount;    /* UINT64_MAX: not recorded. */
    uint64_t disk_size; /* Bytes of the disk when it was taken. */
};

/*
 * Optional group of a driver. Create, apply and remove run while the caller has drained the node and ends them through
 * done; after a crash at any point the image holds the old or the new state, never half of one. Ids are resolved.
 */
struct snapshot_ops {
    /* The snapshots in the order of the image; borrowed until one is made or removed. */
    size_t (*list)(struct node *node, const struct snapshot_info **out);
    /* info->id may be "": the driver chooses the next free number. */
    void (*create)(struct node *node, const struct snapshot_info *info, graph_done_fn *done,
                   void *arg);
    /* The disk becomes what it was; its size too. */
    void (*apply)(struct node *node, const char *id, graph_done_fn *done, void *arg);
    void (*remove)(struct node *node, const char *id, graph_done_fn *done, void *arg);
    /* The node, opened read-only, shows the snapshot from now on; nothing is written. */
    void (*show)(struct node *node, const char *id, graph_done_fn *done, void *arg);
    /* A READ or WRITE in the area beside the disk where the state of the VM is kept; offset counts in that area. */
    void (*submit_vmstate)(struct node *node, struct req *req);
};

/* The node that keeps the snapshots seen at node: itself, or below filters and raw; NULL when none can. */
struct node *node_snapshot_keeper(struct node *node);
size_t node_snapshots(struct node *node, const struct snapshot_info **out); /* 0 when none can. */
/*
 * By id and/or name (NULL: any); with both, both must match. Returns the entry, borrowed, or NULL.
 */
const struct snapshot_info *node_snapshot_find(struct node *node, const char *id, const char *name);
/* First by id, then by name: how tools and HMP name one. */
const struct snapshot_info *node_snapshot_find_any(struct node *node, const char *id_or_name);
/* The errors of a node without snapshots: -ENOTSUP. The caller has drained the node. */
void node_snapshot_create(struct node *node, const struct snapshot_info *info, graph_done_fn *done,
                          void *arg);
void node_snapshot_apply(struct node *node, const char *id, graph_done_fn *done, void *arg);
void node_snapshot_remove(struct node *node, const char *id, graph_done_fn *done, void *arg);
void node_snapshot_show(struct node *node, const char *id, graph_done_fn *done, void *arg);
/* As node_submit on the VM state area. Fails with -ENOTSUP where there is none. */
void node_submit_vmstate(struct node *node, struct req *req);

#endif
