/* The slow way of emu-img convert: one request after the other, see convert.h. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "emu/base/attrs.h"
#include "emu/base/buf.h"
#include "emu/base/iov.h"
#include "emu/cmd/img/convert.h"

enum { CHUNK = 2 << 20, SECTOR = 512 };

/* A place in the sources put one after the other. */
struct place {
    struct image *image;
    uint64_t offset; /* In image. */
    uint64_t left;   /* To the end of image. */
};

struct careful {
    struct conversion *cv;
    struct buf *buf;
    uint64_t unit; /* Zeroes are looked for in multiples of it. */
};

enum kind { KIND_DATA, KIND_ZERO, KIND_BACKING };

static struct place place_of(const struct conversion *cv, uint64_t offset)
{
    unsigned i = 0;

    while (i + 1 < cv->options->source_count && offset >= cv->sources[i].node->size)
        offset -= cv->sources[i++].node->size;
    return (struct place){ &cv->sources[i], offset, cv->sources[i].node->size - offset };
}

/* What the sources have at an offset; *len is cut to one extent. What a salvage cannot ask counts as data. */
static struct err *status_at(struct conversion *cv, uint64_t offset, uint64_t *len, enum kind *kind)
{
    const struct convert_options *o = cv->options;
    struct place place = place_of(cv, offset);
    bool top = o->backing && offset < cv->backing_size;
    struct req_status status;
    int result;

    *len = MIN(*len, place.left);
    if (top)
        *len = MIN(*len, cv->backing_size - offset);
    while ((result = image_status(place.image, place.offset, *len,
                                  REQ_WANT_ZERO | (top ? REQ_STATUS_ONE : 0), &status)) < 0) {
        if (!o->salvage)
            return err_new_errno(result, "error while reading block status at offset %" PRIu64,
                                 offset);
        if (*len <= SECTOR) {
            tool_warn(cv->tool, "error while reading block status at offset %" PRIu64 ": %s",
                      offset, strerror(-result));
            *kind = KIND_DATA;
            return NULL;
        }
        *len = (*len / SECTOR + 3) / 4 * SECTOR;
    }
    *len = status.len;
    if (status.flags & STATUS_ZERO)
        *kind = KIND_ZERO;
    else if (top && !(status.flags & STATUS_ALLOCATED))
        *kind = KIND_BACKING;
    else
        *kind = KIND_DATA;
    return NULL;
}

/* Reads across sources; in a salvage what fails is read by sectors, and those that fail are zeroes. */
static struct err *read_all(struct conversion *cv, uint64_t offset, uint8_t *data, uint64_t len)
{
    while (len) {
        struct place place = place_of(cv, offset);
        uint64_t part = MIN(len, place.left);
        int result = image_read(place.image, place.offset, data, part);

        if (result < 0 && !cv->options->salvage)
            return err_new_errno(result, "error while reading at byte %" PRIu64, offset);
        for (uint64_t i = 0; result < 0 && i < part; i += SECTOR) {
            int again = image_read(place.image, place.offset + i, data + i,
                                   MIN((uint64_t)SECTOR, part - i));

            if (again == 0)
                continue;
            tool_warn(cv->tool, "error while reading offset %" PRIu64 ": %s", offset + i,
                      strerror(-again));
            memset(data + i, 0, MIN((uint64_t)SECTOR, part - i));
        }
        offset += part;
        data += part;
        len -= part;
    }
    return NULL;
}

static struct err *write_run(struct careful *c, uint64_t offset, uint8_t *data, uint64_t len,
                             bool zero)
{
    struct iovec iov = { data, len };
    struct req req = { .kind = zero ? REQ_ZERO : REQ_WRITE,
                       .flags = zero                       ? REQ_MAY_UNMAP
                                : c->cv->options->compress ? REQ_COMPRESSED
                                                           : 0,
                       .offset = offset,
                       .len = len,
                       .data = { &iov, 1, 0 } };
    int result;

    if (zero && (offset < c->cv->backing_size ? c->cv->zero : c->cv->zero_behind))
        return NULL;
    result = wait_request(c->cv->tool->reactor, c->cv->target.edge, &req);
    return result < 0 ? err_new_errno(result, "error while writing at byte %" PRIu64, offset)
                      : NULL;
}

/* Writes a chunk in runs of equal kind; compressed data goes one cluster at a time. */
static struct err *write_chunk(struct careful *c, uint64_t offset, uint64_t len)
{
    const struct convert_options *o = c->cv->options;
    uint8_t *data = c->buf->data;
    uint64_t start = 0;
    bool zero = false;

    for (uint64_t i = 0; i < len;) {
        uint64_t part = MIN(c->unit - (offset + i) % c->unit, len - i);
        bool is_zero = o->sparse_bytes && mem_is_zero(data + i, part);

        if (i > start && (is_zero != zero || o->compress)) {
            TRY(write_run(c, offset + start, data + start, i - start, zero));
            start = i;
        }
        zero = is_zero;
        i += part;
    }
    return write_run(c, offset + start, data + start, len - start, zero);
}

static struct err *copy_chunk(struct careful *c, uint64_t offset, uint64_t *len)
{
    struct conversion *cv = c->cv;
    uint64_t cluster = cv->options->compress ? c->unit : 1, wanted = cv->size - offset;
    enum kind kind;

    *len = wanted;
    TRY(status_at(cv, offset, len, &kind));
    if (kind == KIND_ZERO && !cv->options->sparse_bytes)
        kind = KIND_DATA;
    /* Parts of clusters are read with what follows. */
    if (kind != KIND_DATA && *len < wanted)
        *len -= *len % cluster;
    if (kind == KIND_DATA || *len == 0) {
        uint64_t most = CHUNK - offset % cluster;

        *len = MIN(MIN((*len + cluster - 1) / cluster * cluster, most), wanted);
        if (*len == 0)
            *len = MIN(cluster, wanted);
        TRY(read_all(cv, offset, c->buf->data, *len));
        return write_chunk(c, offset, *len);
    }
    return kind == KIND_ZERO ? write_run(c, offset, NULL, *len, true) : NULL;
}

/* A salvage tells of what it cannot ask before it starts. */
static struct err *look_ahead(struct conversion *cv)
{
    for (uint64_t at = 0; at < cv->size && cv->options->salvage;) {
        uint64_t len = cv->size - at;
        enum kind kind;

        TRY(status_at(cv, at, &len, &kind));
        at += len;
    }
    return NULL;
}

struct err *convert_copy_carefully(struct conversion *cv)
{
    const struct convert_options *o = cv->options;
    struct careful c = { .cv = cv };
    uint64_t at = 0, len;
    struct err *err;

    c.unit =
        o->compress ? node_cluster_size(cv->target.node) : MAX(o->sparse_bytes, (uint64_t)SECTOR);
    if (!c.unit || c.unit > CHUNK)
        c.unit = 65536;
    c.buf = buf_try_new(CHUNK, 4096);
    if (!c.buf)
        return err_new("Out of memory for a buffer of %d bytes", CHUNK);
    err = look_ahead(cv);
    while (at < cv->size && !err) {
        err = copy_chunk(&c, at, &len);
        at += len;
        progress_update(&cv->progress, at, cv->size);
    }
    buf_unref(c.buf);
    return err;
}
