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

static void extents_come_in_order_and_oldest_is_found(void)
{
    struct extent a = { 0 }, b = { 0 }, c = { 0 };
    struct extent_set set = { 0 };

    extent_insert(&set, &a, 100, 50);
    extent_insert(&set, &b, 0, 500);
    extent_insert(&set, &c, 100, 10);
    EXPECT_PTR(extent_first(&set), &b);
    EXPECT_PTR(extent_next(&b), &a);
    EXPECT_PTR(extent_next(&a), &c);
    EXPECT(extent_next(&c) == NULL);
    EXPECT_PTR(extent_find(&set, 105, 1), &b);
    EXPECT_PTR(extent_find_oldest(&set, 105, 1, NULL), &a);
    EXPECT_PTR(extent_find_oldest(&set, 105, 1, &a), &b);
    extent_remove(&set, &a);
    extent_remove(&set, &a);
    EXPECT_EQ(extent_set_count(&set), 2);
    extent_remove(&set, &b);
    EXPECT(extent_find(&set, 200, 100) == NULL);
    EXPECT_PTR(extent_find(&set, 0, UINT64_MAX), &c);
    EXPECT_PTR(extent_find(&set, 50, UINT64_MAX), &c);
    extent_remove(&set, &c);
    EXPECT(extent_set_empty(&set));
}

static void an_extent_may_reach_the_last_byte(void)
{
    struct extent a = { 0 };
    struct extent_set set = { 0 };

    extent_insert(&set, &a, UINT64_MAX - 9, 10);
    EXPECT_PTR(extent_find(&set, UINT64_MAX, 1), &a);
    EXPECT(extent_find(&set, 0, UINT64_MAX - 9) == NULL);
    extent_remove(&set, &a);
    EXPECT_DEATH(extent_insert(&set, &a, UINT64_MAX - 9, 11), "check");
    EXPECT_DEATH(extent_insert(&set, &a, 5, 0), "check");
}

/* In ascending order a tree without balance would be a list. */
static void many_extents_stay_quick(void)
{
    enum { N = 200000 };
    struct extent *nodes = xcalloc(N, sizeof(*nodes));
    struct extent_set set = { 0 };

    for (uint64_t i = 0; i < N; i++)
        extent_insert(&set, &nodes[i], i * 10, 5);
    for (uint64_t i = 0; i < N; i++) {
        REQUIRE(extent_find(&set, i * 10 + 4, 2) == &nodes[i]);
        REQUIRE(extent_find(&set, i * 10 + 5, 5) == NULL);
    }
    for (uint64_t i = 0; i < N; i++)
        extent_remove(&set, &nodes[i]);
    EXPECT(extent_set_empty(&set));
    xfree(nodes);
}

static void heap_updates_match_a_search(void)
{
    enum { N = 60 };
    struct heap_node nodes[N] = { { 0 } };
    struct heap h = { 0 };
    struct rng rng;

    rng_init(&rng, 8);
    for (int step = 0; step < 5000; step++) {
        struct heap_node *n = &nodes[rng_below(&rng, N)], *least = NULL;

        if (rng_chance(&rng, 2, 3))
            heap_update(&h, n, rng_below(&rng, 1000));
        else
            heap_remove(&h, n);
        for (int i = 0; i < N; i++) {
            if (heap_linked(&nodes[i]) &&
                (!least || nodes[i].key < least->key ||
                 (nodes[i].key == least->key && nodes[i].seq < least->seq)))
                least = &nodes[i];
        }
        EXPECT_PTR(heap_min(&h), least);
    }
    heap_fini(&h);
}

static void a_map_drops_its_removed_entries(void)
{
    struct map m = { 0 };
    char key[16];

    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        EXPECT(map_add(&m, key, NULL));
        EXPECT(!map_add(&m, key, &m));
        if (i >= 10) {
            snprintf(key, sizeof(key), "%d", i - 10);
            map_remove(&m, key);
        }
    }
    EXPECT_EQ(map_count(&m), 10);
    EXPECT_LE(m.cap, 64);
    EXPECT(map_has(&m, "99999"));
    EXPECT(!map_has(&m, "5"));
    map_fini(&m);
}

static void count_value(void *value) { ++*(unsigned *)value; }

static void a_map_gives_its_values_back(void)
{
    struct map m = { 0 };
    unsigned counts[20] = { 0 };
    char key[4];

    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "%d", i);
        map_put(&m, key, &counts[i]);
    }
    EXPECT_PTR(map_put(&m, "3", &counts[0]), &counts[3]);
    EXPECT_PTR(map_get_n(&m, "1234", 1), &counts[1]);
    map_fini_values(&m, count_value);
    EXPECT_EQ(counts[0], 2);
    EXPECT_EQ(counts[3], 0);
    EXPECT_EQ(counts[19], 1);
}

