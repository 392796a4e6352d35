/*
 * The window of copies, see copy.h.
 *
 * A range is cut into parts: by block status into zeroes, holes and data, and data into pieces that
 * fit a buffer. Parts of all ranges run side by side within the limits. What the status said is
 * kept beyond the range, so that one question serves for a whole extent; a write to the source
 * that touches the kept extent makes it void, or a later range could miss new data.
 */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/pool.h"
#include "emu/storage/copy.h"
#include "emu/storage/driver.h"

enum {
    PIECE_MIN = 64 << 10,
    PIECE_MAX = 2 << 20,
    BUFFER_ALIGN = 4096,
    LOOK_AHEAD = 1 << 30, /* Bytes asked at once about the source. */
};

struct range {
    struct list link; /* In copy->ranges. */
    struct copy *copy;
    struct copy_range what;
    uint64_t pos, end;
    unsigned pending; /* Parts in flight. */
    bool asking, moved_data;
    struct req status;
};

struct part {
    struct copy *copy;
    struct range *range;
    uint64_t offset, len;
    uint64_t done_to; /* Written so far. */
    uint64_t run;     /* Bytes of the write under way. */
    struct buf *buf;
    struct iovec iov;
    struct req req;
};

struct copy {
    struct reactor *reactor;
    struct copy_options options;
    struct list ranges;
    struct pool range_pool, part_pool;
    struct buf_pool buffers;
    struct task pump;
    uint64_t piece, bytes;
    unsigned parts, questions;
    bool abandoned, pumping;
    /* The extent last learnt. */
    struct notifier on_write;
    struct node *noted; /* Holds a reference; where on_write listens. */
    uint64_t known_from, known_to;
    uint32_t known_flags;
    unsigned known_depth;
    uint64_t asked_gen, gen; /* Writes seen. */
};

static void pump(struct copy *copy);

/* ---- What is known of the source ---- */

static void source_written(struct notifier *notifier, void *data)
{
    struct copy *copy = container_of(notifier, struct copy, on_write);
    const struct node_write_note *note = data;

    copy->gen++;
    if (ranges_overlap(note->offset, note->len, copy->known_from,
                       copy->known_to - copy->known_from))
        copy->known_to = copy->known_from;
}

static void listen_to(struct copy *copy, struct node *node)
{
    if (copy->noted == node)
        return;
    notifier_remove(&copy->on_write);
    if (copy->noted)
        node_unref(copy->noted);
    copy->noted = node ? node_ref(node) : NULL;
    copy->known_from = copy->known_to = 0;
    if (node)
        notifier_add(&node->on_write, &copy->on_write);
}

/* ---- Life ---- */

static void pump_task(struct task *task) { pump(container_of(task, struct copy, pump)); }

struct copy *copy_new(struct reactor *reactor, const struct copy_options *options)
{
    struct copy *copy = NEW(struct copy);
    uint64_t piece;

    check(options->max_inflight > 0 && is_pow2(options->chunk_bytes));
    copy->reactor = reactor;
    copy->options = *options;
    piece = pow2_floor_u64(MAX(options->max_bytes / options->max_inflight, UINT64_C(1)));
    piece = MIN(MAX(piece, (uint64_t)PIECE_MIN), (uint64_t)PIECE_MAX);
    copy->piece = MIN(piece, options->chunk_bytes);
    list_init(&copy->ranges);
    pool_init(&copy->range_pool, sizeof(struct range), options->max_inflight);
    pool_init(&copy->part_pool, sizeof(struct part), options->max_inflight);
    buf_pool_init(&copy->buffers, copy->piece, BUFFER_ALIGN, options->max_inflight);
    copy->on_write.fn = source_written;
    return copy;
}

void *copy_owner(struct copy *copy) { return copy->options.owner; }

static void destroy(struct copy *copy)
{
    reactor_undefer(&copy->pump);
    listen_to(copy, NULL);
    pool_fini(&copy->range_pool);
    pool_fini(&copy->part_pool);
    buf_pool_fini(&copy->buffers);
    xfree(copy);
}

void copy_free(struct copy *copy)
{
    if (!copy)
        return;
    check(list_empty(&copy->ranges) && !copy->parts && !copy->questions);
    if (copy->pumping)
        copy->abandoned = true; /* From range_done: the pump frees it on its way out. */
    else
        destroy(copy);
}

unsigned copy_inflight(const struct copy *copy) { return (unsigned)pool_out(&copy->range_pool); }
bool copy_has_room(const struct copy *copy)
{
    return copy_inflight(copy) < copy->options.max_inflight;
}

/* An abandoned copy loses ranges nobody works on; the last gone, it goes itself. */
static void abandoned_check(struct copy *copy)
{
    list_for_each_safe(range, &copy->ranges, struct range, link) {
        if (range->pending || range->asking)
            continue;
        list_del(&range->link);
        pool_put(&copy->range_pool, range);
    }
    if (list_empty(&copy->ranges) && !copy->pumping)
        destroy(copy);
}

