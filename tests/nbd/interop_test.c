/*
 * Our server and our client with other people's programs, over unix sockets on the real reactor. What is
 * not installed is skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/iov.h"
#include "emu/base/nstime.h"
#include "emu/base/rng.h"
#include "emu/base/str.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"
#include "tests/nbd/nbd_env.h"

enum { DISK = 8 << 20 };

extern char **environ;

static struct nbd_env env;
static uint8_t content[DISK], other[DISK];

/* "sh -c" with $DIR and $URI set; the output goes to $DIR/out. */
static pid_t spawn(const char *script)
{
    const char *argv[] = { "sh", "-c", NULL, NULL };
    char *full =
        xasprintf("DIR=%s; URI=\"nbd+unix:///x?socket=$DIR/s\"; cd $DIR; exec >$DIR/out 2>&1; %s",
                  test_tmpdir(), script);
    pid_t pid;

    argv[2] = full;
    REQUIRE_EQ(posix_spawnp(&pid, "sh", NULL, NULL, (char *const *)argv, environ), 0);
    xfree(full);
    return pid;
}

static void show_output(const char *script)
{
    char *path = xasprintf("%s/out", test_tmpdir());
    FILE *file = fopen(path, "r");
    char text[2000] = "";

    if (file) {
        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        fclose(file);
    }
    TEST_FAIL("%s\n%s", script, text);
    xfree(path);
}

/* Runs the script while the reactor serves it. */
static void run(const char *script)
{
    pid_t pid = spawn(script);
    int status = -1;

    for (int i = 0; i < 2000 && waitpid(pid, &status, WNOHANG) == 0; i++)
        reactor_run_once(env.reactor, 10 * NS_PER_MS);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        show_output(script);
}

static void need(const char *tool)
{
    if (!test_tool_path(tool))
        TEST_SKIP("%s is not installed", tool);
}

static char *path_of(const char *name) { return xasprintf("%s/%s", test_tmpdir(), name); }

static void make_disk(const char *name)
{
    char *path = path_of(name);
    struct rng rng;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    rng_init(&rng, 1);
    memset(content, 0, DISK);
    rng_fill(&rng, content, 1 << 20);
    rng_fill(&rng, content + (5 << 20), 100000);
    REQUIRE(fd >= 0);
    REQUIRE_EQ(ftruncate(fd, DISK), 0);
    REQUIRE_EQ(pwrite(fd, content, 1 << 20, 0), 1 << 20);
    REQUIRE_EQ(pwrite(fd, content + (5 << 20), 100000, 5 << 20), 100000);
    close(fd);
    xfree(path);
}

static struct node *open_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
static struct node *open_format(const char *format, ...)
{
    va_list args;
    char *text;
    struct node *node;

    va_start(args, format);
    text = xvasprintf(format, args);
    va_end(args);
    node = env_open_ok(&env, text);
    xfree(text);
    return node;
}

static void serve_disk(void)
{
    char *socket = path_of("s");

    make_disk("disk");
    env_init_real(&env);
    open_format("{'driver':'file','node-name':'disk','filename':'%s/disk'}", test_tmpdir());
    env_serve(&env, socket);
    env_export(&env, &(struct export_options){
                         .id = "e", .node_name = "disk", .name = "x", .writable = true });
    xfree(socket);
}

static void nbdinfo_understands_the_server(void)
{
    need("nbdinfo");
    serve_disk();
    run("nbdinfo --size $URI | grep -x 8388608 && nbdinfo --can multi-conn $URI && nbdinfo --can fast-zero $URI && "
        "nbdinfo --list $URI && nbdinfo --map $URI | grep -q hole,zero");
    env_fini(&env);
}

static void nbdcopy_copies_both_ways(void)
{
    need("nbdcopy");
    serve_disk();
    run("nbdcopy $URI copy && cmp disk copy && truncate -s 0 disk.2 && head -c 8388608 /dev/urandom > new && "
        "nbdcopy --flush new $URI && cmp new disk");
    env_fini(&env);
}

