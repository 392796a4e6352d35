#ifndef EMU_STORAGE_DRIVERS_SPARSE_SPARSE_OP_H
#define EMU_STORAGE_DRIVERS_SPARSE_SPARSE_OP_H

/* What the files of the request machine share; private to this folder. */

#include "emu/storage/drivers/sparse/sparse.h"

/* Blocks from `block` on that are of one kind; DATA also follow each other in the file. */
struct sparse_span {
    struct sparse_place place; /* Of the first. */
    uint64_t blocks;
    uint64_t len; /* Bytes from the position asked about, at most as many as asked. */
};

/* What is at pos, for at most max bytes. 0, META_WAIT or -errno. */
MUST_USE int sparse_span_at(struct sparse *s, uint64_t pos, uint64_t max, struct meta_wait *wait,
                            struct sparse_span *out);
static inline bool sparse_has_backing(const struct sparse *s) { return s->node->backing != NULL; }

void sparse_op_step(struct sparse_op *op);
/* A part has ended. */
void sparse_op_part_done(struct sparse_op *op, int result);
struct sparse_part *sparse_op_free_part(struct sparse_op *op); /* NULL: all are busy. */
/* The request's buffer from pos on. */
struct iov_view sparse_op_view(const struct sparse_op *op, uint64_t pos);

/* `start` functions: start the next part, move op->pos. 0, META_WAIT, -EAGAIN (a part's end goes on) or -errno. */
int sparse_write_start(struct sparse_op *op);
int sparse_zero_start(struct sparse_op *op); /* ZERO and DISCARD. */

/* Waits until nobody changes blocks (S2). 0 or META_WAIT. */
MUST_USE int sparse_change_check(struct sparse *s, struct meta_wait *wait);
void sparse_change_end(struct sparse *s);

/* Gives blocks without a place one, fills them, and links them. Takes part of the request from op->pos on. */
int sparse_cow_start(struct sparse_op *op, const struct sparse_span *span);
/* Stores the block at op->pos packed. */
int sparse_pack_start(struct sparse_op *op, const struct sparse_span *span);

/* The content of a compressed block, valid until the next call that may wait. 0, META_WAIT or -errno. */
MUST_USE int sparse_plain(struct sparse *s, uint64_t block, struct sparse_place place,
                          struct meta_wait *wait, uint8_t **bytes);
void sparse_plain_fini(struct sparse *s);

#endif
