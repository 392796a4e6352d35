/* Verification of the peer. Texts are the reference's. */
#include "emu/crypto/tls_verify.h"

#include <gnutls/x509.h>

#include "emu/base/alloc.h"
#include "emu/crypto/authz.h"

static struct err *check_authz(const struct tls_creds *creds, const char *authz, const char *kind,
                               const char *identity)
{
    bool allowed = false;

    if (!authz)
        return NULL;
    TRY(authz_check(creds->object.registry, authz, identity, &allowed));
    return allowed ? NULL : err_new("TLS %s authz check for %s is denied", kind, identity);
}

static struct err *check_first(gnutls_x509_crt_t cert, const struct tls_creds *creds,
                               const char *hostname, const char *authz)
{
    gnutls_datum_t dn = { 0 };
    struct err *err;
    int result;

    if (creds->endpoint == TLS_CLIENT) {
        if (!hostname)
            return err_new("No hostname for certificate validation");
        if (!gnutls_x509_crt_check_hostname(cert, hostname))
            return err_new("Certificate does not match the hostname %s", hostname);
        return NULL;
    }
    result = gnutls_x509_crt_get_dn2(cert, &dn);
    if (result < 0)
        return err_new("Cannot get client distinguished name: %s", gnutls_strerror(result));
    err = check_authz(creds, authz, "x509", (const char *)dn.data);
    gnutls_free(dn.data);
    return err;
}

static struct err *check_certificate(gnutls_x509_crt_t cert, const gnutls_datum_t *data, time_t now)
{
    int result = gnutls_x509_crt_import(cert, data, GNUTLS_X509_FMT_DER);

    if (result < 0)
        return err_new("Cannot import certificate: %s", gnutls_strerror(result));
    if (gnutls_x509_crt_get_expiration_time(cert) < now)
        return err_new("The certificate has expired");
    if (gnutls_x509_crt_get_activation_time(cert) > now)
        return err_new("The certificate is not yet activated");
    return NULL;
}

static struct err *check_status(gnutls_session_t session)
{
    unsigned status = 0;
    int result = gnutls_certificate_verify_peers2(session, &status);
    const char *reason = "Invalid certificate";

    if (result < 0)
        return err_new("Verify failed: %s", gnutls_strerror(result));
    if (status & GNUTLS_CERT_INVALID)
        reason = "The certificate is not trusted";
    if (status & GNUTLS_CERT_SIGNER_NOT_FOUND)
        reason = "The certificate hasn't got a known issuer";
    if (status & GNUTLS_CERT_REVOKED)
        reason = "The certificate has been revoked";
    if (status & GNUTLS_CERT_INSECURE_ALGORITHM)
        reason = "The certificate uses an insecure algorithm";
    return status ? err_new("%s", reason) : NULL;
}

static struct err *verify_x509(gnutls_session_t session, const struct tls_creds *creds,
                               const char *hostname, const char *authz, time_t now)
{
    const gnutls_datum_t *list;
    unsigned count = 0;

    TRY(check_status(session));
    list = gnutls_certificate_get_peers(session, &count);
    if (!list || !count)
        return err_new("No certificate peers");
    for (unsigned i = 0; i < count; i++) {
        gnutls_x509_crt_t cert;
        struct err *err;
        int result = gnutls_x509_crt_init(&cert);

        if (result < 0)
            return err_new("Cannot initialize certificate: %s", gnutls_strerror(result));
        err = check_certificate(cert, &list[i], now);
        if (!err && i == 0)
            err = check_first(cert, creds, hostname, authz);
        gnutls_x509_crt_deinit(cert);
        TRY(err);
    }
    return NULL;
}

struct err *tls_verify(gnutls_session_t session, const struct tls_creds *creds,
                       const char *hostname, const char *authz, time_t now)
{
    const char *user;

    switch (creds->kind) {
    case TLS_X509:
        /* Who is not asked for a certificate cannot be authorized by it. */
        if (creds->verify_peer)
            return verify_x509(session, creds, hostname, authz, now);
        return check_authz(creds, authz, "x509", "");
    case TLS_PSK:
        user = creds->endpoint == TLS_SERVER ? gnutls_psk_server_get_username(session) : NULL;
        return check_authz(creds, authz, "psk", user ? user : "");
    case TLS_ANON: return check_authz(creds, authz, "anon", "");
    }
    return NULL;
}
