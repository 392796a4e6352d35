#include "emu/base/hbitmap.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"

/* Enough for 2^64 granules by 64 a level. */
enum { LEVELS_MAX = 11 };

struct hbitmap {
    uint64_t size, bits;         /* Bytes; granules. */
    unsigned shift;              /* log2 of the granularity. */
    unsigned levels;             /* In use; the last has one word. */
    uint64_t dirty;              /* Granules that are set. */
    uint64_t *level[LEVELS_MAX]; /* owned; level 0 holds the granules. */
    uint64_t words[LEVELS_MAX];
};

static uint64_t word_count(uint64_t bits) { return bits / 64 + (bits % 64 != 0); }

static uint64_t granules(uint64_t size, unsigned shift)
{
    return (size >> shift) + ((size & ((UINT64_C(1) << shift) - 1)) != 0);
}

static void free_levels(struct hbitmap *h)
{
    for (unsigned i = 0; i < LEVELS_MAX; i++)
        xfree(h->level[i]);
}

static bool make_levels(struct hbitmap *h)
{
    uint64_t words = word_count(h->bits);

    h->levels = 0;
    do {
        words = words ? words : 1;
        h->words[h->levels] = words;
        h->level[h->levels] = try_calloc(words, sizeof(uint64_t));
        if (!h->level[h->levels++]) {
            free_levels(h);
            return false;
        }
        words = words > 1 ? word_count(words) : 0;
    } while (words);
    return true;
}

struct hbitmap *hbitmap_new(uint64_t size, uint64_t granularity)
{
    struct hbitmap *h;

    check(granularity && (granularity & (granularity - 1)) == 0);
    h = TRY_NEW(struct hbitmap);
    if (!h)
        return NULL;
    h->shift = (unsigned)__builtin_ctzll(granularity);
    h->size = size;
    h->bits = granules(size, h->shift);
    if (make_levels(h))
        return h;
    xfree(h);
    return NULL;
}

void hbitmap_free(struct hbitmap *h)
{
    if (!h)
        return;
    free_levels(h);
    xfree(h);
}

struct hbitmap *hbitmap_copy(const struct hbitmap *h)
{
    struct hbitmap *copy = hbitmap_new(h->size, hbitmap_granularity(h));

    if (!copy)
        return NULL;
    for (unsigned i = 0; i < h->levels; i++)
        memcpy(copy->level[i], h->level[i], h->words[i] * sizeof(uint64_t));
    copy->dirty = h->dirty;
    return copy;
}

uint64_t hbitmap_size(const struct hbitmap *h) { return h->size; }

uint64_t hbitmap_granularity(const struct hbitmap *h) { return UINT64_C(1) << h->shift; }

/* Bits [first, last] of a word. */
static uint64_t mask(uint64_t first, uint64_t last)
{
    return UINT64_MAX << first & UINT64_MAX >> (63 - last);
}

/* Word w of level 0 became non-zero: says so above. */
static void mark_up(struct hbitmap *h, uint64_t w)
{
    for (unsigned i = 1; i < h->levels; i++) {
        uint64_t bit = UINT64_C(1) << w % 64;

        w /= 64;
        if (h->level[i][w] & bit)
            return;
        h->level[i][w] |= bit;
    }
}

static void unmark_up(struct hbitmap *h, uint64_t w)
{
    for (unsigned i = 1; i < h->levels; i++) {
        uint64_t bit = UINT64_C(1) << w % 64;

        w /= 64;
        h->level[i][w] &= ~bit;
        if (h->level[i][w])
            return;
    }
}

static void store_word(struct hbitmap *h, uint64_t w, uint64_t value)
{
    uint64_t old = h->level[0][w];

    h->level[0][w] = value;
    h->dirty += (uint64_t)__builtin_popcountll(value);
    h->dirty -= (uint64_t)__builtin_popcountll(old);
    if (!old && value)
        mark_up(h, w);
    else if (old && !value)
        unmark_up(h, w);
}

static void change(struct hbitmap *h, uint64_t first, uint64_t end, bool on)
{
    while (first < end) {
        uint64_t w = first / 64;
        uint64_t last = MIN(end - 1, w * 64 + 63);
        uint64_t bits = mask(first % 64, last % 64);

        store_word(h, w, on ? h->level[0][w] | bits : h->level[0][w] & ~bits);
        first = last + 1;
    }
}

static void check_range(const struct hbitmap *h, uint64_t off, uint64_t len)
{
    check(off <= h->size && len <= h->size - off);
}

