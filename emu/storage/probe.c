/* Finding out the format of an image by its first bytes. */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/core.h"

struct probing {
    struct node *file; /* Holds a reference. */
    struct req req;
    struct iovec iov;
    probe_fn *done;
    void *arg;
    uint8_t buf[PROBE_BYTES];
};

const struct driver *probe_bytes(const struct graph *graph, const uint8_t *buf, size_t len,
                                 const char *filename)
{
    const struct driver *best = NULL;
    int best_score = 0;

    for (const struct driver *const *driver = graph->drivers; *driver; driver++) {
        int score = (*driver)->probe ? (*driver)->probe(buf, len, filename) : 0;

        if (score > best_score) {
            best = *driver;
            best_score = score;
        }
    }
    return best;
}

static void read_done(struct req *req)
{
    struct probing *p = container_of(req, struct probing, req);
    const struct driver *driver;

    if (req->result < 0) {
        p->done(p->arg, NULL,
                err_new_errno(req->result, "Could not read image for determining its format"));
    } else {
        driver = probe_bytes(p->file->graph, p->buf, sizeof(p->buf), p->file->filename);
        p->done(p->arg, driver,
                driver ? NULL
                       : err_new("Could not determine image format: No compatible driver found"));
    }
    node_unref(p->file);
    xfree(p);
}

void probe_format(struct node *file, probe_fn *done, void *arg)
{
    struct probing *p = NEW(struct probing);

    p->file = node_ref(file);
    p->done = done;
    p->arg = arg;
    p->iov = (struct iovec){ p->buf, sizeof(p->buf) };
    p->req = (struct req){
        .kind = REQ_READ, .len = sizeof(p->buf), .data = iov_view(&p->iov, 1), .done = read_done
    };
    node_submit(file, &p->req);
}
