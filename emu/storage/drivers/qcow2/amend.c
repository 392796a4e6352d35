/*
 * Changing options of an existing image. The options are checked first, then applied one after the other in an order
 * in which each finds what it needs: the version goes up first and down last. Each step leaves a consistent image at
 * every moment; what was done before a step failed stays.
 */

#include "emu/storage/drivers/qcow2/amend.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/json.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/qcow2/expand.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/resize.h"

enum { SNAPSHOT_EXTRA_V3 = 16 };

const struct create_option qcow2_amend_options[] = {
    { "backing_file", CREATE_OPT_STR, "File name of a base image", NULL },
    { "backing_fmt", CREATE_OPT_STR, "Image format of the base image", NULL },
    { "compat", CREATE_OPT_STR, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL },
    { "data_file", CREATE_OPT_STR, "File name of an external data file", NULL },
    { "data_file_raw", CREATE_OPT_BOOL, "The external data file must stay valid as a raw image",
      NULL },
    { "encrypt.iter-time", CREATE_OPT_NUMBER, "Time to spend in PBKDF in milliseconds", NULL },
    { "encrypt.keyslot", CREATE_OPT_NUMBER, "Select a single keyslot to modify explicitly", NULL },
    { "encrypt.new-secret", CREATE_OPT_STR,
      "New secret to set in the matching keyslots. Empty string to erase", NULL },
    { "encrypt.old-secret", CREATE_OPT_STR, "Select all keyslots that match this password", NULL },
    { "encrypt.state", CREATE_OPT_STR, "Select new state of affected keyslots (active/inactive)",
      NULL },
    { "lazy_refcounts", CREATE_OPT_BOOL, "Postpone refcount updates", NULL },
    { "refcount_bits", CREATE_OPT_NUMBER, "Width of a reference count entry in bits", NULL },
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

enum amend_step {
    AMEND_CRYPT,     /* Key slots. */
    AMEND_SNAPSHOTS, /* The snapshot table gets what version 3 wants of it. */
    AMEND_UPGRADE,
    AMEND_REFCOUNTS,
    AMEND_FEATURES, /* Bits and names in the header. */
    AMEND_SIZE,
    AMEND_EXPAND, /* Version 2 has no zero clusters. */
    AMEND_DOWNGRADE,
    AMEND_END,
};

struct amending {
    struct qcow2 *q;
    struct json *options; /* owned; names with '_' only. */
    amend_progress_fn *progress;
    driver_done_fn *done;
    void *arg;
    enum amend_step step;
    struct qcow2_wait wait;
    unsigned version, refcount_order; /* As wanted. */
    bool lazy, raw;
    bool has_size;
    uint64_t size;
    char *data_file; /* owned; NULL: as it is. */
    unsigned flags;  /* enum amend_flags */
    struct json *encrypt; /* A reference, NULL: nothing. */
};

static void amend_enter(struct amending *a, enum amend_step step);

static void amend_end(struct amending *a, struct err *err)
{
    driver_done_fn *done = a->done;
    void *arg = a->arg;

    json_free(a->options);
    json_free(a->encrypt);
    xfree(a->data_file);
    xfree(a);
    done(arg, err);
}

static void amend_next(void *arg, struct err *err)
{
    struct amending *a = arg;

    if (err) {
        amend_end(a, err);
        return;
    }
    if (a->progress)
        a->progress(a->arg, a->step + 1, AMEND_END);
    amend_enter(a, a->step + 1);
}

/* ---- Options ---- */

/* Both spellings of names are taken. */
static struct json *with_underscores(const struct json *options)
{
    struct json *out = json_object(), *value;
    const char *key;

    json_object_for_each(options, i, key, value) {
        CLEANUP(xfree) char *name = xstrdup(key);

        for (char *p = name; *p; p++)
            *p = *p == '-' ? '_' : *p;
        json_object_set(out, name, json_ref(value));
    }
    return out;
}

static struct err *read_version(struct amending *a, struct opts *opts)
{
    const char *compat = NULL;

    TRY(opts_str_opt(opts, "compat", &compat));
    if (!compat || !compat[0])
        return NULL;
    if (str_eq(compat, "0.10") || str_eq(compat, "v2"))
        a->version = 2;
    else if (str_eq(compat, "1.1") || str_eq(compat, "v3"))
        a->version = 3;
    else
        return err_new("Unknown compatibility level %s", compat);
    return NULL;
}

static bool differs(const char *wanted, const char *is)
{
    return wanted && !str_eq(wanted, is ? is : "");
}

static struct err *read_names(struct amending *a, struct opts *opts)
{
    const struct qcow2_header *h = &a->q->header;
    const char *file = NULL, *format = NULL, *data_file = NULL;
    bool external = h->fields.incompatible & QCOW2_INCOMPAT_DATA_FILE;

    TRY(opts_str_opt(opts, "backing_file", &file));
    TRY(opts_str_opt(opts, "backing_fmt", &format));
    if (differs(file, h->backing_name) || differs(format, h->backing_format)) {
        struct err *err = err_set_errnum(err_new("Cannot amend the backing file"), EINVAL);

        err_hint_append(err, "You can use 'qemu-img rebase' instead.\n");
        return err;
    }
    TRY(opts_bool_opt(opts, "data_file_raw", &a->raw));
    if (a->raw && !(h->fields.autoclear & QCOW2_AUTOCLEAR_RAW))
        return err_set_errnum(err_new("data-file-raw cannot be set on existing images"), EINVAL);
    TRY(opts_str_opt(opts, "data_file", &data_file));
    if (data_file && !external)
        return err_set_errnum(
            err_new("data-file can only be set for images that use an external data file"), EINVAL);
    a->data_file = xstrdup(data_file);
    return NULL;
}

static struct err *read_refcounts(struct amending *a, struct opts *opts)
{
    uint64_t bits = UINT64_C(1) << a->refcount_order;

    TRY(opts_bool_opt(opts, "lazy_refcounts", &a->lazy));
    if (a->lazy && a->version < 3) {
        if (opts_has(opts, "lazy_refcounts"))
            return err_set_errnum(
                err_new("Lazy refcounts only supported with compatibility level 1.1 and above (use "
                        "compat=1.1 or greater)"),
                EINVAL);
        a->lazy = false;
    }
    TRY(opts_u64_opt(opts, "refcount_bits", &bits));
    if (bits > 64 || !is_pow2(bits))
        return err_set_errnum(
            err_new("Refcount width must be a power of two and may not exceed 64 bits"), EINVAL);
    if (bits != 16 && a->version < 3 && opts_has(opts, "refcount_bits"))
        return err_set_errnum(
            err_new("Refcount widths other than 16 bits require compatibility level 1.1 or above "
                    "(use compat=1.1 or greater)"),
            EINVAL);
    a->refcount_order = ilog2_u64(bits);
    return NULL;
}

static struct err *read_options(struct amending *a)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };
    const struct json *encrypt = NULL;

    opts_init(&opts, a->options);
    TRY(read_version(a, &opts));
    TRY(read_refcounts(a, &opts));
    TRY(read_names(a, &opts));
    a->has_size = opts_has(&opts, "size");
    TRY(opts_size_opt(&opts, "size", &a->size));
    TRY(opts_object_opt(&opts, "encrypt", &encrypt));
    if (encrypt)
        a->encrypt = json_ref(encrypt);
    opts_mark(&opts, "driver");
    return opts_check_unused(&opts);
}

