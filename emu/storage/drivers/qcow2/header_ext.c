/*
 * Header extensions and the backing file name ("Header extensions"), and building the header cluster.
 *
 * Layout of cluster 0: fixed part, extensions, end mark, backing name. Unknown extensions are kept as they are.
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/qcow2/encrypt.h"
#include "emu/storage/drivers/qcow2/header.h"

static struct qcow2_extension *find_extension(const struct qcow2_header *header, uint32_t type)
{
    for (size_t i = 0; i < header->extensions.len; i++) {
        if (header->extensions.items[i].type == type)
            return &header->extensions.items[i];
    }
    return NULL;
}

/* Names from one table of features; what has one is taken out of *left. */
static void name_features(const struct qcow2_extension *names, uint64_t *left, struct str *text)
{
    /* The last record may be cut off behind its name. */
    for (uint32_t at = 0; at + 2 < names->len; at += QCOW2_FEATURE_RECORD) {
        const uint8_t *record = names->data + at;
        int room = (int)MIN((uint32_t)QCOW2_FEATURE_RECORD - 2, names->len - at - 2);

        if (record[0] != 0 || record[1] > 63 || !(*left & BIT64(record[1])))
            continue;
        *left &= ~BIT64(record[1]);
        str_addf(text, "%s%.*s", text->len ? ", " : "", room, (const char *)record + 2);
    }
}

/* "Unsupported qcow2 feature(s): a, b, Unknown incompatible feature: 20". There may be several tables. */
static struct err *refuse_unknown(const struct qcow2_header *header)
{
    uint64_t left = header->fields.incompatible & ~(uint64_t)QCOW2_INCOMPAT_KNOWN;
    CLEANUP(str_fini) struct str text = { 0 };

    if (!left)
        return NULL;
    for (size_t i = 0; i < header->extensions.len; i++) {
        if (header->extensions.items[i].type == QCOW2_EXT_FEATURE_NAMES)
            name_features(&header->extensions.items[i], &left, &text);
    }
    if (left)
        str_addf(&text, "%sUnknown incompatible feature: %llx", text.len ? ", " : "",
                 (unsigned long long)left);
    return err_set_errnum(err_new("Unsupported qcow2 feature(s): %s", str_cstr(&text)), ENOTSUP);
}

static struct err *parse_bitmaps(struct qcow2_header *header, const struct qcow2_extension *ext)
{
    if (ext->len != 24)
        return err_new("bitmaps_ext: Invalid extension length");
    header->bitmap_count = load_be32(ext->data);
    header->bitmap_dir_size = load_be64(ext->data + 8);
    header->bitmap_dir_offset = load_be64(ext->data + 16);
    if (header->bitmap_count == 0)
        return err_new("found bitmaps extension with zero bitmaps");
    if (header->bitmap_count > QCOW2_BITMAPS_MAX)
        return err_new(
            "bitmaps_ext: image has %u bitmaps, exceeding the QEMU supported maximum of %d",
            header->bitmap_count, QCOW2_BITMAPS_MAX);
    if (!is_aligned(header->bitmap_dir_offset, UINT64_C(1) << header->cluster_bits) ||
        !range_within(header->bitmap_dir_offset, header->bitmap_dir_size, QCOW2_HOST_OFFSET_MAX))
        return err_new("bitmaps_ext: invalid bitmap directory offset");
    if (header->bitmap_dir_size > QCOW2_BITMAP_DIR_BYTES_MAX)
        return err_new(
            "bitmaps_ext: bitmap directory size (%llu) exceeds the maximum supported size (%llu)",
            (unsigned long long)header->bitmap_dir_size,
            (unsigned long long)QCOW2_BITMAP_DIR_BYTES_MAX);
    return NULL;
}

static struct err *parse_luks(struct qcow2_header *header, const struct qcow2_extension *ext)
{
    uint32_t cluster_size = UINT32_C(1) << header->cluster_bits;

    if (header->crypt_method != QCOW2_CRYPT_LUKS)
        return err_new("CRYPTO header extension only expected with LUKS encryption method");
    if (ext->len != QCOW2_EXT_LUKS_LEN)
        return err_new("CRYPTO header extension size %u, but expected size %d", ext->len,
                       QCOW2_EXT_LUKS_LEN);
    header->luks_offset = load_be64(ext->data);
    header->luks_len = load_be64(ext->data + 8);
    if (header->luks_offset % cluster_size)
        return err_new("Encryption header offset '%llu' is not a multiple of cluster size '%u'",
                       (unsigned long long)header->luks_offset, cluster_size);
    if (header->luks_len < LUKS_HEADER_LEN ||
        !range_within(header->luks_offset, header->luks_len, QCOW2_HOST_OFFSET_MAX))
        return err_new("Request for data outside of extension header");
    return NULL;
}

