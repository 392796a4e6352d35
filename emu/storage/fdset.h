#ifndef EMU_STORAGE_FDSET_H
#define EMU_STORAGE_FDSET_H

/*
 * Descriptor sets: open files that a user hands in (add-fd, -add-fd) for images that the process may not open itself.
 * The file name "/dev/fdset/N" stands for set N: opening it duplicates the member with the right access mode, so that
 * a set may hold one descriptor for reading and one for reading and writing.
 *
 * Also descriptors with names (getfd). All belong to the graph and live on its home reactor.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/list.h"

struct graph;

struct fdset_member {
    struct list link;
    int fd;       /* Owned. */
    char *opaque; /* The user's note, or NULL. Owned. */
};

struct fdset {
    struct list link; /* Sets are ordered by id, the largest first. */
    int64_t id;       /* >= 0 */
    struct list
        members; /* struct fdset_member, in the order in which they were added; never empty. */
};

struct list *graph_fdsets(struct graph *graph); /* struct fdset */

/*
 * Adds fd (taken, also on errors) to the set *id, which is made when it does not exist; *id < 0: to a new one with
 * the smallest free number, told in *id. opaque may be NULL.
 */
struct fdset_member *fdset_add(struct graph *graph, int64_t *id, int fd, const char *opaque);

/* Closes a member, or all of them when fd < 0. "File descriptor named 'fdset-id:2, fd:7' not found". */
struct err *fdset_remove(struct graph *graph, int64_t id, int64_t fd) MUST_USE;

/* Whether path is "/dev/fdset/N"; *id is N, or -1 when that is no number. */
bool fdset_path(const char *path, int64_t *id);

/*
 * A duplicate (the caller's) of the member of set id whose access mode is that of flags (enum file_flags).
 * -ENOENT: no such set; -EACCES: no such member.
 */
int fdset_dup(struct graph *graph, int64_t id, unsigned flags);

/* Keeps fd (taken) by that name; an older one of the name is closed. */
void fd_name_add(struct graph *graph, const char *name, int fd);
/* Takes the descriptor of that name out; -1: there is none. The caller owns it. */
int fd_name_take(struct graph *graph, const char *name);

/* For graph_free(): closes everything. */
void fdsets_fini(struct graph *graph);

#endif