/* ---- Steps ---- */

static void amend_committed(struct qcow2_wait *wait, int result)
{
    struct amending *a = container_of(wait, struct amending, wait);

    amend_next(a, result ? err_new_errno(result, "Could not update qcow2 header") : NULL);
}

/* Has the header written, whole when extensions changed. */
static void commit_header(struct amending *a, bool whole)
{
    struct err *err = whole ? qcow2_commit_header(a->q) : NULL;

    a->q->header.dirty = true;
    if (err)
        amend_end(a, err);
    else if (qcow2_commit_wait(a->q, &a->wait) != QCOW2_WAIT)
        amend_end(a, err_new_errno(EIO, "Could not update qcow2 header"));
}

static bool needs_snapshots(const struct amending *a)
{
    vec_for_each(snapshot, &a->q->snapshots.list) {
        if (snapshot->extra_size < SNAPSHOT_EXTRA_V3)
            return a->version == 3 && a->q->header.version == 2;
    }
    return false;
}

static void upgrade(struct amending *a)
{
    struct qcow2_header *h = &a->q->header;

    h->version = 3;
    h->header_len = QCOW2_HDR_OUR_LEN;
    h->fields.incompatible = h->fields.compatible = 0;
    h->fields.autoclear &= QCOW2_AUTOCLEAR_BITMAPS;
    h->fields.refcount_order = 4;
    qcow2_header_add_feature_names(h);
    a->q->node->supported_zero_flags = h->version >= 3 ? REQ_MAY_UNMAP : 0;
    commit_header(a, true);
}

static struct err *downgrade_refused(const struct amending *a)
{
    struct qcow2 *q = a->q;
    const struct qcow2_header_fields *f = &q->header.fields;

