/*
 * What a kind of chardev implements. Private to this package.
 *
 * A backend has one connection at most. It calls chardev_opened() with a new channel when there is
 * one, and chardev_ready() once, when chardev_add() is done. Both come from the loop or from start.
 */
#ifndef EMU_CHARDEV_BACKEND_H
#define EMU_CHARDEV_BACKEND_H

#include "emu/base/list.h"
#include "emu/chardev/chardev.h"
#include "emu/yank/yank.h"

struct chardev_ops {
    size_t size; /* Bytes of the backend's struct, which begins with struct chardev. */
    /* Begins. backend is only valid during the call. An error means that nothing was begun. */
    struct err *(*start)(struct chardev *chr, const struct qapi_chardev_backend *backend);
    /* The channel made last is closed; NULL: there will be no other. */
    void (*hangup)(struct chardev *chr);
    /* Ends all. Calls chardev_gone() when no operation is under way any more. */
    void (*stop)(struct chardev *chr);
    /* Returns new text for query-chardev. */
    char *(*filename)(const struct chardev *chr);
};

struct chardev {
    const struct chardev_ops *ops;
    struct reactor *reactor; /* borrowed */
    struct list link;
    char *id; /* owned */
    bool settled;            /* chardev_ready() was called. */
    struct err *error;       /* owned; why there is no chardev */
    chardev_added *added;    /* NULL once called */
    void *added_arg;
    struct chardev_frontend *frontend; /* borrowed; NULL: none */
    struct channel *waiting;           /* owned; a connection not yet handed to a front end */
    struct task task;
    struct yank *yank_root;     /* borrowed, or NULL */
    struct yank_instance *yank; /* owned, or NULL */
};

/* A connection is there. Takes ch. */
void chardev_opened(struct chardev *chr, struct channel *ch);

/* The end of chardev_add(). On an error (taken), the chardev is stopped. */
void chardev_ready(struct chardev *chr, struct err *err);

/* The last call of a backend that was stopped: frees it. */
void chardev_gone(struct chardev *chr);

extern const struct chardev_ops chardev_null_ops, chardev_file_ops, chardev_stdio_ops,
    chardev_socket_ops;

#endif
