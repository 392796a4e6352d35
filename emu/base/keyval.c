/*
 * Key and value pairs to a tree.
 *
 * A key is a path of fragments with dots between them. The first is a name; the others are names or decimal indices. A
 * name is that of a schema member: an optional "__RFQDN_" (which may itself contain dots), a letter, then letters,
 * digits, '-' and '_'. The pairs are put into nested objects first; an object whose keys are all indices is then made
 * an array, from the leaves up.
 */
#include "emu/base/keyval.h"

#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"

enum { FRAGMENT_MAX = 127, DEPTH_MAX = 1000 };

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_help(const char *text, size_t len)
{
    return (len == 4 && memcmp(text, "help", 4) == 0) || (len == 1 && *text == '?');
}

/* Length of the name at text, 0 when there is none. */
static size_t name_len(const char *text)
{
    const char *p = text;

    if (str_has_prefix(p, "__")) {
        for (p += 2; is_letter(*p) || is_digit(*p) || *p == '-' || *p == '.';)
            p++;
        if (*p++ != '_')
            return 0;
    }
    if (!is_letter(*p))
        return 0;
    while (is_letter(*p) || is_digit(*p) || *p == '-' || *p == '_')
        p++;
    return (size_t)(p - text);
}

static size_t index_len(const char *text) { return strspn(text, "0123456789"); }

/* Checks the key of len bytes at text: a path, and nothing else before what follows it. */
static struct err *check_key(const char *text, size_t len)
{
    size_t at = 0;

    for (;;) {
        size_t n = at > 0 && is_digit(text[at]) ? index_len(text + at) : name_len(text + at);

        if (n == 0 || at + n > len || (at + n < len && text[at + n] != '.'))
            return err_new("Invalid parameter '%.*s'", (int)len, text);
        if (n > FRAGMENT_MAX)
            return err_new("Parameter%s '%.*s' is too long", at == 0 && n == len ? "" : " fragment",
                           (int)n, text + at);
        at += n;
        if (at == len)
            return NULL;
        at++;
    }
}

/* Text up to a lone comma, where ",," stands for one. *at is moved behind the comma. Returns new text. */
static char *take_value(const char **at)
{
    struct str value = { 0 };
    const char *p = *at;

    for (;;) {
        size_t n = strcspn(p, ",");

        str_addn(&value, p, n);
        p += n;
        if (*p != ',' || p[1] != ',')
            break;
        str_addc(&value, ',');
        p += 2;
    }
    *at = *p ? p + 1 : p;
    return str_steal(&value);
}

/* A switch of the old style: "foo" is foo=on and "nofoo" is foo=off, whatever foo may be. */
static void put_switch(struct json *flat, const char *name)
{
    if (str_has_prefix(name, "no"))
        json_object_set_str(flat, name + 2, "off");
    else
        json_object_set_str(flat, name, "on");
}

/* A piece of len bytes without '=': help, the value of the implied key, a switch, or an error. */
static struct err *bare_piece(const char **at, size_t len, const char *implied_key, unsigned flags,
                              bool *help, struct json *flat)
{
    const char *piece = *at;
    char *text;

    if (is_help(piece, len)) {
        *at += len + (piece[len] == ',');
        *help = true;
        return NULL;
    }
    if (flags & KEYVAL_LEGACY_BOOL) {
        text = take_value(at);
        if (implied_key)
            json_object_set_str(flat, implied_key, text);
        else
            put_switch(flat, text);
        xfree(text);
        return NULL;
    }
    /* Commas cannot be escaped here: the piece might also have become a key. */
    if (!implied_key) {
        TRY(check_key(piece, len));
        return err_new("Expected '=' after parameter '%.*s'", (int)len, piece);
    }
    if (len == 0)
        return err_new("Invalid parameter ''");
    json_object_set(flat, implied_key, json_strn(piece, len));
    *at += len + (piece[len] == ',');
    return NULL;
}

static struct err *one_piece(const char **at, const char *implied_key, unsigned flags, bool *help,
                             struct json *flat)
{
    size_t len = strcspn(*at, "=,");
    char *key, *value;

    if ((*at)[len] != '=')
        return bare_piece(at, len, implied_key, flags, help, flat);
    if (len == 0)
        return err_new("Invalid parameter ''");
    if (!(flags & KEYVAL_FLAT))
        TRY(check_key(*at, len));
    key = xstrndup(*at, len);
    *at += len + 1;
    value = take_value(at);
    json_object_set_str(flat, key, value);
    xfree(key);
    xfree(value);
    return NULL;
}

