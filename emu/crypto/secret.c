/*
 * Secrets. complete() ends with the decrypted bytes in the object; a failed one leaves nothing behind that finalize
 * would not wipe.
 */
#include "emu/crypto/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/keyctl.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/str.h"
#include "emu/base/utf8.h"
#include "emu/crypto/base64.h"
#include "emu/crypto/cipher.h"

enum { SECRET_BYTES_MAX = 1 << 20, SECRET_KEY_LEN = 32, SECRET_IV_LEN = 16 };

struct secret {
    struct object object;
    uint8_t *data; /* owned */
    size_t len;
};

void secret_free(void *data, size_t len)
{
    if (data)
        secret_wipe(data, len);
    xfree(data);
}

static void replace(struct secret *secret, uint8_t *data, size_t len)
{
    secret_free(secret->data, secret->len);
    secret->data = data;
    secret->len = len;
}

static bool is_secret(const struct object *object)
{
    return object->type == &secret_type || object->type == &secret_keyring_type;
}

static struct err *find(struct objects *objects, const char *id, struct secret **out)
{
    struct object *object = objects_find(objects, id);

    if (!object)
        return err_new("No secret with id '%s'", id);
    if (!is_secret(object))
        return err_new("Object with id '%s' is not a secret", id);
    *out = container_of(object, struct secret, object);
    return NULL;
}

static uint8_t *copy_terminated(const uint8_t *data, size_t len)
{
    uint8_t *copy = xmalloc(len + 1);

    memcpy(copy, data, len);
    copy[len] = 0;
    return copy;
}

struct err *secret_bytes(struct objects *objects, const char *id, uint8_t **out, size_t *len)
{
    struct secret *secret;

    TRY(find(objects, id, &secret));
    *out = copy_terminated(secret->data, secret->len);
    *len = secret->len;
    return NULL;
}

struct err *secret_text(struct objects *objects, const char *id, char **out)
{
    struct secret *secret;

    TRY(find(objects, id, &secret));
    if (memchr(secret->data, 0, secret->len) ||
        !utf8_valid((const char *)secret->data, secret->len))
        return err_new("Data from secret %s is not valid UTF-8", id);
    *out = (char *)copy_terminated(secret->data, secret->len);
    return NULL;
}

/* ---- Where the bytes come from ---- */

/*
 * Reads a whole small file. Objects are made at once, so this is a plain read: of a file of at most SECRET_BYTES_MAX
 * bytes, or of what a pipe holds.
 */
static struct err *read_file(const char *path, uint8_t **out, size_t *len)
{
    uint8_t *data;
    size_t have = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return err_new("Unable to read %s: Failed to open file \xe2\x80\x9c%s\xe2\x80\x9d: %s",
                       path, path, strerror(errno));
    data = xmalloc(SECRET_BYTES_MAX + 1);
    do {
        n = read(fd, data + have, SECRET_BYTES_MAX + 1 - have);
        have += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && have <= SECRET_BYTES_MAX) || (n < 0 && errno == EINTR));
    close(fd);
    if (n < 0 || have > SECRET_BYTES_MAX) {
        secret_free(data, have);
        return n < 0 ? err_new("Unable to read %s: Failed to read from file "
                               "\xe2\x80\x9c%s\xe2\x80\x9d: %s",
                               path, path, strerror(errno))
                     : err_new("Unable to read %s: a secret has at most %d bytes", path,
                               SECRET_BYTES_MAX);
    }
    *out = copy_terminated(data, have);
    *len = have;
    secret_free(data, have);
    return NULL;
}

static struct err *load_inline(struct secret *secret, struct opts *props)
{
    const char *file = NULL, *data = NULL;

    TRY(opts_str_opt(props, "file", &file));
    TRY(opts_str_opt(props, "data", &data));
    if (file && data)
        return err_new("'file' and 'data' are mutually exclusive");
    if (!file && !data)
        return err_new("Either 'file' or 'data' must be provided");
    if (file)
        return read_file(file, &secret->data, &secret->len);
    secret->len = strlen(data);
    secret->data = copy_terminated((const uint8_t *)data, secret->len);
    return NULL;
}

static struct err *load_keyring(struct secret *secret, struct opts *props)
{
    int64_t serial;
    long len;

    TRY(opts_i64(props, "serial", &serial));
    if (serial < INT32_MIN || serial > INT32_MAX)
        return err_new("Parameter 'serial' expects a 32 bit integer");
    len = syscall(SYS_keyctl, KEYCTL_READ, (long)serial, NULL, 0L, 0L);
    if (len >= 0 && len <= SECRET_BYTES_MAX) {
        secret->len = (size_t)len;
        secret->data = xcalloc(1, (size_t)len + 1);
        len = syscall(SYS_keyctl, KEYCTL_READ, (long)serial, secret->data, len, 0L);
        /* It may have changed between the two calls. */
        if (len >= 0)
            secret->len = (size_t)len < secret->len ? (size_t)len : secret->len;
    }
    if (len < 0)
        return err_new("Unable to read serial key %08" PRIx32 ": %s", (uint32_t)serial,
                       strerror(errno));
    if (len > SECRET_BYTES_MAX)
        return err_new("Unable to read serial key %08" PRIx32 ": a secret has at most %d bytes",
                       (uint32_t)serial, SECRET_BYTES_MAX);
    return NULL;
}

