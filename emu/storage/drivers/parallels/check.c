/*
 * Checking an image: the header, then each entry of the table. With fixing, entries that point outside the file are
 * dropped, clusters that two entries share are copied, and space behind the last cluster is cut off.
 *
 *   ENTRIES  the table is walked
 *   READ     a cluster that is shared is being read
 *   WRITE    it is being written to its new place
 *   RELINK   the entry gets the new place
 *   HEADER   the header is brought up to date, and all is committed
 *   CUT      the file is cut behind the last cluster
 */

#include <errno.h>
#include <inttypes.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bitset.h"
#include "emu/base/bytes.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/parallels/parallels.h"

#define USED_BITS_MAX (UINT64_C(1) << 32)
enum { COPY_MAX = 64 << 20 }; /* Larger clusters are not copied. */

enum check_phase {
    CHECK_ENTRIES,
    CHECK_READ,
    CHECK_WRITE,
    CHECK_RELINK,
    CHECK_HEADER,
    CHECK_COMMIT,
    CHECK_CUT,
    CHECK_END,
};

struct checking {
    struct node *node;
    struct parallels *p;
    unsigned fix;
    struct check_result *result;
    driver_done_fn *done;
    void *arg;
    enum check_phase phase;
    struct bitset used;    /* By units of entries, where clusters begin. */
    uint64_t cluster;      /* Being looked at. */
    uint64_t last_host;    /* Of the cluster before. */
    uint64_t high;         /* Where the last cluster ends. */
    uint64_t file_size, host, new_host;
    bool header_changed;
    struct str report;
    uint8_t *buf; /* owned; a cluster. */
    struct iovec iov;
    struct req req;
    struct meta_wait wait;
};

static void check_enter(struct checking *c, enum check_phase phase);

static void check_end(struct checking *c, struct err *err)
{
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    c->result->image_end_offset = c->high;
    c->result->report = c->report.len ? xstrdup(str_cstr(&c->report)) : NULL;
    str_fini(&c->report);
    bitset_fini(&c->used);
    xfree(c->buf);
    xfree(c);
    done(arg, err);
}

static const char *verb(const struct checking *c, enum check_fix fix)
{
    return c->fix & fix ? "Repairing" : "ERROR";
}

/* One finding of the kind that fixing errors mends. */
static void found(struct checking *c)
{
    c->result->corruptions++;
    if (c->fix & CHECK_FIX_ERRORS)
        c->result->corruptions_fixed++;
}

static void check_header(struct checking *c)
{
    struct parallels_header *h = &c->p->header;

    if (h->in_use == PARALLELS_IN_USE) {
        str_addf(&c->report, "%s image was not closed correctly\n", verb(c, CHECK_FIX_ERRORS));
        found(c);
        if (c->fix & CHECK_FIX_ERRORS) {
            h->in_use = 0;
            c->header_changed = true;
        }
    }
    if (h->data_off < parallels_data_start(h) && (h->extended || h->data_off)) {
        str_addf(&c->report, "%s data_off field has incorrect value\n", verb(c, CHECK_FIX_ERRORS));
        found(c);
        if (c->fix & CHECK_FIX_ERRORS) {
            h->data_off = parallels_data_start(h);
            c->header_changed = true;
        }
    }
}

/* ---- Entries ---- */

static int set_entry(struct checking *c, uint64_t host)
{
    uint8_t *bytes;
    int ret = meta_edit(&c->p->sparse.meta, parallels_entry_at(c->cluster), PARALLELS_ENTRY,
                        META_ROOT, &c->wait, &bytes);

    if (!ret)
        store_le32(bytes, (uint32_t)(host / parallels_entry_unit(&c->p->header)));
    return ret;
}

static void count(struct checking *c, uint64_t host)
{
    uint64_t size = c->p->sparse.block_size;

    c->result->allocated_clusters++;
    if (c->last_host && c->last_host + size != host)
        c->result->fragmented_clusters++;
    c->last_host = host;
    c->high = MAX(c->high, host + size);
}

/* 1: go on with the next phase, 0: with the next entry. */
static int entry_step(struct checking *c)
{
    struct parallels *p = c->p;
    uint64_t unit = parallels_entry_unit(&p->header), bit, cluster_size = p->sparse.block_size;
    uint8_t *bytes;
    int ret = meta_get(&p->sparse.meta, parallels_entry_at(c->cluster), PARALLELS_ENTRY, &c->wait,
                       &bytes);

    if (ret)
        return ret;
    bit = load_le32(bytes);
    if (!bit)
        return 0;
    c->host = bit * unit;
    if (c->host + cluster_size > c->file_size) {
        if (c->fix & CHECK_FIX_ERRORS)
            ret = set_entry(c, 0);
        if (ret)
            return ret;
        str_addf(&c->report, "%s cluster %" PRIu64 " is outside image\n", verb(c, CHECK_FIX_ERRORS),
                 c->cluster);
        found(c);
        return 0;
    }
    if (bit < c->used.nbits && bitset_test(&c->used, bit)) {
        str_addf(&c->report, "%s duplicate offset in BAT entry %" PRIu64 "\n",
                 verb(c, CHECK_FIX_ERRORS), c->cluster);
        c->result->corruptions++;
        if (c->fix & CHECK_FIX_ERRORS && cluster_size <= COPY_MAX) {
            check_enter(c, CHECK_READ);
            return META_WAIT;
        }
        c->result->allocated_clusters++;
        return 0;
    }
    if (bit < c->used.nbits)
        bitset_set(&c->used, bit);
    count(c, c->host);
    return 0;
}