void hbitmap_set(struct hbitmap *h, uint64_t off, uint64_t len)
{
    check_range(h, off, len);
    if (len)
        change(h, off >> h->shift, ((off + len - 1) >> h->shift) + 1, true);
}

void hbitmap_reset(struct hbitmap *h, uint64_t off, uint64_t len)
{
    uint64_t part = (UINT64_C(1) << h->shift) - 1;

    check_range(h, off, len);
    check((off & part) == 0 && (((off + len) & part) == 0 || off + len == h->size));
    if (len)
        change(h, off >> h->shift, ((off + len - 1) >> h->shift) + 1, false);
}

void hbitmap_reset_inside(struct hbitmap *h, uint64_t off, uint64_t len)
{
    uint64_t first, end;

    check_range(h, off, len);
    first = granules(off, h->shift);
    end = off + len == h->size ? h->bits : (off + len) >> h->shift;
    if (first < end)
        change(h, first, end, false);
}

void hbitmap_reset_all(struct hbitmap *h)
{
    for (unsigned i = 0; i < h->levels; i++)
        memset(h->level[i], 0, h->words[i] * sizeof(uint64_t));
    h->dirty = 0;
}

static bool bit_at(const struct hbitmap *h, uint64_t bit)
{
    return h->level[0][bit / 64] >> bit % 64 & 1;
}

bool hbitmap_get(const struct hbitmap *h, uint64_t off)
{
    check(off < h->size);
    return bit_at(h, off >> h->shift);
}

uint64_t hbitmap_count(const struct hbitmap *h)
{
    uint64_t bytes = h->dirty << h->shift;

    if (h->bits && bit_at(h, h->bits - 1))
        bytes -= (h->bits << h->shift) - h->size;
    return bytes;
}

bool hbitmap_any(const struct hbitmap *h) { return h->dirty > 0; }

/* The first set bit of a level at or after `from`; UINT64_MAX: none. Climbs where a word has no more. */
static uint64_t next_bit(const struct hbitmap *h, unsigned level, uint64_t from)
{
    uint64_t w = from / 64, bits, next;

    if (level >= h->levels || w >= h->words[level])
        return UINT64_MAX;
    bits = h->level[level][w] & UINT64_MAX << from % 64;
    if (bits)
        return w * 64 + (uint64_t)__builtin_ctzll(bits);
    next = next_bit(h, level + 1, w + 1);
    if (next == UINT64_MAX)
        return UINT64_MAX;
    return next * 64 + (uint64_t)__builtin_ctzll(h->level[level][next]);
}

bool hbitmap_next_dirty(const struct hbitmap *h, uint64_t off, uint64_t end, uint64_t *out)
{
    uint64_t bit, found;

    end = MIN(end, h->size);
    if (off >= end)
        return false;
    bit = next_bit(h, 0, off >> h->shift);
    if (bit >= h->bits)
        return false;
    found = MAX(bit << h->shift, off);
    if (found >= end)
        return false;
    *out = found;
    return true;
}

bool hbitmap_next_zero(const struct hbitmap *h, uint64_t off, uint64_t end, uint64_t *out)
{
    uint64_t first, stop;

    end = MIN(end, h->size);
    if (off >= end)
        return false;
    first = off >> h->shift;
    /* Only up to the end: callers that take small areas out of a large dirty one must not pay for all of it. */
    stop = ((end - 1) >> h->shift) + 1;
    for (uint64_t w = first / 64; w < word_count(stop); w++) {
        uint64_t clean = ~h->level[0][w], bit;

        if (w == first / 64)
            clean &= UINT64_MAX << first % 64;
        if (!clean)
            continue;
        bit = w * 64 + (uint64_t)__builtin_ctzll(clean);
        if (bit >= stop)
            return false;
        *out = MAX(bit << h->shift, off);
        return true;
    }
    return false;
}

bool hbitmap_next_dirty_area(const struct hbitmap *h, uint64_t off, uint64_t end, uint64_t max_len,
                             uint64_t *area_off, uint64_t *area_len)
{
    uint64_t start, stop;

    check(max_len > 0);
    end = MIN(end, h->size);
    if (!hbitmap_next_dirty(h, off, end, &start))
        return false;
    if (max_len < end - start)
        end = start + max_len;
    if (!hbitmap_next_zero(h, start, end, &stop))
        stop = end;
    *area_off = start;
    *area_len = stop - start;
    return true;
}

