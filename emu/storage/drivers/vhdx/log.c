/* Reading the journal ([MS-VHDX] section 2.3): which entries are active, and what they say. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/vhdx/vhdx.h"

enum {
    ENTRY_CHECKSUM = 4,
    ENTRY_LEN = 8,
    ENTRY_TAIL = 12,
    ENTRY_SEQUENCE = 16,
    ENTRY_DESCRIPTORS = 24,
    ENTRY_GUID = 32,
    ENTRY_FLUSHED_SIZE = 48,
    ENTRY_LAST_SIZE = 56,
    ENTRY_HEADER_LEN = 64,
    DESCRIPTOR_LEN = 32,
};

struct scan {
    const uint8_t *log;
    uint64_t len;
    const uint8_t *guid;
    uint8_t *entry; /* owned; len bytes: the entry last read, in one piece. */
};

static void copy_around(const struct scan *s, uint64_t offset, uint64_t len, uint8_t *out)
{
    uint64_t first = MIN(len, s->len - offset);

    memcpy(out, s->log + offset, first);
    memcpy(out + first, s->log, len - first);
}

static bool data_sector_valid(const uint8_t *sector, uint64_t sequence)
{
    return memcmp(sector, "data", 4) == 0 && load_le32(sector + 4) == sequence >> 32 &&
           load_le32(sector + VHDX_LOG_SECTOR - 4) == (uint32_t)sequence;
}

/* Whether s->entry of that length is well formed inside. */
static bool descriptors_valid(const struct scan *s, uint32_t len)
{
    const uint8_t *e = s->entry;
    uint64_t sequence = load_le64(e + ENTRY_SEQUENCE);
    uint64_t count = load_le32(e + ENTRY_DESCRIPTORS), data;

    if (count > (len - ENTRY_HEADER_LEN) / DESCRIPTOR_LEN)
        return false;
    data = align_up_u64(ENTRY_HEADER_LEN + count * DESCRIPTOR_LEN, VHDX_LOG_SECTOR);
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *d = e + ENTRY_HEADER_LEN + i * DESCRIPTOR_LEN;
        bool zero = memcmp(d, "zero", 4) == 0;

        if (load_le64(d + 24) != sequence || load_le64(d + 16) % VHDX_LOG_SECTOR)
            return false;
        if (zero) {
            if (load_le64(d + 8) % VHDX_LOG_SECTOR)
                return false;
            continue;
        }
        if (memcmp(d, "desc", 4) != 0 || data + VHDX_LOG_SECTOR > len ||
            !data_sector_valid(e + data, sequence))
            return false;
        data += VHDX_LOG_SECTOR;
    }
    return true;
}

/* Reads the entry at offset into s->entry; 0: there is no valid one, else its length. */
static uint32_t read_entry(struct scan *s, uint64_t offset)
{
    const uint8_t *head = s->log + offset;
    uint32_t len = load_le32(head + ENTRY_LEN);

    if (memcmp(head, "loge", 4) != 0 || !len || len % VHDX_LOG_SECTOR || len > s->len ||
        memcmp(head + ENTRY_GUID, s->guid, VHDX_GUID_LEN) != 0 ||
        load_le64(head + ENTRY_SEQUENCE) == 0 || load_le32(head + ENTRY_TAIL) >= s->len ||
        load_le32(head + ENTRY_TAIL) % VHDX_LOG_SECTOR)
        return 0;
    copy_around(s, offset, len, s->entry);
    if (load_le32(s->entry + ENTRY_CHECKSUM) != vhdx_checksum(s->entry, len, ENTRY_CHECKSUM) ||
        !descriptors_valid(s, len))
        return 0;
    return len;
}

struct sequence {
    uint64_t start, entries, last; /* last: highest sequence number. */
};

/* The run of entries from start on; it is complete when its last one says that it begins at start or within. */
static struct sequence follow(struct scan *s, uint64_t start)
{
    struct sequence run = { .start = start };
    uint64_t at = start, used = 0, tail = start;
    bool tail_seen = false;

