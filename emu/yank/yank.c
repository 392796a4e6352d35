/* See yank.h. */
#include "emu/yank/yank.h"

#include <pthread.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"

struct yank {
    pthread_mutex_t lock;  /* Guards all below and is a leaf: nothing is taken under it. */
    struct list instances; /* Oldest first. */
};

struct yank_instance {
    struct list link;
    struct yank *yank;
    enum qapi_yank_instance_type type;
    char *name; /* owned; NULL for migration */
    struct list functions;
};

static void lock(struct yank *yank) { check(pthread_mutex_lock(&yank->lock) == 0); }

static void unlock(struct yank *yank) { check(pthread_mutex_unlock(&yank->lock) == 0); }

struct yank *yank_new(void)
{
    struct yank *yank = NEW(struct yank);

    check(pthread_mutex_init(&yank->lock, NULL) == 0);
    list_init(&yank->instances);
    return yank;
}

void yank_free(struct yank *yank)
{
    if (!yank)
        return;
    check(list_empty(&yank->instances));
    pthread_mutex_destroy(&yank->lock);
    xfree(yank);
}

static struct yank_instance *find(struct yank *yank, enum qapi_yank_instance_type type,
                                  const char *name)
{
    list_for_each(i, &yank->instances, struct yank_instance, link)
        if (i->type == type && str_eq(i->name, name))
            return i;
    return NULL;
}

struct err *yank_register_instance(struct yank *yank, enum qapi_yank_instance_type type,
                                   const char *name, struct yank_instance **out)
{
    struct yank_instance *i;

    if (type == QAPI_YANK_INSTANCE_TYPE_MIGRATION)
        name = NULL;
    lock(yank);
    if (find(yank, type, name)) {
        unlock(yank);
        return err_new("duplicate yank instance");
    }
    i = NEW(struct yank_instance);
    i->yank = yank;
    i->type = type;
    i->name = name ? xstrdup(name) : NULL;
    list_init(&i->functions);
    list_add_tail(&yank->instances, &i->link);
    unlock(yank);
    *out = i;
    return NULL;
}

void yank_unregister_instance(struct yank_instance *instance)
{
    struct yank *yank;

    if (!instance)
        return;
    yank = instance->yank;
    lock(yank);
    check(list_empty(&instance->functions));
    list_del(&instance->link);
    unlock(yank);
    xfree(instance->name);
    xfree(instance);
}

void yank_register_function(struct yank_instance *instance, struct yank_function *f, yank_fn *fn,
                            void *arg)
{
    check(!f->instance);
    lock(instance->yank);
    f->instance = instance;
    f->fn = fn;
    f->arg = arg;
    list_add_tail(&instance->functions, &f->link);
    unlock(instance->yank);
}

void yank_unregister_function(struct yank_function *f)
{
    struct yank *yank;

    if (!f->instance)
        return;
    yank = f->instance->yank;
    lock(yank);
    list_del(&f->link);
    f->instance = NULL;
    unlock(yank);
}

static struct yank_instance *find_named(struct yank *yank, const struct qapi_yank_instance *named)
{
    const char *name = NULL;

    switch (named->type) {
    case QAPI_YANK_INSTANCE_TYPE_BLOCK_NODE: name = named->u.block_node.node_name; break;
    case QAPI_YANK_INSTANCE_TYPE_CHARDEV: name = named->u.chardev.id; break;
    case QAPI_YANK_INSTANCE_TYPE_MIGRATION: break;
    }
    return find(yank, named->type, name);
}

struct err *yank_run(struct yank *yank, const struct qapi_yank_instance_list *instances)
{
    lock(yank);
    for (size_t i = 0; i < instances->len; i++)
        if (!find_named(yank, &instances->items[i])) {
            unlock(yank);
            return err_new_class(ERR_DEVICE_NOT_FOUND, "Instance not found");
        }
    for (size_t i = 0; i < instances->len; i++)
        list_for_each(f, &find_named(yank, &instances->items[i])->functions, struct yank_function,
                      link)
            f->fn(f->arg);
    unlock(yank);
    return NULL;
}

void yank_query(struct yank *yank, struct qapi_yank_instance_list *out)
{
    lock(yank);
    list_for_each(i, &yank->instances, struct yank_instance, link) {
        struct qapi_yank_instance *info = qapi_yank_instance_list_add(out);

        info->type = i->type;
        switch (i->type) {
        case QAPI_YANK_INSTANCE_TYPE_BLOCK_NODE:
            info->u.block_node.node_name = xstrdup(i->name);
            break;
        case QAPI_YANK_INSTANCE_TYPE_CHARDEV: info->u.chardev.id = xstrdup(i->name); break;
        case QAPI_YANK_INSTANCE_TYPE_MIGRATION: break;
        }
    }
    unlock(yank);
}
