#include "emu/base/map.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/hash.h"

/* The index holds 1 + position in entries; 0 is free, GONE was in use. */
#define GONE UINT32_MAX
enum { PLAIN_MAX = 8 };

void map_init(struct map *m) { memset(m, 0, sizeof(*m)); }

void map_fini(struct map *m) { map_fini_values(m, NULL); }

void map_fini_values(struct map *m, void (*free_value)(void *value))
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->used; i++) {
        if (!m->entries[i].key)
            continue;
        xfree(m->entries[i].key);
        if (free_value)
            free_value(m->entries[i].value);
    }
    xfree(m->entries);
    xfree(m->index);
    map_init(m);
}

static bool same(const struct map_entry *e, const char *key, size_t len, uint32_t hash)
{
    return e->key && e->hash == hash && e->key_len == len && memcmp(e->key, key, len) == 0;
}

static uint32_t hash_key(const char *key, size_t len) { return (uint32_t)hash_bytes(key, len); }

static void index_add(struct map *m, uint32_t position)
{
    uint32_t slot = m->entries[position].hash & m->index_mask;

    while (m->index[slot] != 0)
        slot = (slot + 1) & m->index_mask;
    m->index[slot] = position + 1;
}

static struct map_entry *find(const struct map *m, const char *key, size_t len, uint32_t hash,
                              uint32_t *index_slot)
{
    if (!m->index) {
        for (uint32_t i = 0; i < m->used; i++) {
            if (same(&m->entries[i], key, len, hash))
                return &m->entries[i];
        }
        return NULL;
    }
    for (uint32_t slot = hash & m->index_mask; m->index[slot] != 0;
         slot = (slot + 1) & m->index_mask) {
        if (m->index[slot] != GONE && same(&m->entries[m->index[slot] - 1], key, len, hash)) {
            if (index_slot)
                *index_slot = slot;
            return &m->entries[m->index[slot] - 1];
        }
    }
    return NULL;
}

/* Squeezes removed entries out and makes room; the index is twice as large as the table. */
static void rebuild(struct map *m)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < m->used; i++) {
        if (m->entries[i].key)
            m->entries[kept++] = m->entries[i];
    }
    m->used = kept;
    if (kept * 4 >= m->cap * 3) {
        m->cap = m->cap ? 2 * m->cap : PLAIN_MAX;
        m->entries = xrealloc_array(m->entries, m->cap, sizeof(m->entries[0]));
    }
    xfree(m->index);
    m->index = NULL;
    if (m->cap <= PLAIN_MAX)
        return;
    m->index_mask = 2 * m->cap - 1;
    m->index = xcalloc(2 * (size_t)m->cap, sizeof(m->index[0]));
    for (uint32_t i = 0; i < m->used; i++)
        index_add(m, i);
}

/* Takes key. */
static void append(struct map *m, char *key, size_t len, uint32_t hash, void *value)
{
    if (m->used == m->cap)
        rebuild(m);
    m->entries[m->used++] = (struct map_entry){ key, (uint32_t)len, hash, value };
    m->live++;
    if (m->index)
        index_add(m, m->used - 1);
}

void *map_get_n(const struct map *m, const char *key, size_t key_len)
{
    const struct map_entry *e = find(m, key, key_len, hash_key(key, key_len), NULL);

    return e ? e->value : NULL;
}

void *map_get(const struct map *m, const char *key) { return map_get_n(m, key, strlen(key)); }

bool map_has(const struct map *m, const char *key)
{
    size_t len = strlen(key);

    return find(m, key, len, hash_key(key, len), NULL) != NULL;
}

void *map_put_n(struct map *m, const char *key, size_t key_len, void *value)
{
    uint32_t hash = hash_key(key, key_len);
    struct map_entry *e = find(m, key, key_len, hash, NULL);
    void *old = NULL;

    if (e) {
        old = e->value;
        e->value = value;
    } else {
        append(m, xstrndup(key, key_len), key_len, hash, value);
    }
    return old;
}

void *map_put(struct map *m, const char *key, void *value)
{
    return map_put_n(m, key, strlen(key), value);
}

bool map_add_n(struct map *m, const char *key, size_t key_len, void *value)
{
    uint32_t hash = hash_key(key, key_len);

    if (find(m, key, key_len, hash, NULL))
        return false;
    append(m, xstrndup(key, key_len), key_len, hash, value);
    return true;
}

bool map_add_take(struct map *m, char *key, size_t key_len, void *value)
{
    uint32_t hash = hash_key(key, key_len);

    if (find(m, key, key_len, hash, NULL)) {
        xfree(key);
        return false;
    }
    append(m, key, key_len, hash, value);
    return true;
}

bool map_add(struct map *m, const char *key, void *value)
{
    return map_add_n(m, key, strlen(key), value);
}

void *map_remove(struct map *m, const char *key)
{
    size_t len = strlen(key);
    uint32_t slot = 0;
    struct map_entry *e = find(m, key, len, hash_key(key, len), &slot);

    if (!e)
        return NULL;
    xfree(e->key);
    e->key = NULL;
    m->live--;
    if (m->index)
        m->index[slot] = GONE;
    return e->value;
}

size_t map_count(const struct map *m) { return m->live; }

bool map_next(const struct map *m, size_t *pos, const char **key, void **value)
{
    while (*pos < m->used) {
        const struct map_entry *e = &m->entries[(*pos)++];

        if (!e->key)
            continue;
        if (key)
            *key = e->key;
        if (value)
            *value = e->value;
        return true;
    }
    return false;
}
