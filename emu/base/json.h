/*
 * JSON value tree.
 *
 * Values are reference counted so that a subtree can be kept or shared: constructors return one
 * reference, json_ref adds one, json_free drops one. "Takes" in a comment moves the caller's
 * reference into the container. A value with more than one reference must not be changed. Counts
 * are not atomic: a tree stays on one thread at a time.
 *
 * Text inside is modified UTF-8 (utf8.h): parsed U+0000 is held as C0 80, so strings are safe to
 * use as C strings. A string made with json_strn may hold any bytes; the writer repairs what is not
 * UTF-8.
 *
 * Objects keep insertion order. Look-up is linear up to 8 members and hashed above.
 */
#ifndef EMU_BASE_JSON_H
#define EMU_BASE_JSON_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"

struct json;

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,  /* int64_t */
    JSON_UINT, /* uint64_t; the parser makes one only above INT64_MAX. */
    JSON_DOUBLE,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
    JSON_TYPE_COUNT,
};

/* Constructors: each returns a new value. Text is copied. */
MUST_USE struct json *json_null(void);
MUST_USE struct json *json_bool(bool value);
MUST_USE struct json *json_int(int64_t value);
MUST_USE struct json *json_uint(uint64_t value);
MUST_USE struct json *json_double(double value);
MUST_USE struct json *json_str(const char *text);
MUST_USE struct json *json_strn(const char *bytes, size_t len);
MUST_USE PRINTF(1, 2) struct json *json_strf(const char *fmt, ...);
MUST_USE struct json *json_array(void);
MUST_USE struct json *json_object(void);

/* Adds a reference and returns v; NULL gives NULL. */
struct json *json_ref(const struct json *v);
/* Drops a reference; the last one frees the value and drops those it holds. NULL is fine. */
void json_free(struct json *v);
CLEANUP_FREE(json_free, struct json);

/* Returns a new deep copy. */
MUST_USE struct json *json_copy(const struct json *v);
/* Deep equality. Object order does not matter; JSON_INT and JSON_UINT compare by value, a double
 * equals only a double. */
bool json_equal(const struct json *a, const struct json *b);

enum json_type json_type_of(const struct json *v);
/* "null", "boolean", "integer" (both kinds), "number", "string", "array", "object". */
const char *json_type_name(enum json_type type);

/* Checked access: false, and *out unchanged, when v is NULL, of another type, or does not fit.
 * Integers convert between the two kinds by value and to double; doubles do not convert to
 * integers. */
MUST_USE bool json_as_bool(const struct json *v, bool *out);
MUST_USE bool json_as_int64(const struct json *v, int64_t *out);
MUST_USE bool json_as_uint64(const struct json *v, uint64_t *out);
MUST_USE bool json_as_double(const struct json *v, double *out);
/* The text, or NULL when v is NULL or not a string. Lives as long as v. */
const char *json_as_str(const struct json *v);

/* Access when the type is known; asserted. */
bool json_get_bool(const struct json *v);
int64_t json_get_int(const struct json *v);
uint64_t json_get_uint(const struct json *v);
double json_get_double(const struct json *v);
const char *json_get_str(const struct json *v);
/* Bytes of a string, without the terminator. */
size_t json_str_len(const struct json *v);

/* Sets a member; takes val. The place of an existing key is kept, its old value dropped. */
void json_object_set(struct json *obj, const char *key, struct json *val);
/* Adds a member unless the key is there: false then, and val is freed. Takes val. */
bool json_object_add(struct json *obj, const char *key, struct json *val);
/* The same with key_len bytes of key. */
bool json_object_add_n(struct json *obj, const char *key, size_t key_len, struct json *val);
/* The same, and takes key too: heap text without NUL of key_len bytes, terminated. */
bool json_object_add_take(struct json *obj, char *key, size_t key_len, struct json *val);
/* Shorthands. */
void json_object_set_str(struct json *obj, const char *key, const char *text);
void json_object_set_int(struct json *obj, const char *key, int64_t value);
void json_object_set_uint(struct json *obj, const char *key, uint64_t value);
void json_object_set_bool(struct json *obj, const char *key, bool value);

/* Borrowed member, NULL when missing. */
struct json *json_object_get(const struct json *obj, const char *key);
/* Borrowed text of a string member; NULL when missing or not a string. */
const char *json_object_get_str(const struct json *obj, const char *key);
bool json_object_has(const struct json *obj, const char *key);
/* Drops a member; false when missing. */
bool json_object_del(struct json *obj, const char *key);
/* Takes a member out and returns it (the caller's now); NULL when missing. */
MUST_USE struct json *json_object_take(struct json *obj, const char *key);
size_t json_object_size(const struct json *obj);

/* The member at slot *i or after; sets *i to its slot. False at the end. */
bool json_object_next(const struct json *obj, size_t *i, const char **key, struct json **val);

/*
 * Walks in insertion order: `json_object_for_each(obj, i, key, val) { ... }` declares i only; key
 * (const char *) and val (struct json *, borrowed) are variables of the caller. Deleting members in
 * the body is fine, adding is not.
 */
#define json_object_for_each(obj, i, key, val)                                                     \
    for (size_t i = 0; json_object_next((obj), &i, &(key), &(val)); i++)

/* Appends; takes val. */
void json_array_add(struct json *array, struct json *val);
void json_array_add_str(struct json *array, const char *text);
/* Borrowed element; i must be below the length. */
struct json *json_array_get(const struct json *array, size_t i);
/* Replaces element i; takes val. */
void json_array_set(struct json *array, size_t i, struct json *val);
size_t json_array_len(const struct json *array);

#endif