static void a_reserved_pool_needs_no_memory(void)
{
    struct pool p;
    void *object[20];

    pool_init(&p, 100, 20);
    REQUIRE(pool_reserve(&p, 20));
    EXPECT(!pool_reserve(&p, 21));
    alloc_fail_after(1);
    for (int i = 0; i < 20; i++) {
        object[i] = pool_get(&p);
        REQUIRE(object[i]);
        EXPECT_EQ((uintptr_t)object[i] % 16, 0);
        EXPECT_EQ(*(uint64_t *)object[i], 0);
        memset(object[i], 0xff, 100);
    }
    EXPECT_EQ(alloc_fail_reset(), 0);
    EXPECT_EQ(pool_out(&p), 20);
    EXPECT_DEATH(pool_fini(&p), "check");
    for (int i = 0; i < 20; i++)
        pool_put(&p, object[i]);
    pool_fini(&p);
}

static void a_pool_says_when_memory_is_out(void)
{
    struct pool p;

    pool_init(&p, 100, 20);
    alloc_fail_after(1);
    EXPECT(pool_get(&p) == NULL);
    alloc_fail_reset();
    pool_put(&p, pool_get(&p));
    pool_fini(&p);
}

static void buffers_are_shared_and_recycled(void)
{
    struct buf_pool pool;
    struct buf *a, *b, *alone;

    buf_pool_init(&pool, 512, 512, 1);
    a = buf_pool_get(&pool);
    b = buf_pool_get(&pool);
    REQUIRE(a && b);
    buf_ref(a);
    buf_unref(a);
    EXPECT_EQ(a->refs, 1);
    EXPECT_EQ(buf_pool_out(&pool), 2);
    buf_unref(a);
    buf_unref(b); /* One too many to keep. */
    EXPECT_EQ(buf_pool_out(&pool), 0);
    buf_pool_trim(&pool);
    for (unsigned long n = 1; n <= 2; n++) {
        alloc_fail_after(n);
        EXPECT(buf_pool_get(&pool) == NULL);
        alloc_fail_reset();
    }
    EXPECT_EQ(buf_pool_out(&pool), 0);
    buf_pool_fini(&pool);
    alone = buf_try_new(100, 64);
    REQUIRE(alone);
    EXPECT_EQ((uintptr_t)alone->data % 64, 0);
    buf_unref(alone);
    buf_unref(NULL);
}

struct adder {
    struct notifier n;
    struct notifier_list *list;
    struct notifier *add;
    unsigned calls, depth;
};

static void added(struct notifier *n, void *data)
{
    struct adder *self = container_of(n, struct adder, n);

    (void)data;
    self->calls++;
    if (self->add && !self->add->owner)
        notifier_add(self->list, self->add);
    if (self->depth > 0) {
        self->depth--;
        notify_all(self->list, NULL);
    }
}

static void a_listener_that_joins_waits_for_the_next_round(void)
{
    struct notifier_list list;
    struct listener late = { .n = { .fn = called } };
    struct adder first = { .n = { .fn = added }, .list = &list, .add = &late.n };

    notifier_list_init(&list);
    notifier_add(&list, &first.n);
    notify_all(&list, NULL);
    EXPECT_EQ(late.calls, 0);
    notify_all(&list, NULL);
    EXPECT_EQ(late.calls, 1);
    notifier_list_fini(&list);
    EXPECT(late.n.owner == NULL);
}

static void a_round_may_start_another(void)
{
    struct notifier_list list;
    struct listener l[2] = { { .n = { .fn = called } }, { .n = { .fn = called } } };
    struct adder first = { .n = { .fn = added }, .list = &list, .depth = 1 };

    notifier_list_init(&list);
    notifier_add(&list, &first.n);
    notifier_add(&list, &l[0].n);
    notifier_add(&list, &l[1].n);
    l[0].victim = &l[1]; /* Removed by the inner round, so the outer one must not call it. */
    notify_all(&list, NULL);
    EXPECT_EQ(first.calls, 2);
    EXPECT_EQ(l[0].calls, 2);
    EXPECT_EQ(l[1].calls, 0);
    notifier_list_fini(&list);
}

TEST_LIST(TEST(map_matches_an_array), TEST(map_walks_in_order_of_insertion),
          TEST(a_map_drops_its_removed_entries), TEST(a_map_gives_its_values_back),
          TEST(idmap_matches_an_array), TEST(heap_sorts_and_keeps_the_order_of_equals),
          TEST(heap_updates_match_a_search), TEST(extents_find_what_overlaps),
          TEST(extents_come_in_order_and_oldest_is_found), TEST(an_extent_may_reach_the_last_byte),
          TEST(many_extents_stay_quick), TEST(pool_stops_at_its_limit),
          TEST(a_reserved_pool_needs_no_memory), TEST(a_pool_says_when_memory_is_out),
          TEST(a_buffer_outlives_its_pool), TEST(buffers_are_shared_and_recycled),
          TEST(a_listener_may_remove_the_next_or_itself),
          TEST(a_listener_that_joins_waits_for_the_next_round), TEST(a_round_may_start_another));
