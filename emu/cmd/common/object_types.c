/* Objects of command lines. */
#include "emu/cmd/common/object_types.h"

#include <stdio.h>
#include <stdlib.h>

#include "emu/base/attrs.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/base/str.h"
#include "emu/object/iothread.h"

const struct object_type *const all_object_types[] = { &iothread_object_type, NULL };

static NORETURN void print_types(const struct objects *objects)
{
    printf("List of user creatable objects:\n");
    for (const struct object_type *const *type = objects_types(objects); *type; type++)
        printf("  %s\n", (*type)->name);
    exit(0);
}

static void print_properties(const struct objects *objects, const char *name)
{
    for (const struct object_type *const *type = objects_types(objects); *type; type++) {
        if (!str_eq((*type)->name, name))
            continue;
        printf("%s options:\n", name);
        for (const struct object_property *p = (*type)->properties; p && p->name; p++)
            printf("  %s=<%s>\n", p->name, p->type);
        exit(0);
    }
}

struct err *object_add_text(struct objects *objects, const char *text)
{
    CLEANUP(json_free) struct json *options = NULL;
    const char *type;

    if (str_eq(text, "help") || str_eq(text, "?"))
        print_types(objects);
    if (text[0] == '{')
        TRY(json_parse_text(text, &options));
    else
        TRY(keyval_parse(text, "qom-type", &options));
    type = json_object_get_str(options, "qom-type");
    if (type && json_object_has(options, "help"))
        print_properties(objects, type);
    return objects_add(objects, options);
}
