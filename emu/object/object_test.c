/* The registry of user-creatable objects. */
#include "emu/object/object.h"

#include "emu/base/attrs.h"
#include "emu/base/json_parse.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

struct lamp {
    struct object base;
    bool lit;
};

static int alive;

static struct err *lamp_complete(struct object *object, struct opts *props)
{
    struct lamp *lamp = container_of(object, struct lamp, base);

    alive++;
    return opts_bool_opt(props, "lit", &lamp->lit);
}

static void lamp_finalize(struct object *object)
{
    (void)object;
    alive--;
}

static const struct object_property lamp_properties[] = { { "lit", "bool" }, { 0 } };
static const struct object_type lamp_type = { .name = "lamp",
                                              .properties = lamp_properties,
                                              .size = sizeof(struct lamp),
                                              .complete = lamp_complete,
                                              .finalize = lamp_finalize };
static const struct object_type *const types[] = { &lamp_type, NULL };

static struct err *add(struct objects *objects, const char *text)
{
    CLEANUP(json_free) struct json *options = NULL;

    TRY(json_parse_text(text, &options));
    return objects_add(objects, options);
}

static void an_object_is_made_found_and_deleted(void)
{
    struct objects *objects = objects_new(NULL, types);
    struct json *value = NULL;

    REQUIRE_OK(add(objects, "{'qom-type': 'lamp', 'id': 'l', 'lit': true}"));
    EXPECT(container_of(objects_find(objects, "l"), struct lamp, base)->lit);
    REQUIRE_OK(object_get(objects_find(objects, "l"), "lit", &value));
    EXPECT(json_get_bool(value));
    json_free(value);
    EXPECT_ERR(object_get(objects_find(objects, "l"), "hue", &value),
               "Property 'lamp.hue' not found");
    EXPECT_OK(objects_del(objects, "l"));
    EXPECT(objects_find(objects, "l") == NULL);
    EXPECT_EQ(alive, 0);
    objects_free(objects);
}

static void wrong_options_are_refused_and_leave_nothing(void)
{
    struct objects *objects = objects_new(NULL, types);

    EXPECT_ERR(add(objects, "{'qom-type': 'sun', 'id': 'l'}"),
               "Parameter 'qom-type' does not accept value 'sun'");
    EXPECT_ERR(add(objects, "{'qom-type': 'lamp'}"), "Parameter 'id' is missing");
    EXPECT_ERR(add(objects, "{'qom-type': 'lamp', 'id': '1a'}"),
               "Parameter 'id' expects an identifier");
    EXPECT_ERR(add(objects, "{'qom-type': 'lamp', 'id': 'l', 'hue': 1}"),
               "Parameter 'hue' is unexpected");
    EXPECT_EQ(alive, 0);
    REQUIRE_OK(add(objects, "{'qom-type': 'lamp', 'id': 'l'}"));
    EXPECT_ERR(add(objects, "{'qom-type': 'lamp', 'id': 'l'}"),
               "attempt to add duplicate property 'l' to object (type 'container')");
    EXPECT_ERR(objects_del(objects, "m"), "object 'm' not found");
    objects_free(objects);
    EXPECT_EQ(alive, 0);
}

static void an_object_in_use_stays(void)
{
    struct objects *objects = objects_new(NULL, types);
    struct object *lamp;

    REQUIRE_OK(add(objects, "{'qom-type': 'lamp', 'id': 'l'}"));
    EXPECT(objects_ref(objects, "l", "sun") == NULL);
    lamp = objects_ref(objects, "l", "lamp");
    EXPECT(lamp != NULL);
    EXPECT_ERR(objects_del(objects, "l"), "object 'l' is in use, can not be deleted");
    objects_free(objects);
    EXPECT_EQ(alive, 1);
    object_unref(lamp);
    EXPECT_EQ(alive, 0);
}

TEST_LIST(TEST(an_object_is_made_found_and_deleted),
          TEST(wrong_options_are_refused_and_leave_nothing), TEST(an_object_in_use_stays));
