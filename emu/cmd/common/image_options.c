#include "emu/cmd/common/image_options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/keyval.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"
#include "emu/base/vec.h"

bool image_options_valid(const char *text)
{
    size_t len = strlen(text);

    return len && text[0] != ',' && text[len - 1] != ',';
}

bool image_options_want_help(const char *text)
{
    /* ",," is a comma within a value and ends nothing. */
    while (text && *text) {
        size_t len = 0;

        while (text[len] && (text[len] != ',' || text[len + 1] == ','))
            len += text[len] == ',' ? 2 : 1;
        if ((len == 4 && memcmp(text, "help", 4) == 0) || (len == 1 && *text == '?'))
            return true;
        text += len;
        text += *text == ',';
    }
    return false;
}

static const struct create_option *find_in(const struct create_option *table, const char *name)
{
    for (const struct create_option *o = table; o && o->name; o++) {
        if (strcmp(o->name, name) == 0)
            return o;
    }
    return NULL;
}

const struct create_option *image_options_find(const struct option_tables *tables, const char *name)
{
    const struct create_option *found = find_in(tables->format, name);

    return found ? found : find_in(tables->protocol, name);
}

static struct err *bad_size(const char *name, const char *text, int errnum)
{
    struct err *err;

    if (errnum == ERANGE ||
        (text[0] == '-' && text[1] && !text[1 + strspn(text + 1, "0123456789")]))
        return err_new("Value '%s' is out of range for parameter '%s'", text, name);
    err = err_new("Parameter '%s' expects a non-negative number below 2^64", name);
    err_hint_append(err, "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                         "peta-\nand exabytes, respectively.\n");
    return err;
}

/* Gives a value one form: sizes and numbers as integers, switches as booleans. */
static struct err *typed_value(const struct create_option *option, const struct json *value,
                               struct json **out)
{
    const char *text = json_as_str(value);
    uint64_t number;
    struct err *err;
    bool flag;

    switch (option->type) {
    case CREATE_OPT_STR: *out = json_ref(value); return NULL;
    case CREATE_OPT_SIZE:
        err = parse_size(text, &number);
        if (err) {
            int errnum = err_errnum(err);

            err_free(err);
            return bad_size(option->name, text, errnum);
        }
        *out = json_uint(number);
        return NULL;
    case CREATE_OPT_NUMBER:
        if (!parse_u64(text, &number))
            return err_new("Parameter '%s' expects a number", option->name);
        *out = json_uint(number);
        return NULL;
    case CREATE_OPT_BOOL:
        if (!opts_parse_bool(text, &flag))
            return err_new("Parameter '%s' expects 'on' or 'off'", option->name);
        *out = json_bool(flag);
        return NULL;
    }
    return err_new("Invalid parameter '%s'", option->name);
}

struct err *image_options_parse(const struct option_tables *tables, const char *text,
                                struct json **out)
{
    CLEANUP(json_free) struct json *texts = NULL;
    CLEANUP(json_free) struct json *values = json_object();
    const char *key;
    struct json *value;

    TRY(keyval_parse_flags(text ? text : "", NULL, KEYVAL_FLAT | KEYVAL_LEGACY_BOOL, NULL, &texts));
    json_object_for_each(texts, i, key, value) {
        const struct create_option *option = image_options_find(tables, key);
        struct json *typed = NULL;

        if (!option)
            return err_new("Invalid parameter '%s'", key);
        TRY(typed_value(option, value, &typed));
        json_object_set(values, key, typed);
    }
    *out = values;
    values = NULL;
    return NULL;
}

char *image_options_text(const char *name, const struct json *value)
{
    struct str text = { 0 };
    uint64_t number;
    bool flag;

    str_addf(&text, "%s=", name);
    if (json_as_bool(value, &flag)) {
        str_add(&text, flag ? "on" : "off");
    } else if (json_as_uint64(value, &number)) {
        str_addf(&text, "%" PRIu64, number);
    } else {
        for (const char *c = json_as_str(value); c && *c; c++) {
            if (*c == ',')
                str_addc(&text, ',');
            str_addc(&text, *c);
        }
    }
    return str_steal(&text);
}

static void print_option(const struct create_option *option)
{
    static const char *const types[] = {
        [CREATE_OPT_STR] = "str",
        [CREATE_OPT_SIZE] = "size",
        [CREATE_OPT_BOOL] = "bool (on/off)",
        [CREATE_OPT_NUMBER] = "num",
    };
    CLEANUP(str_fini) struct str head = { 0 };

    str_addf(&head, "  %s=<%s>", option->name, types[option->type]);
    printf("%-24s - %s\n", str_cstr(&head), option->help);
}

static int by_name(const void *a, const void *b)
{
    const struct create_option *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

void image_options_print(const struct option_tables *tables)
{
    VEC(const struct create_option *) all = { 0 };

    for (const struct create_option *o = tables->format; o && o->name; o++)
        vec_push(&all, o);
    for (const struct create_option *o = tables->protocol; o && o->name; o++) {
        if (!find_in(tables->format, o->name))
            vec_push(&all, o);
    }
    if (vec_len(&all))
        qsort(all.items, vec_len(&all), sizeof(*all.items), by_name);
    for (size_t i = 0; i < vec_len(&all); i++)
        print_option(vec_at(&all, i));
    vec_fini(&all);
}
