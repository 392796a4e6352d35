/*
 * The inbox: a stack that any thread pushes to and the home thread takes as a whole.
 *
 * Sleeping and waking, without a lock: a poster pushes, then looks at `sleeping`; the home thread sets
 * `sleeping`, then looks at the inbox. Both in sequentially consistent order, so that one of them sees
 * the other. `wake_sent` saves the writes of a second and third poster.
 */
#include "emu/reactor/post.h"

#include <errno.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

struct post {
    struct task task;
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

void post_wake(struct real *real)
{
    uint64_t one = 1;
    ssize_t n;

    if (!atomic_load(&real->sleeping) || atomic_exchange(&real->wake_sent, true))
        return;
    do
        n = write(real->wake_fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    check(n == sizeof(one));
}

void post_wake_reactor(struct reactor *r) { post_wake(real_of(r)); }

void post_add(struct reactor *r, void (*fn)(void *arg), void *arg)
{
    struct real *real = real_of(r);
    struct post *post = NEW(struct post);

    post->fn = fn;
    post->arg = arg;
    post->next = atomic_load_explicit(&real->posts, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&real->posts, &post->next, post))
        ;
    post_wake(real);
}

static void run_post(struct task *task)
{
    struct post *post = container_of(task, struct post, task);
    void (*fn)(void *arg) = post->fn;
    void *arg = post->arg;

    xfree(post);
    fn(arg);
}

/* Takes the stack and turns it over. */
static struct post *take_oldest_first(struct real *real)
{
    struct post *post, *oldest = NULL;

    if (!atomic_load_explicit(&real->posts, memory_order_relaxed))
        return NULL;
    post = atomic_exchange(&real->posts, NULL);
    while (post) {
        struct post *next = post->next;

        post->next = oldest;
        oldest = post;
        post = next;
    }
    return oldest;
}

void post_collect(struct real *real)
{
    struct post *post = take_oldest_first(real);

    while (post) {
        struct post *next = post->next;

        reactor_defer(&real->reactor, &post->task, run_post);
        post = next;
    }
}

void post_drop(struct real *real)
{
    struct post *post = take_oldest_first(real);

    while (post) {
        struct post *next = post->next;

        xfree(post);
        post = next;
    }
    list_for_each_safe(task, &real->reactor.tasks, struct task, link) {
        if (task->fn == run_post) {
            reactor_undefer(task);
            xfree(container_of(task, struct post, task));
        }
    }
}
