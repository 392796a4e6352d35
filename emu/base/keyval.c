#include "emu/base/keyval.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"

enum { KEY_MAX = 127, DEPTH_MAX = 32, INDEX_MAX = 65536 };

static bool is_help(const char *text)
{
    return strcmp(text, "help") == 0 || strcmp(text, "?") == 0;
}

/* Text up to a lone comma; ",," becomes one. *at is moved behind the comma. Returns new text. */
static char *take_piece(const char **at)
{
    struct str piece = { 0 };
    const char *p = *at;

    while (*p) {
        if (*p == ',') {
            if (p[1] != ',')
                break;
            p++;
        }
        str_addc(&piece, *p++);
    }
    *at = *p ? p + 1 : p;
    return str_steal(&piece);
}

static bool key_char_ok(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* A dotted path: each part is a name or an index. */
static struct err *check_key(const char *key, size_t len)
{
    size_t part = 0;

    for (size_t i = 0; i <= len; i++) {
        if (i == len || key[i] == '.') {
            if (part == 0 || part > KEY_MAX)
                return err_new("Invalid parameter '%.*s'", (int)len, key);
            part = 0;
        } else if (!key_char_ok(key[i])) {
            return err_new("Invalid parameter '%.*s'", (int)len, key);
        } else {
            part++;
        }
    }
    return NULL;
}

/* A piece without '=': the implied key's value, a switch, or an error. */
static struct err *bare_piece(const char *piece, const char *implied_key, unsigned flags,
                              struct json *flat)
{
    if (implied_key) {
        json_object_set_str(flat, implied_key, piece);
        return NULL;
    }
    if (!(flags & KEYVAL_LEGACY_BOOL))
        return err_new("Expected '=' after parameter '%s'", piece);
    if (str_has_prefix(piece, "no") && piece[2])
        json_object_set_bool(flat, piece + 2, false);
    else
        json_object_set_bool(flat, piece, true);
    return NULL;
}

static struct err *one_pair(const char **at, const char *implied_key, unsigned flags, bool *help,
                            struct json *flat)
{
    size_t key_len = strcspn(*at, "=,");
    struct err *err = NULL;
    char *key, *value;

    if ((*at)[key_len] != '=') {
        value = take_piece(at);
        if (is_help(value) && help)
            *help = true;
        else if (*value || implied_key)
            err = bare_piece(value, implied_key, flags, flat);
        else
            err = err_new("Expected parameter before ','");
        xfree(value);
        return err;
    }
    if (!(flags & KEYVAL_FLAT))
        TRY(check_key(*at, key_len));
    if (key_len == 0)
        return err_new("Expected parameter before '='");
    key = xstrndup(*at, key_len);
    *at += key_len + 1;
    value = take_piece(at);
    json_object_set_str(flat, key, value);
    xfree(key);
    xfree(value);
    return NULL;
}

struct err *keyval_parse_flags(const char *text, const char *implied_key, unsigned flags,
                               bool *help, struct json **out)
{
    CLEANUP(json_free) struct json *flat = json_object();

    if (help)
        *help = false;
    while (*text) {
        TRY(one_pair(&text, implied_key, flags, help, flat));
        implied_key = NULL;
    }
    if (!(flags & KEYVAL_FLAT))
        return keyval_nest(flat, out);
    *out = flat;
    flat = NULL;
    return NULL;
}

struct err *keyval_parse(const char *text, const char *implied_key, struct json **out)
{
    return keyval_parse_flags(text, implied_key, 0, NULL, out);
}

/* Puts a value at a dotted path, making objects on the way. Takes value. */
static struct err *put(struct json *root, const char *path, struct json *value)
{
    struct json *at = root;
    const char *part = path, *dot;
    unsigned depth = 0;

    while ((dot = strchr(part, '.')) != NULL) {
        char *name = xstrndup(part, (size_t)(dot - part));
        struct json *next = json_object_get(at, name);

        if (!next) {
            next = json_object();
            json_object_set(at, name, next);
        }
        xfree(name);
        if (json_type_of(next) != JSON_OBJECT || ++depth > DEPTH_MAX) {
            json_free(value);
            return err_new("Parameters '%.*s.*' used inconsistently", (int)(dot - path), path);
        }
        at = next;
        part = dot + 1;
    }
    if (json_object_has(at, part) && json_type_of(json_object_get(at, part)) == JSON_OBJECT) {
        json_free(value);
        return err_new("Parameters '%s.*' used inconsistently", path);
    }
    json_object_set(at, part, value);
    return NULL;
}

static bool is_index(const char *key, uint64_t *index)
{
    return key[0] >= '0' && key[0] <= '9' && parse_u64(key, index) && *index < INDEX_MAX &&
           key[1] != 'x';
}

static struct err *listify(struct json *object, const char *path, struct json **out);

/* An object whose keys are all numbers as the array it stands for. */
static struct err *make_list(const struct json *object, const char *path, struct json **out)
{
    size_t count = json_object_size(object);
    struct json *list = json_array();

    for (size_t i = 0; i < count; i++) {
        char *key = xasprintf("%zu", i);
        struct json *element = json_object_get(object, key);

        xfree(key);
        if (!element) {
            json_free(list);
            return err_new("Parameter '%s.%zu' missing", path, i);
        }
        json_array_add(list, json_ref(element));
    }
    *out = list;
    return NULL;
}

/* Replaces nested objects with number keys by arrays, from the leaves up. */
static struct err *listify(struct json *object, const char *path, struct json **out)
{
    CLEANUP(json_free) struct json *copy = json_object();
    bool any_index = false, any_name = false;
    const char *key;
    struct json *value;
    uint64_t index;

    json_object_for_each(object, i, key, value) {
        struct json *inner = NULL;

        if (json_type_of(value) == JSON_OBJECT) {
            char *inner_path = xasprintf("%s%s%s", path, *path ? "." : "", key);
            struct err *err = listify(value, inner_path, &inner);

            xfree(inner_path);
            if (err)
                return err;
        } else {
            inner = json_ref(value);
        }
        json_object_set(copy, key, inner);
        if (is_index(key, &index))
            any_index = true;
        else
            any_name = true;
    }
    if (any_index && any_name && *path)
        return err_new("Parameters '%s.*' used inconsistently", path);
    if (any_index && !any_name && *path)
        return make_list(copy, path, out);
    *out = copy;
    copy = NULL;
    return NULL;
}

struct err *keyval_nest(const struct json *flat, struct json **out)
{
    CLEANUP(json_free) struct json *root = json_object();
    const char *key;
    struct json *value;

    json_object_for_each(flat, i, key, value)
        TRY(put(root, key, json_ref(value)));
    return listify(root, "", out);
}

static void flatten(const struct json *v, const char *path, struct json *out)
{
    const char *key;
    struct json *inner;

    if (json_type_of(v) == JSON_OBJECT && json_object_size(v) > 0) {
        json_object_for_each(v, i, key, inner) {
            char *inner_path = xasprintf("%s%s%s", path, *path ? "." : "", key);

            flatten(inner, inner_path, out);
            xfree(inner_path);
        }
    } else if (json_type_of(v) == JSON_ARRAY && json_array_len(v) > 0) {
        for (size_t i = 0; i < json_array_len(v); i++) {
            char *inner_path = xasprintf("%s%s%zu", path, *path ? "." : "", i);

            flatten(json_array_get(v, i), inner_path, out);
            xfree(inner_path);
        }
    } else if (*path) {
        json_object_set(out, path, json_ref(v));
    }
}

struct json *keyval_flatten(const struct json *nested)
{
    struct json *out = json_object();

    flatten(nested, "", out);
    return out;
}
