/*
 * Creating an image: header, one refcount table, its blocks and the L1 table are laid out one after the other and
 * written. With preallocation the image is made with size 0, opened, and grown.
 */

#include "emu/storage/drivers/qcow2/create.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/base/opts.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/qcow2/encrypt.h"
#include "emu/storage/drivers/qcow2/header.h"
#include "emu/storage/drivers/qcow2/refcount.h"

const struct create_option qcow2_create_options[] = {
    { "encryption", CREATE_OPT_BOOL,
      "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)", NULL },
    { "encrypt.format", CREATE_OPT_STR, "Encrypt the image, format choices: 'aes', 'luks'", NULL },
    { "encrypt.key-secret", CREATE_OPT_STR,
      "ID of secret providing qcow AES key or LUKS passphrase", NULL },
    { "encrypt.cipher-alg", CREATE_OPT_STR, "Name of encryption cipher algorithm", NULL },
    { "encrypt.cipher-mode", CREATE_OPT_STR, "Name of encryption cipher mode", NULL },
    { "encrypt.ivgen-alg", CREATE_OPT_STR, "Name of IV generator algorithm", NULL },
    { "encrypt.ivgen-hash-alg", CREATE_OPT_STR, "Name of IV generator hash algorithm", NULL },
    { "encrypt.hash-alg", CREATE_OPT_STR, "Name of encryption hash algorithm", NULL },
    { "encrypt.iter-time", CREATE_OPT_NUMBER, "Time to spend in PBKDF in milliseconds", NULL },
    { "cluster_size", CREATE_OPT_SIZE, "qcow2 cluster size", "65536" },
    { "extended_l2", CREATE_OPT_BOOL, "Extended L2 tables", "off" },
    { "preallocation", CREATE_OPT_STR,
      "Preallocation mode (allowed values: off, metadata, falloc, full)", NULL },
    { "compression_type", CREATE_OPT_STR, "Compression method used for image cluster compression",
      "zlib" },
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { "compat", CREATE_OPT_STR, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL },
    { "backing_file", CREATE_OPT_STR, "File name of a base image", NULL },
    { "backing_fmt", CREATE_OPT_STR, "Image format of the base image", NULL },
    { "data_file", CREATE_OPT_STR, "File name of an external data file", NULL },
    { "data_file_raw", CREATE_OPT_BOOL, "The external data file must stay valid as a raw image",
      NULL },
    { "lazy_refcounts", CREATE_OPT_BOOL, "Postpone refcount updates", "off" },
    { "refcount_bits", CREATE_OPT_NUMBER, "Width of a reference count entry in bits", "16" },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

/* The largest disk of any node: a multiple of every alignment there is. */
static const uint64_t DISK_SIZE_MAX = INT64_MAX - (UINT64_C(1) << 30) + 1;

enum create_phase {
    CREATE_OPEN_DATA, /* The external data file. */
    CREATE_SIZE_DATA,
    CREATE_OPEN_FILE,
    CREATE_EMPTY, /* The file is being cut to nothing. */
    CREATE_CLEAR, /* What could not be cut off is being zeroed. */
    CREATE_TABLE, /* Refcounts, then the header, are being written. */
    CREATE_LUKS, /* The key of an encrypted image is being made. */
    CREATE_HEADER,
    CREATE_SIZE, /* The file gets the length of its layout. */
    CREATE_FLUSH,
    CREATE_OPEN_IMAGE, /* Only with preallocation. */
    CREATE_GROW,
    CREATE_END,
};

struct creation {
    struct graph *graph;
    struct json *options; /* A reference. */
    driver_done_fn *done;
    void *arg;
    enum create_phase phase;
    struct qcow2_header header;
    struct qcow2_crypt_options crypt;
    struct luks_volume luks;
    uint64_t size; /* Of the disk in the end. */
    uint64_t l1_bytes, reftable_bytes, refblock_bytes, total;
    int prealloc;              /* enum prealloc */
    struct node *data, *file, *image; /* References. */
    struct edge *edge;                /* On data, then on file, then on image. */
    uint8_t *buf;              /* owned */
    struct iovec iov;
    struct req req;
    struct task task;
};

static const struct edge_parent_ops creation_parent = { .what = "image creation" };

static void create_enter(struct creation *c, enum create_phase phase);

/* ---- Options ---- */

static struct err *read_version(struct creation *c, struct opts *opts)
{
    static const char *const versions[] = { "v2", "v3" };
    static const char *const compressions[] = { "zlib", "zstd" };
    struct qcow2_header *h = &c->header;
    bool lazy = false, extended = false;
    int version = 1, compression = 0;

    TRY(opts_enum_opt(opts, "version", versions, ARRAY_LEN(versions), &version));
    TRY(opts_enum_opt(opts, "compression-type", compressions, ARRAY_LEN(compressions),
                      &compression));
    TRY(opts_bool_opt(opts, "lazy-refcounts", &lazy));
    TRY(opts_bool_opt(opts, "extended-l2", &extended));
    h->version = version ? 3 : 2;
    h->header_len = version ? QCOW2_HDR_OUR_LEN : QCOW2_HDR_V2_LEN;
    h->compression = (uint8_t)compression;
    if (lazy && h->version < 3)
        return err_new(
            "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    if (extended && h->version < 3)
        return err_new(
            "Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or "
            "greater)");
    if (extended && h->cluster_bits < 14)
        return err_new(
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
    if (compression && h->version < 3)
        return err_new(
            "Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 "
            "or greater)");
    h->fields.compatible = lazy ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0;
    h->fields.incompatible = (extended ? QCOW2_INCOMPAT_EXTENDED_L2 : 0) |
                             (compression ? QCOW2_INCOMPAT_COMPRESSION : 0);
    return NULL;
}

static struct err *read_numbers(struct creation *c, struct opts *opts)
{
    uint64_t cluster = 65536, refcount_bits = 16;

    TRY(opts_size(opts, "size", &c->size));
    TRY(opts_size_opt(opts, "cluster-size", &cluster));
    TRY(opts_u64_opt(opts, "refcount-bits", &refcount_bits));
    if (c->size % QCOW2_SECTOR)
        return err_new("Image size must be a multiple of %u bytes", QCOW2_SECTOR);
    if (!is_pow2(cluster) || cluster < 1U << QCOW2_CLUSTER_BITS_MIN ||
        cluster > 1U << QCOW2_CLUSTER_BITS_MAX)
        return err_new("Cluster size must be a power of two between %d and %dk",
                       1 << QCOW2_CLUSTER_BITS_MIN, 1 << (QCOW2_CLUSTER_BITS_MAX - 10));
    if (refcount_bits > 64 || !is_pow2(refcount_bits))
        return err_new("Refcount width must be a power of two and may not exceed 64 bits");
    c->header.cluster_bits = ilog2_u64(cluster);
    c->header.fields.refcount_order = ilog2_u64(refcount_bits);
    return NULL;
}

static struct err *read_data_file(struct creation *c, struct opts *opts, bool raw,
                                  const char *backing)
{
    struct qcow2_header *h = &c->header;
    const struct json *ref = NULL;

    TRY(opts_child_opt(opts, "data-file", &ref));
    if (ref && h->version < 3)
        return err_new(
            "External data files are only supported with compatibility level 1.1 and above (use version=v3 or "
            "greater)");
    if (raw && backing)
        return err_new("Backing file and data-file-raw cannot be used at the same time");
    if (raw && !ref)
        return err_new("data-file-raw requires data-file");
    if (!ref)
        return NULL;
    h->fields.incompatible |= QCOW2_INCOMPAT_DATA_FILE;
    if (raw)
        h->fields.autoclear |= QCOW2_AUTOCLEAR_RAW;
    if (raw && c->prealloc == PREALLOC_OFF)
        c->prealloc = PREALLOC_METADATA; /* The image must show all that the raw file has. */
    return NULL;
}

static struct err *read_backing(struct creation *c, struct opts *opts)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full" };
    const char *name = NULL, *format = NULL;
    struct qcow2_header *h = &c->header;
    bool raw = false;

    TRY(opts_enum_opt(opts, "preallocation", modes, ARRAY_LEN(modes), &c->prealloc));
    TRY(opts_str_opt(opts, "backing-file", &name));
    TRY(opts_str_opt(opts, "backing-fmt", &format));
    TRY(opts_bool_opt(opts, "data-file-raw", &raw));
    TRY(read_data_file(c, opts, raw, name));
    TRY(qcow2_crypt_options_read(graph_objects(c->graph), opts, &c->crypt));
    h->crypt_method = c->crypt.method;
    if (name && c->prealloc && !(h->fields.incompatible & QCOW2_INCOMPAT_EXTENDED_L2))
        return err_new(
            "Backing file and preallocation can only be used at the same time if extended_l2 is on");
    if (format && !name)
        return err_new("Backing format cannot be used without backing file");
    if (name && name[0] && strlen(name) > QCOW2_BACKING_LEN_MAX)
        return err_new("Backing file name too long");
    if (name && name[0])
        h->backing_name = xstrdup(name);
    if (format)
        qcow2_header_set_extension(h, QCOW2_EXT_BACKING_FORMAT, format, (uint32_t)strlen(format));
    return NULL;
}

static struct err *read_options(struct creation *c)
{
    struct qcow2_header *h = &c->header;
    CLEANUP(opts_fini) struct opts opts = { 0 };

    opts_init(&opts, c->options);
    TRY(read_numbers(c, &opts));
    TRY(read_version(c, &opts));
    TRY(read_backing(c, &opts));
    if (h->version < 3 && h->fields.refcount_order != 4)
        return err_new(
            "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or "
            "greater)");
    opts_mark(&opts, "driver");
    opts_mark(&opts, "file");
    TRY(opts_check_unused(&opts));
    return NULL;
}

/* ---- Layout: header, refcount table, refcount blocks, L1 table ---- */

static void set_luks_place(struct creation *c, uint64_t offset)
{
    uint8_t place[QCOW2_EXT_LUKS_LEN];

    c->header.luks_offset = offset;
    c->header.luks_len = c->crypt.header_len;
    store_be64(place, offset);
    store_be64(place + 8, c->crypt.header_len);
    qcow2_header_set_extension(&c->header, QCOW2_EXT_LUKS, place, sizeof(place));
}

/* The texts of growing an image to that size, which is how clients know these errors. */
static struct err *too_large(uint64_t size)
{
    struct err *err;

    if (size > INT64_MAX)
        err = err_new("Could not resize image: Image size cannot be negative");
    else if (size > DISK_SIZE_MAX)
        err = err_new("Could not resize image: offset(%" PRIu64 ") exceeds maximum(%" PRIu64 ")",
                      size, DISK_SIZE_MAX);
    else
        err = err_new("Could not resize image: Failed to grow the L1 table: File too large");
    return err_set_errnum(err, EFBIG);
}

static struct err *lay_out(struct creation *c)
{
    struct qcow2_header *h = &c->header;
    uint64_t cluster = UINT64_C(1) << h->cluster_bits;
    uint64_t per_block = cluster * 8 >> h->fields.refcount_order;
    unsigned entry_bits = h->fields.incompatible & QCOW2_INCOMPAT_EXTENDED_L2 ? 4 : 3;
    uint64_t l1_entries = div_round_up(c->size, cluster << (h->cluster_bits - entry_bits));
    uint64_t blocks = 1, table = 1, used, luks = div_round_up(c->crypt.header_len, cluster);

    if (l1_entries > QCOW2_L1_BYTES_MAX / 8 || c->size > INT64_MAX)
        return too_large(c->size);
    c->l1_bytes = align_up_u64(l1_entries * 8, cluster);
    for (;;) {
        used = 1 + table + blocks + c->l1_bytes / cluster + luks;
        if (div_round_up(used, per_block) <= blocks && blocks * 8 <= table * cluster)
            break;
        blocks = MAX(blocks, div_round_up(used, per_block));
        table = div_round_up(blocks * 8, cluster);
    }
    c->reftable_bytes = table * cluster;
    c->refblock_bytes = blocks * cluster;
    c->total = used * cluster;
    h->fields.reftable_offset = cluster;
    h->fields.reftable_clusters = (uint32_t)table;
    /* A disk without a byte has no table either. */
    h->fields.l1_offset = l1_entries ? cluster + c->reftable_bytes + c->refblock_bytes : 0;
    h->fields.l1_size = (uint32_t)l1_entries;
    h->fields.size = c->prealloc == PREALLOC_OFF ? c->size : 0;
    if (luks)
        set_luks_place(c, c->total - luks * cluster);
    if (h->version >= 3)
        qcow2_header_add_feature_names(h);
    return NULL;
}

/* Table and blocks in one buffer. */
static bool fill_refcounts(struct creation *c)
{
    const struct qcow2_header *h = &c->header;
    uint64_t cluster = UINT64_C(1) << h->cluster_bits, blocks = c->refblock_bytes / cluster;

    xfree(c->buf);
    c->buf = try_calloc(1, c->reftable_bytes + c->refblock_bytes);
    if (!c->buf)
        return false;
    for (uint64_t i = 0; i < blocks; i++)
        store_be64(c->buf + i * 8, cluster + c->reftable_bytes + i * cluster);
    for (uint64_t i = 0; i < c->total / cluster; i++)
        qcow2_refcount_store(c->buf + c->reftable_bytes, h->fields.refcount_order, i, 1);
    return true;
}

/* ---- The machine ---- */

static void create_end(struct creation *c, struct err *err)
{
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    if (c->edge)
        edge_detach(c->edge);
    if (c->image)
        node_unref(c->image);
    if (c->file)
        node_unref(c->file);
    if (c->data)
        node_unref(c->data);
    luks_volume_fini(&c->luks);
    qcow2_crypt_options_fini(&c->crypt);
    qcow2_header_fini(&c->header);
    json_free(c->options);
    xfree(c->buf);
    xfree(c);
    done(arg, err);
}

static void create_next(void *arg, struct err *err)
{
    struct creation *c = arg;

    if (err)
        create_end(c, err);
    else
        create_enter(c, c->phase + 1);
}

static void create_req_done(struct req *req)
{
    struct creation *c = container_of(req, struct creation, req);

    create_next(c, req->result ? err_new_errno(req->result, "Could not write qcow2 header") : NULL);
}

static void create_submit(struct creation *c, enum req_kind kind, uint64_t offset, uint64_t len)
{
    c->iov = (struct iovec){ c->buf, len };
    req_submit_part(&c->req, c->edge, kind, 0, offset, len, iov_view(&c->iov, kind == REQ_WRITE),
                    create_req_done);
}

static void attach(struct creation *c, struct node *node)
{
    struct err *err = edge_attach(node, "root", &creation_parent, c, PERM_WRITE | PERM_RESIZE,
                                  PERM_ALL & ~(uint32_t)PERM_RESIZE, &c->edge);

    create_next(c, err);
}

static void file_opened(void *arg, struct node *node, struct err *err)
{
    struct creation *c = arg;

    c->file = node;
    if (err)
        create_end(c, err);
    else
        attach(c, node);
}

/* The image names its data file as it was named here. */
static void data_opened(void *arg, struct node *node, struct err *err)
{
    struct creation *c = arg;

    c->data = node;
    if (err) {
        create_end(c, err);
        return;
    }
    qcow2_header_set_extension(&c->header, QCOW2_EXT_DATA_FILE, node->filename,
                               (uint32_t)strlen(node->filename));
    attach(c, node);
}

static void image_opened(void *arg, struct node *node, struct err *err)
{
    struct creation *c = arg;

    c->image = node;
    if (err)
        create_end(c, err);
    else
        attach(c, node);
}

/* Opens the member of the options, or takes the node that it names. */
static void open_member(struct creation *c, const char *name, node_open_fn *opened)
{
    const struct json *ref = json_object_get(c->options, name);
    struct node *node;
    struct err *err;

    if (!ref) {
        create_end(c, err_new("Parameter '%s' is missing", name));
        return;
    }
    if (json_type_of(ref) != JSON_STRING) {
        node_open(c->graph, ref, 0, opened, c);
        return;
    }
    err = graph_lookup(c->graph, json_get_str(ref), &node);
    opened(c, err ? NULL : node_ref(node), err);
}

/* A data file that is long enough stays as it is: it may be there to be taken over. */
static void size_data(struct creation *c)
{
    if (c->edge->node->size >= c->size)
        create_next(c, NULL);
    else
        edge_truncate(c->edge, c->size, false, PREALLOC_OFF, create_next, c);
}

static void open_file(struct creation *c)
{
    if (c->edge)
        edge_detach(c->edge);
    c->edge = NULL;
    open_member(c, "file", file_opened);
}

/* What opens the new image: the format and the secret of its creation. */
static struct json *open_encrypt(const struct creation *c)
{
    const struct json *given = json_object_get(c->options, "encrypt");
    struct json *encrypt = json_object();

    json_object_set_str(encrypt, "format", c->crypt.method == QCOW2_CRYPT_LUKS ? "luks" : "aes");
    json_object_set_str(encrypt, "key-secret", json_object_get_str(given, "key-secret"));
    return encrypt;
}

static void open_image(struct creation *c)
{
    struct json *options = json_object();

    edge_detach(c->edge);
    c->edge = NULL;
    json_object_set_str(options, "driver", "qcow2");
    json_object_set_str(options, "file", c->file->name);
    if (c->data)
        json_object_set_str(options, "data-file", c->data->name);
    if (c->crypt.method != QCOW2_CRYPT_NONE)
        json_object_set(options, "encrypt", open_encrypt(c));
    node_open(c->graph, options, NODE_OPEN_NO_BACKING, image_opened, c);
    json_free(options);
}

static void format_luks(struct creation *c)
{
    c->luks.reactor = graph_reactor(c->graph);
    c->luks.edge = c->edge;
    c->luks.base = c->header.luks_offset;
    luks_volume_format(&c->luks, &c->crypt.luks, c->crypt.password, create_next, c);
}

static void write_header(struct creation *c)
{
    uint64_t cluster = UINT64_C(1) << c->header.cluster_bits;
    struct err *err;
    bool tail;

    if (c->header.version >= 3)
        qcow2_header_add_feature_names(&c->header);
    xfree(c->buf);
    c->buf = try_alloc(cluster);
    err = c->buf ? qcow2_header_build(&c->header, c->buf, cluster, &tail)
                 : err_new_errno(ENOMEM, "Could not write qcow2 header");
    if (err)
        create_end(c, err);
    else
        create_submit(c, REQ_WRITE, 0, cluster);
}

/* The only writer of c->phase. */
static void create_enter(struct creation *c, enum create_phase phase)
{
    uint64_t cluster = UINT64_C(1) << c->header.cluster_bits, end;

    c->phase = phase;
    switch (phase) {
    case CREATE_OPEN_DATA:
        if (c->header.fields.incompatible & QCOW2_INCOMPAT_DATA_FILE)
            open_member(c, "data-file", data_opened);
        else
            create_enter(c, CREATE_OPEN_FILE);
        return;
    case CREATE_SIZE_DATA: size_data(c); return;
    case CREATE_OPEN_FILE: open_file(c); return;
    case CREATE_EMPTY: edge_truncate(c->edge, 0, false, PREALLOC_OFF, create_next, c); return;
    case CREATE_CLEAR:
        if (c->edge->node->size == 0)
            create_enter(c, phase + 1);
        else
            create_submit(c, REQ_ZERO, 0, MIN(c->total, c->edge->node->size));
        return;
    case CREATE_TABLE:
        if (fill_refcounts(c))
            create_submit(c, REQ_WRITE, cluster, c->reftable_bytes + c->refblock_bytes);
        else
            create_end(c, err_new_errno(ENOMEM, "Could not write qcow2 header"));
        return;
    case CREATE_LUKS:
        if (c->crypt.method == QCOW2_CRYPT_LUKS)
            format_luks(c);
        else
            create_enter(c, CREATE_HEADER);
        return;
    case CREATE_HEADER: write_header(c); return;
    case CREATE_SIZE:
        end = c->header.fields.l1_offset + (uint64_t)c->header.fields.l1_size * 8;
        end = c->l1_bytes ? end : c->total;
        if (c->edge->node->size >= end)
            create_enter(c, phase + 1);
        else
            edge_truncate(c->edge, end, false, PREALLOC_OFF, create_next, c);
        return;
    case CREATE_FLUSH: create_submit(c, REQ_FLUSH, 0, 0); return;
    case CREATE_OPEN_IMAGE:
        if (c->prealloc == PREALLOC_OFF)
            create_end(c, NULL);
        else
            open_image(c);
        return;
    case CREATE_GROW:
        edge_truncate(c->edge, c->size, false, (enum prealloc)c->prealloc, create_next, c);
        return;
    case CREATE_END: create_end(c, NULL); return;
    }
    unreachable();
}

void qcow2_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg)
{
    struct creation *c = NEW(struct creation);
    struct err *err;

    c->graph = graph;
    c->options = json_ref(options);
    c->done = done;
    c->arg = arg;
    err = read_options(c);
    if (!err)
        err = lay_out(c);
    if (err)
        create_end(c, err);
    else
        create_enter(c, CREATE_OPEN_DATA);
}
