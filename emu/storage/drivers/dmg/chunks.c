#include "emu/storage/drivers/dmg/chunks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"

enum { MISH_MAGIC = 0x6d697368, MISH_HEADER = 204, MISH_ENTRY = 40, WORD = 4 };
#define TYPE_COMMENT UINT32_C(0x7ffffffe)
#define TYPE_END UINT32_C(0xffffffff)

void dmg_chunks_fini(struct dmg_chunks *chunks) { vec_fini(&chunks->list); }

static struct err *check_chunk(const struct dmg_chunk *chunk, size_t index)
{
    switch (chunk->type) {
    case DMG_ZERO:
    case DMG_IGNORE: break;
    case DMG_RAW:
    case DMG_ZLIB:
    case DMG_BZIP2:
        if (chunk->len > DMG_CHUNK_MAX)
            return err_new("length %" PRIu64 " for chunk %zu is larger than max (%d)", chunk->len,
                           index, DMG_CHUNK_MAX);
        break;
    default:
        return err_new("chunk %zu is compressed by a method that is not supported (0x%x)", index,
                       chunk->type);
    }
    if (chunk->type != DMG_ZERO && chunk->type != DMG_IGNORE &&
        chunk->count > DMG_CHUNK_MAX / DMG_SECTOR)
        return err_new("sector count %" PRIu64 " for chunk %zu is larger than max (%d)",
                       chunk->count, index, DMG_CHUNK_MAX / DMG_SECTOR);
    if (chunk->first > INT64_MAX / DMG_SECTOR || chunk->count > INT64_MAX / DMG_SECTOR ||
        chunk->offset > INT64_MAX - DMG_CHUNK_MAX)
        return err_new("chunk %zu lies outside of any disk", index);
    return NULL;
}

/* One table; other resources are left out. */
static struct err *add_mish(struct dmg_chunks *chunks, const uint8_t *buf, size_t len,
                            uint64_t data_fork)
{
    if (len < MISH_HEADER || load_be32(buf) != MISH_MAGIC)
        return NULL;
    for (size_t i = 0; i < (len - MISH_HEADER) / MISH_ENTRY; i++) {
        const uint8_t *entry = buf + MISH_HEADER + i * MISH_ENTRY;
        struct dmg_chunk chunk = {
            .type = load_be32(entry),
            .first = load_be64(buf + 8) + load_be64(entry + 8),
            .count = load_be64(entry + 16),
            .offset = data_fork + load_be64(buf + 24) + load_be64(entry + 24),
            .len = load_be64(entry + 32),
        };

        if (chunk.type == TYPE_COMMENT || chunk.type == TYPE_END || !chunk.count)
            continue;
        TRY(check_chunk(&chunk, i));
        if (chunks->list.len == DMG_CHUNKS_MAX)
            return err_new("the image has more than %d chunks", DMG_CHUNKS_MAX);
        if (!vec_try_reserve(&chunks->list, chunks->list.len + 1))
            return err_new_errno(ENOMEM, "Could not read the list of chunks");
        vec_push(&chunks->list, chunk);
    }
    return NULL;
}

struct err *dmg_chunks_resource(struct dmg_chunks *chunks, const uint8_t *buf, size_t len,
                                uint64_t data_fork)
{
    size_t at = 0;

    while (len - at >= WORD) {
        uint32_t size = load_be32(buf + at);

        at += WORD;
        if (!size || size > len - at)
            return err_new("a resource of %u bytes does not fit in the resource fork", size);
        TRY(add_mish(chunks, buf + at, size, data_fork));
        at += size;
    }
    return NULL;
}

/* ---- Property lists ---- */

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes, leaving out all that is no digit; out has room for len * 3 / 4 bytes. */
static size_t base64_decode(const uint8_t *text, size_t len, uint8_t *out)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(text[i]);

        if (digit < 0)
            continue;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    return n;
}

struct err *dmg_chunks_plist(struct dmg_chunks *chunks, const uint8_t *text, size_t len,
                             uint64_t data_fork)
{
    static const char begin[] = "<data>", finish[] = "</data>";
    const uint8_t *end = text + len;

    for (;;) {
        const uint8_t *from = memmem(text, (size_t)(end - text), begin, sizeof(begin) - 1), *to;
        CLEANUP(xfree) uint8_t *table = NULL;

        if (!from)
            return NULL;
        from += sizeof(begin) - 1;
        to = memmem(from, (size_t)(end - from), finish, sizeof(finish) - 1);
        if (!to)
            return err_new("the property list ends within a table");
        table = try_alloc((size_t)(to - from) + 1);
        if (!table)
            return err_new_errno(ENOMEM, "Could not read the list of chunks");
        TRY(add_mish(chunks, table, base64_decode(from, (size_t)(to - from), table), data_fork));
        text = to;
    }
}

/* ---- Finding ---- */

static int by_first(const void *a, const void *b)
{
    const struct dmg_chunk *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

void dmg_chunks_sort(struct dmg_chunks *chunks)
{
    if (chunks->list.len)
        qsort(chunks->list.items, chunks->list.len, sizeof(*chunks->list.items), by_first);
}

const struct dmg_chunk *dmg_chunks_find(const struct dmg_chunks *chunks, uint64_t sector)
{
    size_t low = 0, high = chunks->list.len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (chunks->list.items[mid].first <= sector)
            low = mid + 1;
        else
            high = mid;
    }
    if (low && sector - chunks->list.items[low - 1].first < chunks->list.items[low - 1].count)
        return &chunks->list.items[low - 1];
    return NULL;
}
