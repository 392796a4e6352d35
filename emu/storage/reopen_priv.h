/* Private to reopening: a set of changes on its way. */
#ifndef EMU_STORAGE_REOPEN_PRIV_H
#define EMU_STORAGE_REOPEN_PRIV_H

#include "emu/base/opts.h"
#include "emu/base/str.h"
#include "emu/storage/core.h"
#include "emu/storage/reopen.h"

enum reopen_phase {
    REOPEN_IDLE,    /* Being put together. */
    REOPEN_DRAIN,   /* Requests in flight end; new ones wait. */
    REOPEN_PREPARE, /* Drivers prepare, one after the other. */
    REOPEN_SETTLE,  /* Flags and edges are new; locks are being taken. */
    REOPEN_READY,   /* Locks are held; drivers do what may still fail. */
    REOPEN_QUIET,   /* Nothing can fail any more; the last requests of nodes end. */
    REOPEN_UNDO,    /* All is as before. */
    REOPEN_USE,     /* Bitmaps of what is writable again are taken into use. */
    REOPEN_OVER,    /* Committed or undone. */
    REOPEN_PHASE_COUNT,
};

enum { REOPEN_CHILDREN = 2 }; /* "file" and "backing". */

struct reopen_child {
    const struct driver_child *row;
    bool change;
    bool inherited;    /* Of the old edge. */
    struct node *to;   /* Holds a reference; NULL: none. */
    struct node *from; /* While swapped; holds a reference. */
};

struct reopen_entry {
    struct reopen *reopen;
    struct node *node;    /* Holds a reference. */
    struct json *options; /* New ones; owned. NULL: unchanged. */
    struct node_options open, old_open;
    bool old_read_only;
    struct reopen_child children[REOPEN_CHILDREN];
    struct drain drain;
    bool prepared;
    bool stored; /* Its bitmaps are in the image and wait. */
};

struct reopen {
    struct graph *graph;
    enum reopen_phase phase;
    VEC(struct reopen_entry *) entries; /* Parents before their children. */
    size_t next;
    unsigned pending;
    size_t swapped; /* Entries whose flags and edges are new. */
    struct drain quiet;
    struct err *err;
    graph_done_fn *done;
    void *arg;
};

#endif
