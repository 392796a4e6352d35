/* See fdset.h. */
#include "emu/storage/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/core.h"

/* A descriptor with a name. */
struct fd_name {
    struct list link;
    char *name; /* Owned. */
    int fd;     /* Owned. */
};

struct list *graph_fdsets(struct graph *graph) { return &graph->fdsets; }

static struct fdset *find(struct graph *graph, int64_t id)
{
    list_for_each(set, &graph->fdsets, struct fdset, link)
        if (set->id == id)
            return set;
    return NULL;
}

static int64_t free_id(struct graph *graph)
{
    int64_t id = 0;

    while (find(graph, id))
        id++;
    return id;
}

/* In front of the first set with a smaller number. */
static struct fdset *make(struct graph *graph, int64_t id)
{
    struct fdset *set = NEW(struct fdset);
    struct list *next = &graph->fdsets;

    set->id = id;
    list_init(&set->members);
    list_for_each(other, &graph->fdsets, struct fdset, link) {
        if (other->id < id) {
            next = &other->link;
            break;
        }
    }
    list_add_before(next, &set->link);
    return set;
}

struct fdset_member *fdset_add(struct graph *graph, int64_t *id, int fd, const char *opaque)
{
    struct fdset_member *member = NEW(struct fdset_member);
    struct fdset *set;

    if (*id < 0)
        *id = free_id(graph);
    set = find(graph, *id);
    if (!set)
        set = make(graph, *id);
    member->fd = fd;
    member->opaque = opaque ? xstrdup(opaque) : NULL;
    list_add_tail(&set->members, &member->link);
    return member;
}

static void drop_member(struct fdset_member *member)
{
    list_del(&member->link);
    close(member->fd);
    xfree(member->opaque);
    xfree(member);
}

static void drop_if_empty(struct fdset *set)
{
    if (!list_empty(&set->members))
        return;
    list_del(&set->link);
    xfree(set);
}

struct err *fdset_remove(struct graph *graph, int64_t id, int64_t fd)
{
    struct fdset *set = find(graph, id);
    bool found = false;

    if (set) {
        list_for_each_safe(member, &set->members, struct fdset_member, link) {
            if (fd >= 0 && member->fd != fd)
                continue;
            found = true;
            drop_member(member);
        }
        drop_if_empty(set);
    }
    if (found)
        return NULL;
    if (fd < 0)
        return err_new("File descriptor named 'fdset-id:%" PRId64 "' not found", id);
    return err_new("File descriptor named 'fdset-id:%" PRId64 ", fd:%" PRId64 "' not found", id,
                   fd);
}

bool fdset_path(const char *path, int64_t *id)
{
    const char *number = str_after_prefix(path, "/dev/fdset/");
    uint64_t value;

    if (!number)
        return false;
    *id = parse_u64(number, &value) && value <= INT64_MAX ? (int64_t)value : -1;
    return true;
}

/* The duplicate shares its status flags with the member, so this is for all of them, as in the reference. */
static bool set_direct(int fd, bool direct)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return false;
    if (!(flags & O_DIRECT) == !direct)
        return true;
    return fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

int fdset_dup(struct graph *graph, int64_t id, unsigned flags)
{
    struct fdset *set = find(graph, id);
    int mode = flags & FILE_WRITE ? O_RDWR : O_RDONLY;
    int fd, error;

    if (!set)
        return -ENOENT;
    list_for_each(member, &set->members, struct fdset_member, link) {
        if ((fcntl(member->fd, F_GETFL) & O_ACCMODE) != mode)
            continue;
        fd = fcntl(member->fd, F_DUPFD_CLOEXEC, 3);
        if (fd >= 0 && set_direct(fd, (flags & FILE_DIRECT) != 0))
            return fd;
        error = -errno;
        if (fd >= 0)
            close(fd);
        return error;
    }
    return -EACCES;
}

/* ---- Names ---- */

void fd_name_add(struct graph *graph, const char *name, int fd)
{
    struct fd_name *entry = NEW(struct fd_name);
    int old = fd_name_take(graph, name);

    if (old >= 0)
        close(old);
    entry->name = xstrdup(name);
    entry->fd = fd;
    list_add_tail(&graph->fd_names, &entry->link);
}

int fd_name_take(struct graph *graph, const char *name)
{
    int fd;

    list_for_each_safe(entry, &graph->fd_names, struct fd_name, link) {
        if (!str_eq(entry->name, name))
            continue;
        fd = entry->fd;
        list_del(&entry->link);
        xfree(entry->name);
        xfree(entry);
        return fd;
    }
    return -1;
}

void fdsets_fini(struct graph *graph)
{
    list_for_each_safe(set, &graph->fdsets, struct fdset, link) {
        list_for_each_safe(member, &set->members, struct fdset_member, link)
            drop_member(member);
        drop_if_empty(set);
    }
    list_for_each_safe(entry, &graph->fd_names, struct fd_name, link) {
        close(entry->fd);
        list_del(&entry->link);
        xfree(entry->name);
        xfree(entry);
    }
}
