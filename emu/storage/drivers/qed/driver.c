/* The driver table of QED, image facts, and creating images. */

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/opts.h"
#include "emu/storage/drivers/layout/layout.h"
#include "emu/storage/drivers/qed/qed.h"

enum { SECTOR = 512 };

static int qed_probe(const uint8_t *buf, size_t len, const char *filename)
{
    (void)filename;
    return len >= QED_HEADER_BYTES && load_le32(buf) == QED_MAGIC ? 100 : 0;
}

static void qed_facts(struct node *node, struct image_facts *facts, driver_done_fn *done, void *arg)
{
    const struct qed_header *h = &qed_of(node)->header;

    facts->virtual_size = h->image_size;
    facts->cluster_size = h->cluster_size;
    facts->dirty_flag = h->features & QED_NEED_CHECK;
    facts->backing_filename = xstrdup(node->backing_name);
    facts->backing_format = xstrdup(node->backing_format);
    done(arg, NULL);
}

/* ---- Creating ---- */

static struct err *read_options(const struct json *options, struct qed_header *h, const char **name)
{
    CLEANUP(opts_fini) struct opts opts = { 0 };
    uint64_t cluster = QED_CLUSTER_DEFAULT, table = QED_TABLE_DEFAULT;
    const char *format = NULL;

    opts_init(&opts, options);
    TRY(opts_size(&opts, "size", &h->image_size));
    TRY(opts_size_opt(&opts, "cluster-size", &cluster));
    TRY(opts_size_opt(&opts, "table-size", &table));
    TRY(opts_str_opt(&opts, "backing-file", name));
    TRY(opts_str_opt(&opts, "backing-fmt", &format));
    opts_mark(&opts, "driver");
    opts_mark(&opts, "file");
    TRY(opts_check_unused(&opts));
    if (!is_pow2(cluster) || cluster < QED_CLUSTER_MIN || cluster > QED_CLUSTER_MAX)
        return err_new("QED cluster size must be within range [%u, %u] and power of 2",
                       QED_CLUSTER_MIN, QED_CLUSTER_MAX);
    if (!is_pow2(table) || table > QED_TABLE_MAX)
        return err_new("QED table size must be within range [%u, %u] and power of 2", QED_TABLE_MIN,
                       QED_TABLE_MAX);
    h->cluster_size = (uint32_t)cluster;
    h->table_clusters = (uint32_t)table;
    h->header_clusters = 1;
    h->l1_offset = cluster;
    if (h->image_size % SECTOR || h->image_size > qed_size_max(h->cluster_size, h->table_clusters))
        return err_new("QED image size must be a non-zero multiple of cluster size and less than "
                       "%llu bytes",
                       (unsigned long long)qed_size_max(h->cluster_size, h->table_clusters));
    if (*name && !**name)
        *name = NULL;
    if (*name && strlen(*name) > QED_BACKING_NAME_MAX)
        return err_new("Backing file name too long");
    if (*name) {
        h->features = QED_BACKING_FILE;
        if (format && strcmp(format, "raw") == 0)
            h->features |= QED_BACKING_NO_PROBE;
        h->backing_offset = QED_HEADER_BYTES;
        h->backing_len = (uint32_t)strlen(*name);
    }
    return NULL;
}

/* One header cluster and L1, of zeroes: its clusters are made by the length of the file. */
void qed_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg)
{
    struct qed_header h = { 0 };
    const char *name = NULL;
    struct err *err = read_options(options, &h, &name);
    struct layout *layout;
    uint8_t *first;

    if (err) {
        done(arg, err);
        return;
    }
    first = xcalloc(1, QED_HEADER_BYTES + QED_BACKING_NAME_MAX + 1);
    qed_header_build(&h, first);
    if (name)
        memcpy(first + QED_HEADER_BYTES, name, h.backing_len);
    layout = layout_new(graph, options);
    layout_add(layout, 0, first, QED_HEADER_BYTES + h.backing_len);
    layout_run(layout, h.l1_offset + (uint64_t)h.table_clusters * h.cluster_size, "QED", done, arg);
}

const struct create_option qed_create_options[] = {
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { "backing_file", CREATE_OPT_STR, "File name of a base image", NULL },
    { "backing_fmt", CREATE_OPT_STR, "Image format of the base image", NULL },
    { "cluster_size", CREATE_OPT_SIZE, "Cluster size (in bytes)", "65536" },
    { "table_size", CREATE_OPT_SIZE, "L1/L2 table size (in clusters)", NULL },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

static const struct driver_child qed_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_qed = {
    .name = "qed",
    .is_format = true,
    .supports_backing = true,
    .state_size = sizeof(struct qed),
    .req_size = sizeof(struct sparse_op),
    .children = qed_children,
    .open = qed_open,
    .close = qed_close,
    .submit = sparse_submit,
    .truncate = qed_truncate,
    .facts = qed_facts,
    .check = qed_check,
    .set_backing = qed_set_backing,
    .probe = qed_probe,
    .create = qed_create,
    .create_options = qed_create_options,
};
