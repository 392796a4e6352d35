#include "emu/storage/drivers/qcow2/encrypt.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/crypto/secret.h"
#include "emu/storage/drivers/luks/options.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum { AES_KEY_LEN = 16, PACK_ALIGN = 4096 };

static const char *const method_names[] = {
    [QCOW2_CRYPT_NONE] = "none",
    [QCOW2_CRYPT_AES] = "aes",
    [QCOW2_CRYPT_LUKS] = "luks",
};

void qcow2_crypt_fini(struct qcow2_crypt *crypt)
{
    luks_volume_fini(&crypt->volume);
    xfree(crypt->key_secret);
    *crypt = (struct qcow2_crypt){ 0 };
}

static void free_password(char *password)
{
    secret_free(password, password ? strlen(password) : 0);
}

/* ---- Opening ---- */

/* The password as it is, cut or filled up with zeroes to the length of a key. */
static struct err *aes_cipher(struct qcow2_crypt *crypt, const char *password)
{
    static const struct sector_spec spec = { CIPHER_AES_128, CIPHER_CBC, IVGEN_PLAIN64, 0 };
    uint8_t key[AES_KEY_LEN] = { 0 };
    struct err *err;

    memcpy(key, password, MIN(strlen(password), sizeof(key)));
    err = sector_cipher_new(&spec, key, sizeof(key), &crypt->volume.cipher);
    secret_wipe(key, sizeof(key));
    return err;
}

static struct err *read_password(struct qcow2 *q, struct opts *opts, char **out)
{
    const char *id = NULL;

    TRY(opts_str_opt(opts, "key-secret", &id));
    if (!id)
        return err_new("Parameter 'encrypt.key-secret' is required for cipher");
    return secret_text(graph_objects(q->node->graph), id, out);
}

static struct err *check_format(const struct qcow2 *q, struct opts *opts)
{
    const char *format = NULL;

    TRY(opts_str_opt(opts, "format", &format));
    if (format && q->crypt.method == QCOW2_CRYPT_NONE)
        return err_new("No encryption in image header, but options specified format '%s'", format);
    if (format && strcmp(format, method_names[q->crypt.method]) != 0)
        return err_new("Header reported '%s' encryption format but options specify '%s'",
                       method_names[q->crypt.method], format);
    return NULL;
}

static struct err *read_encrypt(struct qcow2 *q, struct opts *outer, unsigned flags,
                                char **password)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };
    CLEANUP(json_free) struct json *none = json_object();
    const struct json *encrypt = NULL;
    const char *key_secret = NULL;

    TRY(opts_object_opt(outer, "encrypt", &encrypt));
    opts_init_prefix(&opts, encrypt ? encrypt : none, "encrypt.");
    TRY(check_format(q, &opts));
    if (q->crypt.method == QCOW2_CRYPT_NONE)
        return NULL;
    TRY(opts_str_opt(&opts, "key-secret", &key_secret));
    q->crypt.key_secret = xstrdup(key_secret);
    TRY(opts_check_unused(&opts));
    return flags & NODE_OPEN_NO_IO ? NULL : read_password(q, &opts, password);
}

void qcow2_crypt_open(struct qcow2 *q, struct opts *opts, unsigned flags, driver_done_fn *done,
                      void *arg)
{
    struct qcow2_crypt *crypt = &q->crypt;
    char *password = NULL;
    struct err *err;

    crypt->method = (enum qcow2_crypt_method)q->header.crypt_method;
    crypt->volume.reactor = q->reactor;
    crypt->volume.edge = q->node->file;
    crypt->volume.base = q->header.luks_offset;
    err = read_encrypt(q, opts, flags, &password);
    if (!err && crypt->method == QCOW2_CRYPT_AES && password)
        err = aes_cipher(crypt, password);
    if (!err && crypt->method == QCOW2_CRYPT_LUKS)
        luks_volume_open(&crypt->volume, password, done, arg);
    else
        done(arg, err);
    free_password(password);
}

/* ---- Data ---- */

uint8_t *qcow2_crypt_pack(const struct qcow2_crypt *crypt, uint64_t guest, uint64_t host,
                          struct iov_view data, uint64_t len, int *result)
{
    uint8_t *packed = crypt->volume.cipher ? try_alloc_aligned(PACK_ALIGN, len) : NULL;

    *result = packed ? 0 : crypt->volume.cipher ? -ENOMEM : -EIO;
    if (!packed)
        return NULL;
    iov_copy_from(data, len, packed);
    sector_encrypt(crypt->volume.cipher, qcow2_crypt_at(crypt, guest, host), packed, packed, len);
    return packed;
}

struct json *qcow2_crypt_info(const struct qcow2_crypt *crypt)
{
    struct json *info =
        crypt->method == QCOW2_CRYPT_LUKS ? luks_info(&crypt->volume.header, false) : json_object();

    json_object_set_str(info, "format", method_names[crypt->method]);
    return info;
}

/* ---- Creating ---- */

void qcow2_crypt_options_fini(struct qcow2_crypt_options *options)
{
    free_password(options->password);
    *options = (struct qcow2_crypt_options){ 0 };
}

struct err *qcow2_crypt_options_read(struct objects *objects, struct opts *outer,
                                     struct qcow2_crypt_options *out)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };
    const struct json *encrypt = NULL;
    const char *key_secret = NULL;
    static const char *const formats[] = { "aes", "luks", "qcow" }; /* QMP says qcow for aes. */
    int format = 0;

    TRY(opts_object_opt(outer, "encrypt", &encrypt));
    if (!encrypt)
        return NULL;
    opts_init(&opts, encrypt);
    if (!opts_has(&opts, "format"))
        return err_new("Parameter 'encrypt.format' is missing");
    TRY(opts_enum(&opts, "format", formats, ARRAY_LEN(formats), &format));
    out->method = format == 1 ? QCOW2_CRYPT_LUKS : QCOW2_CRYPT_AES;
    if (out->method == QCOW2_CRYPT_LUKS) {
        TRY(luks_read_options(&opts, &out->luks));
        TRY(luks_overhead(&out->luks, &out->header_len));
    }
    TRY(opts_str_opt(&opts, "key-secret", &key_secret));
    TRY(opts_check_unused(&opts));
    if (!key_secret)
        return err_new("Parameter 'encrypt.key-secret' is required for cipher");
    return secret_text(objects, key_secret, &out->password);
}

/* ---- Amending ---- */

void qcow2_crypt_amend(struct qcow2 *q, const struct json *options, bool force,
                       driver_done_fn *done, void *arg)
{
    if (q->crypt.method == QCOW2_CRYPT_NONE)
        done(arg, err_new("Can't amend encryption options - encryption not present"));
    else if (q->crypt.method != QCOW2_CRYPT_LUKS)
        done(arg, err_new("Only LUKS encryption options can be amended"));
    else
        luks_amend_by_options(&q->crypt.volume, graph_objects(q->node->graph), q->crypt.key_secret,
                              options, force, done, arg);
}
