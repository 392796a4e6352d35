/* The peer is qemu-img and qemu-io: images made there must read here, and the other way round. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/crypto/secret.h"
#include "emu/storage/create.h"
#include "emu/storage/testing.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static const struct driver *const drivers[] = { &driver_file, &driver_luks, NULL };
static const struct object_type *const types[] = { &secret_type, NULL };

#define SECRET "--object secret,id=a,data=password"

/* One row: options in the words of qemu-img -o, and as members of BlockdevCreateOptions. */
static const struct kind {
    const char *tool, *json;
} kinds[] = {
    { "", "" },
    { ",cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256",
      ", 'cipher-alg': 'aes-128', 'cipher-mode': 'cbc', 'ivgen-alg': 'essiv', 'ivgen-hash-alg': 'sha256'" },
    { ",cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=md5",
      ", 'cipher-alg': 'aes-128', 'cipher-mode': 'cbc', 'ivgen-alg': 'essiv', 'ivgen-hash-alg': 'md5'" },
    { ",cipher-alg=aes-192,ivgen-alg=plain,hash-alg=sha384",
      ", 'cipher-alg': 'aes-192', 'ivgen-alg': 'plain', 'hash-alg': 'sha384'" },
    { ",cipher-alg=serpent-256,hash-alg=sha512",
      ", 'cipher-alg': 'serpent-256', 'hash-alg': 'sha512'" },
    { ",cipher-alg=twofish-128,hash-alg=ripemd160",
      ", 'cipher-alg': 'twofish-128', 'hash-alg': 'ripemd160'" },
    { ",cipher-alg=cast5-128,cipher-mode=cbc,hash-alg=sha1",
      ", 'cipher-alg': 'cast5-128', 'cipher-mode': 'cbc', 'hash-alg': 'sha1'" },
    { ",cipher-mode=ctr,hash-alg=sha224", ", 'cipher-mode': 'ctr', 'hash-alg': 'sha224'" },
};

struct rig {
    struct storage_world w;
    struct objects *objects;
    char *path; /* owned */
};

struct waiting {
    bool finished;
    struct err *err;
};

static void finished(void *arg, struct err *err)
{
    struct waiting *waiting = arg;

    waiting->finished = true;
    waiting->err = err;
}

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *fmt, ...)
{
    va_list args;
    CLEANUP(xfree) char *command = NULL;
    int status;

    va_start(args, fmt);
    command = xvasprintf(fmt, args);
    va_end(args);
    status = system(command);
    EXPECT_MSG(status == 0, "'%s' failed with %d", command, status);
}

static void start(struct rig *rig)
{
    struct json *options = NULL;

    if (!test_tool_path("qemu-img") || !test_tool_path("qemu-io"))
        TEST_SKIP("qemu-img and qemu-io are not installed");
    storage_world_init(&rig->w, 1, drivers);
    rig->objects = objects_new(rig->w.reactor, types);
    graph_set_objects(rig->w.graph, rig->objects);
    REQUIRE_OK(json_parse_text("{'qom-type': 'secret', 'id': 'a', 'data': 'password'}", &options));
    EXPECT_OK(objects_add(rig->objects, options));
    json_free(options);
    rig->path = xasprintf("%s/luks", test_tmpdir());
}

static void stop(struct rig *rig)
{
    graph_set_objects(rig->w.graph, NULL);
    objects_free(rig->objects);
    storage_world_fini(&rig->w);
    xfree(rig->path);
}

static struct edge *open_disk(struct rig *rig)
{
    struct node *node =
        storage_must_open(&rig->w, "{'driver': 'luks', 'node-name': 'l', 'key-secret': 'a', "
                                   "'file': {'driver': 'file', 'filename': 'disk'}}");

    return storage_edge(&rig->w, node, PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
}

static void close_disk(struct rig *rig, struct edge *edge)
{
    edge_detach(edge);
    EXPECT_OK(storage_delete(&rig->w, "l"));
}

static void qemu_io(const struct rig *rig, const char *commands)
{
    shell("%s " SECRET " --image-opts driver=luks,file.filename=%s,key-secret=a %s > %s/out 2>&1"
          " && ! grep -i -e failed -e error %s/out",
          test_tool_path("qemu-io"), rig->path, commands, test_tmpdir(), test_tmpdir());
}

/* The peer measures for a second or more per image, so this takes few rows. */
static void reads_what_the_peer_wrote(void)
{
    for (size_t i = 0; i < 3; i += 2) {
        struct rig rig;
        struct edge *edge;
        uint8_t want[4096], got[4096];

        test_note("kind %s", kinds[i].tool);
        start(&rig);
        shell("%s create -q " SECRET " -f luks -o key-secret=a,iter-time=100%s %s 1M",
              test_tool_path("qemu-img"), kinds[i].tool, rig.path);
        qemu_io(&rig, "-c 'write -P 0x42 512000 4096'");
        REQUIRE_OK(sim_file_import(rig.w.sim, "disk", rig.path));
        edge = open_disk(&rig);
        EXPECT_EQ(edge->node->size, 1 << 20);
        memset(want, 0x42, sizeof(want));
        EXPECT_EQ(storage_io(&rig.w, edge, REQ_READ, 0, 512000, sizeof(got), got), 0);
        EXPECT_MEM(got, want, sizeof(want));
        close_disk(&rig, edge);
        stop(&rig);
    }
}

static void writes_what_the_peer_reads(void)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        CLEANUP(json_free) struct json *options = NULL;
        CLEANUP(xfree) char *text = NULL;
        struct waiting waiting = { 0 };
        struct edge *edge;
        struct rig rig;
        uint8_t data[4096];

        test_note("kind %s", kinds[i].tool);
        start(&rig);
        text = xasprintf("{'driver': 'luks', 'size': 1048576, 'iter-time': 1, 'key-secret': 'a', "
                         "'file': {'driver': 'file', 'filename': 'disk'}%s}",
                         kinds[i].json);
        REQUIRE_OK(json_parse_text(text, &options));
        sim_file_create(rig.w.sim, "disk", 0);
        blockdev_create(rig.w.graph, options, finished, &waiting);
        REQUIRE(storage_run_until(&rig.w, &waiting.finished));
        REQUIRE_OK(waiting.err);
        edge = open_disk(&rig);
        memset(data, 0x17, sizeof(data));
        EXPECT_EQ(storage_io(&rig.w, edge, REQ_WRITE, 0, 768000, sizeof(data), data), 0);
        close_disk(&rig, edge);
        REQUIRE_OK(sim_file_export(rig.w.sim, "disk", rig.path));
        qemu_io(&rig, "-c 'read -P 0x17 768000 4096'");
        stop(&rig);
    }
}

TEST_LIST(TEST(reads_what_the_peer_wrote), TEST(writes_what_the_peer_reads));
