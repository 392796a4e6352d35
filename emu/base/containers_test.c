/* Maps, heap, extents, pool, buffers, listeners: each against a plain model. */

#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/buf.h"
#include "emu/base/extent.h"
#include "emu/base/heap.h"
#include "emu/base/map.h"
#include "emu/base/notify.h"
#include "emu/base/pool.h"
#include "emu/base/rng.h"
#include "tests/harness/test.h"

static void map_matches_an_array(void)
{
    enum { KEYS = 500 };
    void *model[KEYS] = { 0 };
    struct map m;
    struct rng rng;
    size_t live = 0, seen = 0;

    map_init(&m);
    rng_init(&rng, 3);
    for (int step = 0; step < 20000; step++) {
        uint64_t k = rng_below(&rng, KEYS);
        char key[16];

        snprintf(key, sizeof(key), "%u", (unsigned)k);
        EXPECT_PTR(map_get(&m, key), model[k]);
        if (rng_chance(&rng, 1, 2)) {
            live += model[k] == NULL;
            map_put(&m, key, &model[k]);
            model[k] = &model[k];
        } else {
            live -= model[k] != NULL;
            EXPECT_PTR(map_remove(&m, key), model[k]);
            model[k] = NULL;
        }
        EXPECT_EQ(map_count(&m), live);
    }
    for (size_t pos = 0; map_next(&m, &pos, NULL, NULL);)
        seen++;
    EXPECT_EQ(seen, live);
    map_fini(&m);
}

static void map_walks_in_order_of_insertion(void)
{
    static const char *const keys[] = { "z", "a", "m", "b", "y", "c", "x", "d", "w", "e", "v" };
    struct map m = { 0 };
    const char *key;
    size_t i = 0;

    for (size_t k = 0; k < ARRAY_LEN(keys); k++)
        map_put(&m, keys[k], NULL);
    for (size_t pos = 0; map_next(&m, &pos, &key, NULL); i++)
        EXPECT_STR(key, keys[i]);
    map_fini(&m);
}

static void idmap_matches_an_array(void)
{
    enum { KEYS = 300 };
    void *model[KEYS] = { 0 };
    struct idmap m = { 0 };
    struct rng rng;

    rng_init(&rng, 4);
    for (int step = 0; step < 20000; step++) {
        uint64_t k = rng_below(&rng, KEYS);

        EXPECT_PTR(idmap_get(&m, k << 40), model[k]);
        if (rng_chance(&rng, 1, 2)) {
            idmap_put(&m, k << 40, &model[k]);
            model[k] = &model[k];
        } else {
            idmap_remove(&m, k << 40);
            model[k] = NULL;
        }
    }
    idmap_fini(&m);
}

static void heap_sorts_and_keeps_the_order_of_equals(void)
{
    enum { N = 200 };
    struct heap_node nodes[N] = { { 0 } };
    struct heap h = { 0 };
    struct rng rng;
    uint64_t last = 0;
    struct heap_node *before = NULL;

    rng_init(&rng, 5);
    for (int i = 0; i < N; i++)
        heap_insert(&h, &nodes[i], rng_below(&rng, 20));
    for (int i = 0; i < N; i += 3)
        heap_remove(&h, &nodes[i]);
    for (struct heap_node *n; (n = heap_pop_min(&h)); before = n) {
        EXPECT_GE(n->key, last);
        if (before && before->key == n->key)
            EXPECT(before->seq < n->seq);
        last = n->key;
    }
    heap_fini(&h);
}

static void extents_find_what_overlaps(void)
{
    enum { N = 100 };
    struct extent nodes[N] = { { 0 } };
    struct extent_set set = { 0 };
    struct rng rng;

    rng_init(&rng, 6);
    for (int step = 0; step < 5000; step++) {
        struct extent *e = &nodes[rng_below(&rng, N)];
        uint64_t off = rng_below(&rng, 1000), len = 1 + rng_below(&rng, 50);
        unsigned expected = 0, found = 0;

        if (extent_linked(e))
            extent_remove(&set, e);
        else
            extent_insert(&set, e, off, len);
        off = rng_below(&rng, 1000);
        for (int i = 0; i < N; i++)
            expected +=
                nodes[i].linked && nodes[i].off < off + len && off < nodes[i].off + nodes[i].len;
        for (struct extent *x = extent_find(&set, off, len); x; x = extent_find_next(x, off, len))
            found++;
        EXPECT_EQ(found, expected);
        EXPECT_EQ(extent_find_oldest(&set, off, len, NULL) != NULL, expected > 0);
    }
}

static void pool_stops_at_its_limit(void)
{
    struct pool p;
    void *object[10];

    pool_init(&p, 24, 10);
    for (int i = 0; i < 10; i++)
        REQUIRE((object[i] = pool_get(&p)) != NULL);
    EXPECT(pool_get(&p) == NULL);
    pool_put(&p, object[3]);
    EXPECT_PTR(pool_get(&p), object[3]);
    for (int i = 0; i < 10; i++)
        pool_put(&p, object[i]);
    pool_fini(&p);
}

static void a_buffer_outlives_its_pool(void)
{
    struct buf_pool pool;
    struct buf *a, *b;

    buf_pool_init(&pool, 4096, 512, 4);
    a = buf_pool_get(&pool);
    b = buf_pool_get(&pool);
    REQUIRE(a && b);
    EXPECT_EQ((uintptr_t)a->data % 512, 0);
    buf_unref(a);
    EXPECT_PTR(buf_pool_get(&pool), a);
    buf_unref(a);
    buf_pool_fini(&pool);
    memset(b->data, 1, b->size);
    buf_unref(b);
}

struct listener {
    struct notifier n;
    struct listener *victim;
    unsigned calls;
};

static void called(struct notifier *n, void *data)
{
    struct listener *self = container_of(n, struct listener, n);

    (void)data;
    self->calls++;
    if (self->victim)
        notifier_remove(&self->victim->n);
}

static void a_listener_may_remove_the_next_or_itself(void)
{
    struct notifier_list list;
    struct listener l[3] = { { .n = { .fn = called } },
                             { .n = { .fn = called } },
                             { .n = { .fn = called } } };

    notifier_list_init(&list);
    for (int i = 0; i < 3; i++)
        notifier_add(&list, &l[i].n);
    l[0].victim = &l[1];
    l[2].victim = &l[2];
    notify_all(&list, NULL);
    notify_all(&list, NULL);
    EXPECT_EQ(l[0].calls, 2);
    EXPECT_EQ(l[1].calls, 0);
    EXPECT_EQ(l[2].calls, 1);
    notifier_list_fini(&list);
}

TEST_LIST(TEST(map_matches_an_array), TEST(map_walks_in_order_of_insertion),
          TEST(idmap_matches_an_array), TEST(heap_sorts_and_keeps_the_order_of_equals),
          TEST(extents_find_what_overlaps), TEST(pool_stops_at_its_limit),
          TEST(a_buffer_outlives_its_pool), TEST(a_listener_may_remove_the_next_or_itself));
