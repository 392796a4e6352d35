#ifndef EMU_STORAGE_BACKEND_H
#define EMU_STORAGE_BACKEND_H

/*
 * Backends: the named places into which a disk is plugged. `-drive id=` makes one, and so does every block device for
 * itself. Commands that take "device" mean a backend by its name, by the id of its device, or a node.
 */

#include "emu/storage/node.h"

/* What to do about a request that failed. */
enum backend_on_error {
    BACKEND_ERROR_AUTO, /* Not said: report reads, stop at writes without space. */
    BACKEND_ERROR_REPORT,
    BACKEND_ERROR_IGNORE,
    BACKEND_ERROR_ENOSPC,
    BACKEND_ERROR_STOP,
};

enum backend_io_status { BACKEND_IO_OK, BACKEND_IO_FAILED, BACKEND_IO_NOSPACE };

/* The device's side; all optional. A device without insertable has a fixed medium. */
struct backend_device_ops {
    bool removable;
    bool has_tray;
    bool keeps_io_status; /* An error that stops the machine is shown until it goes on. */
    /* A medium came, or is about to go. An error of the first refuses it. */
    struct err *(*changed)(void *device, bool inserted);
    /* The user asks the guest to let the medium go; forced: it is going anyway. */
    void (*eject_request)(void *device, bool force);
    bool (*tray_is_open)(void *device);
    bool (*is_locked)(void *device);
    void (*set_tray)(void *device, bool open);
    void (*resized)(void *device);
    void (*drained_begin)(void *device); /* Start no new requests ... */
    void (*drained_end)(void *device);   /* ... until here. */
};

struct backend {
    struct list link;    /* In the graph's list of backends. */
    struct graph *graph; /* Borrowed. */
    char *name;          /* Of -drive; "" for a device's own. Owned. */
    char *device;        /* Id or QOM path of the device that uses it, or NULL. Owned. */
    char *device_path;   /* Its QOM path, or NULL. Owned. */
    char *device_alias;  /* Id of what it is inside of, or NULL. Owned. */
    struct edge *root;   /* The disk; NULL without a medium. Owned. */
    uint32_t perm, shared; /* What the device takes and shares; of root and of the next medium. */
    enum backend_on_error rerror, werror;
    enum backend_io_status io_status;
    bool write_cache;  /* The guest must flush; else each write is stable when it is complete. */
    bool read_only;    /* Of -drive; what a new medium is opened like unless told otherwise. */
    bool legacy;       /* Of -drive: it goes with its device. */
    bool automatic;    /* The machine makes its device. */
    const struct backend_device_ops *ops; /* NULL: no device. */
    void *owner;                          /* Of ops. */
    void *iothread; /* Identity of the thread the device's requests run in; NULL: the main one. */
};

/* name is "" or unused by nodes and backends: "Device with id 'x' already exists" otherwise. */
struct err *backend_new(struct graph *graph, const char *name, struct backend **out) MUST_USE;
/* Lets the disk go and frees. NULL is ignored. */
void backend_free(struct backend *backend);

/* Plugs a disk into an empty backend; the backend takes a reference of its own. Permission conflicts are errors. */
struct err *backend_insert(struct backend *backend, struct node *node) MUST_USE;
/* Lets the disk go; NULL is fine. */
void backend_remove(struct backend *backend);
/* Changes what is taken and shared, now and of later disks. */
struct err *backend_set_perm(struct backend *backend, uint32_t perm, uint32_t shared) MUST_USE;

/*
 * Makes a device the user of the backend: "Drive 'x' is already in use by another block device".
 * device: what queries call it; alias: another id it is found by, or NULL.
 */
struct err *backend_attach(struct backend *backend, const struct backend_device_ops *ops,
                           void *owner, const char *device, const char *path,
                           const char *alias) MUST_USE;
/* Ends that: what was taken and shared is given back. */
void backend_detach(struct backend *backend);

/*
 * A medium came into the device or is about to go: tells the device, and listeners if its tray moved. Only a medium
 * that came can be refused.
 */
struct err *backend_media_changed(struct backend *backend, bool inserted) MUST_USE;
bool backend_is_removable(const struct backend *backend); /* Also without a device. */
bool backend_has_tray(const struct backend *backend);
bool backend_tray_is_open(const struct backend *backend); /* False without a tray. */

/* The name of the backend, or when it has none that of its device: what events and queries show. */
const char *backend_label(const struct backend *backend);
struct list *graph_backends(struct graph *graph);
struct backend *backend_find(struct graph *graph, const char *name);      /* By name. */
struct backend *backend_find_device(struct graph *graph, const char *id); /* By id of the device. */
struct backend *backend_of_node(
    const struct node *node); /* The first it is the disk of, or NULL. */

/*
 * The disk of a "device" argument: of the backend of that name, else the node of that name. Texts of the reference:
 * "Cannot find device='x' nor node-name='x'", "Device 'x' has no medium".
 */
struct err *graph_lookup_disk(struct graph *graph, const char *device, struct node **out) MUST_USE;
/* The same for commands with optional `device` and `node-name`, of which either is given (NULL: not). */
struct err *graph_lookup_either(struct graph *graph, const char *device, const char *node_name,
                                struct node **out) MUST_USE;

#endif