/* ---- Decoding ---- */

/* Takes the padding of PKCS#7 off. */
static struct err *unpad(struct secret *secret)
{
    uint8_t padding = secret->len ? secret->data[secret->len - 1] : 0;

    if (!padding || padding > SECRET_IV_LEN || padding > secret->len)
        return err_new("Incorrect number of padding bytes (%d) found on decrypted data", padding);
    secret->len -= padding;
    secret->data[secret->len] = 0;
    return NULL;
}

static struct err *decrypt_with(struct secret *secret, const uint8_t *key, const uint8_t *iv,
                                bool base64)
{
    struct cipher *cipher;
    uint8_t *decoded;
    size_t len;

    if (base64) {
        TRY(base64_decode((const char *)secret->data, secret->len, &decoded, &len));
        replace(secret, decoded, len);
    }
    if (secret->len % SECRET_IV_LEN)
        return err_new("Length %zu must be a multiple of block size %d", secret->len,
                       SECRET_IV_LEN);
    TRY(cipher_new(CIPHER_AES_256, CIPHER_CBC, key, SECRET_KEY_LEN, &cipher));
    cipher_decrypt(cipher, iv, secret->data, secret->data, secret->len);
    cipher_free(cipher);
    return unpad(secret);
}

static struct err *decrypt(struct secret *secret, const char *keyid, const char *iv_text,
                           bool base64)
{
    uint8_t *key, *iv = NULL;
    size_t key_len, iv_len = 0;
    struct err *err;

    TRY(secret_bytes(secret->object.registry, keyid, &key, &key_len));
    if (key_len != SECRET_KEY_LEN)
        err = err_new("Key should be %d bytes in length", SECRET_KEY_LEN);
    else if (!iv_text)
        err = err_new("IV is required to decrypt secret");
    else
        err = base64_decode(iv_text, strlen(iv_text), &iv, &iv_len);
    if (!err && iv_len != SECRET_IV_LEN)
        err = err_new("IV should be %d bytes in length not %zu", SECRET_IV_LEN, iv_len);
    if (!err)
        err = decrypt_with(secret, key, iv, base64);
    secret_free(key, key_len);
    xfree(iv);
    return err;
}

static struct err *complete_loaded(struct secret *secret, struct opts *props)
{
    static const char *const formats[] = { "raw", "base64" };
    const char *keyid = NULL, *iv = NULL;
    int format = 0;
    uint8_t *decoded;
    size_t len;

    TRY(opts_enum_opt(props, "format", formats, ARRAY_LEN(formats), &format));
    TRY(opts_str_opt(props, "keyid", &keyid));
    TRY(opts_str_opt(props, "iv", &iv));
    if (keyid)
        return decrypt(secret, keyid, iv, format == 1);
    if (format == 0)
        return NULL;
    TRY(base64_decode((const char *)secret->data, secret->len, &decoded, &len));
    replace(secret, decoded, len);
    return NULL;
}

static struct err *complete_inline(struct object *object, struct opts *props)
{
    struct secret *secret = container_of(object, struct secret, object);

    TRY(load_inline(secret, props));
    return complete_loaded(secret, props);
}

static struct err *complete_keyring(struct object *object, struct opts *props)
{
    struct secret *secret = container_of(object, struct secret, object);

    TRY(load_keyring(secret, props));
    return complete_loaded(secret, props);
}

static void finalize(struct object *object)
{
    replace(container_of(object, struct secret, object), NULL, 0);
}

static const struct object_property secret_properties[] = {
    { "data", "string" },
    { "file", "string" },
    { "format", "QCryptoSecretFormat" },
    { NULL, NULL },
};

const struct object_type secret_type = {
    .name = "secret",
    .properties = secret_properties,
    .size = sizeof(struct secret),
    .complete = complete_inline,
    .finalize = finalize,
};

static const struct object_property keyring_properties[] = {
    { "format", "QCryptoSecretFormat" },
    { "iv", "string" },
    { "keyid", "string" },
    { "serial", "int32_t" },
    { NULL, NULL },
};

const struct object_type secret_keyring_type = {
    .name = "secret_keyring",
    .properties = keyring_properties,
    .size = sizeof(struct secret),
    .complete = complete_keyring,
    .finalize = finalize,
};
