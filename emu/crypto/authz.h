#ifndef EMU_CRYPTO_AUTHZ_H
#define EMU_CRYPTO_AUTHZ_H

/*
 * Who may connect: objects "authz-simple" (one identity), "authz-list" (rules, the first that matches decides) and
 * "authz-list-file" (the same in a file of JSON, looked at again when it changes). An identity is the distinguished
 * name of a certificate or a user name.
 */

#include "emu/base/err.h"
#include "emu/object/object.h"

extern const struct object_type authz_simple_type, authz_list_type, authz_list_file_type;

/*
 * Whether the object of that id lets identity in. Errors: "Cannot find QAuthZ object ID X", "Object 'X' is not a
 * QAuthZ subclass".
 */
struct err *authz_check(struct objects *objects, const char *id, const char *identity,
                        bool *allowed) MUST_USE;

#endif
