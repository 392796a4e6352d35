/* Drivers "null-co" and "null-aio": a disk that forgets. For measuring, and for tests. */
#include <string.h>

#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/storage/driver.h"

struct null_state {
    uint64_t latency_ns;
    bool read_zeroes;
};

struct null_req {
    struct timer timer;
    struct req *req;
};

static struct err *null_options(struct node *node, struct opts *opts)
{
    struct null_state *state = node->state;
    uint64_t size = UINT64_C(1) << 30;
    const char *filename = NULL;

    TRY(opts_str_opt(opts, "filename", &filename));
    TRY(opts_size_opt(opts, "size", &size));
    TRY(opts_u64_opt(opts, "latency-ns", &state->latency_ns));
    TRY(opts_bool_opt(opts, "read-zeroes", &state->read_zeroes));
    if (size > INT64_MAX)
        return err_new("'size' is too large");
    node->size = align_up_u64(size, 512);
    return NULL;
}

static void null_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                      void *arg)
{
    (void)flags;
    node->supported_write_flags = REQ_FUA;
    node->supported_zero_flags = REQ_FUA | REQ_MAY_UNMAP | REQ_NO_FALLBACK;
    done(arg, null_options(node, opts));
}

static void null_close(struct node *node, driver_done_fn *done, void *arg)
{
    (void)node;
    done(arg, NULL);
}

static void fired(struct timer *timer)
{
    req_complete(container_of(timer, struct null_req, timer)->req, 0);
}

static void null_submit(struct node *node, struct req *req)
{
    struct null_state *state = node->state;
    struct null_req *nr = req->ctx;
    struct reactor *reactor = graph_reactor(node->graph);

    if (req->kind == REQ_READ && state->read_zeroes)
        iov_fill(req->data, req->len, 0);
    if (req->kind == REQ_STATUS)
        req->status = (struct req_status){
            .flags = STATUS_OFFSET_VALID | STATUS_ALLOCATED |
                     (state->read_zeroes ? STATUS_ZERO : STATUS_DATA),
            .len = req->len,
            .host_offset = req->offset,
            .file = node,
        };
    if (!state->latency_ns || req->kind == REQ_STATUS) {
        req_complete(req, 0);
        return;
    }
    memset(nr, 0, sizeof(*nr));
    nr->req = req;
    nr->timer.fn = fired;
    timer_arm(
        reactor, &nr->timer,
        nstime_add(reactor_now(reactor), (int64_t)MIN(state->latency_ns, (uint64_t)INT64_MAX)));
}

static void null_facts(struct node *node, struct image_facts *facts, driver_done_fn *done,
                       void *arg)
{
    facts->virtual_size = node->size;
    facts->have_actual_size = true;
    done(arg, NULL);
}

#define NULL_DRIVER(text)                                                                          \
    {                                                                                              \
        .name = (text), .is_protocol = true, .state_size = sizeof(struct null_state),              \
        .req_size = sizeof(struct null_req), .open = null_open, .close = null_close,               \
        .submit = null_submit, .facts = null_facts,                                                \
    }

const struct driver driver_null_co = NULL_DRIVER("null-co");
const struct driver driver_null_aio = NULL_DRIVER("null-aio");
#undef NULL_DRIVER