void hbitmap_merge(struct hbitmap *dst, const struct hbitmap *src)
{
    check(dst->size == src->size);
    if (dst->shift == src->shift) {
        for (uint64_t bit = next_bit(src, 0, 0); bit < src->bits;
             bit = next_bit(src, 0, (bit / 64 + 1) * 64))
            store_word(dst, bit / 64, dst->level[0][bit / 64] | src->level[0][bit / 64]);
        return;
    }
    for (uint64_t at = 0, len; hbitmap_next_dirty_area(src, at, src->size, UINT64_MAX, &at, &len);
         at += len)
        hbitmap_set(dst, at, len);
}

bool hbitmap_truncate(struct hbitmap *h, uint64_t size)
{
    struct hbitmap *other = hbitmap_new(size, hbitmap_granularity(h));
    struct hbitmap swap;
    uint64_t common;

    if (!other)
        return false;
    common = MIN(word_count(h->bits), word_count(other->bits));
    for (uint64_t w = 0; w < common; w++) {
        uint64_t bits = h->level[0][w];

        if (other->bits / 64 == w)
            bits &= (UINT64_C(1) << other->bits % 64) - 1;
        if (bits)
            store_word(other, w, bits);
    }
    swap = *h;
    *h = *other;
    *other = swap;
    hbitmap_free(other);
    return true;
}

uint64_t hbitmap_serial_align(const struct hbitmap *h)
{
    return h->shift < 58 ? UINT64_C(64) << h->shift : UINT64_C(1) << 63;
}

uint64_t hbitmap_serial_size(const struct hbitmap *h, uint64_t off, uint64_t len)
{
    check_range(h, off, len);
    return granules(len, h->shift) / 8 + (granules(len, h->shift) % 8 != 0);
}

/* Calls the caller's words of a part in turn. */
static void part_words(const struct hbitmap *h, uint64_t off, uint64_t len, uint64_t *first,
                       uint64_t *count)
{
    check_range(h, off, len);
    check(off % hbitmap_serial_align(h) == 0);
    check(off + len == h->size || len % hbitmap_serial_align(h) == 0);
    *first = (off >> h->shift) / 64;
    *count = word_count(granules(len, h->shift));
}

void hbitmap_serialise(const struct hbitmap *h, uint64_t off, uint64_t len, uint8_t *out)
{
    uint64_t first, count, left = hbitmap_serial_size(h, off, len);

    part_words(h, off, len, &first, &count);
    for (uint64_t i = 0; i < count; i++) {
        uint8_t bytes[8];
        uint64_t n = MIN(left, (uint64_t)8);

        store_le64(bytes, h->level[0][first + i]);
        memcpy(out + i * 8, bytes, n);
        left -= n;
    }
}

static void replace_words(struct hbitmap *h, uint64_t off, uint64_t len, const uint8_t *in,
                          uint64_t fill)
{
    uint64_t first, count, left = hbitmap_serial_size(h, off, len);

    part_words(h, off, len, &first, &count);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t bits = fill;
        uint64_t n = MIN(left, (uint64_t)8);

        if (in) {
            uint8_t bytes[8] = { 0 };

            memcpy(bytes, in + i * 8, n);
            bits = load_le64(bytes);
        }
        left -= n;
        if (h->bits / 64 == first + i)
            bits &= (UINT64_C(1) << h->bits % 64) - 1;
        store_word(h, first + i, bits);
    }
}

void hbitmap_deserialise(struct hbitmap *h, uint64_t off, uint64_t len, const uint8_t *in)
{
    replace_words(h, off, len, in, 0);
}

void hbitmap_deserialise_zeroes(struct hbitmap *h, uint64_t off, uint64_t len)
{
    replace_words(h, off, len, NULL, 0);
}

void hbitmap_deserialise_ones(struct hbitmap *h, uint64_t off, uint64_t len)
{
    replace_words(h, off, len, NULL, UINT64_MAX);
}

char *hbitmap_sha256(const struct hbitmap *h, char out[SHA256_HEX_SIZE])
{
    struct sha256 hash;

    sha256_init(&hash);
    for (uint64_t w = 0; w < h->words[0]; w++) {
        uint8_t bytes[8];

        store_le64(bytes, h->level[0][w]);
        sha256_update(&hash, bytes, sizeof(bytes));
    }
    return sha256_final_hex(&hash, out);
}

bool hbitmap_equal(const struct hbitmap *a, const struct hbitmap *b)
{
    return a->size == b->size && a->shift == b->shift && a->dirty == b->dirty &&
           memcmp(a->level[0], b->level[0], a->words[0] * sizeof(uint64_t)) == 0;
}
