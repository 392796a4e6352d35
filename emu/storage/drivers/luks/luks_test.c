/* LUKS images in the simulator: content, passwords, key slots, hostile headers. Texts are the reference's. */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/base/json_parse.h"
#include "emu/base/rng.h"
#include "emu/crypto/luks.h"
#include "emu/crypto/secret.h"
#include "emu/storage/create.h"
#include "emu/storage/testing.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static const struct driver *const drivers[] = { &driver_file, &driver_raw, &driver_luks, NULL };
static const struct object_type *const types[] = { &secret_type, NULL };

enum { SIZE = 1 << 20 };

#define FILE_OPTIONS  "'file': {'driver': 'file', 'filename': 'disk'}"
#define OPEN(secret)                                                                               \
    "{'driver': 'luks', 'node-name': 'l', 'key-secret': '" secret "', " FILE_OPTIONS "}"
#define CREATE(extra)                                                                              \
    "{'driver': 'luks', 'size': 1048576, 'iter-time': 1, 'key-secret': 'a', " FILE_OPTIONS extra "}"

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

    EXPECT_OK(json_parse_text(text, &value));
    REQUIRE(value);
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
    sim_file_create(rig->w.sim, "head", 0);
    add_secret(rig, "a", "password a");
    add_secret(rig, "b", "password b");
    add_secret(rig, "c", "password c");
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

static struct err *amend(struct rig *rig, struct node *node, unsigned flags, const char *text)
{
    struct waiting waiting = { 0 };
    struct json *options = parse(text);

    node->driver->amend(node, options, flags, NULL, finished, &waiting);
    json_free(options);
    REQUIRE(storage_run_until(&rig->w, &waiting.finished));
    return waiting.err;
}

static struct err *try_open(struct rig *rig, const char *options)
{
    struct node *node = NULL;

    TRY(storage_open(&rig->w, options, &node));
    return storage_delete(&rig->w, "l");
}

static void keeps_content(void)
{
    static const char *const kinds[] = {
        "",
        ", 'cipher-alg': 'aes-128', 'cipher-mode': 'cbc', 'ivgen-alg': 'essiv', 'ivgen-hash-alg': 'sha256'",
        ", 'cipher-alg': 'aes-192', 'cipher-mode': 'cbc', 'ivgen-alg': 'plain'",
        ", 'cipher-alg': 'serpent-256', 'hash-alg': 'sha512'",
        ", 'cipher-alg': 'twofish-128', 'hash-alg': 'ripemd160'",
        ", 'cipher-alg': 'cast5-128', 'cipher-mode': 'cbc', 'hash-alg': 'sha1'",
        ", 'cipher-mode': 'ctr'",
    };
    uint8_t *data = xmalloc(SIZE), *back = xmalloc(SIZE);
    struct rng rng;

    rng_init(&rng, 1);
    rng_fill(&rng, data, SIZE);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct rig rig;
        struct edge *edge;
        char *options = xasprintf("%.*s%s}", (int)strlen(CREATE("")) - 1, CREATE(""), kinds[i]);

        test_note("kind %s", kinds[i]);
        start(&rig, i);
        EXPECT_OK(create(&rig, options));
        edge = storage_edge(&rig.w, storage_must_open(&rig.w, OPEN("a")),
                            PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
        EXPECT_EQ(edge->node->size, SIZE);
        EXPECT_EQ(storage_io(&rig.w, edge, REQ_WRITE, 0, 0, SIZE, data), 0);
        EXPECT_EQ(storage_io(&rig.w, edge, REQ_ZERO, 0, 1000, 3000, NULL), 0);
        memset(data + 1000, 0, 3000);
        EXPECT_EQ(storage_io(&rig.w, edge, REQ_READ, 0, 777, 70000, back), 0);
        EXPECT_MEM(back, data + 777, 70000);
        edge_detach(edge);
        EXPECT_OK(storage_delete(&rig.w, "l"));
        edge = storage_edge(&rig.w, storage_must_open(&rig.w, OPEN("a")), PERM_CONSISTENT_READ,
                            PERM_ALL);
        EXPECT_EQ(storage_io(&rig.w, edge, REQ_READ, 0, 0, SIZE, back), 0);
        EXPECT_MEM(back, data, SIZE);
        /* Nothing of it lies in the file as it is. */
        sim_file_peek(rig.w.sim, "disk", sim_file_size(rig.w.sim, "disk") - SIZE, back, SIZE);
        EXPECT(memcmp(back + 4096, data + 4096, 64) != 0);
        edge_detach(edge);
        stop(&rig);
        xfree(options);
    }
    xfree(data);
    xfree(back);
}

