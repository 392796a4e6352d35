#ifndef EMU_CRYPTO_TLS_CHECK_H
#define EMU_CRYPTO_TLS_CHECK_H

/* Certificates that could not work are refused when they are loaded, with a text that says what is wrong. */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/err.h"

/*
 * Checks the certificates of ca, and our own of cert (NULL: none) against them: times, constraints, usage, purpose
 * and signature. wall_ns is the time of day. Texts are the reference's.
 */
struct err *tls_check_certificates(const char *ca, const char *cert, bool server,
                                   int64_t wall_ns) MUST_USE;

#endif
