#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/hash.h"
#include "emu/base/map.h"

#define GONE UINT32_MAX
enum { PLAIN_MAX = 8 };

void idmap_init(struct idmap *m) { memset(m, 0, sizeof(*m)); }

void idmap_fini(struct idmap *m)
{
    if (!m)
        return;
    xfree(m->entries);
    xfree(m->index);
    idmap_init(m);
}

static void index_add(struct idmap *m, uint32_t position)
{
    uint32_t slot = (uint32_t)hash_u64(m->entries[position].key) & m->index_mask;

    while (m->index[slot] != 0)
        slot = (slot + 1) & m->index_mask;
    m->index[slot] = position + 1;
}

static struct idmap_entry *find(const struct idmap *m, uint64_t key, uint32_t *index_slot)
{
    if (!m->index) {
        for (uint32_t i = 0; i < m->used; i++) {
            if (m->entries[i].live && m->entries[i].key == key)
                return &m->entries[i];
        }
        return NULL;
    }
    for (uint32_t slot = (uint32_t)hash_u64(key) & m->index_mask; m->index[slot] != 0;
         slot = (slot + 1) & m->index_mask) {
        if (m->index[slot] != GONE && m->entries[m->index[slot] - 1].key == key) {
            if (index_slot)
                *index_slot = slot;
            return &m->entries[m->index[slot] - 1];
        }
    }
    return NULL;
}

static void rebuild(struct idmap *m)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < m->used; i++) {
        if (m->entries[i].live)
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

void *idmap_get(const struct idmap *m, uint64_t key)
{
    const struct idmap_entry *e = find(m, key, NULL);

    return e ? e->value : NULL;
}

bool idmap_has(const struct idmap *m, uint64_t key) { return find(m, key, NULL) != NULL; }

void *idmap_put(struct idmap *m, uint64_t key, void *value)
{
    struct idmap_entry *e = find(m, key, NULL);
    void *old = NULL;

    if (e) {
        old = e->value;
        e->value = value;
        return old;
    }
    if (m->used == m->cap)
        rebuild(m);
    m->entries[m->used++] = (struct idmap_entry){ key, value, true };
    m->live++;
    if (m->index)
        index_add(m, m->used - 1);
    return NULL;
}

void *idmap_remove(struct idmap *m, uint64_t key)
{
    uint32_t slot = 0;
    struct idmap_entry *e = find(m, key, &slot);

    if (!e)
        return NULL;
    e->live = false;
    m->live--;
    if (m->index)
        m->index[slot] = GONE;
    return e->value;
}

size_t idmap_count(const struct idmap *m) { return m->live; }

bool idmap_next(const struct idmap *m, size_t *pos, uint64_t *key, void **value)
{
    while (*pos < m->used) {
        const struct idmap_entry *e = &m->entries[(*pos)++];

        if (!e->live)
            continue;
        if (key)
            *key = e->key;
        if (value)
            *value = e->value;
        return true;
    }
    return false;
}
