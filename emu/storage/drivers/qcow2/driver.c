/* The driver table of qcow2, image facts, and the backing file reference. */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/qcow2/amend.h"
#include "emu/storage/drivers/qcow2/check_image.h"
#include "emu/storage/drivers/qcow2/create.h"
#include "emu/storage/drivers/qcow2/empty.h"
#include "emu/storage/drivers/qcow2/measure.h"
#include "emu/storage/drivers/qcow2/op.h"
#include "emu/storage/drivers/qcow2/open.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/reopen.h"
#include "emu/storage/drivers/qcow2/resize.h"
#include "emu/storage/drivers/qcow2/snapshot.h"

static int qcow2_probe(const uint8_t *buf, size_t len, const char *filename)
{
    return len >= 8 && load_be32(buf) == QCOW2_MAGIC && load_be32(buf + QCOW2_HDR_VERSION) >= 2
               ? 100
               : 0;
}

static void qcow2_facts(struct node *node, struct image_facts *facts, driver_done_fn *done,
                        void *arg)
{
    const struct qcow2 *q = qcow2_of(node);
    const struct qcow2_header_fields *f = &q->header.fields;
    struct json *data = json_object(), *specific = json_object();

    facts->virtual_size = f->size;
    facts->cluster_size = q->geo.cluster_size;
    facts->vm_state_offset = (uint64_t)qcow2_vmstate_index(q)
                             << (q->geo.l2_bits + q->geo.cluster_bits);
    facts->dirty_flag = f->incompatible & QCOW2_INCOMPAT_DIRTY;
    facts->backing_filename = xstrdup(q->header.backing_name);
    facts->backing_format = xstrdup(q->header.backing_format);
    json_object_set_str(data, "compat", q->header.version < 3 ? "0.10" : "1.1");
    json_object_set_str(data, "compression-type",
                        q->header.compression == QCOW2_ZSTD ? "zstd" : "zlib");
    if (q->header.version >= 3) {
        json_object_set_bool(data, "lazy-refcounts", f->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS);
        if (q->bitmaps.stored.len)
            json_object_set(data, "bitmaps", qcow2_stored_bitmaps_json(&q->bitmaps.stored));
        json_object_set_int(data, "refcount-bits", INT64_C(1) << q->header.fields.refcount_order);
        if (q->header.data_name)
            json_object_set_str(data, "data-file", q->header.data_name);
        if (q->external)
            json_object_set_bool(data, "data-file-raw", q->data_raw);
        json_object_set_bool(data, "corrupt", f->incompatible & QCOW2_INCOMPAT_CORRUPT);
        json_object_set_bool(data, "extended-l2", q->geo.subs > 1);
    } else {
        json_object_set_int(data, "refcount-bits", 16);
    }
    if (q->crypt.method != QCOW2_CRYPT_NONE) {
        facts->encrypted = true;
        json_object_set(data, "encrypt", qcow2_crypt_info(&q->crypt));
    }
    json_object_set_str(specific, "type", "qcow2");
    json_object_set(specific, "data", data);
    facts->format_specific = specific;
    if (q->snapshots.list.len)
        facts->snapshots = qcow2_snapshots_json(&q->snapshots);
    done(arg, NULL);
}

/* ---- Backing file reference ---- */

struct rebase {
    struct qcow2 *q;
    driver_done_fn *done;
    void *arg;
    struct qcow2_wait wait;
};

static void rebase_wake(struct qcow2_wait *wait, int result)
{
    struct rebase *r = container_of(wait, struct rebase, wait);
    driver_done_fn *done = r->done;
    void *arg = r->arg;

    xfree(r);
    done(arg, result ? err_new_errno(result, "Could not update qcow2 header") : NULL);
}

/* Puts the names into the header in memory and prepares its writing; all or nothing. */
static struct err *rename_backing(struct qcow2 *q, const char *name, const char *format)
{
    struct qcow2_header *h = &q->header;
    char *old = h->backing_name;
    struct err *err;

    h->backing_name = name && name[0] ? xstrdup(name) : NULL;
    h->name_changed = true;
    qcow2_header_set_extension(h, QCOW2_EXT_BACKING_FORMAT, format,
                               format ? (uint32_t)strlen(format) : 0);
    err = qcow2_commit_header(q);
    if (err) {
        xfree(h->backing_name);
        h->backing_name = old;
        qcow2_header_set_extension(h, QCOW2_EXT_BACKING_FORMAT, h->backing_format,
                                   h->backing_format ? (uint32_t)strlen(h->backing_format) : 0);
        return err;
    }
    xfree(old);
    xfree(h->backing_format);
    h->backing_format = xstrdup(format);
    return NULL;
}

static void qcow2_set_backing(struct node *node, const char *name, const char *format,
                              driver_done_fn *done, void *arg)
{
    struct qcow2 *q = qcow2_of(node);
    struct err *err = NULL;
    struct rebase *r;

    if (q->read_only || q->corrupt) {
        done(arg, err_new_errno(EACCES, "Could not update qcow2 header"));
        return;
    }
    if (q->commit.header_cluster) {
        done(arg, err_new_errno(EBUSY, "Could not update qcow2 header"));
        return;
    }
    err = rename_backing(q, name, format);
    if (err) {
        done(arg, err);
        return;
    }
    xfree(node->backing_name);
    xfree(node->backing_format);
    node->backing_name = xstrdup(q->header.backing_name);
    node->backing_format = xstrdup(q->header.backing_format);
    r = NEW(struct rebase);
    *r = (struct rebase){ .q = q, .done = done, .arg = arg };
    qcow2_wait_init(&r->wait, rebase_wake);
    if (qcow2_commit_wait(q, &r->wait) != QCOW2_WAIT)
        rebase_wake(&r->wait, -EIO);
}

static const struct driver_child qcow2_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { "data-file", ROLE_DATA, false },
    { NULL, 0, false },
};

const struct driver driver_qcow2 = {
    .name = "qcow2",
    .is_format = true,
    .supports_backing = true,
    .can_compress = true,
    .state_size = sizeof(struct qcow2),
    .req_size = sizeof(struct qcow2_op),
    .children = qcow2_children,
    .open = qcow2_open,
    .close = qcow2_close,
    .submit = qcow2_op_submit,
    .truncate = qcow2_truncate,
    .facts = qcow2_facts,
    .check = qcow2_check,
    .set_backing = qcow2_set_backing,
    .bitmaps = &qcow2_bitmap_ops,
    .reopen_options = qcow2_reopen_options,
    .reopen_join = qcow2_reopen_join,
    .reopen_prepare = qcow2_reopen_prepare,
    .reopen_commit = qcow2_reopen_commit,
    .probe = qcow2_probe,
    .create = qcow2_create,
    .create_options = qcow2_create_options,
    .snapshots = &qcow2_snapshot_ops,
    .amend = qcow2_amend,
    .measure = qcow2_measure,
    .make_empty = qcow2_make_empty,
    .amend_options = qcow2_amend_options,
};
