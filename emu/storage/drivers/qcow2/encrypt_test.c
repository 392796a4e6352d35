/*
 * Encrypted qcow2 images: content, passwords, headers. The oracles are a plain copy in memory, the check of the image,
 * and
 * the reference's texts.
 */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/base/json_parse.h"
#include "emu/base/rng.h"
#include "emu/crypto/secret.h"
#include "emu/storage/create.h"
#include "emu/storage/testing.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static const struct driver *const drivers[] = { &driver_file, &driver_qcow2, NULL };
static const struct object_type *const types[] = { &secret_type, NULL };

enum { SIZE = 4 << 20, ROUNDS = 150 };

#define FILE_OPTIONS "'file': {'driver': 'file', 'filename': 'disk'}"
#define OPEN(encrypt)                                                                              \
    "{'driver': 'qcow2', 'node-name': 'q', 'encrypt': {" encrypt "}, " FILE_OPTIONS "}"
#define CREATE(encrypt, more)                                                                      \
    "{'driver': 'qcow2', 'size': 4194304, 'encrypt': {" encrypt "}, " FILE_OPTIONS more "}"

struct rig {
    struct storage_world w;
    struct objects *objects;
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

static struct json *parse(const char *text)
{
    struct json *value = NULL;

    REQUIRE_OK(json_parse_text(text, &value));
    return value;
}

static void add_secret(struct rig *rig, const char *id, const char *data)
{
    struct json *options = json_object();

    json_object_set_str(options, "qom-type", "secret");
    json_object_set_str(options, "id", id);
    json_object_set_str(options, "data", data);
    EXPECT_OK(objects_add(rig->objects, options));
    json_free(options);
}

static void start(struct rig *rig, uint64_t seed)
{
    storage_world_init(&rig->w, seed, drivers);
    rig->objects = objects_new(rig->w.reactor, types);
    graph_set_objects(rig->w.graph, rig->objects);
    sim_file_create(rig->w.sim, "disk", 0);
    add_secret(rig, "a", "password a");
    add_secret(rig, "b", "password b");
}

static void stop(struct rig *rig)
{
    graph_set_objects(rig->w.graph, NULL);
    objects_free(rig->objects);
    storage_world_fini(&rig->w);
}

static struct err *create(struct rig *rig, const char *text)
{
    struct waiting waiting = { 0 };
    struct json *options = parse(text);

    blockdev_create(rig->w.graph, options, finished, &waiting);
    json_free(options);
    REQUIRE(storage_run_until(&rig->w, &waiting.finished));
    return waiting.err;
}

static struct err *try_open(struct rig *rig, const char *options)
{
    struct node *node = NULL;

    TRY(storage_open(&rig->w, options, &node));
    return storage_delete(&rig->w, "q");
}

static void check_clean(struct rig *rig, struct node *node)
{
    struct waiting waiting = { 0 };
    struct check_result result = { 0 };

    (node->driver->check)(node, 0, &result, finished, &waiting);
    REQUIRE(storage_run_until(&rig->w, &waiting.finished));
    EXPECT_OK(waiting.err);
    EXPECT_EQ(result.corruptions + result.check_errors + result.leaks, 0);
    xfree(result.report);
}

static void random_writes(struct rig *rig, struct edge *edge, struct rng *rng, uint8_t *model)
{
    uint8_t *buf = xmalloc(SIZE);

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t offset = rng_below(rng, SIZE - 1);
        uint64_t len = rng_between(rng, 1, rng_chance(rng, 1, 10) ? 400000 : 5000);

        len = len > SIZE - offset ? SIZE - offset : len;
        switch (rng_below(rng, 4)) {
        case 0:
            EXPECT_EQ(storage_io(&rig->w, edge, REQ_ZERO, REQ_MAY_UNMAP, offset, len, NULL), 0);
            memset(model + offset, 0, len);
            break;
        case 1:
            EXPECT_EQ(storage_io(&rig->w, edge, REQ_READ, 0, offset, len, buf), 0);
            EXPECT_MEM(buf, model + offset, len);
            break;
        default:
            rng_fill(rng, model + offset, len);
            EXPECT_EQ(storage_io(&rig->w, edge, REQ_WRITE, 0, offset, len, model + offset), 0);
            break;
        }
    }
    xfree(buf);
}

