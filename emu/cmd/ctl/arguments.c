#include "emu/cmd/ctl/arguments.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/keyval.h"
#include "emu/base/map.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"

enum { DEPTH_MAX = 16 };

struct schema {
    struct json *entries; /* owned; query-qmp-schema's array */
    struct map by_name;   /* Names of types and commands to borrowed entries. */
};

static struct err *schema_load(struct client *client, struct schema *schema)
{
    TRY(client_call(client, "query-qmp-schema", NULL, &schema->entries));
    map_init(&schema->by_name);
    for (size_t i = 0; i < json_array_len(schema->entries); i++) {
        struct json *entry = json_array_get(schema->entries, i);
        const char *name = json_object_get_str(entry, "name");

        if (name)
            map_put(&schema->by_name, name, entry);
    }
    return NULL;
}

static const struct json *find_type(struct schema *schema, const char *name)
{
    return name ? map_get(&schema->by_name, name) : NULL;
}

static struct json *typed(struct schema *schema, const struct json *value, const char *type_name,
                          unsigned depth);

/* The type of a member of an object type, looked up in its variants by the tag's value too. */
static const char *member_type(struct schema *schema, const struct json *type,
                               const struct json *object, const char *name, unsigned depth)
{
    const struct json *members = json_object_get(type, "members");
    const struct json *variants = json_object_get(type, "variants");
    const char *tag = json_object_get_str(type, "tag");
    const char *tag_value = tag ? json_object_get_str(object, tag) : NULL;

    for (size_t i = 0; members && i < json_array_len(members); i++) {
        const struct json *member = json_array_get(members, i);

        if (str_eq(json_object_get_str(member, "name"), name))
            return json_object_get_str(member, "type");
    }
    for (size_t i = 0; variants && tag_value && i < json_array_len(variants); i++) {
        const struct json *variant = json_array_get(variants, i);

        if (str_eq(json_object_get_str(variant, "case"), tag_value) && depth < DEPTH_MAX)
            return member_type(schema, find_type(schema, json_object_get_str(variant, "type")),
                               object, name, depth + 1);
    }
    return NULL;
}

static struct json *typed_object(struct schema *schema, const struct json *value,
                                 const struct json *type, unsigned depth)
{
    struct json *out = json_object();
    const char *key;
    struct json *inner;

    json_object_for_each(value, i, key, inner)
        json_object_set(out, key,
                        typed(schema, inner, member_type(schema, type, value, key, 0), depth + 1));
    return out;
}

/* Text as a built-in type; text it stays when it does not read as one: the server's message is the better one. */
static struct json *typed_text(const struct json *value, const char *type)
{
    const char *text = json_get_str(value);
    uint64_t number;
    int64_t negative;
    bool flag;

    if (str_eq(type, "bool") && opts_parse_bool(text, &flag))
        return json_bool(flag);
    if (str_eq(type, "int")) {
        struct err *err;

        if (parse_i64(text, &negative))
            return json_int(negative);
        err = parse_size(text, &number);
        if (!err)
            return json_uint(number);
        err_free(err);
    }
    return json_ref(value);
}

/* The first alternative of an alternate that fits the form of the value. */
static const char *choose(struct schema *schema, const struct json *alternate,
                          const struct json *value)
{
    const struct json *members = json_object_get(alternate, "members");
    bool want_object = json_type_of(value) == JSON_OBJECT;

    for (size_t i = 0; members && i < json_array_len(members); i++) {
        const char *name = json_object_get_str(json_array_get(members, i), "type");
        const struct json *type = find_type(schema, name);
        bool is_object = str_eq(json_object_get_str(type, "meta-type"), "object");

        if (is_object == want_object && !str_eq(name, "null"))
            return name;
    }
    return NULL;
}

static struct json *typed(struct schema *schema, const struct json *value, const char *type_name,
                          unsigned depth)
{
    const struct json *type = find_type(schema, type_name);
    const char *meta = type ? json_object_get_str(type, "meta-type") : NULL;

    if (!meta || depth > DEPTH_MAX)
        return json_ref(value);
    if (str_eq(meta, "alternate"))
        return typed(schema, value, choose(schema, type, value), depth + 1);
    if (str_eq(meta, "builtin") && json_type_of(value) == JSON_STRING)
        return typed_text(value, type_name);
    if (str_eq(meta, "object") && json_type_of(value) == JSON_OBJECT)
        return typed_object(schema, value, type, depth);
    if (str_eq(meta, "array") && json_type_of(value) == JSON_ARRAY) {
        struct json *out = json_array();

        for (size_t i = 0; i < json_array_len(value); i++)
            json_array_add(out, typed(schema, json_array_get(value, i),
                                      json_object_get_str(type, "element-type"), depth + 1));
        return out;
    }
    return json_ref(value);
}

/* Splits the words into a flat object of text values and an object of the ready ones ("key:=JSON"). */
static struct err *split_words(int count, char *const *words, struct json *flat, struct json *ready)
{
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(words[i], '=');
        bool json;
        char *key;
        struct err *err = NULL;

        if (!equals || equals == words[i])
            return err_new("expected key=value, not '%s'", words[i]);
        json = equals[-1] == ':';
        key = xstrndup(words[i], (size_t)(equals - words[i]) - (json ? 1 : 0));
        if (json) {
            struct json *value = NULL;

            err = json_parse_text(equals + 1, &value);
            if (!err)
                json_object_set(ready, key, value);
        } else {
            json_object_set_str(flat, key, equals + 1);
        }
        xfree(key);
        if (err)
            return err_prefix(err, "'%s': ", words[i]);
    }
    return NULL;
}

static struct err *build(struct schema *schema, const char *command, const struct json *nested,
                         const struct json *ready, struct json **out)
{
    const struct json *entry = find_type(schema, command);
    const char *key;
    struct json *value;

    if (!str_eq(json_object_get_str(entry, "meta-type"), "command"))
        return err_new("The command %s has not been found", command);
    *out = typed(schema, nested, json_object_get_str(entry, "arg-type"), 0);
    json_object_for_each(ready, i, key, value)
        json_object_set(*out, key, json_ref(value));
    return NULL;
}

struct err *arguments_build(struct client *client, const char *command, int count,
                            char *const *words, struct json **out)
{
    CLEANUP(json_free) struct json *flat = json_object();
    CLEANUP(json_free) struct json *ready = json_object();
    CLEANUP(json_free) struct json *nested = NULL;
    struct schema schema = { 0 };
    struct err *err;

    TRY(split_words(count, words, flat, ready));
    if (!json_object_size(flat)) {
        *out = json_ref(ready);
        return NULL;
    }
    TRY(keyval_nest(flat, &nested));
    err = schema_load(client, &schema);
    if (!err)
        err = build(&schema, command, nested, ready, out);
    map_fini(&schema.by_name);
    json_free(schema.entries);
    return err;
}