    for (;;) {
        uint32_t len = used < s->len ? read_entry(s, at) : 0;
        uint64_t sequence = len ? load_le64(s->entry + ENTRY_SEQUENCE) : 0;

        if (!len || len > s->len - used || (run.entries && sequence != run.last + 1))
            break;
        tail = load_le32(s->entry + ENTRY_TAIL);
        run.last = sequence;
        run.entries++;
        used += len;
        at = (at + len) % s->len;
    }
    tail_seen = run.entries && tail == start;
    if (!tail_seen)
        run.entries = 0;
    return run;
}

static struct err *take_entry(const struct scan *s, uint64_t file_size, struct vhdx_log *out)
{
    const uint8_t *e = s->entry;
    uint64_t count = load_le32(e + ENTRY_DESCRIPTORS), last = load_le64(e + ENTRY_LAST_SIZE);
    const uint8_t *data =
        e + align_up_u64(ENTRY_HEADER_LEN + count * DESCRIPTOR_LEN, VHDX_LOG_SECTOR);

    if (load_le64(e + ENTRY_FLUSHED_SIZE) > file_size)
        return err_new("VHDX file is shorter (%" PRIu64
                       " bytes) than its log says that it was (%" PRIu64 ")",
                       file_size, load_le64(e + ENTRY_FLUSHED_SIZE));
    out->file_size = MAX(out->file_size, last);
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *d = e + ENTRY_HEADER_LEN + i * DESCRIPTOR_LEN;
        bool zero = memcmp(d, "zero", 4) == 0;
        struct vhdx_log_write write = { .offset = load_le64(d + 16),
                                        .len = zero ? load_le64(d + 8) : VHDX_LOG_SECTOR };

        if (write.len > INT64_MAX || write.offset > INT64_MAX - write.len ||
            write.offset + write.len > MAX(last, file_size))
            return err_new("VHDX log entry for offset %" PRIu64 " lies behind the end of the file",
                           write.offset);
        if (!write.len)
            continue;
        if (!zero) {
            write.bytes = try_alloc_aligned(VHDX_LOG_SECTOR, VHDX_LOG_SECTOR);
            if (!write.bytes)
                return err_new_errno(ENOMEM, "Could not read the VHDX log");
            memcpy(write.bytes, data, VHDX_LOG_SECTOR);
            memcpy(write.bytes, d + 8, 8);
            memcpy(write.bytes + VHDX_LOG_SECTOR - 4, d + 4, 4);
            data += VHDX_LOG_SECTOR;
        }
        vec_push(&out->writes, write);
    }
    return NULL;
}

struct err *vhdx_log_parse(const uint8_t *log, uint64_t len, const uint8_t *guid,
                           uint64_t file_size, struct vhdx_log *out)
{
    struct scan s = { .log = log, .len = len, .guid = guid, .entry = try_alloc(len) };
    struct sequence best = { 0 };
    struct err *err = NULL;

    out->file_size = file_size;
    if (!s.entry)
        return err_new_errno(ENOMEM, "Could not read the VHDX log");
    for (uint64_t at = 0; at < len; at += VHDX_LOG_SECTOR) {
        struct sequence run = follow(&s, at);

        if (run.entries && (!best.entries || run.last > best.last))
            best = run;
    }
    if (!best.entries)
        err = err_new("VHDX log has no valid sequence of entries");
    for (uint64_t at = best.start; best.entries && !err; best.entries--) {
        uint32_t entry_len = read_entry(&s, at);

        err = take_entry(&s, file_size, out);
        at = (at + entry_len) % len;
    }
    xfree(s.entry);
    return err;
}

void vhdx_log_fini(struct vhdx_log *log)
{
    vec_for_each(write, &log->writes)
        xfree(write->bytes);
    vec_fini(&log->writes);
}
