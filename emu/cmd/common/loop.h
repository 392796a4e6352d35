#ifndef EMU_CMD_COMMON_LOOP_H
#define EMU_CMD_COMMON_LOOP_H

/*
 * The one place where a front end waits: a tool that does one thing after the other runs its reactor until a
 * completion has set a flag. Nothing below emu/cmd may do this.
 */

#include "emu/reactor/reactor.h"
#include "emu/storage/node.h"

/* What a completion leaves for the waiting tool. Zeroed memory is ready for use. */
struct waiter {
    bool finished;
    struct node *node; /* From wait_node_done. */
    struct err *err;
};

/* Runs r until waiter->finished, takes its error and resets it. Returns the error or NULL. */
struct err *wait_for(struct reactor *r, struct waiter *waiter) MUST_USE;

/* Completions with a struct waiter as their argument. */
void wait_done(void *arg, struct err *err);
void wait_node_done(void *arg, struct node *node, struct err *err);

/* The two halves of wait_request(), for several requests at once. req->done is used by them. */
void start_request(struct edge *edge, struct req *req);
int finish_request(struct reactor *r, struct req *req);

/* Submits a request that the caller filled (all but done), waits, and returns its result. */
int wait_request(struct reactor *r, struct edge *edge, struct req *req);

#endif
