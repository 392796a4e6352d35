/* Conformance of files and paths. */
#include <errno.h>
#include <string.h>

#include "emu/base/nstime.h"
#include "emu/base/rng.h"
#include "emu/reactor/conformance_testing.h"

#define RW (FILE_READ | FILE_WRITE)
#define NEW_FILE (RW | FILE_CREATE)
#define KIB 1024u

static int64_t try_open(struct conf *c, const char *name, unsigned flags)
{
    struct reactor_file *file = NULL;
    struct probe p;
    int64_t result;

    probe_init(&p, NULL);
    reactor_file_open(c->r, &p.op, conf_path(c, name), flags, &file);
    EXPECT_EQ(p.calls, 0);
    result = probe_wait(c, &p);
    EXPECT_EQ(result == 0, file != NULL);
    reactor_file_close(file);
    return result;
}

void file_opens_and_creates(void)
{
    struct conf c;
    struct reactor_file *f;
    char byte;

    conf_make(&c);
    EXPECT_EQ(try_open(&c, "a", FILE_READ), -ENOENT);
    EXPECT_EQ(try_open(&c, "a", NEW_FILE), 0);
    EXPECT_EQ(try_open(&c, "a", FILE_READ), 0);
    EXPECT_EQ(try_open(&c, "a", NEW_FILE), 0);
    EXPECT_EQ(try_open(&c, "a", NEW_FILE | FILE_EXCL), -EEXIST);
    f = conf_file(&c, "a", RW);
    EXPECT_EQ(conf_pwrite(&c, f, "xyz", 3, 0), 3);
    EXPECT(reactor_file_reactor(f) == c.r);
    reactor_file_close(f);
    f = conf_file(&c, "a", RW | FILE_TRUNC);
    EXPECT_EQ(conf_pread(&c, f, &byte, 1, 0), 0);
    reactor_file_close(f);
    f = conf_file(&c, "a", FILE_READ);
    EXPECT_EQ(conf_pwrite(&c, f, "x", 1, 0), -EBADF);
    reactor_file_close(f);
    reactor_file_close(NULL);
    conf_drop(&c);
}

void file_reads_what_was_written(void)
{
    struct conf c;
    struct reactor_file *f;
    struct rng rng;
    static uint8_t model[256 * KIB], buf[64 * KIB];

    conf_make(&c);
    f = conf_file(&c, "data", NEW_FILE);
    rng_init(&rng, 7);
    memset(model, 0, sizeof(model));
    EXPECT_EQ(conf_pwrite(&c, f, model, sizeof(model), 0), sizeof(model));
    for (int i = 0; i < 300; i++) {
        size_t len = 1 + rng_below(&rng, sizeof(buf));
        uint64_t offset = rng_below(&rng, sizeof(model) - len + 1);

        if (rng_chance(&rng, 1, 2)) {
            rng_fill(&rng, model + offset, len);
            REQUIRE_EQ(conf_pwrite(&c, f, model + offset, len, offset), len);
        } else {
            REQUIRE_EQ(conf_pread(&c, f, buf, len, offset), len);
            EXPECT_MEM(buf, model + offset, len);
        }
    }
    reactor_file_close(f);
    conf_drop(&c);
}

void file_reads_short_at_end(void)
{
    struct conf c;
    struct reactor_file *f;
    char buf[10] = "";

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    EXPECT_EQ(conf_pwrite(&c, f, "hello", 5, 0), 5);
    EXPECT_EQ(conf_pread(&c, f, buf, 10, 2), 3);
    EXPECT_MEM(buf, "llo", 3);
    EXPECT_EQ(conf_pread(&c, f, buf, 10, 5), 0);
    EXPECT_EQ(conf_pread(&c, f, buf, 10, 1 << 20), 0);
    /* Writing beyond the end leaves zeroes between. */
    EXPECT_EQ(conf_pwrite(&c, f, "x", 1, 7), 1);
    EXPECT_EQ(conf_pread(&c, f, buf, 10, 3), 5);
    EXPECT_MEM(buf, "lo\0\0x", 5);
    reactor_file_close(f);
    conf_drop(&c);
}