void copy_abandon(struct copy *copy)
{
    if (!copy)
        return;
    copy->abandoned = true;
    listen_to(copy, NULL);
    reactor_undefer(&copy->pump);
    abandoned_check(copy);
}

void copy_start(struct copy *copy, uint64_t offset, uint64_t len, uint64_t cookie)
{
    struct range *range;

    check(copy_has_room(copy) && len > 0 && !copy->abandoned);
    range = pool_get(&copy->range_pool);
    check(range);
    *range = (struct range){ .copy = copy, .pos = offset, .end = offset + len };
    range->what =
        (struct copy_range){ .offset = offset, .len = len, .cookie = cookie, .zeroed = true };
    list_add_tail(&copy->ranges, &range->link);
    if (!copy->pumping)
        reactor_defer(copy->reactor, &copy->pump, pump_task);
}

/* ---- Parts ---- */

static void failed(struct range *range, int result, bool reading)
{
    if (range->what.result == 0) {
        range->what.result = result;
        range->what.read_failed = reading;
    }
    range->pos = range->end;
}

static void part_end(struct part *part)
{
    struct copy *copy = part->copy;

    part->range->pending--;
    copy->parts--;
    if (part->buf) {
        copy->bytes -= copy->piece;
        buf_unref(part->buf);
    }
    pool_put(&copy->part_pool, part);
    if (copy->abandoned)
        abandoned_check(copy);
    else
        pump(copy);
}

static uint32_t zero_flags(const struct copy *copy)
{
    return copy->options.unmap ? REQ_MAY_UNMAP : 0;
}

static void write_done(struct req *req);

/* The next run of the buffer: all data or all zeroes, as far as that is looked at. */
static bool next_run(struct part *part)
{
    const struct copy_options *options = &part->copy->options;
    const uint8_t *data = part->buf->data;
    uint64_t at = part->done_to, grain = options->zero_granularity;
    bool zero;

    if (!options->detect_zeroes) {
        part->run = part->len - at;
        return false;
    }
    if (!grain || (options->write_flags & REQ_COMPRESSED)) {
        part->run = part->len - at;
        return mem_is_zero(data + at, part->run);
    }
    part->run = MIN(grain - (part->offset + at) % grain, part->len - at);
    zero = mem_is_zero(data + at, part->run);
    while (at + part->run < part->len) {
        uint64_t more = MIN(grain, part->len - at - part->run);

        if (mem_is_zero(data + at + part->run, more) != zero)
            break;
        part->run += more;
    }
    return zero;
}

static void write_next(struct part *part)
{
    struct copy *copy = part->copy;

    if (copy->abandoned) {
        part_end(part);
        return;
    }
    while (part->done_to < part->len) {
        bool zero = next_run(part);

        if (zero && copy->options.target_is_zero) {
            part->done_to += part->run;
            continue;
        }
        if (zero) {
            req_submit_part(&part->req, copy->options.target, REQ_ZERO, zero_flags(copy),
                            part->offset + part->done_to, part->run, (struct iov_view){ 0 },
                            write_done);
            return;
        }
        part->range->moved_data = true;
        part->iov = (struct iovec){ part->buf->data + part->done_to, part->run };
        req_submit_part(&part->req, copy->options.target, REQ_WRITE, copy->options.write_flags,
                        part->offset + part->done_to, part->run, iov_view(&part->iov, 1),
                        write_done);
        return;
    }
    part_end(part);
}

static void write_done(struct req *req)
{
    struct part *part = container_of(req, struct part, req);

    if (req->result < 0) {
        failed(part->range, req->result, false);
        part_end(part);
        return;
    }
    part->done_to += part->run;
    write_next(part);
}

static void read_done(struct req *req)
{
    struct part *part = container_of(req, struct part, req);

    if (req->result < 0 && !part->copy->options.salvage) {
        failed(part->range, req->result, true);
        part_end(part);
        return;
    }
    if (req->result < 0)
        memset(part->buf->data, 0, part->len);
    write_next(part);
}

static struct part *part_new(struct range *range, uint64_t len)
{
    struct copy *copy = range->copy;
    struct part *part = pool_get(&copy->part_pool);

    if (!part) {
        /* With others in flight it is a matter of waiting for one; alone, of memory. */
        if (copy->parts == 0)
            failed(range, -ENOMEM, false);
        return NULL;
    }
    *part = (struct part){ .copy = copy, .range = range, .offset = range->pos, .len = len };
    range->pending++;
    copy->parts++;
    range->pos += len;
    return part;
}

static void zero_part(struct range *range, uint64_t len)
{
    struct part *part = part_new(range, len);

    if (!part)
        return;
    part->run = len;
    req_submit_part(&part->req, range->copy->options.target, REQ_ZERO, zero_flags(range->copy),
                    part->offset, len, (struct iov_view){ 0 }, write_done);
}

