/* Lists, queues, vectors, bit sets. Oracle: expected values, and a plain array for the bit set. */
#include "emu/base/list.h"

#include <string.h>

#include "emu/base/bitset.h"
#include "emu/base/queue.h"
#include "emu/base/rng.h"
#include "emu/base/vec.h"
#include "tests/harness/test.h"

struct item {
    struct list link;
    struct queue_link queued;
    int value;
};

/* The digits of the values in order. */
static int digits(struct list *l)
{
    int number = 0;

    list_for_each(item, l, struct item, link)
        number = number * 10 + item->value;
    return number;
}

static void lists_keep_their_order(void)
{
    struct item a = { .value = 1 }, b = { .value = 2 }, c = { .value = 3 };
    struct list l, other;

    list_init(&l);
    list_init(&other);
    EXPECT(list_first(&l, struct item, link) == NULL);
    list_add_tail(&l, &b.link);
    list_add_head(&l, &a.link);
    list_add_after(&b.link, &c.link);
    EXPECT_EQ(digits(&l), 123);
    EXPECT_PTR(list_last(&l, struct item, link), &c);
    EXPECT_PTR(list_next(&l, &a, struct item, link), &b);
    EXPECT(list_next(&l, &c, struct item, link) == NULL);
    list_del(&b.link);
    list_del(&b.link);
    EXPECT(list_empty(&b.link));
    list_add_tail(&other, &b.link);
    list_splice_tail(&other, &l);
    EXPECT(list_empty(&l));
    EXPECT_EQ(digits(&other), 213);
    EXPECT_EQ(list_count(&other), 3);
    EXPECT_PTR(list_pop_head(&other, struct item, link), &b);
    EXPECT_EQ(digits(&other), 13);
}

static void the_element_of_a_walk_may_be_removed(void)
{
    struct item items[6];
    struct list l;

    list_init(&l);
    for (int i = 0; i < 6; i++) {
        items[i].value = i + 1;
        list_add_tail(&l, &items[i].link);
    }
    list_for_each_safe(item, &l, struct item, link) {
        if (item->value % 2)
            list_del(&item->link);
    }
    EXPECT_EQ(digits(&l), 246);
}

static void queues_are_first_in_first_out(void)
{
    struct item a = { .value = 1 }, b = { .value = 2 }, c = { .value = 3 };
    struct queue q = { 0 }, more = { 0 };

    EXPECT(queue_pop(&q, struct item, queued) == NULL);
    queue_push(&q, &a.queued);
    queue_push(&more, &b.queued);
    queue_append(&q, &more);
    queue_append(&q, &more);
    queue_push(&q, &c.queued);
    EXPECT(queue_empty(&more));
    EXPECT_PTR(queue_first(&q, struct item, queued), &a);
    EXPECT_PTR(queue_pop(&q, struct item, queued), &a);
    queue_push_head(&q, &a.queued);
    EXPECT_PTR(queue_pop(&q, struct item, queued), &a);
    EXPECT_PTR(queue_pop(&q, struct item, queued), &b);
    EXPECT_PTR(queue_pop(&q, struct item, queued), &c);
    EXPECT(queue_empty(&q));
    queue_push_head(&q, &a.queued);
    queue_push(&q, &b.queued);
    EXPECT_PTR(queue_pop(&q, struct item, queued), &a);
}

static void vectors_insert_and_remove(void)
{
    VEC(int) v = { 0 };
    int number = 0;

    for (int i = 0; i < 5; i++)
        vec_push(&v, i);
    vec_insert(&v, 0, 9);
    vec_insert(&v, vec_len(&v), 8);
    vec_remove(&v, 2);
    vec_for_each(item, &v)
        number = number * 10 + *item;
    EXPECT_EQ(number, 902348);
    EXPECT_EQ(vec_pop(&v), 8);
    EXPECT_EQ(vec_last(&v), 4);
    EXPECT_DEATH((void)vec_at(&v, 5), "check");
    vec_truncate(&v, 1);
    EXPECT_EQ(vec_len(&v), 1);
    vec_fini(&v);
    EXPECT_DEATH((void)vec_pop(&v), "check");
}

static void a_vector_says_when_it_cannot_grow(void)
{
    VEC(uint64_t) v = { 0 };

    vec_push(&v, 1);
    alloc_fail_after(1);
    EXPECT(!vec_try_reserve(&v, 100));
    alloc_fail_reset();
    EXPECT(!vec_try_reserve(&v, SIZE_MAX / 8 + 1));
    EXPECT_EQ(vec_at(&v, 0), 1);
    EXPECT(vec_try_reserve(&v, 100));
    EXPECT_GE(v.cap, 100);
    vec_fini(&v);
}

static void a_bit_set_matches_an_array(void)
{
    enum { BITS = 300 };
    bool model[BITS] = { 0 };
    struct bitset b;
    struct rng rng;

    bitset_init(&b, BITS);
    rng_init(&rng, 1);
    for (int step = 0; step < 3000; step++) {
        size_t first = rng_below(&rng, BITS), n = rng_below(&rng, BITS - first + 1);
        size_t set = first, clear = first, count = 0;

        if (rng_chance(&rng, 1, 3)) {
            n = rng_chance(&rng, 1, 2) ? n : n / 20;
            bitset_set_range(&b, first, n);
            memset(model + first, true, n);
        } else if (rng_chance(&rng, 1, 2)) {
            bitset_clear_range(&b, first, n);
            memset(model + first, false, n);
        } else {
            bool on = rng_chance(&rng, 1, 2);

            bitset_assign(&b, first, on);
            model[first] = on;
        }
        first = rng_below(&rng, BITS + 1);
        for (set = first; set < BITS && !model[set];)
            set++;
        for (clear = first; clear < BITS && model[clear];)
            clear++;
        for (size_t i = 0; i < BITS; i++)
            count += model[i];
        EXPECT_EQ(bitset_next_set(&b, first), set);
        EXPECT_EQ(bitset_next_clear(&b, first), clear);
        EXPECT_EQ(bitset_count(&b), count);
        EXPECT_EQ(bitset_any(&b), count > 0);
    }
    bitset_fini(&b);
}

static void a_resized_bit_set_has_clear_new_bits(void)
{
    struct bitset b;

    REQUIRE(bitset_try_init(&b, 100));
    bitset_set_range(&b, 0, 100);
    REQUIRE(bitset_try_resize(&b, 70));
    REQUIRE(bitset_try_resize(&b, 1000));
    EXPECT_EQ(bitset_count(&b), 70);
    EXPECT(!bitset_test(&b, 70));
    alloc_fail_after(1);
    EXPECT(!bitset_try_resize(&b, 2000));
    alloc_fail_reset();
    EXPECT_EQ(b.nbits, 1000);
    EXPECT_DEATH(bitset_set(&b, 1000), "check");
    bitset_fini(&b);
}

TEST_LIST(TEST(lists_keep_their_order), TEST(the_element_of_a_walk_may_be_removed),
          TEST(queues_are_first_in_first_out), TEST(vectors_insert_and_remove),
          TEST(a_vector_says_when_it_cannot_grow), TEST(a_bit_set_matches_an_array),
          TEST(a_resized_bit_set_has_clear_new_bits));
