#ifndef EMU_STORAGE_DRIVERS_QCOW2_TESTING_H
#define EMU_STORAGE_DRIVERS_QCOW2_TESTING_H

/*
 * For tests of qcow2 and other formats: a simulated reactor with a graph, and disks in memory that complete requests in
 * seeded random order, fail on demand, and know what a crash may leave of them.
 *
 * A disk keeps its content, what of it is durable, and all writes since. A write becomes durable by a flush that
 * began after the write had ended. After a crash each 512-byte sector of the others may or may not be there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/rng.h"
#include "emu/reactor/sim.h"
#include "emu/storage/driver.h"
#include "emu/storage/node.h"

enum { TEST_DISKS = 4 };

struct test_disk {
    char name[16];
    uint8_t *data, *durable; /* owned; cap bytes. */
    uint64_t size, cap;
    struct test_write *writes; /* owned; not known to be durable. */
    size_t write_count, write_cap;
    uint64_t ops;        /* Requests begun. */
    uint64_t fail_nth;   /* This one fails with fail_error; 0: none. */
    uint64_t fail_count; /* That many fail from there on; 0: one. */
    int fail_error;
    uint64_t limit; /* Writes behind it fail with -ENOSPC. 0: none. */
    uint64_t reads, write_ops, flushes, bytes_written, discards;
    bool in_order;
    uint64_t late_len; /* Requests of that length and kind wait while this is set; 0: none. */
    enum req_kind late_kind;
};

struct test_world {
    struct sim *sim;
    struct reactor *reactor;
    struct graph *graph;
    const struct driver *format;     /* Borrowed; what test_create() and test_open() make. */
    const struct driver *drivers[3]; /* The disk, the format, NULL. */
    struct test_world *outer; /* The one that was open before, which is there again after this. */
    struct rng rng;
    struct test_disk disks[TEST_DISKS];
};

void test_world_init(struct test_world *w, uint64_t seed); /* For qcow2. */
void test_world_init_format(struct test_world *w, uint64_t seed, const struct driver *format);
/* Closes everything; asserts that nothing stays in flight. */
void test_world_fini(struct test_world *w);

struct test_disk *test_disk(struct test_world *w, const char *name); /* Made when missing. */
void test_disk_load(struct test_disk *disk, const void *data, uint64_t size); /* Durable content. */
/* What a crash now would leave, with this seed, into a disk of another world. */
void test_disk_crash(const struct test_disk *disk, uint64_t seed, struct test_disk *out);
void test_disk_export(const struct test_disk *disk, const char *path);
bool test_disk_import(struct test_disk *disk, const char *path);

/* Creates an image with create options in JSON (single quotes), "file" and "driver" are added. NULL or an error. */
struct err *test_create(struct test_world *w, const char *disk, const char *options) MUST_USE;
/* Opens the format on a disk; options: more members in JSON, such as "'backing': 'node'", or NULL. */
struct err *test_open(struct test_world *w, const char *disk, const char *node_name,
                      const char *options, unsigned flags, struct node **out) MUST_USE;
/* A parent edge that may write (unless read-only). */
struct edge *test_edge(struct test_world *w, struct node *node);
/* Drops edge and the node's reference; closes. */
void test_close(struct test_world *w, struct edge *edge, struct node *node);
/* Runs a request to its end. */
int test_io(struct test_world *w, struct edge *edge, enum req_kind kind, uint32_t flags,
            uint64_t offset, uint64_t len, void *buf);
struct err *test_resize(struct test_world *w, struct edge *edge, uint64_t size,
                        enum prealloc prealloc) MUST_USE;
struct err *test_check(struct test_world *w, struct node *node, unsigned fix,
                       struct check_result *result) MUST_USE;
struct err *test_amend(struct test_world *w, struct node *node, const char *options) MUST_USE;
struct err *test_snapshot_show(struct test_world *w, struct node *node, const char *id) MUST_USE;
/* A READ or WRITE in the area of the VM's state, to its end. */
int test_vmstate(struct test_world *w, struct node *node, enum req_kind kind, uint64_t offset,
                 uint64_t len, void *buf);
bool test_wait(struct test_world *w, const bool *flag);
/* JSON text with single quotes. */
struct json *test_json(const char *text);

#endif
