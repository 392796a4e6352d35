#ifndef EMU_CRYPTO_TLS_VERIFY_H
#define EMU_CRYPTO_TLS_VERIFY_H

/* Whether the peer of a finished handshake is who it should be. */

#include <time.h>

#include "emu/crypto/tls_creds.h"

/* hostname, authz: as in struct tls_options. now: the time of day. */
struct err *tls_verify(gnutls_session_t session, const struct tls_creds *creds,
                       const char *hostname, const char *authz, time_t now) MUST_USE;

#endif
