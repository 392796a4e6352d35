#ifndef EMU_CMD_CTL_CLIENT_H
#define EMU_CMD_CTL_CLIENT_H

/*
 * A QMP client for a tool: one connection, one command at a time, events collected on the side.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/json_parse.h"
#include "emu/reactor/reactor.h"

struct client {
    struct reactor *reactor;
    struct reactor_stream *stream;
    struct json_stream parser;
    struct op read, write;
    char buffer[16384];
    struct json *greeting; /* owned */
    struct json *reply;    /* owned; of the command under way */
    struct err *err;       /* owned; the connection broke */
    /* Called for every event while the client runs; borrowed. May be NULL. */
    void (*on_event)(void *arg, const struct json *event);
    void *arg;
    uint64_t next_id;
};

/* Connects to a unix socket path or host:port and negotiates. */
struct err *client_open(struct client *client, const char *address) MUST_USE;
void client_close(struct client *client);

/* Runs a command; arguments may be NULL (borrowed). *out is its return value, new. A refusal is an error. */
struct err *client_call(struct client *client, const char *command, const struct json *arguments,
                        struct json **out) MUST_USE;
/* Sends a request object as it is and returns the whole reply. */
struct err *client_raw(struct client *client, const struct json *request,
                       struct json **reply) MUST_USE;
/* Handles events for at most ns. */
struct err *client_run_for(struct client *client, int64_t ns) MUST_USE;

#endif
