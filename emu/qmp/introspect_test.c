/* Invariants of the introspection of any set of commands. */
#include "emu/qmp/introspect.h"

#include <string.h>

#include "emu/base/map.h"
#include "emu/base/str.h"
#include "emu/qmp/qmp_block_core.h"   // Generated.
#include "emu/qmp/qmp_block_export.h" // Generated.
#include "emu/qmp/qmp_control.h"      // Generated.
#include "emu/qmp/qmp_introspect.h"   // Generated.
#include "emu/qmp/qmp_job.h"          // Generated.
#include "emu/qmp/qmp_transaction.h"  // Generated.
#include "emu/qmp/qmp_yank.h"         // Generated.
#include "tests/harness/test.h"

static void nothing(void) {}

#define ROW(name)                                                                                  \
    {                                                                                              \
        &qmp_spec_##name, nothing                                                                  \
    }

static const struct qmp_command_set many = {
    .commands = { ROW(query_qmp_schema), ROW(transaction), ROW(blockdev_add), ROW(query_yank),
                  ROW(yank), ROW(query_block), ROW(query_block_jobs), ROW(block_export_add),
                  ROW(nbd_server_add), ROW(blockdev_create), ROW(quit), QMP_COMMAND_END },
    .events = { &qmp_event_block_job_completed, &qmp_event_job_status_change, NULL },
};

static const struct qmp_command_set few = {
    .commands = { ROW(quit), ROW(job_pause), QMP_COMMAND_END },
};

static struct json *introspect(const struct qmp_command_set *set)
{
    const struct qmp_command_set *const sets[] = { set, NULL };
    struct qmp_registry *reg = qmp_registry_new(sets);
    struct json *schema = qmp_introspect(reg);

    qmp_registry_free(reg);
    return schema;
}

static struct json *entity(const struct json *schema, const char *name)
{
    for (size_t i = 0; i < json_array_len(schema); i++)
        if (str_eq(json_object_get_str(json_array_get(schema, i), "name"), name))
            return json_array_get(schema, i);
    return NULL;
}

static void expect_type(const struct json *schema, const char *name)
{
    struct json *found = entity(schema, name);

    EXPECT_MSG(found != NULL, "type %s is used and not there", name);
    EXPECT_MSG(found && strcmp(json_object_get_str(found, "meta-type"), "command") != 0,
               "%s is no type", name);
}

/* All names that an entity refers to. */
static void expect_references(const struct json *schema, const struct json *value)
{
    const char *key;
    struct json *member;

    if (json_type_of(value) == JSON_ARRAY)
        for (size_t i = 0; i < json_array_len(value); i++)
            expect_references(schema, json_array_get(value, i));
    if (json_type_of(value) != JSON_OBJECT)
        return;
    json_object_for_each(value, i, key, member) {
        if (!strcmp(key, "type") || !strcmp(key, "arg-type") || !strcmp(key, "ret-type") ||
            !strcmp(key, "element-type"))
            expect_type(schema, json_get_str(member));
        else
            expect_references(schema, member);
    }
}

static void every_name_is_there_once(void)
{
    CLEANUP(json_free) struct json *schema = introspect(&many);
    CLEANUP(map_fini) struct map names = { 0 };

    expect_references(schema, schema);
    for (size_t i = 0; i < json_array_len(schema); i++) {
        const char *name = json_object_get_str(json_array_get(schema, i), "name");

        EXPECT_MSG(map_add(&names, name, schema), "%s is there twice", name);
    }
}

static void the_answer_decodes_as_its_own_type(void)
{
    CLEANUP(json_free) struct json *schema = introspect(&many);

    for (size_t i = 0; i < json_array_len(schema); i++) {
        CLEANUP(qapi_free_schema_info) struct qapi_schema_info *info = NULL;
        struct err *err = qapi_decode_schema_info(json_array_get(schema, i), QAPI_STRICT, &info);

        EXPECT_MSG(!err, "entity %zu: %s", i, err ? err_text(err) : "");
        err_free(err);
    }
}

static void unions_name_every_case(void)
{
    CLEANUP(json_free) struct json *schema = introspect(&many);
    int unions = 0;

    for (size_t i = 0; i < json_array_len(schema); i++) {
        const struct json *e = json_array_get(schema, i);
        const struct json *members = json_object_get(e, "members");
        const char *tag = json_object_get_str(e, "tag");

        for (size_t k = 0; tag && k < json_array_len(members); k++) {
            const struct json *m = json_array_get(members, k);
            const char *type = json_object_get_str(m, "type");

            if (strcmp(json_object_get_str(m, "name"), tag) != 0)
                continue;
            unions++;
            EXPECT_EQ(json_array_len(json_object_get(entity(schema, type), "values")),
                      json_array_len(json_object_get(e, "variants")));
        }
    }
    EXPECT_GE(unions, 5);
}

static void only_what_is_in_the_sets_shows(void)
{
    CLEANUP(json_free) struct json *schema = introspect(&few);

    /* Two commands, the arguments of one, str, and the empty object. */
    EXPECT_EQ(json_array_len(schema), 5);
    EXPECT(entity(schema, "quit"));
    EXPECT(!entity(schema, "job-resume"));
}

static void flags_and_features_show(void)
{
    CLEANUP(json_free) struct json *schema = introspect(&many);
    const struct json *values = NULL;

    EXPECT(json_get_bool(json_object_get(entity(schema, "yank"), "allow-oob")));
    EXPECT(!json_object_get(entity(schema, "quit"), "allow-oob"));
    values = json_object_get(entity(schema, "nbd-server-add"), "features");
    REQUIRE(values);
    EXPECT_STR(json_get_str(json_array_get(values, 0)), "deprecated");
}

TEST_LIST(TEST(every_name_is_there_once), TEST(the_answer_decodes_as_its_own_type),
          TEST(unions_name_every_case), TEST(only_what_is_in_the_sets_shows),
          TEST(flags_and_features_show));
