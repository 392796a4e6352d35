/* Objects of command lines. */
#include "emu/cmd/common/object_types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/base/str.h"
#include "emu/crypto/authz.h"
#include "emu/crypto/secret.h"
#include "emu/crypto/tls_creds.h"
#include "emu/object/iothread.h"
#include "emu/storage/throttle/group.h"

const struct object_type *const all_object_types[] = {
    &authz_list_type,
    &authz_list_file_type,
    &authz_simple_type,
    &iothread_object_type,
    &secret_type,
    &secret_keyring_type,
    &throttle_group_type,
    &tls_creds_anon_type,
    &tls_creds_psk_type,
    &tls_creds_x509_type,
    NULL,
};

static NORETURN void print_types(const struct objects *objects)
{
    printf("List of user creatable objects:\n");
    for (const struct object_type *const *type = objects_types(objects); *type; type++)
        printf("  %s\n", (*type)->name);
    exit(0);
}

/* The argument "TYPE,help". */
static void print_properties(const struct objects *objects, const char *text)
{
    CLEANUP(xfree) char *name = xstrndup(text, strcspn(text, ","));

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

    if (str_eq(text, "help") || str_eq(text, "?"))
        print_types(objects);
    if (str_has_suffix(text, ",help"))
        print_properties(objects, text);
    if (text[0] == '{')
        TRY(json_parse_text(text, &options));
    else
        TRY(keyval_parse(text, "qom-type", &options));
    return objects_add(objects, options);
}
