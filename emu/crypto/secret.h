#ifndef EMU_CRYPTO_SECRET_H
#define EMU_CRYPTO_SECRET_H

/*
 * Objects that hold secrets: "secret" (inline data or a file, raw or base64, optionally encrypted with another
 * secret by AES-256-CBC) and "secret_keyring" (a key of the kernel's keyring). Users look one up by id and get a copy
 * of its bytes, so the object may be deleted afterwards.
 */

#include <stddef.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/object/object.h"

extern const struct object_type secret_type, secret_keyring_type;

/*
 * A copy of the secret's bytes in *out, with a terminator behind them; freed by secret_free(). Errors: "No secret with
 * id 'X'", "Object with id 'X' is not a secret".
 */
struct err *secret_bytes(struct objects *objects, const char *id, uint8_t **out,
                         size_t *len) MUST_USE;
/* The same as text: "Data from secret X is not valid UTF-8" when it is not. */
struct err *secret_text(struct objects *objects, const char *id, char **out) MUST_USE;
/* Wipes and frees. NULL is ignored. */
void secret_free(void *data, size_t len);

#endif