static void walk(struct checking *c)
{
    int ret = 0;

    while (c->cluster < c->p->header.entries) {
        ret = entry_step(c);
        if (ret == META_WAIT)
            return;
        if (ret) {
            check_end(c, err_new_errno(ret, "Check failed"));
            return;
        }
        c->cluster++;
    }
    check_enter(c, CHECK_HEADER);
}

static void relink(struct checking *c)
{
    int ret = set_entry(c, c->new_host);

    if (ret == META_WAIT)
        return;
    if (ret) {
        check_end(c, err_new_errno(ret, "Check failed"));
        return;
    }
    c->result->corruptions_fixed++;
    count(c, c->new_host);
    c->cluster++;
    check_enter(c, CHECK_ENTRIES);
}

static void copied(struct req *req)
{
    struct checking *c = container_of(req, struct checking, req);

    if (req->result) {
        check_end(c, err_new_errno(req->result, "Check failed"));
        return;
    }
    if (c->phase == CHECK_WRITE) {
        c->p->sparse.meta.data_unsafe = true;
        c->p->end = c->p->sparse.fresh_from = c->new_host + c->p->sparse.block_size;
    }
    check_enter(c, c->phase + 1);
}

static void copy(struct checking *c, enum req_kind kind, uint64_t host)
{
    c->iov = (struct iovec){ c->buf, c->p->sparse.block_size };
    c->req = (struct req){ 0 };
    req_submit_part(&c->req, c->node->file, kind, 0, host, c->p->sparse.block_size,
                    iov_view(&c->iov, 1), copied);
}

static void check_wake(struct meta_wait *wait, int result)
{
    struct checking *c = container_of(wait, struct checking, wait);

    if (result)
        check_end(c, err_new_errno(result, "Check failed"));
    else if (c->phase == CHECK_COMMIT)
        check_enter(c, CHECK_CUT);
    else
        check_enter(c, c->phase);
}

/* ---- The end ---- */

static void write_header(struct checking *c)
{
    struct meta *meta = &c->p->sparse.meta;
    uint8_t *bytes, header[PARALLELS_HEADER_BYTES];
    int ret = 0;

    if (c->header_changed) {
        ret = meta_edit(meta, 0, PARALLELS_HEADER_BYTES, META_ROOT, &c->wait, &bytes);
        if (!ret) {
            parallels_header_build(&c->p->header, header);
            memcpy(bytes + 44, header + 44, 8); /* In use, first sector of data. */
        }
    }
    if (ret == META_WAIT)
        return;
    if (ret)
        check_end(c, err_new_errno(ret, "Check failed"));
    else
        check_enter(c, CHECK_COMMIT);
}

static void cut_done(void *arg, struct err *err)
{
    struct checking *c = arg;

    if (!err) {
        c->p->end = c->p->sparse.fresh_from = c->high;
        c->result->leaks_fixed = c->result->leaks;
    }
    check_end(c, err);
}

static void cut(struct checking *c)
{
    uint64_t size = c->node->file->node->size, cluster = c->p->sparse.block_size;

    if (size <= c->high) {
        check_end(c, NULL);
        return;
    }
    str_addf(&c->report, "%s space leaked at the end of the image %" PRIu64 "\n",
             verb(c, CHECK_FIX_LEAKS), size - c->high);
    c->result->leaks = div_round_up(size - c->high, cluster);
    if (c->fix & CHECK_FIX_LEAKS)
        edge_truncate(c->node->file, c->high, true, PREALLOC_OFF, cut_done, c);
    else
        check_end(c, NULL);
}

/* The only writer of c->phase. */
static void check_enter(struct checking *c, enum check_phase phase)
{
    struct parallels *p = c->p;

    c->phase = phase;
    switch (phase) {
    case CHECK_ENTRIES: walk(c); return;
    case CHECK_READ:
        if (!c->buf)
            c->buf = try_alloc_aligned(4096, align_up_u64(p->sparse.block_size, 4096));
        if (!c->buf) {
            check_end(c, err_new_errno(ENOMEM, "Check failed"));
            return;
        }
        copy(c, REQ_READ, c->host);
        return;
    case CHECK_WRITE:
        c->new_host =
            round_up_any(MAX(p->end, p->sparse.fresh_from), parallels_entry_unit(&p->header));
        if (c->new_host / parallels_entry_unit(&p->header) > UINT32_MAX) {
            check_end(c, err_new_errno(EFBIG, "Check failed"));
            return;
        }
        copy(c, REQ_WRITE, c->new_host);
        return;
    case CHECK_RELINK: relink(c); return;
    case CHECK_HEADER: write_header(c); return;
    case CHECK_COMMIT:
        if (meta_dirty(&p->sparse.meta))
            (void)!meta_commit_wait(&p->sparse.meta, &c->wait);
        else
            check_enter(c, CHECK_CUT);
        return;
    case CHECK_CUT: cut(c); return;
    case CHECK_END: check_end(c, NULL); return;
    }
}

void parallels_check(struct node *node, unsigned fix, struct check_result *result,
                     driver_done_fn *done, void *arg)
{
    struct checking *c = NEW(struct checking);
    struct parallels *p = parallels_of(node);
    uint64_t units;

    *c = (struct checking){
        .node = node, .p = p, .fix = fix, .result = result, .done = done, .arg = arg
    };
    meta_wait_init(&c->wait, check_wake);
    c->file_size = node->file->node->size;
    units = c->file_size / parallels_entry_unit(&p->header) + 1;
    if (units > USED_BITS_MAX || !bitset_try_init(&c->used, units)) {
        check_end(c, err_new_errno(ENOMEM, "Check failed"));
        return;
    }
    result->total_clusters = p->header.entries;
    check_header(c);
    c->high =
        (uint64_t)MAX(p->header.data_off, parallels_data_start(&p->header)) * PARALLELS_SECTOR;
    check_enter(c, CHECK_ENTRIES);
}
