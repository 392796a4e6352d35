/* Opening and making a LUKS volume. Changing its slots is in amend.c. */
#include "emu/storage/drivers/luks/volume.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/crypto/random.h"
#include "emu/crypto/secret.h"
#include "emu/storage/drivers/luks/slots.h"

void luks_volume_fini(struct luks_volume *volume)
{
    sector_cipher_free(volume->cipher);
    volume->cipher = NULL;
}

static struct err *set_key(struct luks_volume *volume, const uint8_t *key)
{
    luks_volume_fini(volume);
    return sector_cipher_new(&volume->header.spec, key, volume->header.key_len, &volume->cipher);
}

/* ---- Opening ---- */

struct opening {
    struct luks_volume *volume;
    char *password; /* owned */
    driver_done_fn *done;
    void *arg;
    uint8_t buf[LUKS_HEADER_LEN];
    struct iovec iov;
    struct req req;
    struct luks_search search;
};

static void open_end(struct opening *o, struct err *err)
{
    driver_done_fn *done = o->done;
    void *arg = o->arg;

    luks_search_fini(&o->search);
    secret_free(o->password, o->password ? strlen(o->password) : 0);
    xfree(o);
    done(arg, err);
}

static void open_searched(struct luks_search *search, int result)
{
    struct opening *o = container_of(search, struct opening, search);

    if (result)
        open_end(o, err_new_errno(result, "Failed to read key material"));
    else if (!search->found)
        open_end(o, err_set_errnum(err_new("Invalid password, cannot unlock any keyslot"), EPERM));
    else
        open_end(o, set_key(o->volume, search->key));
}

static void open_read(struct req *req)
{
    struct opening *o = container_of(req, struct opening, req);
    struct err *err;

    if (req->result) {
        open_end(o, err_new_errno(req->result, "Unable to read LUKS header"));
        return;
    }
    err = luks_header_parse(&o->volume->header, o->buf, o->volume->detached);
    if (err || !o->password) {
        open_end(o, err);
        return;
    }
    o->search.volume = o->volume;
    o->search.password = o->password;
    o->search.only = ~0U;
    o->search.done = open_searched;
    luks_search_start(&o->search);
}

void luks_volume_open(struct luks_volume *volume, const char *password, driver_done_fn *done,
                      void *arg)
{
    struct opening *o = NEW(struct opening);

    o->volume = volume;
    o->password = xstrdup(password);
    o->done = done;
    o->arg = arg;
    o->iov = (struct iovec){ o->buf, sizeof(o->buf) };
    req_submit_part(&o->req, volume->edge, REQ_READ, 0, volume->base, sizeof(o->buf),
                    iov_view(&o->iov, 1), open_read);
}

/* ---- Formatting ---- */

struct formatting {
    struct luks_volume *volume;
    char *password; /* owned */
    driver_done_fn *done;
    void *arg;
    uint8_t key[CIPHER_KEY_MAX];
    uint8_t buf[LUKS_HEADER_LEN];
    struct iovec iov;
    struct req req;
    struct luks_fill fill;
};

static void format_end(struct formatting *f, struct err *err)
{
    driver_done_fn *done = f->done;
    void *arg = f->arg;

    if (!err)
        err = set_key(f->volume, f->key);
    luks_fill_fini(&f->fill);
    secret_wipe(f->key, sizeof(f->key));
    secret_free(f->password, strlen(f->password));
    xfree(f);
    done(arg, err);
}

static void format_written(struct req *req)
{
    struct formatting *f = container_of(req, struct formatting, req);

    format_end(f, req->result ? err_new_errno(req->result, "Unable to write header") : NULL);
}

static void format_filled(struct luks_fill *fill, struct err *err)
{
    struct formatting *f = container_of(fill, struct formatting, fill);

    if (err) {
        format_end(f, err);
        return;
    }
    luks_header_encode(&f->volume->header, f->buf);
    f->iov = (struct iovec){ f->buf, sizeof(f->buf) };
    req_submit_part(&f->req, f->volume->edge, REQ_WRITE, 0, f->volume->base, sizeof(f->buf),
                    iov_view(&f->iov, 1), format_written);
}

void luks_volume_format(struct luks_volume *volume, const struct luks_options *options,
                        const char *password, driver_done_fn *done, void *arg)
{
    struct formatting *f = NEW(struct formatting);
    struct err *err = luks_header_init(&volume->header, options);

    f->volume = volume;
    f->password = xstrdup(password);
    f->done = done;
    f->arg = arg;
    if (err) {
        format_end(f, err);
        return;
    }
    random_bytes(f->key, volume->header.key_len);
    f->fill.volume = volume;
    f->fill.password = f->password;
    f->fill.key = f->key;
    f->fill.iter_time_ms = options->iter_time_ms;
    f->fill.seal_digest = true;
    f->fill.done = format_filled;
    luks_fill_start(&f->fill);
}
