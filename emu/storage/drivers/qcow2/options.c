/* Reading of runtime options, with the reference's defaults and texts. */

#include "emu/storage/drivers/qcow2/options.h"

#include "emu/base/arith.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

#define L2_CACHE_DEFAULT (UINT64_C(32) << 20)
/* Random discards on large images touch many blocks; what is not touched costs nothing. */
#define REFCOUNT_CACHE_DEFAULT (UINT64_C(8) << 20)

/* Beyond what the disk can use, any size of the L2 cache is fine. */
static struct err *check_sizes(const struct qcow2 *q, const struct qcow2_options *sizes,
                               uint64_t entry)
{
    uint64_t clusters = div_round_up(q->header.fields.size, q->geo.cluster_size);
    uint64_t useful = align_up_u64(clusters * sizeof(uint64_t), q->geo.cluster_size);

    if (MIN(sizes->l2_cache, useful) / entry > INT32_MAX)
        return err_new("L2 cache size too big");
    if (sizes->refcount_cache / q->geo.cluster_size > INT32_MAX)
        return err_new("Refcount cache size too big");
    return NULL;
}

static struct err *read_sizes(struct qcow2 *q, struct opts *opts, struct qcow2_options *out)
{
    bool have_total = opts_has(opts, "cache-size"), have_l2 = opts_has(opts, "l2-cache-size");
    bool have_ref = opts_has(opts, "refcount-cache-size");
    uint64_t total = 0, entry = q->geo.slice_size;
    int64_t clean = 0;

    out->l2_cache = L2_CACHE_DEFAULT;
    out->refcount_cache = REFCOUNT_CACHE_DEFAULT;
    TRY(opts_size_opt(opts, "cache-size", &total));
    TRY(opts_size_opt(opts, "l2-cache-size", &out->l2_cache));
    TRY(opts_size_opt(opts, "refcount-cache-size", &out->refcount_cache));
    TRY(opts_size_opt(opts, "l2-cache-entry-size", &entry));
    TRY(opts_i64_opt(opts, "cache-clean-interval", &clean));
    if (clean < 0 || clean > UINT32_MAX)
        return err_new("Cache clean interval too big");
    if (entry < 512 || entry > MAX(q->geo.cluster_size, 512U) || !is_pow2(entry))
        return err_new(
            "L2 cache entry size must be a power of two between 512 and the cluster size (%u)",
            q->geo.cluster_size);
    if (!have_total)
        return check_sizes(q, out, entry);
    if (have_l2 && have_ref)
        return err_new(
            "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time");
    if (have_l2 && out->l2_cache > total)
        return err_new("l2-cache-size may not exceed cache-size");
    if (have_ref && out->refcount_cache > total)
        return err_new("refcount-cache-size may not exceed cache-size");
    if (have_l2)
        out->refcount_cache = total - out->l2_cache;
    else if (have_ref)
        out->l2_cache = total - out->refcount_cache;
    else
        out->l2_cache = total;
    return check_sizes(q, out, entry);
}

static struct err *check_template(const char *name)
{
    static const char *const templates[] = { "none", "constant", "cached", "all" };

    for (size_t i = 0; name && i < ARRAY_LEN(templates); i++) {
        if (str_eq(name, templates[i]))
            return NULL;
    }
    return name
               ? err_new(
                     "Unsupported value '%s' for qcow2 option 'overlap-check'. Allowed are any of the "
                     "following: none, constant, cached, all",
                     name)
               : NULL;
}

/*
 * "overlap-check" selects what the reference looks at before it writes. Here the owner map knows of all metadata in
 * memory and asking it costs next to nothing, so everything is always checked; only the values are judged.
 */
static struct err *read_overlap_check(const struct json *options, struct opts *opts)
{
    static const char *const structures[] = {
        "main-header",    "active-l1",   "active-l2",   "refcount-table",   "refcount-block",
        "snapshot-table", "inactive-l1", "inactive-l2", "bitmap-directory",
    };
    const struct json *value = json_object_get(options, "overlap-check");
    const char *flat = json_object_get_str(options, "overlap-check.template");
    const char *direct = value ? json_as_str(value) : NULL;
    CLEANUP(opts_fini) struct opts inner = { 0 };
    const struct json *object = NULL;
    bool on;

    opts_mark(opts, "overlap-check");
    opts_mark(opts, "overlap-check.template");
    if (direct && flat && !str_eq(direct, flat))
        return err_new("Conflicting values for qcow2 options 'overlap-check' ('%s') and "
                       "'overlap-check.template' ('%s')",
                       direct, flat);
    TRY(check_template(flat));
    if (!value || direct)
        return check_template(direct);
    object = value;
    opts_init_prefix(&inner, object, "overlap-check.");
    TRY(opts_str_opt(&inner, "template", &flat));
    TRY(check_template(flat));
    for (size_t i = 0; i < ARRAY_LEN(structures); i++)
        TRY(opts_bool_opt(&inner, structures[i], &on));
    return opts_check_unused(&inner);
}

struct err *qcow2_options_read(struct qcow2 *q, struct opts *opts, struct qcow2_options *out)
{
    bool lazy = false;

    TRY(read_sizes(q, opts, out));
    TRY(opts_bool_opt(opts, "lazy-refcounts", &lazy)); /* Allowed, never needed (O7). */
    if (lazy && q->header.version < 3)
        return err_new(
            "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level");
    q->pass_discard_request = q->node->open.discard_unmap;
    q->pass_discard_snapshot = true;
    TRY(opts_bool_opt(opts, "pass-discard-request", &q->pass_discard_request));
    TRY(opts_bool_opt(opts, "pass-discard-snapshot", &q->pass_discard_snapshot));
    TRY(opts_bool_opt(opts, "pass-discard-other", &q->pass_discard_other));
    TRY(opts_bool_opt(opts, "discard-no-unref", &q->discard_no_unref));
    if (q->discard_no_unref && q->header.version < 3)
        return err_new("discard-no-unref is only supported since qcow2 version 3");
    TRY(read_overlap_check(opts->obj, opts));
    return NULL;
}
