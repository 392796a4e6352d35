/* The copying of emu-img convert: one copy window per source, see convert.h. */

#include <inttypes.h>
#include <string.h>

#include "emu/base/attrs.h"
#include "emu/base/json.h"
#include "emu/cmd/img/convert.h"
#include "emu/cmd/img/pump.h"

static const struct edge_parent_ops window_parent = { .what = "image tool" };

/*
 * Copies and statuses count from 0 in both images. A source behind others is placed by a raw node
 * with an offset over the target.
 */
static struct err *open_window(struct image *target, uint64_t offset, uint64_t len,
                               struct image *out)
{
    CLEANUP(json_free) struct json *options = json_object();
    struct waiter waiter = { 0 };
    struct err *err;

    json_object_set_str(options, "driver", "raw");
    json_object_set_str(options, "file", target->node->name);
    json_object_set_uint(options, "offset", offset);
    json_object_set_uint(options, "size", len);
    node_open(target->tool->graph, options, 0, wait_node_done, &waiter);
    TRY(wait_for(target->tool->reactor, &waiter));
    out->tool = target->tool;
    out->node = waiter.node;
    err = edge_attach(waiter.node, "root", &window_parent, NULL, PERM_WRITE, PERM_ALL, &out->edge);
    return err;
}

/* One source, from and to offsets that are its own. */
struct part {
    struct image *source;
    struct edge *target;
    uint64_t from, to;
    bool zero;     /* The target reads as zeroes there. */
    bool top_only; /* What its backing file holds, the target's has as well. */
};

static struct pump *make_pump(struct conversion *cv, const struct part *part, uint64_t done)
{
    const struct convert_options *o = cv->options;
    bool sparse = o->sparse_bytes > 0;

    return pump_new(cv->tool, &(struct pump_options){
        .copy = {
            .source = part->source->edge,
            .target = part->target,
            .chunk_bytes = o->compress ? node_cluster_size(cv->target.node) : 0,
            .max_inflight = o->parallel,
            /* Compressed writes are whole clusters, which extents of the source must not cut. */
            .use_status = sparse && !o->compress,
            .detect_zeroes = sparse,
            .zero_granularity = o->compress ? 0 : o->sparse_bytes,
            .target_is_zero = part->zero && sparse,
            .unmap = sparse,
            .top_only = part->top_only,
            .write_flags = o->compress ? REQ_COMPRESSED : 0,
        },
        .rate = o->rate,
        .progress = &cv->progress,
        .done = done,
        .total = cv->size,
    });
}

/*
 * Where the source is known to hold nothing to copy, whole clusters are passed over without reading. *len is what
 * can be passed over from `at`, 0 for none, and *known how far the answer goes.
 */
static struct err *find_hole(struct conversion *cv, const struct part *part, uint64_t at,
                             uint64_t *len, uint64_t *known)
{
    uint64_t cluster = node_cluster_size(cv->target.node);
    struct req_status status;
    int result = image_status(part->source, at, part->to - at,
                              REQ_WANT_ZERO | (part->top_only ? REQ_STATUS_ONE : 0), &status);

    *len = 0;
    if (result < 0)
        return err_new_errno(result, "error while reading block status at offset %" PRIu64, at);
    *known = status.len;
    if (!((status.flags & STATUS_ZERO) && part->zero) &&
        !(part->top_only && !(status.flags & STATUS_ALLOCATED)))
        return NULL;
    *len = at + status.len == part->to ? status.len : status.len - status.len % cluster;
    return NULL;
}

static struct err *copy_compressed(struct conversion *cv, const struct part *part,
                                   struct pump *pump)
{
    uint64_t cluster = node_cluster_size(cv->target.node), at = part->from;

    while (at < part->to) {
        uint64_t hole = 0, known = 0;

        TRY(find_hole(cv, part, at, &hole, &known));
        if (hole) {
            pump_skip(pump, hole);
            at += hole;
            continue;
        }
        known = MIN((known + cluster - 1) / cluster * cluster, part->to - at);
        TRY(pump_copy(pump, at, known));
        at += known;
    }
    return NULL;
}

static struct err *copy_part(struct conversion *cv, const struct part *part, uint64_t done)
{
    struct pump *pump;
    struct err *err;

    if (part->from >= part->to)
        return NULL;
    pump = make_pump(cv, part, done);
    if (cv->options->compress && cv->options->sparse_bytes)
        err = copy_compressed(cv, part, pump);
    else
        err = pump_copy(pump, part->from, part->to - part->from);
    return pump_end(pump, err);
}

/* One source; beyond the end of the target's backing file all of its chain counts. */
static struct err *copy_source(struct conversion *cv, struct image *source, struct edge *target,
                               uint64_t offset)
{
    uint64_t size = source->node->size;
    uint64_t shared = cv->options->backing ? MIN(cv->backing_size, size) : 0;
    struct part part = {
        .source = source, .target = target, .to = shared, .top_only = true, .zero = cv->zero
    };

    TRY(copy_part(cv, &part, offset));
    part.from = shared;
    part.to = size;
    part.top_only = false;
    part.zero = cv->zero_behind;
    return copy_part(cv, &part, offset + shared);
}

struct err *convert_copy(struct conversion *cv)
{
    uint64_t offset = 0;

    for (unsigned i = 0; i < cv->options->source_count; i++) {
        struct image *source = &cv->sources[i];
        struct image window = { 0 };
        struct edge *target = cv->target.edge;
        struct err *err = NULL;

        if (offset) {
            err = open_window(&cv->target, offset, source->node->size, &window);
            target = window.edge;
        }
        if (!err)
            err = copy_source(cv, source, target, offset);
        image_close(&window);
        if (err)
            return err;
        offset += source->node->size;
    }
    return NULL;
}
