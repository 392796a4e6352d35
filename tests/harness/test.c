/* The half of the harness that is C: comparing, ending a test early, death tests, folders and tools. */
#include "tests/harness/test.h"

#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX 4096
#define DEATH_OUTPUT_MAX 65536
#define MEM_CONTEXT 16      /* Bytes shown from a difference on. */
#define TMPDIR_LEN_MAX 60   /* A socket's path has 107 bytes; leave the test some of them. */

/* The running test. One program runs one test at a time. */
static struct {
    jmp_buf end;
    pthread_t thread;
    bool running;
    bool death_child; /* In the fork of a death test, which must never return to googletest. */
    char note[512];
    char tmpdir[PATH_MAX];
    char tool[PATH_MAX];
} current;

void test_run_(void (*run)(void))
{
    current.thread = pthread_self();
    current.running = true;
    if (setjmp(current.end) == 0)
        run();
    current.running = false;
}

void test_end_(void)
{
    if (current.death_child)
        test_death_survived_();
    if (!current.running || !pthread_equal(current.thread, pthread_self())) {
        fprintf(stderr, "a test can end only on the thread that runs it\n");
        abort();
    }
    longjmp(current.end, 1);
}

static void fail_va(const char *file, int line, const char *format, va_list args)
{
    char text[TEXT_MAX + sizeof(current.note) + 16];
    int len = vsnprintf(text, TEXT_MAX, format, args);

    if (len < 0)
        len = 0;
    if (len >= TEXT_MAX)
        len = TEXT_MAX - 1;
    if (current.note[0])
        snprintf(text + len, sizeof(text) - (size_t)len, "\n  note: %s", current.note);
    test_gtest_fail_(file, line, text);
}

void test_failed_(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail_va(file, line, format, args);
    va_end(args);
}

void test_required_(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail_va(file, line, format, args);
    va_end(args);
    test_end_();
}

void test_skip_(const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    test_gtest_skip_(text);
    test_end_();
}

void test_note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(current.note, sizeof(current.note), format, args);
    va_end(args);
}

bool test_has_failed(void) { return test_gtest_has_failed_(); }

struct test_int test_int_signed_(int64_t value)
{
    return (struct test_int){ (uint64_t)value, value < 0 };
}

struct test_int test_int_unsigned_(uint64_t value) { return (struct test_int){ value, false }; }

static int order(struct test_int a, struct test_int b)
{
    if (a.negative != b.negative)
        return a.negative ? -1 : 1;
    /* Two's complement keeps the order among negatives. */
    return (a.bits > b.bits) - (a.bits < b.bits);
}

static void format_int(struct test_int value, char *text, size_t size)
{
    if (value.negative)
        snprintf(text, size, "%" PRId64, (int64_t)value.bits);
    else if (value.bits < 10)
        snprintf(text, size, "%" PRIu64, value.bits);
    else
        snprintf(text, size, "%" PRIu64 " (0x%" PRIx64 ")", value.bits, value.bits);
}

bool test_compare_(const char *file, int line, const char *a_text, struct test_int a,
                   const char *b_text, struct test_int b, enum test_relation relation)
{
    static const char *const names[] = { "==", "!=", "<", "<=", ">", ">=" };
    int sign = order(a, b);
    char a_value[64], b_value[64];
    bool held = false;

    switch (relation) {
    case TEST_EQ: held = sign == 0; break;
    case TEST_NE: held = sign != 0; break;
    case TEST_LT: held = sign < 0; break;
    case TEST_LE: held = sign <= 0; break;
    case TEST_GT: held = sign > 0; break;
    case TEST_GE: held = sign >= 0; break;
    }
    if (held)
        return true;
    format_int(a, a_value, sizeof(a_value));
    format_int(b, b_value, sizeof(b_value));
    test_failed_(file, line, "expected: %s %s %s\n  left:  %s\n  right: %s", a_text,
                 names[relation], b_text, a_value, b_value);
    return false;
}

bool test_expect_str_(const char *file, int line, const char *a_text, const char *a,
                      const char *b_text, const char *b)
{
    if (a == b || (a && b && strcmp(a, b) == 0))
        return true;
    test_failed_(file, line, "expected equal strings: %s, %s\n  left:  %s%s%s\n  right: %s%s%s",
                 a_text, b_text, a ? "\"" : "", a ? a : "NULL", a ? "\"" : "", b ? "\"" : "",
                 b ? b : "NULL", b ? "\"" : "");
    return false;
}

bool test_expect_contains_(const char *file, int line, const char *whole_text, const char *whole,
                           const char *part)
{
    if (whole && strstr(whole, part))
        return true;
    test_failed_(file, line, "expected %s to contain \"%s\"\n  it is: %s", whole_text, part,
                 whole ? whole : "NULL");
    return false;
}