static void opens_by_the_right_password_only(void)
{
    struct rig rig;

    start(&rig, 1);
    EXPECT_OK(create(&rig, CREATE("")));
    EXPECT_OK(try_open(&rig, OPEN("a")));
    EXPECT_ERR(try_open(&rig, OPEN("b")), "Invalid password, cannot unlock any keyslot");
    EXPECT_ERR(try_open(&rig, OPEN("x")), "No secret with id 'x'");
    EXPECT_ERR(try_open(&rig, "{'driver': 'luks', 'node-name': 'l', " FILE_OPTIONS "}"),
               "Parameter 'key-secret' is required for cipher");
    stop(&rig);
}

static void refuses_impossible_options(void)
{
    struct rig rig;

    start(&rig, 1);
    EXPECT_ERR(create(&rig, CREATE(", 'cipher-alg': 'des'")), "Algorithm 'des' not supported");
    EXPECT_ERR(create(&rig, CREATE(", 'cipher-alg': 'foo'")),
               "Parameter 'cipher-alg' does not accept value 'foo'");
    EXPECT_ERR(create(&rig, CREATE(", 'cipher-alg': 'cast5-128'")), "Unsupported cipher mode xts");
    EXPECT_ERR(create(&rig, CREATE(", 'cipher-alg': 'cast5-128', 'cipher-mode': 'cbc', "
                                   "'ivgen-alg': 'essiv'")),
               "Cipher cast5-128 not supported with essiv");
    EXPECT_ERR(create(&rig, CREATE(", 'cipher-mode': 'cbc', 'ivgen-alg': 'essiv', "
                                   "'ivgen-hash-alg': 'sha1'")),
               "No AES cipher with key size 20 available");
    stop(&rig);
}

static void changes_key_slots(void)
{
    struct rig rig;
    struct node *node;

    start(&rig, 3);
    EXPECT_OK(create(&rig, CREATE("")));
    node = storage_must_open(&rig.w, OPEN("a"));
#define AMEND(text) amend(&rig, node, 0, "{" text "}")
#define ADD(secret, more)                                                                          \
    AMEND("'state': 'active', 'iter-time': 1, 'new-secret': '" secret "'" more)
    EXPECT_ERR(AMEND("'new-secret': 'b'"), "Parameter 'state' is missing");
    EXPECT_ERR(AMEND("'state': 'active'"), "'new-secret' is required to activate a keyslot");
    EXPECT_ERR(ADD("b", ", 'old-secret': 'a'"),
               "'old-secret' must not be given when activating keyslots");
    EXPECT_ERR(ADD("b", ", 'keyslot': 0"),
               "Refusing to overwrite active keyslot 0 - please erase it first");
    EXPECT_ERR(ADD("b", ", 'keyslot': 8"), "Invalid keyslot 8 specified, must be between 0 and 7");
    EXPECT_OK(ADD("b", ""));
    EXPECT_OK(ADD("b", ", 'keyslot': 5"));
    EXPECT_ERR(AMEND("'state': 'inactive'"),
               "To erase keyslot(s), either explicit keyslot index or the password currently "
               "contained in them must be given");
    EXPECT_ERR(AMEND("'state': 'inactive', 'keyslot': 3"),
               "Given keyslot 3 is already erased (inactive) ");
    EXPECT_ERR(AMEND("'state': 'inactive', 'old-secret': 'c'"),
               "No keyslots match given (old) password for erase operation");
    EXPECT_ERR(AMEND("'state': 'inactive', 'old-secret': 'c', 'keyslot': 0"),
               "Given keyslot 0 doesn't contain the given old password for erase operation");
    EXPECT_ERR(AMEND("'state': 'inactive', 'iter-time': 1, 'keyslot': 1"),
               "'iter-time' must not be given when erasing keyslots");
    EXPECT_OK(AMEND("'state': 'inactive', 'old-secret': 'b'"));
    EXPECT_ERR(AMEND("'state': 'inactive', 'keyslot': 0"),
               "Attempt to erase the only active keyslot 0 which will erase all the data in "
               "the image irreversibly - refusing operation");
    EXPECT_ERR(AMEND("'state': 'inactive', 'old-secret': 'a'"),
               "All the active keyslots match the (old) password that was given and erasing "
               "them will erase all the data in the image irreversibly - refusing operation");
    EXPECT_OK(ADD("c", ", 'keyslot': 7"));
    EXPECT_OK(AMEND("'state': 'inactive', 'old-secret': 'a'"));
    EXPECT_ERR(ADD("b", ""), "Invalid password, cannot unlock any keyslot");
    EXPECT_OK(storage_delete(&rig.w, "l"));
    EXPECT_ERR(try_open(&rig, OPEN("a")), "Invalid password, cannot unlock any keyslot");
    EXPECT_ERR(try_open(&rig, OPEN("b")), "Invalid password, cannot unlock any keyslot");
    EXPECT_OK(try_open(&rig, OPEN("c")));
    stop(&rig);
}

