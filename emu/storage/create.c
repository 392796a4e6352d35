/* Creating images by driver, and what tools and queries know of an image. */
#include "emu/storage/create.h"
#include "emu/base/alloc.h"
#include "emu/base/rng.h"
#include "emu/base/str.h"

void blockdev_create(struct graph *graph, const struct json *options, driver_done_fn *done,
                     void *arg)
{
    const char *name = json_object_get_str(options, "driver");
    const struct driver *driver = name ? driver_find(graph, name) : NULL;

    if (!driver)
        done(arg, err_new("Block driver '%s' not found or not supported", name ? name : ""));
    else if (!driver->create)
        done(arg, err_new("Driver does not support blockdev-create"));
    else
        driver->create(graph, options, done, arg);
}

void create_uuids(struct graph *graph, struct uuid *out, unsigned count)
{
    struct rng rng;

    rng_init(&rng, (uint64_t)reactor_wall_now(graph_reactor(graph)));
    for (unsigned i = 0; i < count; i++)
        out[i] = uuid_random(&rng);
}

void image_facts_fini(struct image_facts *facts)
{
    xfree(facts->backing_filename);
    xfree(facts->full_backing_filename);
    xfree(facts->backing_format);
    json_free(facts->format_specific);
    json_free(facts->snapshots);
    *facts = (struct image_facts){ 0 };
}