static void keeps_content_as(const char *creation, const char *opening, uint64_t seed)
{
    uint8_t *model = xcalloc(1, SIZE), *back = xmalloc(SIZE);
    struct edge *edge;
    struct rig rig;
    struct rng rng;

    test_note("%s", creation);
    rng_init(&rng, seed);
    start(&rig, seed);
    EXPECT_OK(create(&rig, creation));
    for (int round = 0; round < 2; round++) {
        edge = storage_edge(&rig.w, storage_must_open(&rig.w, opening),
                            PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
        EXPECT_EQ(storage_io(&rig.w, edge, REQ_READ, 0, 0, SIZE, back), 0);
        EXPECT_MEM(back, model, SIZE);
        random_writes(&rig, edge, &rng, model);
        EXPECT_EQ(storage_io(&rig.w, edge, REQ_FLUSH, 0, 0, 0, NULL), 0);
        check_clean(&rig, edge->node);
        edge_detach(edge);
        EXPECT_OK(storage_delete(&rig.w, "q"));
    }
    stop(&rig);
    xfree(model);
    xfree(back);
}

static void keeps_content(void)
{
    keeps_content_as(CREATE("'format': 'luks', 'key-secret': 'a', 'iter-time': 1", ""),
                     OPEN("'format': 'luks', 'key-secret': 'a'"), 1);
    keeps_content_as(CREATE("'format': 'aes', 'key-secret': 'a'", ""),
                     OPEN("'format': 'aes', 'key-secret': 'a'"), 2);
    keeps_content_as(CREATE("'format': 'luks', 'key-secret': 'a', 'iter-time': 1",
                            ", 'cluster-size': 16384, 'extended-l2': true"),
                     OPEN("'key-secret': 'a'"), 3);
    keeps_content_as(CREATE("'format': 'luks', 'key-secret': 'a', 'iter-time': 1",
                            ", 'cluster-size': 512, 'refcount-bits': 1"),
                     OPEN("'key-secret': 'a'"), 4);
}

static void shows_nothing_in_the_file(void)
{
    uint8_t text[4096], *file;
    struct edge *edge;
    uint64_t size;
    struct rig rig;

    start(&rig, 1);
    memset(text, 0x5a, sizeof(text));
    EXPECT_OK(create(&rig, CREATE("'format': 'luks', 'key-secret': 'a', 'iter-time': 1", "")));
    edge = storage_edge(&rig.w, storage_must_open(&rig.w, OPEN("'key-secret': 'a'")),
                        PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
    EXPECT_EQ(storage_io(&rig.w, edge, REQ_WRITE, 0, 65536, sizeof(text), text), 0);
    EXPECT_EQ(storage_io(&rig.w, edge, REQ_WRITE, 0, 66048, sizeof(text), text), 0);
    edge_detach(edge);
    EXPECT_OK(storage_delete(&rig.w, "q"));
    size = sim_file_size(rig.w.sim, "disk");
    file = xmalloc(size);
    sim_file_peek(rig.w.sim, "disk", 0, file, size);
    EXPECT(memmem(file, size, text, 16) == NULL);
    xfree(file);
    stop(&rig);
}

static void opens_by_the_right_options_only(void)
{
    struct rig rig;

    start(&rig, 1);
    EXPECT_ERR(create(&rig, CREATE("'key-secret': 'a'", "")),
               "Parameter 'encrypt.format' is missing");
    EXPECT_ERR(create(&rig, CREATE("'format': 'luks'", "")),
               "Parameter 'encrypt.key-secret' is required for cipher");
    EXPECT_ERR(create(&rig, CREATE("'format': 'foo', 'key-secret': 'a'", "")),
               "Parameter 'format' does not accept value 'foo'");
    EXPECT_OK(create(&rig, CREATE("'format': 'luks', 'key-secret': 'a', 'iter-time': 1", "")));
    EXPECT_OK(try_open(&rig, OPEN("'format': 'luks', 'key-secret': 'a'")));
    EXPECT_ERR(try_open(&rig, OPEN("'key-secret': 'b'")),
               "Invalid password, cannot unlock any keyslot");
    EXPECT_ERR(try_open(&rig, "{'driver': 'qcow2', 'node-name': 'q', " FILE_OPTIONS "}"),
               "Parameter 'encrypt.key-secret' is required for cipher");
    EXPECT_ERR(try_open(&rig, OPEN("'format': 'aes', 'key-secret': 'a'")),
               "Header reported 'luks' encryption format but options specify 'aes'");
    EXPECT_OK(create(&rig, "{'driver': 'qcow2', 'size': 1048576, " FILE_OPTIONS "}"));
    EXPECT_ERR(try_open(&rig, OPEN("'format': 'luks', 'key-secret': 'a'")),
               "No encryption in image header, but options specified format 'luks'");
    stop(&rig);
}

static void refuses_hostile_extensions(void)
{
    static const struct {
        size_t at;
        uint32_t value;
        const char *error;
    } rows[] = {
        { 4, 8, "CRYPTO header extension size 8, but expected size 16" },
        { 12, 0x40010,
          "Encryption header offset '262160' is not a multiple of cluster size '65536'" },
        { 12, 0x40000000, "Volume is not in LUKS format" },
        { 20, 100, "Request for data outside of extension header" },
        { 0, 0x12345678, "Missing CRYPTO header for crypt method 2" },
    };
    uint8_t head[1024], bad[1024], word[4];
    const uint8_t *found;
    size_t at;
    struct rig rig;

    start(&rig, 1);
    EXPECT_OK(create(&rig, CREATE("'format': 'luks', 'key-secret': 'a', 'iter-time': 1", "")));
    sim_file_peek(rig.w.sim, "disk", 0, head, sizeof(head));
    store_be32(word, UINT32_C(0x0537be77));
    found = memmem(head, sizeof(head), word, sizeof(word));
    REQUIRE(found);
    at = (size_t)(found - head);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        test_note("row %zu", i);
        memcpy(bad, head, sizeof(bad));
        store_be32(bad + at + rows[i].at, rows[i].value);
        sim_file_poke(rig.w.sim, "disk", 0, bad, sizeof(bad));
        EXPECT_ERR(try_open(&rig, OPEN("'key-secret': 'a'")), rows[i].error);
    }
    memcpy(bad, head, sizeof(bad));
    store_be32(bad + 32, 1);
    sim_file_poke(rig.w.sim, "disk", 0, bad, sizeof(bad));
    EXPECT_ERR(try_open(&rig, OPEN("'key-secret': 'a'")),
               "CRYPTO header extension only expected with LUKS encryption method");
    stop(&rig);
}

TEST_LIST(TEST(keeps_content), TEST(shows_nothing_in_the_file),
          TEST(opens_by_the_right_options_only), TEST(refuses_hostile_extensions));