static void qemu_tools_use_the_server(void)
{
    need("qemu-img");
    need("qemu-io");
    serve_disk();
    run("qemu-img convert -f raw -O qcow2 $URI c.qcow2 && qemu-img compare -f qcow2 -F raw c.qcow2 $URI");
    run("qemu-io -f raw -c 'write -P 7 1M 300k' -c 'read -P 7 1M 300k' -c 'write -z 1M 64k' -c 'read -P 0 1M 64k' "
        "-c 'discard 2M 1M' -c 'write -f -P 9 3 5' -c 'read -P 9 3 5' -c flush $URI > io; cat io; ! grep -i fail io");
    run("qemu-img convert -n -f qcow2 -O raw c.qcow2 $URI && qemu-img compare -f qcow2 -F raw c.qcow2 $URI");
    env_fini(&env);
}

/* ---- Our client ---- */

static struct edge *connect_to(const char *server_script, bool write)
{
    struct node *node = NULL;
    struct err *err = NULL;
    char *text = xasprintf(
        "{'driver':'nbd','node-name':'n','export':'x','server':{'type':'unix','path':'%s/s'},"
        "'open-timeout':15,'read-only':%s}",
        test_tmpdir(), write ? "false" : "true");

    make_disk("disk");
    env_init_real(&env);
    (void)spawn(server_script);
    node = env_open(&env, text, &err);
    xfree(text);
    if (err)
        show_output(server_script);
    REQUIRE_OK(err);
    EXPECT_EQ(node->size, DISK);
    return env_attach(node, write);
}

static void read_all(struct edge *edge)
{
    memset(other, 0xaa, DISK);
    EXPECT_EQ(env_rw(&env, edge, REQ_READ, 0, other, DISK), 0);
    EXPECT_MEM(other, content, DISK);
}

static void write_some(struct edge *edge)
{
    memset(content + 4096, 0x5a, 300000 / 512 * 512);
    EXPECT_EQ(env_rw(&env, edge, REQ_WRITE, 4096, content + 4096, 300000 / 512 * 512), 0);
    memset(content + 65536, 0, 65536);
    EXPECT_EQ(env_rw(&env, edge, REQ_ZERO, 65536, NULL, 65536), 0);
    EXPECT_EQ(env_rw(&env, edge, REQ_FLUSH, 0, NULL, 0), 0);
    read_all(edge);
}

static void finish(struct edge *edge)
{
    edge_detach(edge);
    env_fini(&env);
}

static void the_client_uses_qemu_nbd(void)
{
    struct req req = { .kind = REQ_STATUS, .offset = 1 << 20, .len = 1 << 20 };
    struct edge *edge;

    need("qemu-nbd");
    edge = connect_to("exec qemu-nbd -f raw -k $DIR/s -x x disk", true);
    read_all(edge);
    EXPECT_EQ(env_io(&env, edge, &req), 0);
    EXPECT(req.status.flags & STATUS_ZERO);
    write_some(edge);
    finish(edge);
}

static void the_client_uses_nbdkit(void)
{
    static const char *const servers[] = {
        "exec nbdkit -f --exit-with-parent -U $DIR/s file disk",
        "exec nbdkit -f --exit-with-parent --no-sr -U $DIR/s file disk",
        "exec nbdkit -f --exit-with-parent --mask-handshake=0 -U $DIR/s file disk",
        "exec nbdkit -f --exit-with-parent -U $DIR/s --filter=delay file disk rdelay=20ms wdelay=20ms",
    };

    need("nbdkit");
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        struct edge *edge;
        char *socket = path_of("s");

        test_note("server %zu", i);
        unlink(socket);
        xfree(socket);
        /* With EXPORT_NAME and others, the name does not matter to the file plugin. */
        edge = connect_to(servers[i], true);
        read_all(edge);
        write_some(edge);
        finish(edge);
    }
}

static void errors_of_nbdkit_are_passed_on(void)
{
    struct edge *edge;

    need("nbdkit");
    edge = connect_to(
        "exec nbdkit -f --exit-with-parent -U $DIR/s --filter=error file disk error-pwrite=ENOSPC "
        "error-pwrite-rate=100%",
        true);
    read_all(edge);
    EXPECT_EQ(env_rw(&env, edge, REQ_WRITE, 0, other, 4096), -ENOSPC);
    read_all(edge);
    finish(edge);
}

TEST_LIST(TEST(nbdinfo_understands_the_server), TEST(nbdcopy_copies_both_ways),
          TEST(qemu_tools_use_the_server), TEST(the_client_uses_qemu_nbd),
          TEST(the_client_uses_nbdkit), TEST(errors_of_nbdkit_are_passed_on));
