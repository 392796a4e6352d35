/* The copying of emu-img convert: one copy window per source. */

#include <inttypes.h>
#include <string.h>

#include "emu/base/attrs.h"
#include "emu/base/json.h"
#include "emu/cmd/img/convert.h"
#include "emu/storage/copy.h"

enum { CHUNK = 2 << 20, BUFFERS_MAX = 32 << 20 };

struct pump {
    struct copy *copy;
    uint64_t done, base, total;
    struct progress *progress;
    bool salvage;
    int result;
    uint64_t failed_at;
    bool read_failed;
    struct image *target;
};

static void range_done(struct copy *copy, const struct copy_range *range)
{
    struct pump *pump = copy_owner(copy);

    pump->done += range->len;
    progress_update(pump->progress, pump->base + pump->done, pump->total);
    if (range->result == 0 || pump->result < 0)
        return;
    pump->result = range->result;
    pump->failed_at = range->offset;
    pump->read_failed = range->read_failed;
}

/*
 * Copies and statuses count from 0 in both images. A source behind others is placed by a raw node
 * with an offset over the target.
 */
static const struct edge_parent_ops window_parent = { .what = "image tool" };

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

static struct err *describe(const struct pump *pump)
{
    if (pump->read_failed)
        return err_new_errno(pump->result, "error while reading at byte %" PRIu64, pump->failed_at);
    return err_new_errno(pump->result, "error while writing at byte %" PRIu64, pump->failed_at);
}

struct err *convert_copy(struct image *source, struct image *target, uint64_t target_offset,
                         const struct convert_options *options, bool target_is_zero,
                         bool skip_backing, struct progress *progress, uint64_t total)
{
    uint64_t size = source->node->size, at = 0;
    struct pump pump = { .progress = progress, .base = target_offset, .total = total };
    struct image window = { 0 };
    struct copy_options copy_options = {
        .source = source->edge,
        .target = target->edge,
        .chunk_bytes = options->compress ? node_cluster_size(target->node) : CHUNK,
        .max_bytes = BUFFERS_MAX,
        .max_inflight = options->parallel,
        /* Compressed writes are whole clusters, so extents of the source must not cut them. */
        .use_status = !options->compress,
        .detect_zeroes = options->sparse_bytes > 0,
        .zero_granularity = options->compress ? 0 : options->sparse_bytes,
        .target_is_zero = target_is_zero && options->sparse_bytes > 0,
        .unmap = options->sparse_bytes > 0,
        .top_only = skip_backing,
        .salvage = options->salvage,
        .write_flags = options->compress ? REQ_COMPRESSED : 0,
        .range_done = range_done,
        .owner = &pump,
    };

    if (target_offset) {
        TRY(open_window(target, target_offset, size, &window));
        copy_options.target = window.edge;
    }
    pump.copy = copy_new(source->tool->reactor, &copy_options);
    while ((at < size && pump.result == 0) || copy_inflight(pump.copy)) {
        while (at < size && pump.result == 0 && copy_has_room(pump.copy)) {
            uint64_t len = MIN(copy_options.chunk_bytes, size - at);

            copy_start(pump.copy, at, len, 0);
            at += len;
        }
        reactor_run_once(source->tool->reactor, -1);
    }
    copy_free(pump.copy);
    image_close(&window);
    return pump.result < 0 ? describe(&pump) : NULL;
}
