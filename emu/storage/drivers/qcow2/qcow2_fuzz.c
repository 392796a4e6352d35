/*
 * Bytes as an image: open, read everything, ask for status, check, write here and there, check with repair,
 * close. Opened for checking, so that dirty and corrupt images get through. Images are small; sizes that the
 * header claims are not.
 */

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/log.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/fuzz.h"

enum { IMAGE_MAX = 1 << 20, READ_MAX = 1 << 20, STEP = 1 << 16 };

static void quiet(void *arg, enum log_level level, const char *line) {}

static void use(struct test_world *w, struct node *node, uint8_t *buf)
{
    struct edge *edge = test_edge(w, node);
    struct check_result result;
    uint64_t size = node->size, end = size < READ_MAX ? size : READ_MAX;

    for (uint64_t at = 0; at < end; at += STEP)
        test_io(w, edge, REQ_READ, 0, at, end - at < STEP ? end - at : STEP, buf);
    if (size > STEP)
        test_io(w, edge, REQ_READ, 0, (size - STEP) / 512 * 512, STEP, buf);
    if (size)
        test_io(w, edge, REQ_STATUS, 0, 0, size, NULL);
    err_free(test_check(w, node, 0, &result));
    xfree(result.report);
    memset(buf, 0x5a, STEP);
    for (uint64_t at = 0; at + 5000 < end; at += STEP * 3)
        test_io(w, edge, REQ_WRITE, 0, at + 512, 4096, buf);
    if (end >= STEP) {
        test_io(w, edge, REQ_WRITE, REQ_COMPRESSED, 0, STEP, buf);
        test_io(w, edge, REQ_ZERO, REQ_MAY_UNMAP, 0, STEP / 2, NULL);
        test_io(w, edge, REQ_DISCARD, 0, STEP / 2, STEP / 2, NULL);
    }
    test_io(w, edge, REQ_FLUSH, 0, 0, 0, NULL);
    err_free(test_resize(w, edge, size < UINT64_MAX - 2 * STEP ? (size + STEP) / 512 * 512 : size,
                         PREALLOC_OFF));
    err_free(test_check(w, node, CHECK_FIX_ERRORS | CHECK_FIX_LEAKS, &result));
    xfree(result.report);
    edge_detach(edge);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct test_world *w;
    struct node *node = NULL;
    struct err *err;
    uint8_t *buf;

    if (size > IMAGE_MAX)
        return 0;
    log_set_sink(quiet, NULL);
    w = NEW(struct test_world);
    buf = xcalloc(1, STEP);
    test_world_init(w, 1);
    test_disk_load(test_disk(w, "top"), data, size);
    err = test_open(w, "top", "top", "'backing':null,'discard':'unmap'",
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