bool test_expect_ptr_(const char *file, int line, const char *a_text, const void *a,
                      const char *b_text, const void *b)
{
    if (a == b)
        return true;
    test_failed_(file, line, "expected: %s == %s\n  left:  %p\n  right: %p", a_text, b_text, a, b);
    return false;
}

static void format_bytes(const uint8_t *bytes, size_t len, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < len && used + 4 < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%02x ", bytes[i]);
}

bool test_expect_mem_(const char *file, int line, const char *a_text, const void *a,
                      const char *b_text, const void *b, size_t len)
{
    const uint8_t *a_bytes = a, *b_bytes = b;
    char a_value[4 * MEM_CONTEXT], b_value[4 * MEM_CONTEXT];
    size_t at = 0, shown;

    while (at < len && a_bytes[at] == b_bytes[at])
        at++;
    if (at == len)
        return true;
    shown = len - at < MEM_CONTEXT ? len - at : MEM_CONTEXT;
    format_bytes(a_bytes + at, shown, a_value, sizeof(a_value));
    format_bytes(b_bytes + at, shown, b_value, sizeof(b_value));
    test_failed_(file, line,
                 "expected equal bytes: %s, %s; they differ from byte %zu of %zu\n"
                 "  left:  %s\n  right: %s",
                 a_text, b_text, at, len, a_value, b_value);
    return false;
}

/* Reads what the child writes until it closes its end, keeping the first DEATH_OUTPUT_MAX bytes. */
static char *read_all(int fd)
{
    char *text = malloc(DEATH_OUTPUT_MAX + 1);
    size_t used = 0;

    assert(text);
    for (;;) {
        char drop[512];
        bool full = used == DEATH_OUTPUT_MAX;
        ssize_t got =
            full ? read(fd, drop, sizeof(drop)) : read(fd, text + used, DEATH_OUTPUT_MAX - used);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        if (!full)
            used += (size_t)got;
    }
    text[used] = '\0';
    return text;
}

static void judge_death(const char *file, int line, const char *stmt, const char *regex,
                        const char *output, int status)
{
    regex_t compiled;
    bool matched;

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        test_failed_(file, line, "expected to die: %s\n  stderr: %s", stmt, output);
        return;
    }
    if (regcomp(&compiled, regex, REG_EXTENDED | REG_NOSUB) != 0) {
        test_failed_(file, line, "not a regular expression: %s", regex);
        return;
    }
    matched = regexec(&compiled, output, 0, NULL, 0) == 0;
    regfree(&compiled);
    if (!matched)
        test_failed_(file, line, "%s died, but its stderr does not match \"%s\":\n%s", stmt, regex,
                     output);
}

bool test_death_child_(const char *file, int line, const char *stmt, const char *regex)
{
    int ends[2], status = 0;
    char *output;
    pid_t pid;

    fflush(NULL);
    if (pipe(ends) < 0 || (pid = fork()) < 0)
        test_required_(file, line, "cannot start a death test: %s", strerror(errno));
    if (pid == 0) {
        const struct rlimit no_core = { 0, 0 };

        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        current.death_child = true;
        return true;
    }
    close(ends[1]);
    output = read_all(ends[0]);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    judge_death(file, line, stmt, regex, output, status);
    free(output);
    return false;
}

void test_death_survived_(void) { _exit(0); }

const char *test_tmpdir(void)
{
    const char *root = getenv("TEST_TMPDIR");

    if (current.tmpdir[0])
        return current.tmpdir;
    if (!root || strlen(root) > TMPDIR_LEN_MAX)
        root = "/tmp";
    snprintf(current.tmpdir, sizeof(current.tmpdir), "%s/emu-XXXXXX", root);
    if (!mkdtemp(current.tmpdir))
        test_required_(__FILE__, __LINE__, "cannot create a folder in '%s': %s", root,
                       strerror(errno));
    return current.tmpdir;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void test_cleanup_(void)
{
    if (current.tmpdir[0] && !test_gtest_has_failed_())
        nftw(current.tmpdir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    else if (current.tmpdir[0])
        fprintf(stderr, "the failed test's files are in %s\n", current.tmpdir);
    current.tmpdir[0] = '\0';
    current.note[0] = '\0';
}

/* Looks for the name in a colon-separated list of folders. */
static bool find_tool(const char *folders, const char *name)
{
    const char *at = folders;

    while (*at) {
        size_t len = strcspn(at, ":");

        snprintf(current.tool, sizeof(current.tool), "%.*s/%s", (int)len, at, name);
        if (len > 0 && access(current.tool, X_OK) == 0)
            return true;
        at += len + (at[len] == ':');
    }
    return false;
}

const char *test_tool_path(const char *name)
{
    const char *path = getenv("PATH");

    if ((path && find_tool(path, name)) || find_tool("/usr/sbin:/sbin", name))
        return current.tool;
    return NULL;
}
