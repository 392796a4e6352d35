#include "emu/cmd/common/loop.h"

struct err *wait_for(struct reactor *r, struct waiter *waiter)
{
    struct err *err;

    while (!waiter->finished)
        reactor_run_once(r, -1);
    err = waiter->err;
    waiter->err = NULL;
    waiter->finished = false;
    return err;
}

void wait_done(void *arg, struct err *err)
{
    struct waiter *waiter = arg;

    waiter->err = err;
    waiter->finished = true;
}

void wait_node_done(void *arg, struct node *node, struct err *err)
{
    struct waiter *waiter = arg;

    waiter->node = node;
    wait_done(waiter, err);
}

/* A finished request is one without a callback: no memory beside the request is needed. */
static void request_done(struct req *req) { req->done = NULL; }

void start_request(struct edge *edge, struct req *req)
{
    req->done = request_done;
    edge_submit(edge, req);
}

int finish_request(struct reactor *r, struct req *req)
{
    while (req->done)
        reactor_run_once(r, -1);
    return req->result;
}

int wait_request(struct reactor *r, struct edge *edge, struct req *req)
{
    start_request(edge, req);
    return finish_request(r, req);
}
