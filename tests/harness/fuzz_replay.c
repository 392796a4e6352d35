/*
 * Runs a fuzzer without libFuzzer: every file named on the command line, then mutations of them until the time is up.
 * Mutation N of a corpus is always the same input, so `--only=N` repeats a finding.
 */
#include "tests/harness/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INPUT_MAX (256u << 10)  /* Longer seeds are replayed, but mutated up to here only. */
#define GROWTH_MAX 64           /* Most bytes one mutation inserts. */
#define MUTATIONS_MAX 20000
#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))
#define MUTATE_NS 2000000000ull

struct seed {
    const char *path;
    uint8_t *data; /* owned */
    size_t size;
};

struct rng {
    uint64_t state;
};

/* What is running now, for the message of a crash. */
static struct {
    const uint8_t *data;
    size_t size;
    char what[256];
} running;

/* splitmix64. */
static uint64_t rng_next(struct rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static size_t rng_below(struct rng *rng, size_t limit)
{
    return limit ? (size_t)(rng_next(rng) % limit) : 0;
}

/* Says what ran and keeps the input, where Bazel collects it into the test's outputs.zip. */
static void report(void)
{
    const char *folder = getenv("TEST_UNDECLARED_OUTPUTS_DIR");
    char path[512];
    int fd;

    snprintf(path, sizeof(path), "%s/fuzz-finding", folder ? folder : "/tmp");
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, running.data, running.size) < 0)
        dprintf(STDERR_FILENO, "\nfuzz: cannot keep the input in '%s'\n", path);
    dprintf(STDERR_FILENO, "\nfuzz: found by %s; its %zu bytes are fuzz-finding in %s\n",
            running.what, running.size, folder ? "test.outputs/outputs.zip" : "/tmp");
}

static void crashed(int signum)
{
    report();
    signal(signum, SIG_DFL);
    raise(signum);
}

/* Sanitizers report and exit without a signal; this is their hook, present only when one is linked. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_for_crashes(void)
{
    static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };

    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(report);
        signal(SIGABRT, crashed);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        signal(signals[i], crashed);
}

/* The fuzzer sees a heap copy of exactly this size, so that AddressSanitizer notices a read past it. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, data, size);
    running.data = copy;
    running.size = size;
    LLVMFuzzerTestOneInput(copy, size);
    running.data = NULL;
    running.size = 0;
    free(copy);
}

static bool seed_read(struct seed *seed, const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t room = 4096, got;

    if (!file) {
        fprintf(stderr, "fuzz: cannot open '%s': %s\n", path, strerror(errno));
        return false;
    }
    *seed = (struct seed){ .path = path, .data = malloc(room) };
    while (seed->data && (got = fread(seed->data + seed->size, 1, room - seed->size, file)) > 0) {
        seed->size += got;
        if (seed->size == room)
            seed->data = realloc(seed->data, room *= 2);
    }
    fclose(file);
    return seed->data != NULL;
}

/* Inserts len bytes at `at`, which become a copy of what stood there; returns the new size. */
static size_t widen(uint8_t *data, size_t size, size_t at, size_t len)
{
    memmove(data + at + len, data + at, size - at);
    return size + len;
}

/* One random edit of data[0..size); there is room for GROWTH_MAX more bytes. Returns the new size. */
static size_t edit(struct rng *rng, uint8_t *data, size_t size, const struct seed *other)
{
    static const uint64_t edges[] = { 0,          1,         0x7f,       0x80,       0xff,
                                      0x7fff,     0x8000,    0xffff,     0x7fffffff, 0x80000000,
                                      0xffffffff, INT64_MAX, 1ull << 63, UINT64_MAX };
    size_t at = rng_below(rng, size), len = 1 + rng_below(rng, GROWTH_MAX);
    uint64_t value = edges[rng_below(rng, ARRAY_LEN(edges))];

    switch (size ? rng_below(rng, 8) : 4) {
    case 0: data[at] ^= (uint8_t)(1u << rng_below(rng, 8)); return size;
    case 1: data[at] = (uint8_t)rng_next(rng); return size;
    case 2: /* An edge value of 1, 2, 4 or 8 bytes, in either byte order. */
        len = (size_t)1 << rng_below(rng, 4);
        if (rng_below(rng, 2))
            value = __builtin_bswap64(value) >> (64 - 8 * len);
        memcpy(data + at, &value, len < size - at ? len : size - at);
        return size;
    case 3: /* Cut a piece out. */
        len = len < size - at ? len : size - at;
        memmove(data + at, data + at + len, size - at - len);
        return size - len;
    case 4: /* Insert noise. */
        size = widen(data, size, at, len);
        for (size_t i = 0; i < len; i++)
            data[at + i] = (uint8_t)rng_next(rng);
        return size;
    case 5: /* Repeat a piece. */ return widen(data, size, at, len < size - at ? len : size - at);
    case 6: /* Truncate. */ return at;
    default: /* Overwrite with a piece of another seed. */
        len = len < size - at ? len : size - at;
        len = len < other->size ? len : other->size;
        memcpy(data + at, other->data + rng_below(rng, other->size - len + 1), len);
        return size;
    }
}

static void run_mutation(const struct seed *seeds, size_t count, unsigned number)
{
    static uint8_t data[INPUT_MAX + 8 * GROWTH_MAX];
    struct rng rng = { number };
    const struct seed *seed = &seeds[rng_below(&rng, count)];
    size_t size = seed->size < INPUT_MAX ? seed->size : INPUT_MAX;
    size_t edits = 1 + rng_below(&rng, 8);

    memcpy(data, seed->data, size);
    for (size_t i = 0; i < edits; i++)
        size = edit(&rng, data, size, &seeds[rng_below(&rng, count)]);
    snprintf(running.what, sizeof(running.what), "--only=%u, a mutation of '%s'", number,
             seed->path);
    run(data, size);
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Reads the files named in argv into seeds; sets *only to the text of --only. */
static bool read_args(int argc, char **argv, struct seed *seeds, size_t *count, const char **only)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--only=", 7) == 0)
            *only = argv[i] + 7;
        else if (!seed_read(&seeds[(*count)++], argv[i]))
            return false;
    }
    if (*count == 0)
        seeds[(*count)++] = (struct seed){ .path = "(empty)", .data = calloc(1, 1) };
    return true;
}

static void run_all(const struct seed *seeds, size_t count)
{
    uint64_t start = now_ns();
    unsigned done = 0;

    for (size_t i = 0; i < count; i++) {
        snprintf(running.what, sizeof(running.what), "the seed '%s'", seeds[i].path);
        run(seeds[i].data, seeds[i].size);
    }
    while (done < MUTATIONS_MAX && now_ns() - start < MUTATE_NS)
        run_mutation(seeds, count, done++);
    printf("fuzz: %zu seeds and %u mutations\n", count, done);
}

int main(int argc, char **argv)
{
    struct seed *seeds = calloc((size_t)argc + 1, sizeof(*seeds));
    const char *only = NULL;
    size_t count = 0;
    bool ready = seeds && read_args(argc, argv, seeds, &count, &only);

    watch_for_crashes();
    if (ready && only)
        run_mutation(seeds, count, (unsigned)strtoul(only, NULL, 0));
    else if (ready)
        run_all(seeds, count);
    for (size_t i = 0; i < count; i++)
        free(seeds[i].data);
    free(seeds);
    return ready ? 0 : 1;
}
