/*
 * Broken metadata that was found while using an image: the texts of the reference, the event, and the corrupt bit.
 *
 * Fatal means that going on could destroy more: the bit is set in the header, and every request fails from then
 * on. What is found in an image that is not written to is never fatal.
 */

#include <errno.h>
#include <stdarg.h>

#include "emu/base/alloc.h"
#include "emu/base/log.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/qcow2/l2.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/event.h"

#define ULL(x) ((unsigned long long)(x))

struct finding {
    bool fatal;
    uint64_t offset, len; /* Bytes of the file; len 0: not known. */
    const char *text;
};

static void report(struct qcow2 *q, const struct finding *f)
{
    struct storage_event event = { .kind = STORAGE_IMAGE_CORRUPTED, .node = q->node };

    if (f->fatal)
        log_plain(
            "qcow2: Marking image as corrupt: %s; further corruption events will be suppressed",
            f->text);
    else
        log_plain(
            "qcow2: Image is corrupt: %s; further non-fatal corruption events will be suppressed",
            f->text);
    event.u.corrupted.message = f->text;
    event.u.corrupted.fatal = f->fatal;
    event.u.corrupted.have_range = f->len != 0;
    event.u.corrupted.offset = f->offset;
    event.u.corrupted.size = f->len;
    graph_raise(q->node->graph, &event);
}

static int found(struct qcow2 *q, struct finding f)
{
    f.fatal = f.fatal && !q->read_only;
    if (q->corrupt || (q->warned_corrupt && !f.fatal))
        return -EIO;
    report(q, &f);
    q->warned_corrupt = true;
    if (!f.fatal)
        return -EIO;
    q->corrupt = true;
    if (q->header.version >= 3) {
        q->header.fields.incompatible |= QCOW2_INCOMPAT_CORRUPT;
        q->header.dirty = true;
        qcow2_commit_kick(q);
    }
    return -EIO;
}

int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...)
{
    CLEANUP(xfree) char *text = NULL;
    va_list args;

    va_start(args, fmt);
    text = xvasprintf(fmt, args);
    va_end(args);
    return found(q, (struct finding){ .fatal = true, .text = text });
}

int qcow2_corrupt_note(struct qcow2 *q, const char *fmt, ...)
{
    CLEANUP(xfree) char *text = NULL;
    va_list args;

    va_start(args, fmt);
    text = xvasprintf(fmt, args);
    va_end(args);
    return found(q, (struct finding){ .fatal = false, .text = text });
}

int qcow2_corrupt_overlap(struct qcow2 *q, uint64_t offset, uint64_t len)
{
    enum qcow2_owner_kind kind = QCOW2_OWNER_NONE;
    CLEANUP(xfree) char *text = NULL;

    for (uint64_t at = offset; at < offset + len && !kind; at += q->geo.cluster_size)
        kind = qcow2_owner_of(&q->owner, at >> q->geo.cluster_bits);
    text = xasprintf("Preventing invalid write on metadata (overlaps with %s)",
                     qcow2_owner_name(kind));
    return found(q, (struct finding){ true, offset, len, text });
}

int qcow2_corrupt_entry(struct qcow2 *q, const struct qcow2_block *block, uint32_t index,
                        struct qcow2_entry entry)
{
    uint64_t host = qcow2_entry_host(entry), table = qcow2_cluster_start(q, block->offset);
    CLEANUP(xfree) char *text = NULL;

    index += (uint32_t)((block->offset - table) / q->geo.l2_entry_size);
    if (!(entry.word & QCOW2_COMPRESSED) && host & (q->geo.cluster_size - 1))
        text =
            xasprintf("Cluster allocation offset %#llx unaligned (L2 offset: %#llx, L2 index: %#x)",
                      ULL(host), ULL(table), index);
    else if (entry.word & QCOW2_COMPRESSED && q->external)
        text = xasprintf(
            "Compressed cluster entry found in image with external data file (L2 offset: %#llx, L2 index: %#x)",
            ULL(table), index);
    else
        text = xasprintf("Invalid cluster entry found (L2 offset: %#llx, L2 index: %#x)",
                         ULL(table), index);
    return found(q, (struct finding){ .fatal = true, .text = text });
}