void file_moves_vectors(void)
{
    struct conf c;
    struct reactor_file *f;
    char a[3] = "abc", b[2] = "de", d[4] = "fghi", all[10] = "";
    struct iovec out[3] = { { a, 3 }, { b, 2 }, { d, 4 } };
    char x[5], y[4];
    struct iovec in[2] = { { x, 5 }, { y, 4 } };
    struct probe p;

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    probe_init(&p, NULL);
    reactor_file_writev(f, &p.op, out, 3, 100);
    EXPECT_EQ(probe_wait(&c, &p), 9);
    EXPECT_EQ(conf_pread(&c, f, all, 9, 100), 9);
    EXPECT_MEM(all, "abcdefghi", 9);
    reactor_file_readv(f, &p.op, in, 2, 100);
    EXPECT_EQ(probe_wait(&c, &p), 9);
    EXPECT_MEM(x, "abcde", 5);
    EXPECT_MEM(y, "fghi", 4);
    reactor_file_close(f);
    conf_drop(&c);
}

void file_completes_many(void)
{
    struct conf c;
    struct reactor_file *f;
    enum { COUNT = 600 }; /* More than a ring takes at once. */
    static struct probe p[COUNT];
    static uint32_t values[COUNT];
    static struct iovec iov[COUNT];
    unsigned counter = 0;

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    for (unsigned i = 0; i < COUNT; i++) {
        values[i] = i * 2654435761u;
        iov[i] = (struct iovec){ &values[i], 4 };
        probe_init(&p[i], &counter);
        reactor_file_writev(f, &p[i].op, &iov[i], 1, i * 4);
    }
    EXPECT_EQ(counter, 0);
    EXPECT_EQ(reactor_ops_pending(c.r), COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        EXPECT_EQ(probe_wait(&c, &p[i]), 4);
    EXPECT_EQ(counter, COUNT);
    memset(values, 0, sizeof(values));
    for (unsigned i = 0; i < COUNT; i++)
        reactor_file_readv(f, &p[i].op, &iov[i], 1, i * 4);
    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT_EQ(probe_wait(&c, &p[i]), 4);
        EXPECT_EQ(values[i], i * 2654435761u);
        EXPECT_EQ(p[i].calls, 2);
    }
    reactor_file_close(f);
    conf_drop(&c);
}

/* Starts the op again from done until it ran ten times. */
struct chain {
    struct probe probe;
    struct reactor_file *file;
    struct iovec iov;
    bool starting;
};

static void chain_start(struct chain *chain)
{
    chain->starting = true;
    reactor_file_readv(chain->file, &chain->probe.op, &chain->iov, 1, 0);
    chain->starting = false;
}

static void chain_done(struct op *op)
{
    struct chain *chain = container_of(op, struct chain, probe.op);

    EXPECT(!chain->starting);
    EXPECT(!op_pending(op));
    EXPECT_EQ(op->result, 4);
    if (++chain->probe.calls < 10)
        chain_start(chain);
}

void file_never_calls_back(void)
{
    struct conf c;
    char buf[4];
    struct chain chain = { .probe.op.done = chain_done, .iov = { buf, 4 } };

    conf_make(&c);
    chain.file = conf_file(&c, "a", NEW_FILE);
    EXPECT_EQ(conf_pwrite(&c, chain.file, "data", 4, 0), 4);
    chain_start(&chain);
    while (chain.probe.calls < 10)
        reactor_run_once(c.r, NS_PER_SEC);
    EXPECT(!op_pending(&chain.probe.op));
    reactor_file_close(chain.file);
    conf_drop(&c);
}

static int64_t truncate_to(struct conf *c, struct reactor_file *f, uint64_t size)
{
    struct probe p;

    probe_init(&p, NULL);
    reactor_file_truncate(f, &p.op, size);
    return probe_wait(c, &p);
}

static struct file_stat stat_of(struct conf *c, struct reactor_file *f)
{
    struct file_stat st = { 0 };
    struct probe p;

    probe_init(&p, NULL);
    reactor_file_stat(f, &p.op, &st);
    EXPECT_EQ(probe_wait(c, &p), 0);
    return st;
}

