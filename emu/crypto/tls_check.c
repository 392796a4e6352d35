/* Sanity of certificates (RFC 5280: 4.1.2.5 validity, 4.2.1.3 key usage, 4.2.1.9 constraints, 4.2.1.12 purpose). */
#include "emu/crypto/tls_check.h"

#include <string.h>
#include <time.h>

#include <gnutls/x509.h>

#include "emu/base/attrs.h"
#include "emu/base/nstime.h"

struct kind {
    bool server, ca;
};

static struct err *check_times(gnutls_x509_crt_t cert, const char *path, struct kind kind,
                               time_t now)
{
    const char *what = kind.ca ? "CA" : kind.server ? "server" : "client";

    if (gnutls_x509_crt_get_expiration_time(cert) < now)
        return err_new("The %s certificate %s has expired", what, path);
    if (gnutls_x509_crt_get_activation_time(cert) > now)
        return err_new("The %s certificate %s is not yet active", what, path);
    return NULL;
}

static struct err *check_constraints(gnutls_x509_crt_t cert, const char *path, struct kind kind)
{
    int status = gnutls_x509_crt_get_basic_constraints(cert, NULL, NULL, NULL);

    if (status > 0)
        return kind.ca ? NULL
                       : err_new("The certificate %s basic constraints show a CA, but we need one "
                                 "for a %s",
                                 path, kind.server ? "server" : "client");
    if (status == 0)
        return kind.ca ? err_new("The certificate %s basic constraints do not show a CA", path)
                       : NULL;
    if (status != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        return err_new("Unable to query certificate %s basic constraints: %s", path,
                       gnutls_strerror(status));
    return kind.ca ? err_new("The certificate %s is missing basic constraints for a CA", path)
                   : NULL;
}

static struct err *check_usage(gnutls_x509_crt_t cert, const char *path, struct kind kind)
{
    unsigned usage = 0, critical = 0;
    int status = gnutls_x509_crt_get_key_usage(cert, &usage, &critical);

    if (status == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        return NULL;
    if (status < 0)
        return err_new("Unable to query certificate %s key usage: %s", path,
                       gnutls_strerror(status));
    if (kind.ca) {
        if (critical && !(usage & GNUTLS_KEY_KEY_CERT_SIGN))
            return err_new("Certificate %s usage does not permit certificate signing", path);
        return NULL;
    }
    if (critical && !(usage & GNUTLS_KEY_DIGITAL_SIGNATURE))
        return err_new("Certificate %s usage does not permit digital signature", path);
    return NULL;
}

static struct err *check_purpose(gnutls_x509_crt_t cert, const char *path, struct kind kind)
{
    const char *wanted = kind.server ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
    bool allowed = false, any_critical = false;

    for (unsigned i = 0;; i++) {
        char oid[128];
        size_t len = sizeof(oid);
        unsigned critical = 0;
        int status = gnutls_x509_crt_get_key_purpose_oid(cert, i, oid, &len, &critical);

        if (status == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
            if (i == 0)
                return NULL; /* Without purposes any is allowed. */
            break;
        }
        if (status < 0)
            return err_new("Unable to query certificate %s key purpose: %s", path,
                           gnutls_strerror(status));
        any_critical |= critical != 0;
        allowed |= strcmp(oid, wanted) == 0 || strcmp(oid, GNUTLS_KP_ANY) == 0;
    }
    if (any_critical && !allowed)
        return err_new("Certificate %s purpose does not allow use with a TLS %s", path,
                       kind.server ? "server" : "client");
    return NULL;
}

static struct err *check_one(gnutls_x509_crt_t cert, const char *path, struct kind kind, time_t now)
{
    TRY(check_times(cert, path, kind, now));
    TRY(check_constraints(cert, path, kind));
    TRY(check_usage(cert, path, kind));
    return kind.ca ? NULL : check_purpose(cert, path, kind);
}

/* ---- Lists of certificates ---- */

struct certs {
    gnutls_x509_crt_t *list; /* owned by GnuTLS's allocator */
    unsigned count;
};

static void certs_fini(struct certs *certs)
{
    for (unsigned i = 0; i < certs->count; i++)
        gnutls_x509_crt_deinit(certs->list[i]);
    gnutls_free(certs->list);
}

static int load(const char *path, struct certs *out)
{
    gnutls_datum_t data;
    int status = gnutls_load_file(path, &data);

    *out = (struct certs){ 0 };
    if (status < 0)
        return status;
    status = gnutls_x509_crt_list_import2(&out->list, &out->count, &data, GNUTLS_X509_FMT_PEM, 0);
    gnutls_free(data.data);
    if (status < 0)
        *out = (struct certs){ 0 };
    return status < 0 ? status : 0;
}

static struct err *check_signature(struct certs *own, struct certs *ca, const char *own_path,
                                   const char *ca_path, bool server)
{
    const char *reason = "Invalid certificate";
    unsigned status = 0;

    if (gnutls_x509_crt_list_verify(own->list, (int)own->count, ca->list, (int)ca->count, NULL, 0,
                                    0, &status) < 0)
        return err_new("Unable to verify %s certificate %s against CA certificate %s",
                       server ? "server" : "client", own_path, ca_path);
    if (status & GNUTLS_CERT_INVALID)
        reason = "The certificate is not trusted";
    if (status & GNUTLS_CERT_SIGNER_NOT_FOUND)
        reason = "The certificate hasn't got a known issuer";
    if (status & GNUTLS_CERT_REVOKED)
        reason = "The certificate has been revoked";
    if (status & GNUTLS_CERT_INSECURE_ALGORITHM)
        reason = "The certificate uses an insecure algorithm";
    return status ? err_new("Our own certificate %s failed validation against %s: %s", own_path,
                            ca_path, reason)
                  : NULL;
}

static struct err *check_lists(struct certs *own, struct certs *ca, const char *own_path,
                               const char *ca_path, bool server, time_t now)
{
    for (unsigned i = 0; i < own->count; i++) {
        /* Behind the first come those of its issuers. */
        const struct kind kind = { .server = server, .ca = i > 0 };

        TRY(check_one(own->list[i], own_path, kind, now));
    }
    for (unsigned i = 0; i < ca->count; i++) {
        const struct kind kind = { .server = server, .ca = true };

        TRY(check_one(ca->list[i], ca_path, kind, now));
    }
    return own->count ? check_signature(own, ca, own_path, ca_path, server) : NULL;
}

struct err *tls_check_certificates(const char *ca_path, const char *cert_path, bool server,
                                   int64_t wall_ns)
{
    struct certs own = { 0 }, ca = { 0 };
    struct err *err = NULL;
    int status = cert_path ? load(cert_path, &own) : 0;

    if (status < 0)
        err = err_new("Unable to import %s certificate %s: %s", server ? "server" : "client",
                      cert_path, gnutls_strerror(status));
    if (!err) {
        status = load(ca_path, &ca);
        if (status < 0)
            err = err_new("Unable to import CA certificate list %s: %s", ca_path,
                          gnutls_strerror(status));
    }
    if (!err)
        err = check_lists(&own, &ca, cert_path, ca_path, server, (time_t)(wall_ns / NS_PER_SEC));
    certs_fini(&own);
    certs_fini(&ca);
    return err;
}
