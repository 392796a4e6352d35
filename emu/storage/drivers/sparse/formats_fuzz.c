/*
 * Bytes as an image of a table-mapped format: open, read, ask for status, check, write here and there, close. The
 * first byte says which format; it is cut off. Images are small; sizes that headers claim are not. VHDX images are
 * mostly holes: they are records of offset (32 bits), length (16 bits) and bytes, and their checksums are set right.
 */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/bytes.h"
#include "emu/base/hash.h"
#include "emu/base/log.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/fuzz.h"

enum { IMAGE_MAX = 1 << 20, VHDX_BYTES = 4 << 20, READ_MAX = 1 << 20, STEP = 1 << 16 };

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
    if (w->format->check && size <= UINT64_C(1) << 30) {
        err_free(test_check(w, node, 0, &result));
        xfree(result.report);
    }
    memset(buf, 0x5a, STEP);
    for (uint64_t at = 0; at + 5000 < end; at += STEP * 3)
        test_io(w, edge, REQ_WRITE, 0, at + 512, 4096, buf);
    if (end >= STEP) {
        test_io(w, edge, REQ_WRITE, 0, 0, STEP, buf);
        test_io(w, edge, REQ_ZERO, REQ_MAY_UNMAP, 0, STEP / 2, NULL);
        test_io(w, edge, REQ_DISCARD, 0, STEP / 2, STEP / 2, NULL);
    }
    test_io(w, edge, REQ_FLUSH, 0, 0, 0, NULL);
    edge_detach(edge);
}

static void fix_checksum(uint8_t *bytes, uint32_t len)
{
    store_le32(bytes + 4, 0);
    store_le32(bytes + 4, crc32c(0, bytes, len));
}

/* The image of a VHDX input: new, VHDX_BYTES long. */
static uint8_t *expand_vhdx(const uint8_t *data, size_t size)
{
    uint8_t *image = xcalloc(1, VHDX_BYTES);
    uint32_t log_len, log;

    while (size >= 6) {
        uint32_t offset = load_le32(data) % VHDX_BYTES, len = load_le16(data + 4);

        len = (uint32_t)MIN((size_t)len, size - 6);
        len = MIN(len, VHDX_BYTES - offset);
        memcpy(image + offset, data + 6, len);
        data += 6 + len;
        size -= 6 + len;
    }
    fix_checksum(image + (64 << 10), 4096);
    fix_checksum(image + (128 << 10), 4096);
    fix_checksum(image + (192 << 10), 65536);
    fix_checksum(image + (256 << 10), 65536);
    log = load_le32(image + (64 << 10) + 72);
    log_len = log < VHDX_BYTES - 16 ? load_le32(image + log + 8) : 0;
    if (log_len >= 64 && log_len < VHDX_BYTES - log)
        fix_checksum(image + log, log_len);
    return image;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct driver *const formats[] = { &driver_vdi, &driver_vpc, &driver_vmdk,
                                                    &driver_vhdx };
    struct test_world *w;
    struct node *node = NULL;
    struct err *err;
    uint8_t *buf, *image;

    if (size < 1 || size > IMAGE_MAX)
        return 0;
    log_set_sink(quiet, NULL);
    w = NEW(struct test_world);
    buf = xcalloc(1, STEP);
    test_world_init_format(w, 1, formats[data[0] % ARRAY_LEN(formats)]);
    if (w->format == &driver_vhdx) {
        image = expand_vhdx(data + 1, size - 1);
        test_disk_load(test_disk(w, "top"), image, VHDX_BYTES);
        xfree(image);
    } else {
        test_disk_load(test_disk(w, "top"), data + 1, size - 1);
    }
    err = test_open(w, "top", "top", NULL, NODE_OPEN_MONITOR, &node);
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