struct err *keyval_parse_flags(const char *text, const char *implied_key, unsigned flags,
                               bool *help, struct json **out)
{
    CLEANUP(json_free) struct json *flat = json_object();
    bool want_help = false;

    while (*text) {
        TRY(one_piece(&text, implied_key, flags, &want_help, flat));
        implied_key = NULL;
    }
    if (help)
        *help = want_help;
    else if (want_help)
        return err_new("Help is not available for this option");
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

struct err *keyval_parse_mixed(const char *text, struct json **out)
{
    CLEANUP(json_free) struct json *flat = NULL;
    CLEANUP(json_free) struct json *apart = json_object();
    CLEANUP(json_free) struct json *rest = json_object();
    const char *key;
    struct json *value;

    TRY(keyval_parse_flags(text, NULL, KEYVAL_FLAT, NULL, &flat));
    json_object_for_each(flat, i, key, value) {
        CLEANUP(xfree) char *first = xstrndup(key, strcspn(key, "."));

        TRY(check_key(key, strlen(key)));
        json_object_set(strchr(key, '.') && json_object_has(flat, first) ? apart : rest, key,
                        json_ref(value));
    }
    TRY(keyval_nest(rest, out));
    json_object_for_each(apart, i, key, value)
        json_object_set(*out, key, json_ref(value));
    return NULL;
}

/* Where the fragment at path ends: at a dot, except in "__RFQDN_", or at the end. */
static size_t fragment_len(const char *path)
{
    size_t len = str_has_prefix(path, "__") ? name_len(path) : 0;

    return len && (path[len] == '.' || !path[len]) ? len : strcspn(path, ".");
}

/* The key of a fragment. Indices lose their leading zeroes, so that "00" and "0" are the same. Returns new text. */
static char *fragment_key(const char *path, size_t len)
{
    if (index_len(path) == len) {
        for (; len > 1 && *path == '0'; len--)
            path++;
    }
    return xstrndup(path, len);
}

static struct err *inconsistent(const char *path, size_t len)
{
    return err_new("Parameters '%.*s.*' used inconsistently", (int)len, path);
}

/* Puts a value at a dotted path, making objects on the way. Takes value. */
static struct err *put(struct json *root, const char *path, struct json *value)
{
    struct json *at = root;
    const char *part = path;
    size_t len = fragment_len(part);
    struct err *err = NULL;
    char *key;

    for (unsigned depth = 0; part[len] && !err; part += len + 1, len = fragment_len(part)) {
        struct json *next;

        key = fragment_key(part, len);
        next = json_object_get(at, key);
        if (!next) {
            next = json_object();
            json_object_set(at, key, next);
        }
        xfree(key);
        if (json_type_of(next) != JSON_OBJECT)
            err = inconsistent(path, (size_t)(part + len - path));
        else if (++depth > DEPTH_MAX)
            err = err_new("Parameter '%.*s...' is nested too deeply", FRAGMENT_MAX, path);
        at = next;
    }
    key = fragment_key(part, len);
    if (!err && json_object_has(at, key) && json_type_of(json_object_get(at, key)) == JSON_OBJECT)
        err = inconsistent(path, strlen(path));
    if (!err)
        json_object_set(at, key, value);
    else
        json_free(value);
    xfree(key);
    return err;
}

/* An object whose keys are all indices as the array it stands for. */
static struct err *make_list(const struct json *object, const char *path, struct json **out)
{
    CLEANUP(json_free) struct json *list = json_array();

    for (size_t i = 0; i < json_object_size(object); i++) {
        char key[24];
        struct json *element;

        snprintf(key, sizeof(key), "%zu", i);
        element = json_object_get(object, key);
        if (!element)
            return err_new("Parameter '%s.%zu' missing", path, i);
        json_array_add(list, json_ref(element));
    }
    *out = list;
    list = NULL;
    return NULL;
}

static struct err *listify(struct json *object, const char *path, struct json **out);

/* The value of one member with the objects in it made arrays where they are such. */
static struct err *listify_member(struct json *value, const char *path, const char *key,
                                  struct json **out)
{
    char *inner_path;
    struct err *err;

    if (json_type_of(value) != JSON_OBJECT) {
        *out = json_ref(value);
        return NULL;
    }
    inner_path = xasprintf("%s%s%s", path, *path ? "." : "", key);
    err = listify(value, inner_path, out);
    xfree(inner_path);
    return err;
}

static struct err *listify(struct json *object, const char *path, struct json **out)
{
    CLEANUP(json_free) struct json *copy = json_object();
    bool any_index = false, any_name = false;
    const char *key;
    struct json *value;

    json_object_for_each(object, i, key, value) {
        struct json *inner;

        TRY(listify_member(value, path, key, &inner));
        json_object_set(copy, key, inner);
        if (*key && !key[index_len(key)])
            any_index = true;
        else
            any_name = true;
    }
    /* The outermost object is one whatever its keys are. */
    if (any_index && any_name && *path)
        return inconsistent(path, strlen(path));
    if (any_index && *path)
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

    json_object_for_each(flat, i, key, value) {
        if (!*key || key[0] == '.')
            return err_new("Invalid parameter '%s'", key);
        TRY(put(root, key, json_ref(value)));
    }
    return listify(root, "", out);
}

static void flatten(const struct json *v, struct str *path, struct json *out)
{
    size_t len = path->len;
    const char *key;
    struct json *inner;

    if (json_type_of(v) == JSON_OBJECT && json_object_size(v) > 0) {
        json_object_for_each(v, i, key, inner) {
            str_addf(path, "%s%s", len ? "." : "", key);
            flatten(inner, path, out);
            str_truncate(path, len);
        }
    } else if (json_type_of(v) == JSON_ARRAY && json_array_len(v) > 0) {
        for (size_t i = 0; i < json_array_len(v); i++) {
            str_addf(path, "%s%zu", len ? "." : "", i);
            flatten(json_array_get(v, i), path, out);
            str_truncate(path, len);
        }
    } else if (len) {
        json_object_set(out, str_cstr(path), json_ref(v));
    }
}

struct json *keyval_flatten(const struct json *nested)
{
    CLEANUP(str_fini) struct str path = { 0 };
    struct json *out = json_object();

    flatten(nested, &path, out);
    return out;
}
