#include "emu/storage/drivers/luks/options.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/crypto/secret.h"

struct err *luks_read_password(struct objects *objects, struct opts *opts, char **out)
{
    const char *id = NULL;

    TRY(opts_str_opt(opts, "key-secret", &id));
    if (!id)
        return err_new("Parameter 'key-secret' is required for cipher");
    return secret_text(objects, id, out);
}

struct err *luks_read_options(struct opts *opts, struct luks_options *out)
{
    struct sector_spec *spec = &out->spec;
    int cipher, mode, ivgen, ivgen_hash, hash;

    luks_options_default(out);
    cipher = (int)spec->alg;
    mode = (int)spec->mode;
    ivgen = (int)spec->ivgen;
    ivgen_hash = (int)spec->ivgen_hash;
    hash = (int)out->hash;
    TRY(opts_enum_opt(opts, "cipher-alg", cipher_alg_names, CIPHER_ALG_COUNT, &cipher));
    TRY(opts_enum_opt(opts, "cipher-mode", cipher_mode_names, CIPHER_MODE_COUNT, &mode));
    TRY(opts_enum_opt(opts, "ivgen-alg", ivgen_names, IVGEN_COUNT, &ivgen));
    out->has_ivgen_hash = opts_has(opts, "ivgen-hash-alg");
    TRY(opts_enum_opt(opts, "ivgen-hash-alg", digest_names, DIGEST_COUNT, &ivgen_hash));
    TRY(opts_enum_opt(opts, "hash-alg", digest_names, DIGEST_COUNT, &hash));
    TRY(opts_u64_opt(opts, "iter-time", &out->iter_time_ms));
    spec->alg = (enum cipher_alg)cipher;
    spec->mode = (enum cipher_mode)mode;
    spec->ivgen = (enum ivgen_alg)ivgen;
    spec->ivgen_hash = (enum digest_alg)ivgen_hash;
    out->hash = (enum digest_alg)hash;
    return NULL;
}

/* ---- Amending ---- */

struct amend_texts {
    char *password, *new_password, *old_password; /* owned */
};

static void free_text(char *text) { secret_free(text, text ? strlen(text) : 0); }

static struct err *read_amend(struct objects *objects, const char *key_secret, struct opts *opts,
                              struct luks_amend *amend, struct amend_texts *texts)
{
    static const char *const states[] = { "active", "inactive" };
    const char *new_secret = NULL, *old_secret = NULL;
    int state;

    TRY(opts_enum(opts, "state", states, ARRAY_LEN(states), &state));
    TRY(opts_str_opt(opts, "new-secret", &new_secret));
    TRY(opts_str_opt(opts, "old-secret", &old_secret));
    amend->activate = state == 0;
    amend->has_slot = opts_has(opts, "keyslot");
    TRY(opts_u64_opt(opts, "keyslot", &amend->slot));
    amend->iter_time_ms = LUKS_ITER_TIME_DEFAULT_MS;
    TRY(opts_u64_opt(opts, "iter-time", &amend->iter_time_ms));
    if (amend->activate && !new_secret)
        return err_new("'new-secret' is required to activate a keyslot");
    if (amend->activate && old_secret)
        return err_new("'old-secret' must not be given when activating keyslots");
    if (!amend->activate && new_secret)
        return err_new("'new-secret' must not be given when erasing keyslots");
    if (!amend->activate && opts_has(opts, "iter-time"))
        return err_new("'iter-time' must not be given when erasing keyslots");
    TRY(opts_str_opt(opts, "secret", &key_secret));
    if (amend->activate) {
        if (!key_secret)
            return err_new("Parameter 'key-secret' is required for cipher");
        TRY(secret_text(objects, key_secret, &texts->password));
        TRY(secret_text(objects, new_secret, &texts->new_password));
    }
    if (old_secret)
        TRY(secret_text(objects, old_secret, &texts->old_password));
    opts_mark(opts, "format");
    opts_mark(opts, "driver");
    return opts_check_unused(opts);
}

void luks_amend_by_options(struct luks_volume *volume, struct objects *objects,
                           const char *key_secret, const struct json *options, bool force,
                           driver_done_fn *done, void *arg)
{
    struct luks_amend amend = { .force = force };
    struct amend_texts texts = { 0 };
    struct opts opts;
    struct err *err;

    opts_init(&opts, options);
    err = read_amend(objects, key_secret, &opts, &amend, &texts);
    opts_fini(&opts);
    amend.password = texts.password;
    amend.new_password = texts.new_password;
    amend.old_password = texts.old_password;
    if (err)
        done(arg, err);
    else
        luks_volume_amend(volume, &amend, done, arg);
    free_text(texts.password);
    free_text(texts.new_password);
    free_text(texts.old_password);
}