static void forces_what_is_refused(void)
{
    struct rig rig;
    struct node *node;
    struct edge *edge;
    uint8_t before[512] = "content", after[512];

    start(&rig, 3);
    EXPECT_OK(create(&rig, CREATE("")));
    node = storage_must_open(&rig.w, OPEN("a"));
    edge = storage_edge(&rig.w, node, PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
    EXPECT_EQ(storage_io(&rig.w, edge, REQ_WRITE, 0, 0, 512, before), 0);
    EXPECT_OK(amend(&rig, node, AMEND_FORCE,
                    "{'state': 'active', 'iter-time': 1, 'new-secret': 'b', 'keyslot': 0}"));
    edge_detach(edge);
    EXPECT_OK(storage_delete(&rig.w, "l"));
    EXPECT_ERR(try_open(&rig, OPEN("a")), "Invalid password, cannot unlock any keyslot");
    node = storage_must_open(&rig.w, OPEN("b"));
    edge = storage_edge(&rig.w, node, PERM_CONSISTENT_READ, PERM_ALL);
    EXPECT_EQ(storage_io(&rig.w, edge, REQ_READ, 0, 0, 512, after), 0);
    EXPECT_MEM(before, after, 512);
    edge_detach(edge);
    EXPECT_OK(amend(&rig, node, AMEND_FORCE, "{'state': 'inactive', 'keyslot': 0}"));
    EXPECT_OK(storage_delete(&rig.w, "l"));
    EXPECT_ERR(try_open(&rig, OPEN("b")), "Invalid password, cannot unlock any keyslot");
    stop(&rig);
}

static void keeps_its_header_apart(void)
{
    struct rig rig;
    struct edge *edge;
    uint8_t before[512] = "content", after[512];

    start(&rig, 5);
    EXPECT_OK(create(&rig, CREATE(", 'header': {'driver': 'file', 'filename': 'head'}")));
    EXPECT_EQ(sim_file_size(rig.w.sim, "disk"), SIZE);
    edge = storage_edge(
        &rig.w,
        storage_must_open(&rig.w,
                          "{'driver': 'luks', 'node-name': 'l', 'key-secret': 'a', "
                          "'header': {'driver': 'file', 'filename': 'head'}, " FILE_OPTIONS "}"),
        PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
    EXPECT_EQ(edge->node->size, SIZE);
    EXPECT_EQ(storage_io(&rig.w, edge, REQ_WRITE, 0, 0, 512, before), 0);
    EXPECT_EQ(storage_io(&rig.w, edge, REQ_READ, 0, 0, 512, after), 0);
    EXPECT_MEM(before, after, 512);
    edge_detach(edge);
    EXPECT_OK(storage_delete(&rig.w, "l"));
    EXPECT_ERR(try_open(&rig, OPEN("a")), "Volume is not in LUKS format");
    stop(&rig);
}

/* Fields of the header at these offsets, big-endian 32 bits unless text is given. */
static const struct hostile {
    size_t at;
    const char *text;
    uint32_t value;
    const char *error;
} hostile[] = {
    { 0, "X", 0, "Volume is not in LUKS format" },
    { 8, "foo", 0, "Algorithm 'foo' with key size 32 bytes not supported" },
    { 8, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, "LUKS header cipher name is not NUL terminated" },
    { 40, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, "LUKS header cipher mode is not NUL terminated" },
    { 72, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, "LUKS header hash spec is not NUL terminated" },
    { 40, "xts", 0, "Unexpected cipher mode string format 'xts'" },
    { 40, "foo-plain64", 0, "Cipher mode 'foo' not supported" },
    { 40, "xts-foo", 0, "IV generator 'foo' not supported" },
    { 40, "xts-essiv", 0, "Missing IV generator hash specification" },
    { 40, "xts-essiv:foo", 0, "Hash algorithm 'foo' not supported" },
    { 40, "cbc-essiv:sha256", 0, "Algorithm 'aes' with key size 64 bytes not supported" },
    { 72, "foo", 0, "Hash algorithm 'foo' not supported" },
    { 108, NULL, 0, "Algorithm 'aes' with key size 0 bytes not supported" },
    { 108, NULL, 17, "XTS cipher key length should be a multiple of 2" },
    { 108, NULL, 1000000, "Keyslot 0 is overlapping with the encrypted payload" },
    { 108, NULL, UINT32_MAX, "Keyslot 0 is overlapping with the encrypted payload" },
    { 104, NULL, 0, "LUKS payload is overlapping with the header" },
    { 104, NULL, 8, "Keyslot 0 is overlapping with the encrypted payload" },
    { 104, NULL, UINT32_MAX, "Could not refresh total sector count: Input/output error" },
    { 164, NULL, 0, "LUKS key iteration count is zero" },
    { 208, NULL, 5, "Keyslot 0 state (active/disable) is corrupted" },
    { 212, NULL, 0, "Keyslot 0 iteration count is zero" },
    { 252, NULL, 10, "Keyslot 0 is corrupted (stripes 10 != 4000)" },
    { 252, NULL, UINT32_MAX, "Keyslot 0 is corrupted (stripes -1 != 4000)" },
    { 248, NULL, 1, "Keyslot 0 is overlapping with the LUKS header" },
    { 248, NULL, UINT32_MAX, "Keyslot 0 is overlapping with the encrypted payload" },
    { 296, NULL, 9, "Keyslots 0 and 1 are overlapping in the header" },
};

static void refuses_hostile_headers(void)
{
    struct rig rig;
    uint8_t head[LUKS_HEADER_LEN], bad[LUKS_HEADER_LEN];

    start(&rig, 7);
    EXPECT_OK(create(&rig, CREATE("")));
    sim_file_peek(rig.w.sim, "disk", 0, head, sizeof(head));
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
        const struct hostile *h = &hostile[i];

        test_note("row %zu", i);
        memcpy(bad, head, sizeof(bad));
        if (h->text) {
            memset(bad + h->at, 0, h->at ? 32 : 0);
            memcpy(bad + h->at, h->text, strlen(h->text));
        } else {
            store_be32(bad + h->at, h->value);
        }
        sim_file_poke(rig.w.sim, "disk", 0, bad, sizeof(bad));
        EXPECT_ERR(try_open(&rig, OPEN("a")), h->error);
    }
    sim_file_poke(rig.w.sim, "disk", 0, head, sizeof(head));
    EXPECT_OK(try_open(&rig, OPEN("a")));
    stop(&rig);
}

static void survives_every_failure(void)
{
    for (uint64_t nth = 1; nth < 200; nth++) {
        struct rig rig;
        struct err *err;

        start(&rig, nth);
        sim_fail_nth(rig.w.sim, nth, EIO);
        err = create(&rig, CREATE(""));
        if (!err)
            err = try_open(&rig, OPEN("a"));
        sim_fail_nth(rig.w.sim, 0, 0);
        stop(&rig);
        if (!err)
            return;
        err_free(err);
    }
    TEST_FAIL("creating and opening takes no end of operations");
}

TEST_LIST(TEST(keeps_content), TEST(opens_by_the_right_password_only),
          TEST(refuses_impossible_options), TEST(changes_key_slots), TEST(forces_what_is_refused),
          TEST(keeps_its_header_apart), TEST(refuses_hostile_headers),
          TEST(survives_every_failure));
