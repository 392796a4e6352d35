#include "emu/base/str.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

void str_init(struct str *s) { memset(s, 0, sizeof(*s)); }

void str_fini(struct str *s)
{
    xfree(s->data);
    str_init(s);
}

char *str_reserve(struct str *s, size_t n)
{
    size_t need;

    if (__builtin_add_overflow(s->len, n, &need) || need >= SIZE_MAX / 2)
        check_failed_fmt(__FILE__, __LINE__, __func__, "a string of %zu more bytes does not fit",
                         n);
    if (need + 1 > s->cap) {
        size_t cap = s->cap ? s->cap : 32;

        while (cap < need + 1)
            cap *= 2;
        s->data = xrealloc(s->data, cap);
        s->cap = cap;
    }
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
    str_added(s, n);
}

void str_add(struct str *s, const char *text) { str_addn(s, text, strlen(text)); }

void str_addc(struct str *s, char c) { str_addn(s, &c, 1); }

void str_add_repeat(struct str *s, char c, size_t n)
{
    char *to = str_reserve(s, n);

    memset(to, c, n);
    str_added(s, n);
}

void str_addv(struct str *s, const char *fmt, va_list args)
{
    char *text = xvasprintf(fmt, args);

    str_add(s, text);
    xfree(text);
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