static void data_part(struct range *range, uint64_t len)
{
    struct copy *copy = range->copy;
    struct part *part;
    struct buf *buf;

    len = MIN(len, copy->piece - range->pos % copy->piece);
    buf = buf_pool_get(&copy->buffers);
    if (!buf) {
        failed(range, -ENOMEM, false);
        return;
    }
    part = part_new(range, len);
    if (!part) {
        buf_unref(buf);
        return;
    }
    copy->bytes += copy->piece;
    part->buf = buf;
    part->iov = (struct iovec){ buf->data, len };
    req_submit_part(&part->req, copy->options.source, REQ_READ, 0, part->offset, len,
                    iov_view(&part->iov, 1), read_done);
}

/* ---- Ranges ---- */

static void status_done(struct req *req)
{
    struct range *range = container_of(req, struct range, status);
    struct copy *copy = range->copy;

    range->asking = false;
    copy->questions--;
    if (copy->abandoned) {
        abandoned_check(copy);
        return;
    }
    if (req->result < 0) {
        /* Status is only good for saving work. */
        copy->known_flags = STATUS_DATA | STATUS_ALLOCATED;
        copy->known_depth = 0;
        req->status.len = range->end - range->pos;
    } else {
        copy->known_flags = req->status.flags;
        copy->known_depth = req->status.depth;
    }
    copy->known_from = req->offset;
    copy->known_to = req->offset + req->status.len;
    /* A write since the question may have made it wrong for later ranges. For this one its owner, who
     * records writes, will ask again. */
    if (copy->gen != copy->asked_gen)
        copy->known_to = MIN(copy->known_to, range->end);
    pump(copy);
}

/* Asks far beyond the range: what is one extent costs one question. */
static void ask(struct range *range)
{
    struct copy *copy = range->copy;
    struct edge *source = copy->options.source;
    uint64_t len = MAX(range->end - range->pos, (uint64_t)LOOK_AHEAD);

    listen_to(copy, source->node);
    len = MIN(len, source->node->size > range->pos ? source->node->size - range->pos : 0);
    if (!len) {
        failed(range, -EIO, true);
        return;
    }
    range->asking = true;
    copy->questions++;
    copy->asked_gen = copy->gen;
    req_submit_part(&range->status, source, REQ_STATUS,
                    REQ_WANT_ZERO | (copy->options.top_only ? REQ_STATUS_ONE : 0), range->pos, len,
                    (struct iov_view){ 0 }, status_done);
}

/* The extent known lies in a layer that is not to be copied. */
static bool skipped(const struct copy *copy)
{
    const bool allocated = copy->known_flags & STATUS_ALLOCATED;

    if (copy->options.layers)
        return !allocated || copy->known_depth >= copy->options.layers;
    return copy->options.top_only && !allocated;
}

/* Starts what can be of the range. False: the limits are reached. */
static bool advance(struct range *range)
{
    struct copy *copy = range->copy;

    while (range->pos < range->end && !range->asking) {
        uint64_t len = range->end - range->pos;

        if (copy->options.use_status) {
            if (copy->noted != copy->options.source->node || range->pos < copy->known_from ||
                range->pos >= copy->known_to) {
                if (copy->questions)
                    return false; /* One at a time: its answer may serve. */
                ask(range);
                continue;
            }
            len = MIN(len, copy->known_to - range->pos);
            if (skipped(copy)) {
                range->pos += len;
                continue;
            }
            if (copy->known_flags & STATUS_ZERO) {
                if (copy->options.target_is_zero) {
                    range->pos += len;
                    continue;
                }
                if (copy->parts >= copy->options.max_inflight)
                    return false;
                zero_part(range, len);
                continue;
            }
        }
        if (copy->parts >= copy->options.max_inflight ||
            (copy->bytes && copy->bytes + copy->piece > copy->options.max_bytes))
            return false;
        data_part(range, len);
    }
    return true;
}

static bool finish_some(struct copy *copy)
{
    list_for_each(range, &copy->ranges, struct range, link) {
        struct copy_range what;

        if (range->pos < range->end || range->pending || range->asking)
            continue;
        range->what.zeroed = !range->moved_data && range->what.result == 0;
        what = range->what;
        list_del(&range->link);
        pool_put(&copy->range_pool, range);
        copy->options.range_done(copy, &what); /* May start others, free or abandon. */
        return true;
    }
    return false;
}

static void pump(struct copy *copy)
{
    if (copy->pumping)
        return;
    copy->pumping = true;
    do {
        list_for_each(range, &copy->ranges, struct range, link) {
            if (!advance(range))
                break;
        }
    } while (!copy->abandoned && finish_some(copy) && !copy->abandoned);
    copy->pumping = false;
    if (copy->abandoned)
        abandoned_check(copy);
}
