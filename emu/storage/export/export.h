/*
 * Exports: nodes offered to others outside, by an NBD server (specs: 2, 4.1) or as files (FUSE).
 *
 * struct exports is a program's list of exports with at most one NBD server. It lives on the graph's
 * reactor, as do all calls. An export is a parent of its node without being a node itself; it ends
 * when the user deletes it and none of its requests is in flight any more.
 */
#ifndef EMU_STORAGE_EXPORT_EXPORT_H
#define EMU_STORAGE_EXPORT_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/list.h"
#include "emu/base/notify.h"
#include "emu/reactor/reactor.h"
#include "emu/storage/node.h"

struct bitmap;
struct fuse_export;
struct nbd_server;

enum export_type { EXPORT_NBD, EXPORT_FUSE };

enum { EXPORT_BITMAPS_MAX = 16 };

struct exports {
    struct graph *graph;             /* borrowed */
    struct reactor *reactor;         /* borrowed */
    struct list list;                /* struct export, oldest first. */
    struct nbd_server *server;       /* owned; NULL while none runs. */
    struct notifier_list on_deleted; /* Data: the id, a const char *. */
    struct notifier_list on_client_gone; /* Data: struct export_client_note. */
    struct list stops;               /* Waiting for exports_nbd_stop. */
    struct task sweep;               /* Ends exports that have become idle. */
    struct timer stop_timer;
    unsigned settling; /* Exports whose permissions are being taken. */
};

/* A connection to the server has ended. */
struct export_client_note {
    bool negotiated;  /* It had chosen an export. */
    unsigned clients; /* Connections left. */
};

struct export
{
    struct list link;
    struct exports *exports;
    enum export_type type;
    char *id, *name, *description; /* owned; description may be NULL. */
    struct fuse_export *fuse;      /* owned; of type FUSE. */
    struct edge *edge;             /* owned */
    bool writable, writethrough, allocation_depth;
    bool shutting_down;
    unsigned clients; /* Connections in transmission. */
    unsigned users;   /* Connections that refer to it, and requests in flight. */
    struct bitmap *bitmaps[EXPORT_BITMAPS_MAX]; /* borrowed; marked busy. */
    unsigned bitmap_count;
};

/* Whether users other than the one who mounts can get at the file. AUTO: if it is permitted. */
enum export_allow_other {
    EXPORT_ALLOW_OTHER_OFF,
    EXPORT_ALLOW_OTHER_ON,
    EXPORT_ALLOW_OTHER_AUTO,
};

struct export_fuse_options {
    const char *mountpoint; /* A regular file. */
    bool growable;          /* Writes past the end grow the node. */
    enum export_allow_other allow_other;
};

/* What block-export-add says; strings are borrowed. */
struct export_options {
    enum export_type type;
    const char *id, *node_name;
    struct export_fuse_options fuse;
    const char *name;        /* NULL: the node name. */
    const char *description; /* May be NULL. */
    bool writable, writethrough, allocation_depth;
    struct {
        const char *node_name; /* NULL: the exported node or its backing chain. */
        const char *name;
    } bitmaps[EXPORT_BITMAPS_MAX];
    unsigned bitmap_count;
};

struct exports *exports_new(struct graph *graph);
/* All exports and the server must be gone (exports_close_all). NULL is fine. */
void exports_free(struct exports *exports);

/*
 * Adds an export. done is called later, when file locks were taken and a FUSE export was mounted, with
 * NULL or the error; an error
 * found at once is returned instead, and then done is not called. Texts are the reference's.
 */
struct err *export_add(struct exports *exports, const struct export_options *options,
                       graph_done_fn *done, void *arg) MUST_USE;

enum export_del_mode { EXPORT_DEL_SAFE, EXPORT_DEL_HARD };
/*
 * Begins the end of an export; with SAFE refuses while clients are connected, HARD disconnects them. It is gone
 * when on_deleted tells. done is called then, or at once when requests of
 * clients are in flight, which are not waited for. An
 * error found at once is returned instead.
 */
struct err *export_del(struct exports *exports, const char *id, enum export_del_mode mode,
                       graph_done_fn *done, void *arg) MUST_USE;

struct export *export_find(struct exports *exports, const char *id);
/* An export by the name clients use, NULL when there is none or it is ending. */
struct export *export_find_name(struct exports *exports, const char *name, size_t name_len);

struct nbd_server_options {
    struct addr addr;               /* borrowed for the call */
    uint32_t max_connections;       /* 0: no limit. */
    uint32_t handshake_max_seconds; /* 0: no limit. */
    const char *tls_creds;          /* Id of credentials all clients must use; NULL: no TLS. */
    const char *tls_authz;          /* Id of the object that says who may connect; may be NULL. */
};
enum { NBD_MAX_CONNECTIONS_DEFAULT = 100, NBD_HANDSHAKE_SECONDS_DEFAULT = 10 };

struct err *exports_nbd_start(struct exports *exports,
                              const struct nbd_server_options *options) MUST_USE;
/*
 * Stops the server and ends all NBD exports. done is called when they are gone, or after a second if a
 * request is stuck below; the rest ends in the background then.
 */
struct err *exports_nbd_stop(struct exports *exports, graph_done_fn *done, void *arg) MUST_USE;
/* The same for the end of a program: exports of all types, also without a server. */
void exports_close_all(struct exports *exports, graph_done_fn *done, void *arg);
/* The bound TCP port of the server, 0 when there is none. */
unsigned exports_nbd_port(const struct exports *exports);

/* ---- For the server's connections ---- */

void export_use(struct export *export);
void export_unuse(struct export *export);

#endif
