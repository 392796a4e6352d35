#include "emu/storage/drivers/layout/layout.h"

#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/vec.h"

struct piece {
    uint64_t offset, len;
    uint8_t *data; /* owned */
};

enum layout_phase {
    LAYOUT_OPEN,   /* The file is being opened. */
    LAYOUT_EMPTY,  /* It is being cut to nothing. */
    LAYOUT_CLEAR,  /* What could not be cut off is being zeroed. */
    LAYOUT_PIECES, /* The pieces are being written, next_piece the first of those left. */
    LAYOUT_SIZE,   /* The file gets its length. */
    LAYOUT_FLUSH,
    LAYOUT_END,
};

struct layout {
    struct graph *graph;
    struct json *options; /* A reference. */
    VEC(struct piece) pieces;
    size_t next_piece;
    uint64_t size;
    const char *what;
    driver_done_fn *done;
    void *arg;
    enum layout_phase phase;
    struct node *file; /* Holds a reference. */
    struct edge *edge; /* On file. */
    struct iovec iov;
    struct req req;
};

static const struct edge_parent_ops layout_parent = { .what = "image creation" };

struct layout *layout_new(struct graph *graph, const struct json *options)
{
    struct layout *l = NEW(struct layout);

    l->graph = graph;
    l->options = json_ref(options);
    return l;
}

void layout_free(struct layout *l)
{
    if (!l)
        return;
    if (l->edge)
        edge_detach(l->edge);
    if (l->file)
        node_unref(l->file);
    vec_for_each(piece, &l->pieces)
        xfree(piece->data);
    vec_fini(&l->pieces);
    json_free(l->options);
    xfree(l);
}

void layout_add(struct layout *l, uint64_t offset, uint8_t *data, uint64_t len)
{
    vec_push(&l->pieces, (struct piece){ offset, len, data });
}

static void layout_enter(struct layout *l, enum layout_phase phase);

static void layout_end(struct layout *l, struct err *err)
{
    driver_done_fn *done = l->done;
    void *arg = l->arg;

    layout_free(l);
    done(arg, err);
}

static void layout_next(void *arg, struct err *err)
{
    struct layout *l = arg;

    if (err)
        layout_end(l, err);
    else
        layout_enter(l, l->phase + 1);
}

static void req_done(struct req *req)
{
    struct layout *l = container_of(req, struct layout, req);

    if (req->result)
        layout_end(l, err_new_errno(req->result, "Could not write %s header", l->what));
    else if (l->phase == LAYOUT_PIECES)
        layout_enter(l, LAYOUT_PIECES);
    else
        layout_enter(l, l->phase + 1);
}

static void opened(void *arg, struct node *node, struct err *err)
{
    struct layout *l = arg;

    l->file = node;
    if (!err)
        err = edge_attach(node, "root", &layout_parent, l, PERM_WRITE | PERM_RESIZE,
                          PERM_ALL & ~(uint32_t)PERM_RESIZE, &l->edge);
    layout_next(l, err);
}

static void open_file(struct layout *l)
{
    const struct json *file = json_object_get(l->options, "file");
    struct node *node;
    struct err *err;

    if (!file) {
        layout_end(l, err_new("Parameter 'file' is missing"));
        return;
    }
    if (json_type_of(file) != JSON_STRING) {
        node_open(l->graph, file, 0, opened, l);
        return;
    }
    err = graph_lookup(l->graph, json_get_str(file), &node);
    opened(l, err ? NULL : node_ref(node), err);
}

static void write_piece(struct layout *l)
{
    struct piece *piece;

    if (l->next_piece == l->pieces.len) {
        layout_enter(l, LAYOUT_SIZE);
        return;
    }
    piece = &l->pieces.items[l->next_piece++];
    if (!piece->data) {
        layout_end(l, err_new_errno(ENOMEM, "Could not write %s header", l->what));
        return;
    }
    l->iov = (struct iovec){ piece->data, piece->len };
    req_submit_part(&l->req, l->edge, REQ_WRITE, 0, piece->offset, piece->len, iov_view(&l->iov, 1),
                    req_done);
}

/* The only writer of l->phase. */
static void layout_enter(struct layout *l, enum layout_phase phase)
{
    l->phase = phase;
    switch (phase) {
    case LAYOUT_OPEN: open_file(l); return;
    case LAYOUT_EMPTY: edge_truncate(l->edge, 0, false, PREALLOC_OFF, layout_next, l); return;
    case LAYOUT_CLEAR:
        if (l->edge->node->size)
            req_submit_part(&l->req, l->edge, REQ_ZERO, 0, 0, l->edge->node->size,
                            (struct iov_view){ 0 }, req_done);
        else
            layout_enter(l, LAYOUT_PIECES);
        return;
    case LAYOUT_PIECES: write_piece(l); return;
    case LAYOUT_SIZE:
        if (l->edge->node->size < l->size)
            edge_truncate(l->edge, l->size, false, PREALLOC_OFF, layout_next, l);
        else
            layout_enter(l, LAYOUT_FLUSH);
        return;
    case LAYOUT_FLUSH:
        req_submit_part(&l->req, l->edge, REQ_FLUSH, 0, 0, 0, (struct iov_view){ 0 }, req_done);
        return;
    case LAYOUT_END: layout_end(l, NULL); return;
    }
}

void layout_run(struct layout *l, uint64_t size, const char *what, driver_done_fn *done, void *arg)
{
    l->size = size;
    l->what = what;
    l->done = done;
    l->arg = arg;
    layout_enter(l, LAYOUT_OPEN);
}
