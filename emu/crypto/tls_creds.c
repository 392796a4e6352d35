/* Credentials: loading what a folder holds into GnuTLS. Texts are the reference's. */
#include "emu/crypto/tls_creds.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gnutls/x509.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/str.h"
#include "emu/crypto/secret.h"
#include "emu/crypto/tls_check.h"
#include "emu/reactor/reactor.h"

enum { FILE_BYTES_MAX = 4 << 20 };

static struct tls_creds *creds_of(struct object *object)
{
    return container_of(object, struct tls_creds, object);
}

/* The path of a file of the folder, new, or NULL for an optional one that is not there. */
static struct err *find_file(const char *dir, const char *name, bool required, char **out)
{
    char *path = xasprintf("%s/%s", dir, name);
    struct stat st;

    *out = NULL;
    if (stat(path, &st) == 0) {
        *out = path;
        return NULL;
    }
    if (errno == ENOENT && !required) {
        xfree(path);
        return NULL;
    }
    struct err *err = err_new_errno(errno, "Unable to access credentials %s", path);
    xfree(path);
    return err;
}

/* Objects are made at once, so this is a plain read of a small file. NULL in *out: see errno. */
static char *read_small(const char *path)
{
    CLEANUP(str_fini) struct str text = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n;

    if (fd < 0)
        return NULL;
    do {
        n = read(fd, str_reserve(&text, 4096), 4096);
        if (n > 0)
            str_added(&text, (size_t)n);
    } while ((n > 0 && text.len <= FILE_BYTES_MAX) || (n < 0 && errno == EINTR));
    close(fd);
    if (n < 0)
        return NULL;
    if (text.len > FILE_BYTES_MAX) {
        errno = EFBIG;
        return NULL;
    }
    return str_steal(&text);
}

/* ---- Properties all have ---- */

static struct err *load_dh(struct tls_creds *creds, const char *dir)
{
    CLEANUP(xfree) char *path = NULL, *text = NULL;
    gnutls_datum_t datum;
    int result;

    if (dir)
        TRY(find_file(dir, "dh-params.pem", false, &path));
    if (!path)
        return NULL;
    text = read_small(path);
    if (!text)
        return err_new_errno(errno, "Unable to load DH parameters from %s", path);
    datum = (gnutls_datum_t){ (unsigned char *)text, (unsigned)strlen(text) };
    result = gnutls_dh_params_init(&creds->dh);
    if (result >= 0)
        result = gnutls_dh_params_import_pkcs3(creds->dh, &datum, GNUTLS_X509_FMT_PEM);
    return result < 0
               ? err_new("Unable to load DH parameters from %s: %s", path, gnutls_strerror(result))
               : NULL;
}

static struct err *common(struct tls_creds *creds, enum tls_kind kind, struct opts *props,
                          const char **dir)
{
    static const char *const endpoints[] = { "client", "server" };
    const char *priority = NULL;

    creds->kind = kind;
    creds->verify_peer = true;
    *dir = NULL;
    TRY(opts_enum_opt(props, "endpoint", endpoints, ARRAY_LEN(endpoints), &creds->endpoint));
    TRY(opts_bool_opt(props, "verify-peer", &creds->verify_peer));
    TRY(opts_str_opt(props, "dir", dir));
    TRY(opts_str_opt(props, "priority", &priority));
    if (priority)
        creds->priority = xstrdup(priority);
    return NULL;
}

static struct err *failed(int result)
{
    return err_new("Cannot allocate credentials: %s", gnutls_strerror(result));
}

/* ---- Certificates ---- */

struct x509_files {
    char *ca, *crl, *cert, *key; /* owned; NULL: not there. */
};

static void x509_files_fini(struct x509_files *files)
{
    xfree(files->ca);
    xfree(files->crl);
    xfree(files->cert);
    xfree(files->key);
}

static struct err *find_x509_files(const char *dir, enum tls_endpoint endpoint,
                                   struct x509_files *files)
{
    bool server = endpoint == TLS_SERVER;

    TRY(find_file(dir, "ca-cert.pem", true, &files->ca));
    TRY(find_file(dir, "ca-crl.pem", false, &files->crl));
    TRY(find_file(dir, server ? "server-cert.pem" : "client-cert.pem", server, &files->cert));
    return find_file(dir, server ? "server-key.pem" : "client-key.pem", server, &files->key);
}

static struct err *load_key(struct tls_creds *creds, const struct x509_files *files,
                            const char *password_id)
{
    char *password = NULL;
    int result;

    if (!files->cert || !files->key)
        return NULL;
    if (password_id)
        TRY(secret_text(creds->object.registry, password_id, &password));
    result = gnutls_certificate_set_x509_key_file2(creds->credentials, files->cert, files->key,
                                                   GNUTLS_X509_FMT_PEM, password, 0);
    if (password)
        secret_free(password, strlen(password));
    return result < 0 ? err_new("Cannot load certificate '%s' & key '%s': %s", files->cert,
                                files->key, gnutls_strerror(result))
                      : NULL;
}

