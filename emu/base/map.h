/*
 * Hash maps that iterate in insertion order, so that runs are repeatable: struct map from text to
 * pointer, struct idmap from uint64_t to pointer.
 *
 * A map copies its keys and borrows its values. Zeroed memory is an empty map. Up to 8 entries live
 * in a plain array without an index. Growth aborts when out of memory. Values may be NULL, but then
 * map_get cannot tell them from a missing key; use map_has.
 */
#ifndef EMU_BASE_MAP_H
#define EMU_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"

struct map_entry {
    char *key; /* owned; NULL marks a removed entry. */
    uint32_t key_len;
    uint32_t hash;
    void *value;
};

struct map {
    struct map_entry *entries;
    uint32_t *index; /* Open addressing over entries; NULL while there are few. */
    uint32_t used;   /* Entries in use or removed. */
    uint32_t live;   /* Entries in use. */
    uint32_t cap;
    uint32_t index_mask;
};

void map_init(struct map *m);

/* Frees keys and table, not the values. NULL or zeroed is fine; the map is then empty. */
void map_fini(struct map *m);
/* The same after calling free_value on every value in order. */
void map_fini_values(struct map *m, void (*free_value)(void *value));
CLEANUP_FINI(map_fini, struct map);

/* The value of key, NULL when missing. */
void *map_get(const struct map *m, const char *key);
/* The same with a key of key_len bytes that need not be terminated (and contains no NUL). */
void *map_get_n(const struct map *m, const char *key, size_t key_len);
bool map_has(const struct map *m, const char *key);

/* Sets the value of key. Returns the value it replaces (its place in the order is kept), or NULL.
 */
void *map_put(struct map *m, const char *key, void *value);
void *map_put_n(struct map *m, const char *key, size_t key_len, void *value);

/* Adds key unless it is there: true when added. One look-up where map_has and map_put are two. */
bool map_add(struct map *m, const char *key, void *value);
bool map_add_n(struct map *m, const char *key, size_t key_len, void *value);
/* The same, and takes the key: terminated heap text. It is freed when the key is there already. */
bool map_add_take(struct map *m, char *key, size_t key_len, void *value);

/* Takes key out. Returns its value, NULL when it was missing. */
void *map_remove(struct map *m, const char *key);

size_t map_count(const struct map *m);

/*
 * Walks in insertion order:
 *
 *     const char *key;
 *     void *value;
 *     for (size_t pos = 0; map_next(&m, &pos, &key, &value);)
 *
 * False at the end. key and value may be NULL when not
 * wanted. Removing the entry just returned, or any other, is fine during the walk; adding is not.
 */
bool map_next(const struct map *m, size_t *pos, const char **key, void **value);

struct idmap_entry {
    uint64_t key;
    void *value;
    bool live;
};

struct idmap {
    struct idmap_entry *entries;
    uint32_t *index;
    uint32_t used;
    uint32_t live;
    uint32_t cap;
    uint32_t index_mask;
};

/* As the functions of struct map. */
void idmap_init(struct idmap *m);
void idmap_fini(struct idmap *m);
CLEANUP_FINI(idmap_fini, struct idmap);
void *idmap_get(const struct idmap *m, uint64_t key);
bool idmap_has(const struct idmap *m, uint64_t key);
void *idmap_put(struct idmap *m, uint64_t key, void *value);
void *idmap_remove(struct idmap *m, uint64_t key);
size_t idmap_count(const struct idmap *m);
bool idmap_next(const struct idmap *m, size_t *pos, uint64_t *key, void **value);

#endif