static struct err *parse_one(struct qcow2_header *header, const struct qcow2_extension *ext)
{
    switch (ext->type) {
    case QCOW2_EXT_BACKING_FORMAT:
        if (ext->len >= 1024)
            return err_new("ERROR: ext_backing_format: len=%u too large (>=%u)", ext->len, 1024);
        xfree(header->backing_format);
        header->backing_format = xstrndup((const char *)ext->data, ext->len);
        return NULL;
    case QCOW2_EXT_DATA_FILE:
        xfree(header->data_name);
        header->data_name = xstrndup((const char *)ext->data, ext->len);
        return NULL;
    case QCOW2_EXT_BITMAPS: return parse_bitmaps(header, ext);
    case QCOW2_EXT_LUKS: return parse_luks(header, ext);
    default: return NULL;
    }
}

static struct err *parse_list(struct qcow2_header *header, const uint8_t *cluster, size_t end)
{
    size_t at = align_up_u64(header->header_len, 8);

    for (unsigned n = 0; at + 8 <= end; n++) {
        struct qcow2_extension ext = { .type = load_be32(cluster + at),
                                       .len = load_be32(cluster + at + 4) };

        if (ext.type == QCOW2_EXT_END)
            return NULL;
        at += 8;
        if (ext.len > end - at)
            return err_new("Header extension too large");
        if (n >= QCOW2_EXTENSIONS_MAX)
            return err_new("Too many header extensions");
        ext.data = xmemdup(cluster + at, ext.len);
        vec_push(&header->extensions, ext);
        if (!(header->fields.incompatible & ~(uint64_t)QCOW2_INCOMPAT_KNOWN))
            TRY(parse_one(header, &ext));
        at += align_up_u64(ext.len, 8);
    }
    return NULL;
}

struct err *qcow2_header_parse_extensions(struct qcow2_header *header, const uint8_t *cluster,
                                          size_t len)
{
    uint64_t backing_offset = load_be64(cluster + QCOW2_HDR_BACKING_OFFSET);
    uint32_t backing_len = load_be32(cluster + QCOW2_HDR_BACKING_LEN);

    if (backing_offset > len)
        return err_new("Invalid backing file offset");
    if (header->header_len > QCOW2_HDR_OUR_LEN) {
        header->extra_len =
            MIN(header->header_len - QCOW2_HDR_OUR_LEN, (uint32_t)sizeof(header->extra));
        memcpy(header->extra, cluster + QCOW2_HDR_OUR_LEN, header->extra_len);
    }
    TRY(parse_list(header, cluster, backing_offset ? backing_offset : len));
    TRY(refuse_unknown(header));
    if (header->crypt_method == QCOW2_CRYPT_LUKS && !header->luks_len)
        return err_new("Missing CRYPTO header for crypt method %d", QCOW2_CRYPT_LUKS);
    if (!backing_offset)
        return NULL;
    if (backing_len > QCOW2_BACKING_LEN_MAX || backing_len > len - backing_offset)
        return err_new("Backing file name too long");
    if (backing_len) {
        header->backing_name = xstrndup((const char *)cluster + backing_offset, backing_len);
        header->name_at = (uint32_t)backing_offset;
        header->name_len = backing_len;
    }
    return NULL;
}

void qcow2_header_set_extension(struct qcow2_header *header, uint32_t type, const void *data,
                                uint32_t len)
{
    struct qcow2_extension *ext = find_extension(header, type);

    /* Of several, as others may have written, none is left: the last would count. */
    for (size_t i = header->extensions.len; ext && i > 0; i--) {
        struct qcow2_extension *other = &header->extensions.items[i - 1];

        if (other->type != type || (data && other == ext))
            continue;
        xfree(other->data);
        vec_remove(&header->extensions, i - 1);
    }
    if (!data)
        return;
    if (!ext) {
        vec_push(&header->extensions, (struct qcow2_extension){ .type = type });
        ext = &vec_last(&header->extensions);
    }
    xfree(ext->data);
    ext->data = xmemdup(data, len);
    ext->len = len;
}

void qcow2_header_add_feature_names(struct qcow2_header *header)
{
    static const struct {
        uint8_t type, bit;
        const char *name;
    } features[] = {
        { 0, 0, "dirty bit" },
        { 0, 1, "corrupt bit" },
        { 0, 2, "external data file" },
        { 0, 3, "compression type" },
        { 0, 4, "extended L2 entries" },
        { 1, 0, "lazy refcounts" },
        { 2, 0, "bitmaps" },
        { 2, 1, "raw external data" },
    };
    uint8_t table[ARRAY_LEN(features) * QCOW2_FEATURE_RECORD] = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(features); i++) {
        uint8_t *record = table + i * QCOW2_FEATURE_RECORD;

        record[0] = features[i].type;
        record[1] = features[i].bit;
        memcpy(record + 2, features[i].name, strlen(features[i].name));
    }
    qcow2_header_set_extension(header, QCOW2_EXT_FEATURE_NAMES, table, sizeof(table));
}