void file_truncates(void)
{
    struct conf c;
    struct reactor_file *f;
    char buf[8] = "";

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    EXPECT_EQ(conf_pwrite(&c, f, "abcdef", 6, 0), 6);
    EXPECT_EQ(truncate_to(&c, f, 3), 0);
    EXPECT_EQ(stat_of(&c, f).size, 3);
    EXPECT_EQ(truncate_to(&c, f, 6), 0);
    EXPECT_EQ(conf_pread(&c, f, buf, 8, 0), 6);
    EXPECT_MEM(buf, "abc\0\0\0", 6);
    EXPECT_EQ(truncate_to(&c, f, 0), 0);
    EXPECT_EQ(stat_of(&c, f).size, 0);
    reactor_file_close(f);
    conf_drop(&c);
}

static int64_t allocate(struct conf *c, struct reactor_file *f, enum file_alloc_mode mode,
                        uint64_t offset, uint64_t len)
{
    struct probe p;

    probe_init(&p, NULL);
    reactor_file_allocate(f, &p.op, mode, offset, len);
    return probe_wait(c, &p);
}

static void fill(struct conf *c, struct reactor_file *f, uint64_t offset, size_t len)
{
    static uint8_t bytes[256 * KIB];

    memset(bytes, 0xa5, sizeof(bytes));
    REQUIRE(len <= sizeof(bytes));
    REQUIRE_EQ(conf_pwrite(c, f, bytes, len, offset), len);
}

static void expect_fill(struct conf *c, struct reactor_file *f, uint64_t offset, size_t len,
                        uint8_t value)
{
    static uint8_t bytes[256 * KIB];

    REQUIRE(len <= sizeof(bytes));
    REQUIRE_EQ(conf_pread(c, f, bytes, len, offset), len);
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != value) {
            TEST_FAIL("byte at %zu is %#x, not %#x", (size_t)offset + i, bytes[i], value);
            return;
        }
    }
}

void file_punches_holes(void)
{
    struct conf c;
    struct reactor_file *f;
    uint64_t before;

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    fill(&c, f, 0, 256 * KIB);
    before = stat_of(&c, f).allocated;
    EXPECT_EQ(allocate(&c, f, FILE_PUNCH, 64 * KIB, 128 * KIB), 0);
    EXPECT_EQ(stat_of(&c, f).size, 256 * KIB);
    EXPECT_EQ(stat_of(&c, f).allocated, before - 128 * KIB);
    expect_fill(&c, f, 0, 64 * KIB, 0xa5);
    expect_fill(&c, f, 64 * KIB, 128 * KIB, 0);
    expect_fill(&c, f, 192 * KIB, 64 * KIB, 0xa5);
    /* Not aligned: the edges are zeroed by bytes. */
    EXPECT_EQ(allocate(&c, f, FILE_PUNCH, 10, 100), 0);
    expect_fill(&c, f, 0, 10, 0xa5);
    expect_fill(&c, f, 10, 100, 0);
    expect_fill(&c, f, 110, 100, 0xa5);
    /* Beyond the end: nothing grows. */
    EXPECT_EQ(allocate(&c, f, FILE_PUNCH, 250 * KIB, 100 * KIB), 0);
    EXPECT_EQ(stat_of(&c, f).size, 256 * KIB);
    expect_fill(&c, f, 250 * KIB, 6 * KIB, 0);
    reactor_file_close(f);
    conf_drop(&c);
}

void file_zeroes_ranges(void)
{
    struct conf c;
    struct reactor_file *f;
    uint64_t before;
    int64_t result;

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    fill(&c, f, 0, 128 * KIB);
    before = stat_of(&c, f).allocated;
    result = allocate(&c, f, FILE_ZERO, 32 * KIB, 64 * KIB);
    if (result != -EOPNOTSUPP) {
        EXPECT_EQ(result, 0);
        EXPECT_EQ(stat_of(&c, f).allocated, before);
        expect_fill(&c, f, 0, 32 * KIB, 0xa5);
        expect_fill(&c, f, 32 * KIB, 64 * KIB, 0);
        expect_fill(&c, f, 96 * KIB, 32 * KIB, 0xa5);
        EXPECT_EQ(stat_of(&c, f).size, 128 * KIB);
    }
    reactor_file_close(f);
    conf_drop(&c);
}

void file_allocates(void)
{
    struct conf c;
    struct reactor_file *f;

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    EXPECT_EQ(conf_pwrite(&c, f, "abc", 3, 0), 3);
    EXPECT_EQ(allocate(&c, f, FILE_ALLOC, 0, 128 * KIB), 0);
    EXPECT_EQ(stat_of(&c, f).size, 128 * KIB);
    EXPECT_GE(stat_of(&c, f).allocated, 128 * KIB);
    expect_fill(&c, f, 3, 128 * KIB - 3, 0);
    reactor_file_close(f);
    conf_drop(&c);
}

