/*
 * Known answers: PBKDF2 of RFC 6070 and RFC 7914, XTS of IEEE 1619-2007, CBC of NIST SP 800-38A; secrets with the
 * reference's texts.
 */
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/crypto/digest.h"
#include "emu/crypto/secret.h"
#include "emu/crypto/sector.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static size_t unhex(const char *text, uint8_t *out)
{
    size_t n = 0;
    unsigned byte;

    for (; sscanf(text, "%2x", &byte) == 1; text += 2)
        out[n++] = (uint8_t)byte;
    return n;
}

static void expect_hex(const uint8_t *data, const char *hex)
{
    uint8_t want[256];
    size_t n = unhex(hex, want);

    EXPECT_MEM(data, want, n);
}

static void derives_known_keys(void)
{
    uint8_t out[64];

    digest_pbkdf2(DIGEST_SHA1, "password", 8, "salt", 4, 4096, out, 20);
    expect_hex(out, "4b007901b765489abead49d926f721d065a429c1");
    digest_pbkdf2(DIGEST_SHA1, "passwordPASSWORDpassword", 24,
                  "saltSALTsaltSALTsaltSALTsaltSALTsalt", 36, 4096, out, 25);
    expect_hex(out, "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038");
    digest_pbkdf2(DIGEST_SHA256, "passwd", 6, "salt", 4, 1, out, 64);
    expect_hex(out, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
                    "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783");
}

static void encrypts_known_blocks(void)
{
    uint8_t key[64], iv[16], in[64], out[64];
    struct cipher *cipher = NULL;

    unhex("11111111111111111111111111111111", key);
    unhex("22222222222222222222222222222222", key + 16);
    unhex("33333333330000000000000000000000", iv);
    memset(in, 0x44, 32);
    REQUIRE_OK(cipher_new(CIPHER_AES_128, CIPHER_XTS, key, 32, &cipher));
    cipher_encrypt(cipher, iv, out, in, 32);
    expect_hex(out, "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0");
    cipher_decrypt(cipher, iv, out, out, 32);
    EXPECT_MEM(out, in, 32);
    cipher_free(cipher);

    unhex("2b7e151628aed2a6abf7158809cf4f3c", key);
    unhex("000102030405060708090a0b0c0d0e0f", iv);
    unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51", in);
    REQUIRE_OK(cipher_new(CIPHER_AES_128, CIPHER_CBC, key, 16, &cipher));
    cipher_encrypt(cipher, iv, out, in, 32);
    expect_hex(out, "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2");
    cipher_free(cipher);
}

enum { LEN = 4096 };

static void decrypts_across_a_vector(void)
{
    struct sector_spec spec = { CIPHER_AES_256, CIPHER_XTS, IVGEN_PLAIN64, DIGEST_SHA256 };
    uint8_t key[64] = { 1 }, plain[LEN], data[LEN];
    struct sector_cipher *cipher = NULL;

    for (size_t i = 0; i < LEN; i++)
        plain[i] = (uint8_t)(i * 7);
    REQUIRE_OK(sector_cipher_new(&spec, key, sizeof(key), &cipher));
    for (size_t cut = 0; cut <= LEN; cut += 100) {
        struct iovec iov[] = { { data, cut }, { data + cut, sizeof(data) - cut } };

        sector_encrypt(cipher, 51200, data, plain, sizeof(data));
        sector_decrypt_iov(cipher, 51200, iov_view(iov, 2), sizeof(data));
        EXPECT_MEM(data, plain, sizeof(data));
    }
    sector_cipher_free(cipher);
}

/* ---- Secrets ---- */

static const struct object_type *const types[] = { &secret_type, &secret_keyring_type, NULL };

static struct err *add(struct objects *objects, const char *text)
{
    CLEANUP(json_free) struct json *options = NULL;

    TRY(json_parse_text(text, &options));
    return objects_add(objects, options);
}

#define SECRET(members) add(objects, "{'qom-type': 'secret', " members "}")
#define KEY             "'data': 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=', 'format': 'base64'"
#define IV              "'iv': 'MDEyMzQ1Njc4OWFiY2RlZg=='"

static void refuses_bad_secrets(void)
{
    struct objects *objects = objects_new(NULL, types);
    char *text = NULL;

    EXPECT_ERR(SECRET("'id': 'x'"), "Either 'file' or 'data' must be provided");
    EXPECT_ERR(SECRET("'id': 'x', 'data': 'x', 'file': 'y'"),
               "'file' and 'data' are mutually exclusive");
    EXPECT_ERR(
        SECRET("'id': 'x', 'file': '/nonexistent'"),
        "Unable to read /nonexistent: Failed to open file \xe2\x80\x9c/nonexistent\xe2\x80\x9d: "
        "No such file or directory");
    EXPECT_ERR(SECRET("'id': 'x', 'data': 'Y*Wc', 'format': 'base64'"),
               "Base64 data contains invalid characters");
    EXPECT_ERR(SECRET("'id': 'x', 'data': 'x', 'keyid': 'nope'"), "No secret with id 'nope'");
    EXPECT_ERR(SECRET("'id': 'x', 'data': 'x', 'foo': '1'"), "Parameter 'foo' is unexpected");
    EXPECT_OK(SECRET("'id': 'm', " KEY));
    EXPECT_ERR(SECRET("'id': 'x', 'data': 'YWJj', 'keyid': 'm'"),
               "IV is required to decrypt secret");
    EXPECT_ERR(SECRET("'id': 'x', 'data': 'YWJj', 'keyid': 'm', 'iv': 'YWJj'"),
               "IV should be 16 bytes in length not 3");
    EXPECT_ERR(SECRET("'id': 'x', 'data': 'YWJj', 'keyid': 'm', 'format': 'base64', " IV),
               "Length 3 must be a multiple of block size 16");
    EXPECT_ERR(
        SECRET(
            "'id': 'x', 'data': 'MDEyMzQ1Njc4OWFiY2RlZg==', 'keyid': 'm', 'format': 'base64', " IV),
        "Incorrect number of padding bytes (122) found on decrypted data");
    EXPECT_OK(SECRET("'id': 'short', 'data': 'abc'"));
    EXPECT_ERR(SECRET("'id': 'x', 'data': 'YWJj', 'keyid': 'short', " IV),
               "Key should be 32 bytes in length");
    EXPECT_OK(SECRET("'id': 'bin', 'data': '//79', 'format': 'base64'"));
    EXPECT_ERR(secret_text(objects, "bin", &text), "Data from secret bin is not valid UTF-8");
    EXPECT_ERR(secret_text(objects, "none", &text), "No secret with id 'none'");
    objects_free(objects);
}

/* The ciphertext is that of `openssl enc -aes-256-cbc` for "hello" with the key and vector above. */
static void decrypts_secrets(void)
{
    struct objects *objects = objects_new(NULL, types);
    char *text = NULL;

    EXPECT_OK(SECRET("'id': 'm', " KEY));
    EXPECT_OK(SECRET(
        "'id': 'x', 'data': 'UQdw44JDqzsxYpkSCwXDIA==', 'keyid': 'm', 'format': 'base64', " IV));
    EXPECT_OK(secret_text(objects, "x", &text));
    EXPECT_STR(text, "hello");
    secret_free(text, text ? strlen(text) : 0);
    objects_free(objects);
}

TEST_LIST(TEST(derives_known_keys), TEST(encrypts_known_blocks), TEST(decrypts_across_a_vector),
          TEST(refuses_bad_secrets), TEST(decrypts_secrets));
