/*
 * Character devices: named ends of byte streams, and the front ends (monitors, serial ports) that
 * use them.
 *
 * A chardev makes connections: it listens, connects, or just is there. Each connection is a channel
 * (channel.h), which it hands to its front end; the front end closes the channel and then calls
 * chardev_hangup(), and the chardev sees to the next one. A server socket serves one client at a
 * time, the next waits in the kernel until then.
 *
 * Home: the main reactor.
 */
#ifndef EMU_CHARDEV_CHARDEV_H
#define EMU_CHARDEV_CHARDEV_H

#include <stdbool.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/chardev/channel.h"
#include "emu/qmp/schema/qapi_char.h" // Generated.
#include "emu/reactor/reactor.h"

struct chardev;
struct chardevs; /* All of a program. */
struct yank;

/* yank (or NULL) gets an instance for each socket. Both are borrowed. */
struct chardevs *chardevs_new(struct reactor *reactor, struct yank *yank);

/* Closes all chardevs; their front ends must have released them. NULL is fine. The loop must run
 * until their last operations have ended. */
void chardevs_free(struct chardevs *all);

/* Takes err. chr (borrowed) is there when err is NULL. */
typedef void chardev_added(void *arg, struct err *err, struct chardev *chr);

/*
 * Makes a chardev. added(arg, ...) is called once from the loop when it is ready or has failed: for
 * a client socket without reconnect when it is connected, for a server socket with wait when its
 * first client is there. Its name is taken at once. backend is only used during the call.
 */
void chardev_add(struct chardevs *all, const char *id, const struct qapi_chardev_backend *backend,
                 chardev_added *added, void *arg);

/* Removes a chardev that has no front end. */
MUST_USE struct err *chardev_remove(struct chardevs *all, const char *id);

/* Whether the name is taken, also by a chardev that is not ready yet. */
bool chardev_exists(struct chardevs *all, const char *id);

/* Borrowed; NULL when there is none, or it is not ready yet. */
struct chardev *chardev_find(struct chardevs *all, const char *id);
const char *chardev_id(const struct chardev *chr);

/* What uses a chardev; embedded in it. */
struct chardev_frontend {
    /* A peer is there. Takes ch. Called from the loop. */
    void (*opened)(struct chardev_frontend *fe, struct channel *ch);
};

/* Makes fe the user of chr. Fails when it has one. */
MUST_USE struct err *chardev_claim(struct chardev *chr, struct chardev_frontend *fe);

/* The front end closed its channel: the connection is over, the next may come. */
void chardev_hangup(struct chardev *chr);

/* Ends the use; the front end has closed its channel, if it had one. */
void chardev_release(struct chardev *chr);

/* Appends a description of each; the caller frees what *out then holds. */
void chardevs_query(struct chardevs *all, struct qapi_chardev_info_list *out);

#endif