static size_t extension_size(const struct qcow2_extension *ext)
{
    return 8 + align_up_u64(ext->len, 8);
}

/* Feature names only serve error texts: in tiny clusters they give way to what is needed. */
static struct err *put_extensions(const struct qcow2_header *header, uint8_t *cluster, size_t len,
                                  size_t name_len, size_t *at)
{
    size_t total = *at + 8 + name_len;
    bool names = true;

    for (size_t i = 0; i < header->extensions.len; i++)
        total += extension_size(&header->extensions.items[i]);
    for (size_t i = 0; i < header->extensions.len; i++) {
        const struct qcow2_extension *ext = &header->extensions.items[i];

        if (ext->type == QCOW2_EXT_FEATURE_NAMES && names && total > len) {
            total -= extension_size(ext);
            names = false;
            continue;
        }
        if (*at + extension_size(ext) + 8 > len)
            return err_set_errnum(err_new("Header extensions do not fit in the header cluster"),
                                  ENOSPC);
        store_be32(cluster + *at, ext->type);
        store_be32(cluster + *at + 4, ext->len);
        memcpy(cluster + *at + 8, ext->data, ext->len);
        *at += extension_size(ext);
    }
    *at += 8; /* The end mark is all zero. */
    return NULL;
}

/* Where the name of the backing file goes, behind the extensions, which end at `at`. */
static size_t name_place(const struct qcow2_header *header, size_t at, size_t name_len, size_t len)
{
    size_t want = at + header->name_room;
    size_t old_end = align_up_u64((uint64_t)header->name_at + header->name_len, 8);

    if (header->name_at && !header->name_changed && header->name_at >= at)
        return header->name_at;
    /* Not over the old one, which is valid until the first sector says otherwise. */
    if (header->name_at && want < old_end && header->name_at < want + name_len &&
        old_end + name_len <= len)
        return MAX(old_end, want);
    return want + name_len <= len ? want : at;
}

static struct err *put_name(struct qcow2_header *header, uint8_t *cluster, size_t len, size_t at)
{
    size_t name_len = header->backing_name ? strlen(header->backing_name) : 0;

    if (!name_len)
        return NULL;
    at = name_place(header, at, name_len, len);
    if (name_len > QCOW2_BACKING_LEN_MAX || at + name_len > len)
        return err_set_errnum(err_new("Backing file name too long"), ENOSPC);
    memcpy(cluster + at, header->backing_name, name_len);
    store_be64(cluster + QCOW2_HDR_BACKING_OFFSET, at);
    store_be32(cluster + QCOW2_HDR_BACKING_LEN, (uint32_t)name_len);
    header->name_at = (uint32_t)at;
    header->name_len = (uint32_t)name_len;
    return NULL;
}

struct err *qcow2_header_build(struct qcow2_header *header, uint8_t *cluster, size_t len,
                               bool *tail)
{
    size_t name_len = header->backing_name ? strlen(header->backing_name) : 0;
    size_t at = header->header_len;
    uint32_t name_at = header->name_at;

    memset(cluster, 0, len);
    store_be32(cluster, QCOW2_MAGIC);
    store_be32(cluster + QCOW2_HDR_VERSION, header->version);
    store_be32(cluster + QCOW2_HDR_CLUSTER_BITS, header->cluster_bits);
    store_be32(cluster + QCOW2_HDR_CRYPT, header->crypt_method);
    qcow2_header_patch(cluster, header->version, &header->fields);
    if (header->version >= 3) {
        store_be32(cluster + QCOW2_HDR_LEN, header->header_len);
        if (header->header_len > QCOW2_HDR_COMPRESSION)
            cluster[QCOW2_HDR_COMPRESSION] = header->compression;
        memcpy(cluster + QCOW2_HDR_OUR_LEN, header->extra, header->extra_len);
    }
    at = align_up_u64(at, 8);
    TRY(put_extensions(header, cluster, len, name_len, &at));
    TRY(put_name(header, cluster, len, at));
    /* What is left of removed extensions behind the end mark does no harm. */
    *tail = at > QCOW2_SECTOR || header->name_changed || header->name_at != name_at;
    header->name_changed = false;
    header->name_room = 0;
    return NULL;
}

bool qcow2_header_name_in_way(const struct qcow2_header *header, uint32_t longer)
{
    size_t at = align_up_u64(header->header_len, 8) + 8;

    for (size_t i = 0; i < header->extensions.len; i++)
        at += extension_size(&header->extensions.items[i]);
    return header->name_at && header->name_at < at + longer;
}