static int64_t extent_at(struct conf *c, struct reactor_file *f, uint64_t offset,
                         struct file_extent *out)
{
    struct probe p;

    probe_init(&p, NULL);
    reactor_file_extent(f, &p.op, offset, out);
    return probe_wait(c, &p);
}

void file_finds_extents(void)
{
    struct conf c;
    struct reactor_file *f;
    struct file_extent e = { 0 };

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    EXPECT_EQ(extent_at(&c, f, 0, &e), -ENXIO);
    EXPECT_EQ(truncate_to(&c, f, 1024 * KIB), 0);
    EXPECT_EQ(extent_at(&c, f, 0, &e), 0);
    EXPECT(!e.data);
    EXPECT_EQ(e.end, 1024 * KIB);
    fill(&c, f, 256 * KIB, 64 * KIB);
    EXPECT_EQ(extent_at(&c, f, 1000, &e), 0);
    EXPECT(!e.data);
    EXPECT_EQ(e.end, 256 * KIB);
    EXPECT_EQ(extent_at(&c, f, 256 * KIB, &e), 0);
    EXPECT(e.data);
    EXPECT_EQ(e.end, 320 * KIB);
    EXPECT_EQ(extent_at(&c, f, 300 * KIB, &e), 0);
    EXPECT(e.data);
    EXPECT_EQ(e.end, 320 * KIB);
    EXPECT_EQ(extent_at(&c, f, 320 * KIB, &e), 0);
    EXPECT(!e.data);
    EXPECT_EQ(e.end, 1024 * KIB);
    EXPECT_EQ(extent_at(&c, f, 1024 * KIB, &e), -ENXIO);
    EXPECT_EQ(extent_at(&c, f, 4096 * KIB, &e), -ENXIO);
    fill(&c, f, 960 * KIB, 64 * KIB);
    EXPECT_EQ(extent_at(&c, f, 1024 * KIB - 1, &e), 0);
    EXPECT(e.data);
    EXPECT_EQ(e.end, 1024 * KIB);
    reactor_file_close(f);
    conf_drop(&c);
}

void file_copies_ranges(void)
{
    struct conf c;
    struct reactor_file *a, *b;
    uint64_t done = 0;

    conf_make(&c);
    a = conf_file(&c, "a", NEW_FILE);
    b = conf_file(&c, "b", NEW_FILE);
    fill(&c, a, 0, 192 * KIB);
    while (done < 128 * KIB) {
        struct probe p;
        int64_t n;

        probe_init(&p, NULL);
        reactor_file_copy(a, 64 * KIB + done, b, 4 * KIB + done, 128 * KIB - done, &p.op);
        n = probe_wait(&c, &p);
        if (n == -EOPNOTSUPP || n == -EXDEV)
            break;
        REQUIRE(n > 0);
        done += (uint64_t)n;
    }
    if (done) {
        EXPECT_EQ(stat_of(&c, b).size, 132 * KIB);
        expect_fill(&c, b, 0, 4 * KIB, 0);
        expect_fill(&c, b, 4 * KIB, 128 * KIB, 0xa5);
    }
    reactor_file_close(a);
    reactor_file_close(b);
    conf_drop(&c);
}

void file_stats(void)
{
    struct conf c;
    struct reactor_file *f, *g;
    struct file_stat st, other;
    struct probe p;

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    g = conf_file(&c, "b", NEW_FILE);
    EXPECT_EQ(conf_pwrite(&c, f, "abc", 3, 0), 3);
    st = stat_of(&c, f);
    EXPECT_EQ(st.size, 3);
    EXPECT(st.is_regular);
    EXPECT(!st.is_block && !st.is_char && !st.is_dir && !st.is_network);
    EXPECT_GE(st.logical_block, 1);
    EXPECT_GE(st.memory_align, 1);
    other = stat_of(&c, g);
    EXPECT(st.dev == other.dev && st.ino != other.ino);
    probe_init(&p, NULL);
    memset(&other, 0, sizeof(other));
    reactor_path_stat(c.r, &p.op, conf_path(&c, "a"), &other);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    EXPECT(st.dev == other.dev && st.ino == other.ino && st.size == other.size);
    reactor_path_stat(c.r, &p.op, conf_path(&c, "nothing"), &other);
    EXPECT_EQ(probe_wait(&c, &p), -ENOENT);
    reactor_file_close(f);
    reactor_file_close(g);
    conf_drop(&c);
}

