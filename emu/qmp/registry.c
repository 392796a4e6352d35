/* See registry.h. */
#include "emu/qmp/registry.h"

#include <stdlib.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/map.h"
#include "emu/base/vec.h"

struct qmp_registry {
    struct map by_name; /* to const struct qmp_command */
    VEC(const struct qmp_command *) commands;
    VEC(const struct qmp_event_spec *) events;
};

static int by_command_order(const void *a, const void *b)
{
    const struct qmp_command *const *x = a, *const *y = b;

    return (*x)->spec->order < (*y)->spec->order ? -1 : 1;
}

static int by_event_order(const void *a, const void *b)
{
    const struct qmp_event_spec *const *x = a, *const *y = b;

    return (*x)->order < (*y)->order ? -1 : (*x)->order > (*y)->order;
}

static void add_set(struct qmp_registry *reg, const struct qmp_command_set *set)
{
    for (const struct qmp_command *c = set->commands; c->spec; c++) {
        check(map_add(&reg->by_name, c->spec->name, (void *)c));
        vec_push(&reg->commands, c);
    }
    for (const struct qmp_event_spec *const *e = set->events; *e; e++) {
        bool known = false;

        vec_for_each(old, &reg->events)
            known |= *old == *e;
        if (!known) /* Two sets may raise the same event. */
            vec_push(&reg->events, *e);
    }
}

struct qmp_registry *qmp_registry_new(const struct qmp_command_set *const *sets)
{
    struct qmp_registry *reg = NEW(struct qmp_registry);

    for (; *sets; sets++)
        add_set(reg, *sets);
    if (reg->commands.len)
        qsort(reg->commands.items, reg->commands.len, sizeof(*reg->commands.items),
              by_command_order);
    if (reg->events.len)
        qsort(reg->events.items, reg->events.len, sizeof(*reg->events.items), by_event_order);
    return reg;
}

void qmp_registry_free(struct qmp_registry *reg)
{
    if (!reg)
        return;
    map_fini(&reg->by_name);
    vec_fini(&reg->commands);
    vec_fini(&reg->events);
    xfree(reg);
}

const struct qmp_command *qmp_registry_find(const struct qmp_registry *reg, const char *name)
{
    return map_get(&reg->by_name, name);
}

size_t qmp_registry_commands(const struct qmp_registry *reg, const struct qmp_command *const **out)
{
    *out = reg->commands.items;
    return reg->commands.len;
}

size_t qmp_registry_events(const struct qmp_registry *reg, const struct qmp_event_spec *const **out)
{
    *out = reg->events.items;
    return reg->events.len;
}