    if (f->incompatible & QCOW2_INCOMPAT_DATA_FILE)
        return err_set_errnum(err_new("Cannot downgrade an image with a data file"), ENOTSUP);
    if (f->incompatible & ~(uint64_t)QCOW2_INCOMPAT_DIRTY)
        return err_set_errnum(err_new("Cannot downgrade an image with incompatible features set"),
                              ENOTSUP);
    vec_for_each(snapshot, &q->snapshots.list) {
        if (snapshot->vm_state_size > UINT32_MAX || snapshot->disk_size != f->size)
            return err_set_errnum(err_new("Internal snapshots prevent downgrade of image"),
                                  ENOTSUP);
    }
    if (q->geo.refcount_order != 4)
        return err_set_errnum(err_new("compat=0.10 requires refcount_bits=16"), ENOTSUP);
    return NULL;
}

static void downgrade(struct amending *a)
{
    struct qcow2_header *h = &a->q->header;

    h->version = 2;
    h->header_len = QCOW2_HDR_V2_LEN;
    h->extra_len = 0;
    h->fields.incompatible = h->fields.compatible = 0;
    h->fields.autoclear = 0;
    qcow2_header_set_extension(h, QCOW2_EXT_FEATURE_NAMES, NULL, 0);
    a->q->node->supported_zero_flags = h->version >= 3 ? REQ_MAY_UNMAP : 0;
    commit_header(a, true);
}

static void change_features(struct amending *a)
{
    struct qcow2_header *h = &a->q->header;
    struct qcow2_header_fields new = h->fields;

    new.compatible &= ~(uint64_t)QCOW2_COMPAT_LAZY_REFCOUNTS;
    new.compatible |= a->lazy ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0;
    if (!a->raw)
        new.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_RAW;
    if (new.compatible == h->fields.compatible &&new.autoclear == h->fields.autoclear &&
        !a->data_file) {
        amend_next(a, NULL);
        return;
    }
    h->fields.compatible = new.compatible;
    h->fields.autoclear = new.autoclear;
    if (a->data_file)
        qcow2_header_set_extension(h, QCOW2_EXT_DATA_FILE, a->data_file[0] ? a->data_file : NULL,
                                   (uint32_t)strlen(a->data_file));
    commit_header(a, a->data_file != NULL);
}

/* The only writer of a->step. */
static void amend_enter(struct amending *a, enum amend_step step)
{
    struct qcow2 *q = a->q;
    bool down = a->version < q->header.version;
    struct err *err;

    a->step = step;
    switch (step) {
    case AMEND_CRYPT:
        if (a->encrypt) {
            qcow2_crypt_amend(q, a->encrypt, a->flags & AMEND_FORCE, amend_next, a);
            return;
        }
        break;
    case AMEND_SNAPSHOTS:
        if (needs_snapshots(a)) {
            qcow2_rewrite_snapshots(q, amend_next, a);
            return;
        }
        break;
    case AMEND_UPGRADE:
        if (a->version > q->header.version) {
            upgrade(a);
            return;
        }
        break;
    case AMEND_REFCOUNTS:
        if (a->refcount_order != q->geo.refcount_order) {
            qcow2_change_refcount_order(q, a->refcount_order, amend_next, a);
            return;
        }
        break;
    case AMEND_FEATURES: change_features(a); return;
    case AMEND_SIZE:
        if (a->has_size) {
            qcow2_truncate(q->node, a->size, false, PREALLOC_OFF, amend_next, a);
            return;
        }
        break;
    case AMEND_EXPAND:
        err = down ? downgrade_refused(a) : NULL;
        if (err) {
            amend_end(a, err);
            return;
        }
        if (down) {
            qcow2_expand_zeroes(q, amend_next, a);
            return;
        }
        break;
    case AMEND_DOWNGRADE:
        if (down) {
            downgrade(a);
            return;
        }
        break;
    case AMEND_END: amend_end(a, NULL); return;
    }
    amend_next(a, NULL);
}

void qcow2_amend(struct node *node, const struct json *options, unsigned flags,
                 amend_progress_fn *progress, driver_done_fn *done, void *arg)
{
    struct amending *a = NEW(struct amending);
    struct qcow2 *q = qcow2_of(node);
    struct err *err = NULL;

    a->q = q;
    a->options = with_underscores(options);
    a->progress = progress;
    a->flags = flags;
    a->done = done;
    a->arg = arg;
    a->version = q->header.version;
    a->refcount_order = q->geo.refcount_order;
    a->lazy = q->header.fields.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
    a->raw = q->header.fields.autoclear & QCOW2_AUTOCLEAR_RAW;
    qcow2_wait_init(&a->wait, amend_committed);
    if (q->read_only || q->corrupt || q->broken)
        err = err_set_errnum(err_new("Image is read-only"), EACCES);
    if (!err)
        err = read_options(a);
    if (err)
        amend_end(a, err);
    else
        amend_enter(a, AMEND_CRYPT);
}
