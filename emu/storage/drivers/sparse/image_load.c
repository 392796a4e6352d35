#include "emu/storage/drivers/sparse/image_load.h"

#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/storage/driver.h"

enum { READ_MAX = 64 << 20, READ_ALIGN = 4096 };

struct image_load {
    uint8_t *bytes; /* owned */
    struct iovec iov;
    struct req req;
    image_load_fn *done;
    void *arg;
};

static void read_done(struct req *req)
{
    struct image_load *r = container_of(req, struct image_load, req);
    image_load_fn *done = r->done;
    void *arg = r->arg;
    uint8_t *bytes = r->bytes;
    int result = req->result;

    xfree(r);
    if (result) {
        xfree(bytes);
        bytes = NULL;
    }
    done(arg, bytes, result);
}

void image_load(struct edge *edge, uint64_t offset, uint64_t len, image_load_fn *done, void *arg)
{
    struct image_load *r;

    if (len == 0 || len > READ_MAX || offset > INT64_MAX - READ_MAX) {
        done(arg, NULL, -EFBIG);
        return;
    }
    r = NEW(struct image_load);
    r->bytes = try_alloc_aligned(READ_ALIGN, len);
    if (!r->bytes) {
        xfree(r);
        done(arg, NULL, -ENOMEM);
        return;
    }
    r->iov = (struct iovec){ r->bytes, len };
    r->done = done;
    r->arg = arg;
    req_submit_part(&r->req, edge, REQ_READ, 0, offset, len, iov_view(&r->iov, 1), read_done);
}
