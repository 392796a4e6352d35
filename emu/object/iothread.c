#include "emu/object/iothread.h"

#include <inttypes.h>

#include "emu/base/attrs.h"
#include "emu/base/str.h"

enum { POLL_MAX_NS_DEFAULT = 32768, THREAD_POOL_DEFAULT = 64 };

/* In the order in which properties are read. */
static const struct {
    const char *name;
    size_t offset;
    int64_t initial;
} settings[] = {
    { "poll-max-ns", offsetof(struct iothread, poll_max_ns), POLL_MAX_NS_DEFAULT },
    { "poll-grow", offsetof(struct iothread, poll_grow), 0 },
    { "poll-shrink", offsetof(struct iothread, poll_shrink), 0 },
    { "aio-max-batch", offsetof(struct iothread, aio_max_batch), 0 },
    { "thread-pool-min", offsetof(struct iothread, thread_pool_min), 0 },
    { "thread-pool-max", offsetof(struct iothread, thread_pool_max), THREAD_POOL_DEFAULT },
};

static int64_t *setting(struct iothread *iothread, size_t i)
{
    return (int64_t *)((char *)iothread + settings[i].offset);
}

static struct err *check_range(const char *name, int64_t value)
{
    if (value >= 0)
        return NULL;
    return err_new("%s value must be in range [0, %" PRId64 "]", name, INT64_MAX);
}

static struct err *check_pool(const struct iothread *iothread)
{
    if (iothread->thread_pool_min <= iothread->thread_pool_max)
        return NULL;
    return err_new("thread-pool-min may not exceed thread-pool-max");
}

static struct err *iothread_complete(struct object *object, struct opts *props)
{
    struct iothread *iothread = container_of(object, struct iothread, base);

    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        *setting(iothread, i) = settings[i].initial;
        TRY(opts_i64_opt(props, settings[i].name, setting(iothread, i)));
        TRY(check_range(settings[i].name, *setting(iothread, i)));
    }
    return check_pool(iothread);
}

static struct err *iothread_set(struct object *object, const char *name, const struct json *value)
{
    struct iothread *iothread = container_of(object, struct iothread, base);
    int64_t number, old;
    struct err *err;

    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (!str_eq(settings[i].name, name))
            continue;
        if (!json_as_int64(value, &number))
            return err_new("Invalid parameter type for '%s', expected: integer", name);
        TRY(check_range(name, number));
        old = *setting(iothread, i);
        *setting(iothread, i) = number;
        err = check_pool(iothread);
        if (err)
            *setting(iothread, i) = old;
        return err;
    }
    return err_new("Property 'iothread.%s' not found", name);
}

static struct err *iothread_get(struct object *object, const char *name, struct json **out)
{
    struct iothread *iothread = container_of(object, struct iothread, base);

    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (str_eq(settings[i].name, name))
            *out = json_int(*setting(iothread, i));
    return NULL;
}

static const struct object_property properties[] = {
    { "aio-max-batch", "int" },
    { "poll-grow", "int" },
    { "poll-max-ns", "int" },
    { "poll-shrink", "int" },
    { "thread-pool-max", "int" },
    { "thread-pool-min", "int" },
    { 0 },
};

const struct object_type iothread_object_type = {
    .name = "iothread",
    .properties = properties,
    .size = sizeof(struct iothread),
    .complete = iothread_complete,
    .set = iothread_set,
    .get = iothread_get,
};

struct iothread *iothread_find(struct objects *objects, const char *id)
{
    struct object *object = objects_find(objects, id);

    if (!object || object->type != &iothread_object_type)
        return NULL;
    return container_of(object, struct iothread, base);
}