static int64_t lock(struct conf *c, struct reactor_file *f, enum file_lock kind, uint64_t offset,
                    uint64_t len)
{
    struct probe p;

    probe_init(&p, NULL);
    reactor_file_lock(f, &p.op, kind, offset, len);
    return probe_wait(c, &p);
}

static int64_t lock_test(struct conf *c, struct reactor_file *f, enum file_lock kind,
                         uint64_t offset, uint64_t len)
{
    struct probe p;
    int pid = 0;
    int64_t result;

    probe_init(&p, NULL);
    reactor_file_lock_test(f, &p.op, kind, offset, len, &pid);
    result = probe_wait(c, &p);
    if (result == 1)
        EXPECT(pid == -1 || pid > 0);
    return result;
}

void file_locks_conflict(void)
{
    struct conf c;
    struct reactor_file *a, *b;

    conf_make(&c);
    a = conf_file(&c, "a", NEW_FILE);
    b = conf_file(&c, "a", RW);
    EXPECT_EQ(lock(&c, a, FILE_LOCK_SHARED, 100, 4), 0);
    EXPECT_EQ(lock(&c, b, FILE_LOCK_SHARED, 100, 4), 0);
    EXPECT_EQ(lock(&c, b, FILE_LOCK_EXCLUSIVE, 103, 1), -EAGAIN);
    EXPECT_EQ(lock_test(&c, b, FILE_LOCK_EXCLUSIVE, 103, 1), 1);
    EXPECT_EQ(lock_test(&c, b, FILE_LOCK_SHARED, 103, 1), 0);
    EXPECT_EQ(lock_test(&c, b, FILE_LOCK_EXCLUSIVE, 104, 1), 0);
    /* One's own locks do not conflict. */
    EXPECT_EQ(lock(&c, b, FILE_LOCK_NONE, 100, 4), 0);
    EXPECT_EQ(lock(&c, a, FILE_LOCK_EXCLUSIVE, 100, 2), 0);
    EXPECT_EQ(lock_test(&c, a, FILE_LOCK_EXCLUSIVE, 100, 4), 0);
    EXPECT_EQ(lock(&c, b, FILE_LOCK_SHARED, 100, 1), -EAGAIN);
    EXPECT_EQ(lock(&c, b, FILE_LOCK_SHARED, 102, 1), 0);
    /* Parts are given up one by one. */
    EXPECT_EQ(lock(&c, a, FILE_LOCK_NONE, 100, 1), 0);
    EXPECT_EQ(lock(&c, b, FILE_LOCK_EXCLUSIVE, 100, 1), 0);
    EXPECT_EQ(lock(&c, b, FILE_LOCK_EXCLUSIVE, 101, 1), -EAGAIN);
    reactor_file_close(a);
    reactor_file_close(b);
    conf_drop(&c);
}

void file_locks_end_with_handle(void)
{
    struct conf c;
    struct reactor_file *a, *b;

    conf_make(&c);
    a = conf_file(&c, "a", NEW_FILE);
    b = conf_file(&c, "a", RW);
    EXPECT_EQ(lock(&c, a, FILE_LOCK_EXCLUSIVE, 0, 10), 0);
    EXPECT_EQ(lock(&c, b, FILE_LOCK_SHARED, 5, 1), -EAGAIN);
    reactor_file_close(a);
    EXPECT_EQ(lock(&c, b, FILE_LOCK_SHARED, 5, 1), 0);
    reactor_file_close(b);
    conf_drop(&c);
}

static int64_t unlink_path(struct conf *c, const char *name)
{
    struct probe p;

    probe_init(&p, NULL);
    reactor_path_unlink(c->r, &p.op, conf_path(c, name));
    return probe_wait(c, &p);
}

