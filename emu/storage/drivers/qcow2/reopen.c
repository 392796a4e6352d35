/* Reopening: what becomes read-only is written back first; what becomes writable has its header set right. */

#include "emu/storage/drivers/qcow2/reopen.h"

#include "emu/base/log.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/drivers/qcow2/open.h"
#include "emu/storage/drivers/qcow2/options.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

const char *const qcow2_reopen_options[] = { "lazy-refcounts",
                                             "pass-discard-request",
                                             "pass-discard-snapshot",
                                             "pass-discard-other",
                                             "discard-no-unref",
                                             "overlap-check",
                                             "overlap-check.template",
                                             "cache-size",
                                             "l2-cache-size",
                                             "l2-cache-entry-size",
                                             "refcount-cache-size",
                                             "cache-clean-interval",
                                             NULL };

void qcow2_reopen_join(struct json *options, const struct json *changes)
{
    static const char *const parts[] = { "l2-cache-size", "refcount-cache-size" };
    const struct json *checks = json_object_get(changes, "overlap-check");
    const bool total = json_object_has(changes, "cache-size");
    bool all = json_object_has(options, "cache-size");

    /* A new choice of checks is a choice of all of them. */
    if (checks && json_as_str(checks))
        json_object_set(options, "overlap-check", json_copy(checks));
    /* The total and its parts: what was given last counts. */
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        all &= json_object_has(options, parts[i]);
        if (total && !json_object_has(changes, parts[i]))
            json_object_del(options, parts[i]);
    }
    if (all && !total)
        json_object_del(options, "cache-size");
}

static struct qcow2_switches switches_of(const struct qcow2 *q)
{
    return (struct qcow2_switches){
        .discard_no_unref = q->discard_no_unref,
        .pass_discard_request = q->pass_discard_request,
        .pass_discard_snapshot = q->pass_discard_snapshot,
        .pass_discard_other = q->pass_discard_other,
    };
}

static void use_switches(struct qcow2 *q, const struct qcow2_switches *switches)
{
    q->discard_no_unref = switches->discard_no_unref;
    q->pass_discard_request = switches->pass_discard_request;
    q->pass_discard_snapshot = switches->pass_discard_snapshot;
    q->pass_discard_other = switches->pass_discard_other;
}

void qcow2_reopen_prepare(struct node *node, struct opts *opts, const struct node_options *open,
                          driver_done_fn *done, void *arg)
{
    struct qcow2 *q = qcow2_of(node);
    const struct qcow2_switches old = switches_of(q);
    struct qcow2_options sizes;
    struct err *err;

    use_switches(q, &(struct qcow2_switches){ 0 });
    err = qcow2_options_read(q, opts, &sizes);
    q->next_switches = switches_of(q);
    use_switches(q, &old);
    if (!opts_has(opts, "pass-discard-request"))
        q->next_switches.pass_discard_request = open->discard_unmap;
    if (!err && !open->read_only && q->corrupt)
        err = err_new("qcow2: Image is corrupt; cannot be opened read/write");
    /* The file below may be another one afterwards. */
    if (err || q->read_only)
        done(arg, err);
    else
        qcow2_write_back(node, done, arg);
}

static void marked(void *arg, struct err *err)
{
    if (err)
        log_err("Failed to make dirty bitmaps writable", err);
}

void qcow2_reopen_commit(struct node *node)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_header_fields *f = &q->header.fields;

    const uint64_t known = QCOW2_AUTOCLEAR_BITMAPS | (q->external ? QCOW2_AUTOCLEAR_RAW : 0);
    const bool changes = q->read_only != node->read_only;

    use_switches(q, &q->next_switches);
    if (q->read_only && !node->read_only && f->autoclear & ~known) {
        f->autoclear &= known;
        q->header.dirty = true;
    }
    q->read_only = node->read_only;
    qcow2_commit_kick(q);
    list_for_each(bitmap, &node->bitmaps, struct bitmap, link) {
        if (bitmap->persistent && node->read_only)
            bitmap->read_only = true;
    }
    /* Requests are held back until the bitmaps are marked in the file (exclusive.h). */
    if (changes && !node->read_only)
        bitmaps_begin_use(node, marked, NULL);
}