static struct err *load_x509(struct tls_creds *creds, const struct x509_files *files,
                             const char *password_id)
{
    gnutls_certificate_credentials_t x509;
    int result = gnutls_certificate_allocate_credentials(&x509);

    if (result < 0)
        return err_new("Cannot allocate credentials: '%s'", gnutls_strerror(result));
    creds->type = GNUTLS_CRD_CERTIFICATE;
    creds->credentials = x509;
    result = gnutls_certificate_set_x509_trust_file(x509, files->ca, GNUTLS_X509_FMT_PEM);
    if (result < 0)
        return err_new("Cannot load CA certificate '%s': %s", files->ca, gnutls_strerror(result));
    TRY(load_key(creds, files, password_id));
    if (files->crl) {
        result = gnutls_certificate_set_x509_crl_file(x509, files->crl, GNUTLS_X509_FMT_PEM);
        if (result < 0)
            return err_new("Cannot load CRL '%s': %s", files->crl, gnutls_strerror(result));
    }
    if (creds->endpoint == TLS_SERVER) {
        if (creds->dh)
            gnutls_certificate_set_dh_params(x509, creds->dh);
        else
            gnutls_certificate_set_known_dh_params(x509, GNUTLS_SEC_PARAM_MEDIUM);
    }
    return NULL;
}

static struct err *complete_x509(struct object *object, struct opts *props)
{
    struct tls_creds *creds = creds_of(object);
    const char *dir, *password_id = NULL;
    bool sanity = true;
    struct x509_files files = { 0 };
    struct err *err;

    TRY(common(creds, TLS_X509, props, &dir));
    TRY(opts_bool_opt(props, "sanity-check", &sanity));
    TRY(opts_str_opt(props, "passwordid", &password_id));
    if (!dir)
        return err_new("Missing 'dir' property value");
    err = find_x509_files(dir, (enum tls_endpoint)creds->endpoint, &files);
    if (!err && sanity)
        err = tls_check_certificates(files.ca, files.cert, creds->endpoint == TLS_SERVER,
                                     reactor_wall_now(objects_reactor(object->registry)));
    if (!err && creds->endpoint == TLS_SERVER)
        err = load_dh(creds, dir);
    if (!err)
        err = load_x509(creds, &files, password_id);
    x509_files_fini(&files);
    return err;
}

/* ---- Shared keys ---- */

/* The key of a user, in hexadecimal and new; lines are "USER:KEY". */
static struct err *find_key(const char *path, const char *user, char **out)
{
    char *text = read_small(path);
    size_t user_len = strlen(user);

    *out = NULL;
    if (!text)
        return err_new("Cannot read PSK file %s: %s", path, strerror(errno));
    for (char *line = text; *line && !*out;) {
        size_t len = strcspn(line, "\n");

        if (len > user_len && strncmp(line, user, user_len) == 0 && line[user_len] == ':')
            *out = xstrndup(line + user_len + 1, len - user_len - 1);
        line += len + (line[len] != 0);
    }
    secret_free(text, strlen(text));
    return *out ? NULL : err_new("Username %s not found in PSK file %s", user, path);
}

static struct err *load_psk_server(struct tls_creds *creds, const char *path)
{
    gnutls_psk_server_credentials_t psk;
    int result = gnutls_psk_allocate_server_credentials(&psk);

    if (result < 0)
        return failed(result);
    creds->credentials = psk;
    result = gnutls_psk_set_server_credentials_file(psk, path);
    if (result < 0)
        return err_new("Cannot set PSK server credentials: %s", gnutls_strerror(result));
    if (creds->dh)
        gnutls_psk_set_server_dh_params(psk, creds->dh);
    else
        gnutls_psk_set_server_known_dh_params(psk, GNUTLS_SEC_PARAM_MEDIUM);
    return NULL;
}

static struct err *load_psk_client(struct tls_creds *creds, const char *path, const char *user)
{
    gnutls_psk_client_credentials_t psk;
    char *key;
    gnutls_datum_t datum;
    int result;

    TRY(find_key(path, user, &key));
    result = gnutls_psk_allocate_client_credentials(&psk);
    if (result >= 0) {
        creds->credentials = psk;
        datum = (gnutls_datum_t){ (unsigned char *)key, (unsigned)strlen(key) };
        result = gnutls_psk_set_client_credentials(psk, user, &datum, GNUTLS_PSK_KEY_HEX);
    }
    secret_free(key, strlen(key));
    return result < 0 ? err_new("Cannot set PSK client credentials: %s", gnutls_strerror(result))
                      : NULL;
}

static struct err *complete_psk(struct object *object, struct opts *props)
{
    struct tls_creds *creds = creds_of(object);
    const char *dir, *user = NULL;
    CLEANUP(xfree) char *path = NULL;