void file_renames_and_unlinks(void)
{
    struct conf c;
    struct reactor_file *f;
    struct probe p;
    char buf[3];

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    EXPECT_EQ(conf_pwrite(&c, f, "abc", 3, 0), 3);
    probe_init(&p, NULL);
    reactor_path_rename(c.r, &p.op, conf_path(&c, "a"), conf_path(&c, "b"));
    EXPECT_EQ(probe_wait(&c, &p), 0);
    EXPECT_EQ(try_open(&c, "a", FILE_READ), -ENOENT);
    EXPECT_EQ(try_open(&c, "b", FILE_READ), 0);
    EXPECT_EQ(unlink_path(&c, "b"), 0);
    EXPECT_EQ(unlink_path(&c, "b"), -ENOENT);
    /* The handle still reads. */
    EXPECT_EQ(conf_pread(&c, f, buf, 3, 0), 3);
    EXPECT_MEM(buf, "abc", 3);
    reactor_file_close(f);
    conf_drop(&c);
}

void file_syncs(void)
{
    struct conf c;
    struct reactor_file *f;
    struct probe p;

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    EXPECT_EQ(conf_pwrite(&c, f, "abc", 3, 0), 3);
    probe_init(&p, NULL);
    reactor_file_sync(f, &p.op, true);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    reactor_file_sync(f, &p.op, false);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    reactor_file_close(f);
    conf_drop(&c);
}

void file_cancels_every_kind_once(void)
{
    enum { KINDS = 12, ROUNDS = 30 };
    struct conf c;
    struct reactor_file *a, *b, *opened;
    static char buf[4096];
    struct iovec iov = { buf, sizeof(buf) };
    struct file_stat st, st2;
    struct file_extent e;
    int pid;

    conf_make(&c);
    a = conf_file(&c, "a", NEW_FILE);
    b = conf_file(&c, "b", NEW_FILE);
    fill(&c, a, 0, 64 * KIB);
    for (int round = 0; round < ROUNDS; round++) {
        struct probe p[KINDS];

        for (int i = 0; i < KINDS; i++)
            probe_init(&p[i], NULL);
        reactor_file_readv(a, &p[0].op, &iov, 1, 0);
        reactor_file_writev(b, &p[1].op, &iov, 1, 0);
        reactor_file_sync(b, &p[2].op, true);
        reactor_file_allocate(b, &p[3].op, FILE_ALLOC, 0, 8192);
        reactor_file_truncate(b, &p[4].op, 8192);
        reactor_file_stat(a, &p[5].op, &st);
        reactor_file_extent(a, &p[6].op, 0, &e);
        reactor_file_copy(a, 0, b, 0, 4096, &p[7].op);
        reactor_file_lock(a, &p[8].op, FILE_LOCK_SHARED, 0, 1);
        reactor_file_lock_test(a, &p[9].op, FILE_LOCK_SHARED, 0, 1, &pid);
        reactor_path_stat(c.r, &p[10].op, conf_path(&c, "a"), &st2);
        reactor_file_open(c.r, &p[11].op, conf_path(&c, "a"), FILE_READ, &opened);
        if (round % 3 == 1)
            conf_settle(&c);
        for (int i = 0; i < KINDS; i++) {
            op_cancel(&p[i].op);
            if (round % 3 == 2)
                op_cancel(&p[i].op);
        }
        for (int i = 0; i < KINDS; i++) {
            int64_t result = probe_wait(&c, &p[i]);

            EXPECT_MSG(result >= 0 || result == -ECANCELED, "kind %d: %lld", i, (long long)result);
        }
        conf_settle(&c);
        for (int i = 0; i < KINDS; i++)
            EXPECT_MSG(p[i].calls == 1, "kind %d completed %u times", i, p[i].calls);
        EXPECT_EQ(p[11].op.result == 0, opened != NULL);
        reactor_file_close(opened);
    }
    EXPECT_EQ(reactor_ops_pending(c.r), 0);
    reactor_file_close(a);
    reactor_file_close(b);
    conf_drop(&c);
}

void file_refuses_close_while_busy(void)
{
    struct conf c;
    struct reactor_file *f;
    struct probe p;

    conf_make(&c);
    f = conf_file(&c, "a", NEW_FILE);
    probe_init(&p, NULL);
    reactor_file_truncate(f, &p.op, 10);
    EXPECT_DEATH(reactor_file_close(f), "ops_pending");
    probe_wait(&c, &p);
    EXPECT_DEATH(reactor_free(c.r), "handles");
    reactor_file_close(f);
    conf_drop(&c);
}
