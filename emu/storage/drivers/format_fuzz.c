/*
 * Bytes as an image of the formats that are mapped by tables: open, read, ask for status, check, write here and there,
 * repair, close. The format is the one that claims the bytes.
 */

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/log.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/fuzz.h"

enum { IMAGE_MAX = 1 << 20, READ_MAX = 1 << 20, STEP = 1 << 16 };

static const struct driver *const formats[] = { &driver_qed, &driver_qcow, &driver_parallels,
                                                &driver_bochs, &driver_cloop };

static void quiet(void *arg, enum log_level level, const char *line) {}

static void use(struct test_world *w, struct node *node, uint8_t *buf)
{
    struct edge *edge = test_edge(w, node);
    struct check_result result;
    uint64_t size = node->size, end = MIN(size, (uint64_t)READ_MAX);

    for (uint64_t at = 0; at < end; at += STEP)
        test_io(w, edge, REQ_READ, 0, at, MIN(end - at, (uint64_t)STEP), buf);
    if (size > STEP)
        test_io(w, edge, REQ_READ, 0, (size - STEP) / 512 * 512, STEP, buf);
    if (size)
        test_io(w, edge, REQ_STATUS, 0, 0, MIN(size, UINT64_C(1) << 40), NULL);
    if (w->format->check) {
        err_free(test_check(w, node, 0, &result));
        xfree(result.report);
    }
    if (!node->read_only) {
        memset(buf, 0x5a, STEP);
        for (uint64_t at = 0; at + 5000 < end; at += STEP * 3)
            test_io(w, edge, REQ_WRITE, 0, at + 512, 4096, buf);
        if (end >= STEP) {
            if (w->format->can_compress)
                test_io(w, edge, REQ_WRITE, REQ_COMPRESSED, 0, STEP, buf);
            test_io(w, edge, REQ_ZERO, REQ_MAY_UNMAP, 0, STEP / 2, NULL);
            test_io(w, edge, REQ_DISCARD, 0, STEP / 2, STEP / 2, NULL);
        }
        test_io(w, edge, REQ_FLUSH, 0, 0, 0, NULL);
        if (w->format->check) {
            err_free(test_check(w, node, CHECK_FIX_ERRORS | CHECK_FIX_LEAKS, &result));
            xfree(result.report);
        }
    }
    edge_detach(edge);
}

static const struct driver *claimed_by(const uint8_t *data, size_t size)
{
    uint8_t head[2048] = { 0 };

    memcpy(head, data, MIN(size, sizeof(head)));
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (formats[i]->probe(head, sizeof(head), ""))
            return formats[i];
    }
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct driver *format = size <= IMAGE_MAX ? claimed_by(data, size) : NULL;
    struct test_world *w;
    struct node *node = NULL;
    struct err *err;
    uint8_t *buf;

    if (!format)
        return 0;
    log_set_sink(quiet, NULL);
    w = NEW(struct test_world);
    buf = xcalloc(1, STEP);
    test_world_init_format(w, 1, format);
    test_disk_load(test_disk(w, "top"), data, size);
    err = test_open(w, "top", "top", format->supports_backing ? "'backing':null" : NULL,
                    NODE_OPEN_MONITOR | NODE_OPEN_CHECK, &node);
    if (!err) {
        use(w, node, buf);
        node_unref(node);
    }
    err_free(err);
    test_world_fini(w);
    xfree(buf);
    xfree(w);
    return 0;
}
