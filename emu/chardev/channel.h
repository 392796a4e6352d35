/*
 * A channel: one connection of a character device, as its user sees it. Bytes come in, bytes go
 * out, nothing waits. It owns all buffers, so its user may go away at any time.
 *
 * The chardev makes a channel when a peer is there and hands it to the front end, which attaches,
 * resumes reading, and closes it in the end. A channel has one home reactor; channel_detach() and
 * channel_adopt() carry one to another reactor.
 */
#ifndef EMU_CHARDEV_CHANNEL_H
#define EMU_CHARDEV_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "emu/base/attrs.h"
#include "emu/reactor/reactor.h"

struct channel;

/* Called from the loop of the channel's home, never from within a channel_* function. */
struct channel_user {
    /*
     * Bytes arrived. Returns how many were taken; the rest is offered again in a later turn of the
     * loop, unless reading was paused.
     */
    size_t (*received)(void *arg, const char *bytes, size_t len);
    /* Nothing more will arrive, and all that did was taken. Once. Output may still get through. */
    void (*ended)(void *arg);
    /* Some output was written, or given up because the peer is gone. May be NULL. */
    void (*sent)(void *arg);
};

/* Takes the streams, which are the same for a socket. in may be NULL: nothing ever arrives. */
struct channel *channel_new(struct reactor *reactor, struct reactor_stream *in,
                            struct reactor_stream *out);

/* A channel from which nothing arrives and whose output goes to sink(arg, ...), or nowhere. */
typedef void channel_sink(void *arg, const char *bytes, size_t len);
struct channel *channel_new_sink(struct reactor *reactor, channel_sink *sink, void *arg);

/* The same; the output is written to a file from offset on. Takes file. */
struct channel *channel_new_file(struct reactor *reactor, struct reactor_file *file,
                                 uint64_t offset);

/* Sets who is called. Reading is paused at first. */
void channel_attach(struct channel *ch, const struct channel_user *user, void *arg);

/*
 * Whether received may be called. A paused channel still reads ahead, up to the size of
 * its buffer, and then leaves its peer to the flow control of the kernel.
 */
void channel_resume(struct channel *ch);
void channel_pause(struct channel *ch);

/* Descriptors that came with the bytes read so far, oldest first, at most max, now the caller's. Returns how many. */
unsigned channel_take_fds(struct channel *ch, int *fds, unsigned max);

/* Queues a copy of the bytes. They are written in order, as fast as the peer takes them; there is
 * no limit here, so look at channel_pending(). Dropped when the peer is gone. */
void channel_send(struct channel *ch, const char *bytes, size_t len);

/* Bytes queued and not yet written; 0 when the peer is gone. */
size_t channel_pending(const struct channel *ch);

/* Output failed: there is nobody to talk to. */
bool channel_is_broken(const struct channel *ch);

/* Makes the peer and the user see the end soon. */
void channel_shutdown(struct channel *ch);

/* Ends it: no call of the user follows. What is not yet written is lost. NULL is fine. */
void channel_close(struct channel *ch);

/* Has closed(arg) called when it is closed and its last operation has ended. */
void channel_on_closed(struct channel *ch, void (*closed)(void *arg), void *arg);

/* The stream, for names and shutdown; NULL when there is none. Borrowed. */
struct reactor_stream *channel_stream(const struct channel *ch);

/* What a channel on another reactor is made of; moves freely between threads. */
struct channel_parts {
    int in_fd, out_fd; /* owned; equal for a socket */
    char *unread;      /* owned; received and not taken */
    size_t unread_len;
};

/* Whether channel_detach() can ever succeed: there are streams, and they have descriptors. */
bool channel_is_movable(const struct channel *ch);

/*
 * Takes a movable channel apart. When its operations have ended and its output is written,
 * detached(arg, parts) is called from the loop and the channel is gone; *parts is the callee's. It is
 * not called when the channel is closed before, or its peer goes: ended is, as ever. Until then
 * nothing is received.
 */
typedef void channel_detached(void *arg, struct channel_parts *parts);
void channel_detach(struct channel *ch, channel_detached *detached, void *arg);

/* Puts it together again on another reactor, on that reactor's thread. Takes what parts owns. */
struct channel *channel_adopt(struct reactor *reactor, struct channel_parts *parts);

/* Closes what parts owns. */
void channel_parts_drop(struct channel_parts *parts);

#endif
