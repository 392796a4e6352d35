#include "emu/base/str.h"

#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

enum { STR_CAP_MIN = 48 };

void str_init(struct str *s) { memset(s, 0, sizeof(*s)); }

void str_fini(struct str *s)
{
    if (!s)
        return;
    xfree(s->data);
    str_init(s);
}

char *str_reserve(struct str *s, size_t n)
{
    size_t cap = s->cap;

    if (LIKELY(n < cap - s->len))
        return s->data + s->len;
    check(n < SIZE_MAX / 4 && s->len < SIZE_MAX / 4);
    cap = MAX(MAX(cap + cap / 2, s->len + n + 1), (size_t)STR_CAP_MIN);
    s->data = xrealloc(s->data, cap);
    s->cap = cap;
    return s->data + s->len;
}

void str_added(struct str *s, size_t n)
{
    check(s->data && n < s->cap - s->len);
    s->len += n;
    s->data[s->len] = 0;
}

void str_addn(struct str *s, const void *bytes, size_t n)
{
    char *to = str_reserve(s, n);

    if (n)
        memcpy(to, bytes, n);
    s->len += n;
    s->data[s->len] = 0;
}

void str_add(struct str *s, const char *text) { str_addn(s, text, strlen(text)); }

void str_addc(struct str *s, char c)
{
    char *to = str_reserve(s, 1);

    to[0] = c;
    to[1] = 0;
    s->len++;
}

void str_add_repeat(struct str *s, char c, size_t n)
{
    char *to = str_reserve(s, n);

    memset(to, c, n);
    str_added(s, n);
}

void str_addv(struct str *s, const char *fmt, va_list args)
{
    char *to = str_reserve(s, STR_CAP_MIN);
    size_t room = s->cap - s->len;
    va_list again;
    int n;

    va_copy(again, args);
    n = vsnprintf(to, room, fmt, args);
    check(n >= 0);
    if ((size_t)n >= room)
        vsnprintf(str_reserve(s, (size_t)n), (size_t)n + 1, fmt, again);
    va_end(again);
    s->len += (size_t)n;
}

void str_addf(struct str *s, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    str_addv(s, fmt, args);
    va_end(args);
}

void str_truncate(struct str *s, size_t len)
{
    if (len >= s->len)
        return;
    s->len = len;
    s->data[len] = 0;
}

char *str_steal(struct str *s)
{
    char *data = s->data ? s->data : xstrdup("");

    str_init(s);
    return data;
}

const char *str_cstr(const struct str *s) { return s->data ? s->data : ""; }

bool str_has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_has_suffix(const char *text, const char *suffix)
{
    size_t len = strlen(text), suffix_len = strlen(suffix);

    return len >= suffix_len && strcmp(text + len - suffix_len, suffix) == 0;
}

const char *str_after_prefix(const char *text, const char *prefix)
{
    return str_has_prefix(text, prefix) ? text + strlen(prefix) : NULL;
}

bool str_eq(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

int str_index(const char *text, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (names[i] && strcmp(names[i], text) == 0)
            return (int)i;
    }
    return -1;
}