    TRY(common(creds, TLS_PSK, props, &dir));
    TRY(opts_str_opt(props, "username", &user));
    if (!dir)
        return err_new("Missing 'dir' property value");
    creds->type = GNUTLS_CRD_PSK;
    if (creds->endpoint == TLS_SERVER) {
        if (user)
            return err_new("username should not be set when endpoint=server");
        TRY(load_dh(creds, dir));
    }
    TRY(find_file(dir, "keys.psk", true, &path));
    return creds->endpoint == TLS_SERVER ? load_psk_server(creds, path)
                                         : load_psk_client(creds, path, user ? user : "qemu");
}

/* ---- Nobody knows anybody ---- */

static struct err *complete_anon(struct object *object, struct opts *props)
{
    struct tls_creds *creds = creds_of(object);
    const char *dir;
    int result;

    TRY(common(creds, TLS_ANON, props, &dir));
    creds->type = GNUTLS_CRD_ANON;
    if (creds->endpoint == TLS_CLIENT) {
        gnutls_anon_client_credentials_t anon;

        result = gnutls_anon_allocate_client_credentials(&anon);
        creds->credentials = result < 0 ? NULL : anon;
    } else {
        gnutls_anon_server_credentials_t anon;

        TRY(load_dh(creds, dir));
        result = gnutls_anon_allocate_server_credentials(&anon);
        creds->credentials = result < 0 ? NULL : anon;
        if (result >= 0 && creds->dh)
            gnutls_anon_set_server_dh_params(anon, creds->dh);
        else if (result >= 0)
            gnutls_anon_set_server_known_dh_params(anon, GNUTLS_SEC_PARAM_MEDIUM);
    }
    return result < 0 ? failed(result) : NULL;
}

/* ---- The object ---- */

static void finalize(struct object *object)
{
    struct tls_creds *creds = creds_of(object);
    bool server = creds->endpoint == TLS_SERVER;

    if (creds->credentials) {
        if (creds->kind == TLS_X509)
            gnutls_certificate_free_credentials(creds->credentials);
        else if (creds->kind == TLS_PSK && server)
            gnutls_psk_free_server_credentials(creds->credentials);
        else if (creds->kind == TLS_PSK)
            gnutls_psk_free_client_credentials(creds->credentials);
        else if (server)
            gnutls_anon_free_server_credentials(creds->credentials);
        else
            gnutls_anon_free_client_credentials(creds->credentials);
    }
    if (creds->dh)
        gnutls_dh_params_deinit(creds->dh);
    xfree(creds->priority);
}

struct err *tls_creds_get(struct objects *objects, const char *id, enum tls_endpoint endpoint,
                          struct tls_creds **out)
{
    struct object *object = objects_find(objects, id);

    if (!object)
        return err_new("No TLS credentials with id '%s'", id);
    if (object->type != &tls_creds_x509_type && object->type != &tls_creds_psk_type &&
        object->type != &tls_creds_anon_type)
        return err_new("Object with id '%s' is not TLS credentials", id);
    if (creds_of(object)->endpoint != (int)endpoint)
        return err_new("Expected TLS credentials for a %s endpoint",
                       endpoint == TLS_SERVER ? "server" : "client");
    *out = tls_creds_ref(creds_of(object));
    return NULL;
}

struct tls_creds *tls_creds_ref(struct tls_creds *creds)
{
    object_ref(&creds->object);
    return creds;
}

void tls_creds_unref(struct tls_creds *creds)
{
    if (creds)
        object_unref(&creds->object);
}

static const struct object_property x509_properties[] = {
    { "dir", "string" },
    { "endpoint", "QCryptoTLSCredsEndpoint" },
    { "passwordid", "string" },
    { "priority", "string" },
    { "sanity-check", "bool" },
    { "verify-peer", "bool" },
    { NULL, NULL },
};
static const struct object_property psk_properties[] = {
    { "dir", "string" },       { "endpoint", "QCryptoTLSCredsEndpoint" },
    { "priority", "string" },  { "username", "string" },
    { "verify-peer", "bool" }, { NULL, NULL },
};
static const struct object_property anon_properties[] = {
    { "dir", "string" },      { "endpoint", "QCryptoTLSCredsEndpoint" },
    { "priority", "string" }, { "verify-peer", "bool" },
    { NULL, NULL },
};

const struct object_type tls_creds_x509_type = {
    .name = "tls-creds-x509",
    .properties = x509_properties,
    .size = sizeof(struct tls_creds),
    .complete = complete_x509,
    .finalize = finalize,
};

const struct object_type tls_creds_psk_type = {
    .name = "tls-creds-psk",
    .properties = psk_properties,
    .size = sizeof(struct tls_creds),
    .complete = complete_psk,
    .finalize = finalize,
};

const struct object_type tls_creds_anon_type = {
    .name = "tls-creds-anon",
    .properties = anon_properties,
    .size = sizeof(struct tls_creds),
    .complete = complete_anon,
    .finalize = finalize,
};
