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
    /* The peer is gone, or reading or writing failed. Once; nothing is called after it. */
    void (*ended)(void *arg);
    /* Some output was written. May be NULL. */
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

/* Reading. A read that is under way when the channel is paused is kept for the resume. */
void channel_resume(struct channel *ch);
void channel_pause(struct channel *ch);

/* Queues a copy of the bytes. They are written in order, as fast as the peer takes them; there is
 * no limit here, so look at channel_pending(). Ignored after the end. */
void channel_send(struct channel *ch, const char *bytes, size_t len);

/* Bytes queued and not yet written. */
size_t channel_pending(const struct channel *ch);

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

/* Takes the channel apart and frees it. False, with no effect, unless it is movable, reading is
 * paused, and nothing is under way. */
MUST_USE bool channel_detach(struct channel *ch, struct channel_parts *out);

/* Puts it together again on another reactor, on that reactor's thread. Takes what parts owns. */
struct channel *channel_adopt(struct reactor *reactor, struct channel_parts *parts);

/* Closes what parts owns. */
void channel_parts_drop(struct channel_parts *parts);

#endif
