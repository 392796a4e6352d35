#include "emu/base/bitset.h"

#include <string.h>

#include "emu/base/alloc.h"

static size_t word_count(size_t nbits) { return nbits / 64 + (nbits % 64 != 0); }

bool bitset_try_init(struct bitset *b, size_t nbits)
{
    b->words = try_calloc(word_count(nbits), sizeof(uint64_t));
    b->nbits = b->words ? nbits : 0;
    return b->words != NULL;
}

void bitset_init(struct bitset *b, size_t nbits)
{
    b->words = xcalloc(word_count(nbits), sizeof(uint64_t));
    b->nbits = nbits;
}

void bitset_fini(struct bitset *b)
{
    xfree(b->words);
    b->words = NULL;
    b->nbits = 0;
}

bool bitset_try_resize(struct bitset *b, size_t nbits)
{
    size_t have = word_count(b->nbits), want = word_count(nbits);
    uint64_t *words = try_realloc(b->words, want * sizeof(uint64_t));

    if (!words)
        return false;
    if (want > have)
        memset(words + have, 0, (want - have) * sizeof(uint64_t));
    b->words = words;
    b->nbits = nbits;
    if (nbits % 64)
        words[want - 1] &= (UINT64_C(1) << nbits % 64) - 1;
    return true;
}

/* The bits [first, last] of one word. */
static uint64_t mask(size_t first, size_t last)
{
    return UINT64_MAX << first & UINT64_MAX >> (63 - last);
}

static void change_range(struct bitset *b, size_t first, size_t n, bool on)
{
    size_t end = first + n;

    check(first <= b->nbits && n <= b->nbits - first);
    while (first < end) {
        size_t word = first / 64;
        size_t last = end - 1 < word * 64 + 63 ? end - 1 : word * 64 + 63;
        uint64_t bits = mask(first % 64, last % 64);

        if (on)
            b->words[word] |= bits;
        else
            b->words[word] &= ~bits;
        first = last + 1;
    }
}

void bitset_set_range(struct bitset *b, size_t first, size_t n) { change_range(b, first, n, true); }

void bitset_clear_range(struct bitset *b, size_t first, size_t n)
{
    change_range(b, first, n, false);
}

static size_t next(const struct bitset *b, size_t from, uint64_t flip)
{
    if (from >= b->nbits)
        return b->nbits;
    for (size_t word = from / 64; word < word_count(b->nbits); word++) {
        uint64_t bits = b->words[word] ^ flip;

        if (word == from / 64)
            bits &= UINT64_MAX << from % 64;
        if (bits) {
            size_t found = word * 64 + (size_t)__builtin_ctzll(bits);

            return found < b->nbits ? found : b->nbits;
        }
    }
    return b->nbits;
}

size_t bitset_next_set(const struct bitset *b, size_t from) { return next(b, from, 0); }

size_t bitset_next_clear(const struct bitset *b, size_t from) { return next(b, from, UINT64_MAX); }

size_t bitset_count(const struct bitset *b)
{
    size_t count = 0;

    for (size_t i = 0; i < word_count(b->nbits); i++)
        count += (size_t)__builtin_popcountll(b->words[i]);
    return count;
}

bool bitset_any(const struct bitset *b) { return bitset_next_set(b, 0) < b->nbits; }
