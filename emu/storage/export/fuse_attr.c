/* Attributes of the file of a FUSE export, and changes of its size. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "emu/base/check.h"
#include "emu/base/json.h"
#include "emu/base/nstime.h"
#include "emu/storage/export/fuse_export.h"
#include "emu/storage/query.h"

enum { STAT_BLOCK = 512 };

/* ---- Reading ---- */

/* A node that stores nothing itself, or does not know, takes what it could. */
static void got_facts(void *arg, struct json *image)
{
    struct fuse_slot *slot = arg;
    struct fuse_export *fuse = slot->fuse;
    struct node *node = fuse_node(fuse);
    uint64_t allocated = node->size;
    const struct json *known = json_object_get(image, "actual-size");
    int64_t now_ns = reactor_wall_now(fuse->reactor);
    struct timespec now = { now_ns / NS_PER_SEC, now_ns % NS_PER_SEC };

    if (known && json_get_uint(known))
        allocated = json_get_uint(known);
    json_free(image);
    fuse_slot_attributes(slot, &(struct stat){
                                   .st_ino = FUSE_ROOT_ID,
                                   .st_mode = S_IFREG | fuse->mode,
                                   .st_nlink = 1,
                                   .st_uid = fuse->uid,
                                   .st_gid = fuse->gid,
                                   .st_size = (off_t)node->size,
                                   .st_blksize = (blksize_t)node->limits.request_alignment,
                                   .st_blocks = (blkcnt_t)(allocated / STAT_BLOCK),
                                   .st_atim = now,
                                   .st_mtim = now,
                                   .st_ctim = now,
                               });
}

static void answer_attributes(struct fuse_slot *slot)
{
    query_image(fuse_node(slot->fuse), true, got_facts, slot);
}

void fuse_getattr(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi)
{
    answer_attributes(fuse_slot_new(request));
}

/* ---- Changing ---- */

enum { SIZE = FUSE_SET_ATTR_SIZE, OWNER = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID };

static int check_change(const struct fuse_export *fuse, const struct stat *attr, int to_set)
{
    int allowed = SIZE | FUSE_SET_ATTR_MODE | (fuse->allow_other ? OWNER : 0);
    bool writable = fuse->export->writable;

    if (to_set & ~allowed)
        return -ENOTSUP;
    if (to_set & FUSE_SET_ATTR_MODE) {
        /* The others cannot get at it, whatever the mode says. */
        if (!fuse->allow_other && attr->st_mode & (S_IRWXG | S_IRWXO))
            return -EPERM;
        if (!writable && attr->st_mode & (S_IWUSR | S_IWGRP | S_IWOTH))
            return -EROFS;
    }
    if (to_set & SIZE && !writable)
        return -EACCES;
    if (to_set & SIZE && attr->st_size < 0)
        return -EINVAL;
    return 0;
}

static void changed_size(struct fuse_slot *slot, int result)
{
    if (result < 0)
        fuse_slot_error(slot, result);
    else
        answer_attributes(slot);
}

void fuse_setattr(fuse_req_t request, fuse_ino_t ino, struct stat *attr, int to_set,
                  struct fuse_file_info *fi)
{
    struct fuse_slot *slot = fuse_slot_new(request);
    struct fuse_export *fuse = slot->fuse;
    int result = check_change(fuse, attr, to_set);

    if (result < 0) {
        fuse_slot_error(slot, result);
        return;
    }
    if (to_set & FUSE_SET_ATTR_MODE)
        fuse->mode = attr->st_mode & ALLPERMS;
    if (to_set & FUSE_SET_ATTR_UID)
        fuse->uid = attr->st_uid;
    if (to_set & FUSE_SET_ATTR_GID)
        fuse->gid = attr->st_gid;
    if (!(to_set & SIZE)) {
        answer_attributes(slot);
        return;
    }
    slot->resize.size = (uint64_t)attr->st_size;
    slot->resize.at_least = false;
    slot->resize.prealloc = PREALLOC_OFF;
    slot->resize.done = changed_size;
    fuse_resize(slot);
}

/* ---- Resizing ---- */

static void resize_first(struct fuse_export *fuse);

static uint32_t usual_perm(const struct fuse_export *fuse)
{
    return PERM_CONSISTENT_READ | (fuse->export->writable ? PERM_WRITE : 0) |
           (fuse->growable ? PERM_RESIZE : 0);
}

static int result_of(struct err *err)
{
    int result = 0;

    if (err)
        result = err_errnum(err) ? -abs(err_errnum(err)) : -EIO;
    err_free(err);
    return result;
}

static void end_resize(struct fuse_export *fuse, struct err *err)
{
    struct fuse_slot *slot = list_first(&fuse->resizes, struct fuse_slot, link);

    list_del(&slot->link);
    if (!fuse->growable)
        err_ignore(edge_set_perm(fuse->export->edge, usual_perm(fuse), PERM_ALL));
    slot->resize.done(slot, result_of(err)); /* Which may queue it again. */
    fuse->resizing = false;
    if (!list_empty(&fuse->resizes))
        resize_first(fuse);
}

static void truncated(void *arg, struct err *err) { end_resize(arg, err); }

/* What went before may have brought the size already. */
static void settled(void *arg, struct err *err)
{
    struct fuse_export *fuse = arg;
    const struct fuse_slot *slot = list_first(&fuse->resizes, struct fuse_slot, link);
    uint64_t size = slot->resize.size, old = fuse_node(fuse)->size;

    if (err || size == old || (slot->resize.at_least && size < old))
        end_resize(fuse, err);
    else
        edge_truncate(fuse->export->edge, size, true, slot->resize.prealloc, truncated, fuse);
}

/* An export that does not grow by itself takes the permission for an explicit change only. */
static void resize_first(struct fuse_export *fuse)
{
    struct edge *edge = fuse->export->edge;
    struct err *err = NULL;

    fuse->resizing = true;
    if (!fuse->growable)
        err = edge_set_perm(edge, usual_perm(fuse) | PERM_RESIZE, PERM_ALL);
    if (err)
        end_resize(fuse, err);
    else
        edge_settle(edge, settled, fuse);
}

void fuse_resize(struct fuse_slot *slot)
{
    struct fuse_export *fuse = slot->fuse;

    list_add_tail(&fuse->resizes, &slot->link);
    if (!fuse->resizing)
        resize_first(fuse);
}
