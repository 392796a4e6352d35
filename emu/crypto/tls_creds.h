#ifndef EMU_CRYPTO_TLS_CREDS_H
#define EMU_CRYPTO_TLS_CREDS_H

/*
 * Credentials of TLS sessions: objects "tls-creds-x509" (certificates in a folder), "tls-creds-psk" (keys shared
 * beforehand, in keys.psk of a folder) and "tls-creds-anon" (encryption without knowing who the peer is).
 *
 * Whoever starts sessions holds a reference; so does each session.
 */

#include <gnutls/gnutls.h>

#include "emu/base/err.h"
#include "emu/object/object.h"

enum tls_endpoint { TLS_CLIENT, TLS_SERVER };
enum tls_kind { TLS_X509, TLS_PSK, TLS_ANON };

struct tls_creds {
    struct object object;
    enum tls_kind kind;
    int endpoint; /* enum tls_endpoint */
    bool verify_peer;
    char *priority;              /* owned; NULL: the default. */
    gnutls_dh_params_t dh;       /* owned; may be NULL. */
    gnutls_credentials_type_t type;
    void *credentials; /* owned: of that type and endpoint. */
};

extern const struct object_type tls_creds_x509_type, tls_creds_psk_type, tls_creds_anon_type;

/*
 * A new reference to the credentials of that id for that end. Errors: "No TLS credentials with id 'X'", "Object with
 * id 'X' is not TLS credentials", "Expected TLS credentials for a client endpoint".
 */
struct err *tls_creds_get(struct objects *objects, const char *id, enum tls_endpoint endpoint,
                          struct tls_creds **out) MUST_USE;
struct tls_creds *tls_creds_ref(struct tls_creds *creds);
void tls_creds_unref(struct tls_creds *creds); /* NULL is ignored. */

#endif
