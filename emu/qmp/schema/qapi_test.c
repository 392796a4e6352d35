/* Decoding, encoding and freeing of generated types, and the texts of what clients get wrong. */
#include "emu/qmp/schema/qapi.h"

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/base/json_write.h"
#include "emu/base/keyval.h"
#include "emu/qmp/schema/qapi_block_core.h"   // Generated.
#include "emu/qmp/schema/qapi_block_export.h" // Generated.
#include "emu/qmp/schema/qapi_transaction.h"  // Generated.
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

struct row {
    const struct qapi_type *type;
    const char *in;
    const char *error; /* NULL: fine */
};

#define ADD &qapi_type_blockdev_options
#define MERGE &qapi_type_block_dirty_bitmap_merge
#define TRANSACTION &qapi_type_transaction_args
#define MIRROR &qapi_type_blockdev_mirror_args
#define BITMAP &qapi_type_block_dirty_bitmap_add

static const struct row strict_rows[] = {
    { ADD, "{}", "Parameter 'driver' is missing" },
    { ADD, "{'driver':'zz'}", "Parameter 'driver' does not accept value 'zz'" },
    { ADD, "{'driver':1}", "Invalid parameter type for 'driver', expected: string" },
    { ADD, "{'driver':'file'}", "Parameter 'filename' is missing" },
    { ADD, "{'driver':'qcow2','file':{'driver':'file'}}", "Parameter 'file.filename' is missing" },
    { ADD, "{'driver':'qcow2','file':{'driver':'zz'}}",
      "Parameter 'driver' does not accept value 'zz'" },
    { ADD, "{'driver':'qcow2','file':{'driver':'file','filename':1}}",
      "Invalid parameter type for 'file.filename', expected: string" },
    { ADD, "{'driver':'qcow2','file':{'driver':'file','filename':'/x','foo':1}}",
      "Parameter 'file.foo' is unexpected" },
    { ADD, "{'driver':'qcow2','file':1}",
      "Invalid parameter type for 'file', expected: BlockdevRef" },
    { ADD, "{'driver':'qcow2'}", "Parameter 'file' is missing" },
    { ADD, "{'driver':'qcow2','file':'x','backing':5}",
      "Invalid parameter type for 'backing', expected: BlockdevRefOrNull" },
    { ADD, "{'driver':'qcow2','file':'x','backing':null}", NULL },
    { ADD, "{'driver':'qcow2','file':'x','overlap-check':'zz'}",
      "Parameter 'overlap-check' does not accept value 'zz'" },
    { ADD, "{'driver':'qcow2','file':'x','overlap-check':5}",
      "Invalid parameter type for 'overlap-check', expected: Qcow2OverlapChecks" },
    { ADD, "{'driver':'raw','file':'x','filename':'y'}", "Parameter 'filename' is unexpected" },
    { ADD, "{'driver':'null-co','size':'1'}",
      "Invalid parameter type for 'size', expected: integer" },
    { ADD, "{'driver':'null-co','size':1.5}",
      "Invalid parameter type for 'size', expected: integer" },
    { ADD, "{'driver':'null-co','size':99999999999999999999}",
      "Invalid parameter type for 'size', expected: integer" },
    { ADD, "{'driver':'null-co','size':18446744073709551615}",
      "Invalid parameter type for 'size', expected: integer" },
    { ADD, "{'driver':'null-co','latency-ns':-1}", NULL },
    { ADD, "{'driver':'null-co','read-zeroes':'on'}",
      "Invalid parameter type for 'read-zeroes', expected: boolean" },
    { ADD, "{'driver':'nbd','server':{'type':'inet','host':'a'}}",
      "Parameter 'server.port' is missing" },
    { ADD, "{'driver':'nbd','server':{'type':'inet','host':'a','port':'1','to':70000}}",
      "Parameter 'to' expects uint16_t" },
    { ADD, "{'driver':'nbd','server':{'type':'inet','host':'a','port':'1','to':-1}}",
      "Parameter 'to' expects uint16_t" },
    { ADD, "{'driver':'nbd','server':5}", "Invalid parameter type for 'server', expected: object" },
    { ADD, "{'driver':'raw','file':'x','cache':{'direct':1}}",
      "Invalid parameter type for 'cache.direct', expected: boolean" },
    { BITMAP, "{'node':'a','name':'b','granularity':4294967296}",
      "Parameter 'granularity' expects uint32_t" },
    { BITMAP, "{'node':'a','name':'b','granularity':'1'}",
      "Parameter 'granularity' expects uint64" },
    { MERGE, "{'node':'a','target':'b','bitmaps':[5]}",
      "Invalid parameter type for 'null', expected: BlockDirtyBitmapOrStr" },
    { MERGE, "{'node':'a','target':'b','bitmaps':[{'node':'x'}]}",
      "Parameter 'bitmaps[0].name' is missing" },
    { MERGE, "{'node':'a','target':'b','bitmaps':['a',{'node':'x','name':1}]}",
      "Invalid parameter type for 'bitmaps[1].name', expected: string" },
    { MERGE, "{'node':'a','target':'b','bitmaps':'x'}",
      "Invalid parameter type for 'bitmaps', expected: array" },
    { TRANSACTION, "{'actions':[{'type':'abort'}]}", "Parameter 'actions[0].data' is missing" },
    { TRANSACTION, "{'actions':[{'type':'abort','data':{'x':1}}]}",
      "Parameter 'actions[0].data.x' is unexpected" },
    { TRANSACTION, "{'actions':[1]}", "Invalid parameter type for 'actions[0]', expected: object" },
    { TRANSACTION, "{'actions':[]}", NULL },
    { TRANSACTION, "{'actions':[],'properties':{'completion-mode':'zz'}}",
      "Parameter 'completion-mode' does not accept value 'zz'" },
    { MIRROR, "{'job-id':'j','zz':1}", "Parameter 'device' is missing" },
    { MIRROR, "{'device':1}", "Invalid parameter type for 'device', expected: string" },
};

static const struct row keyval_rows[] = {
    { ADD, "driver=null-co,size=abc", "Parameter 'size' expects integer" },
    { ADD, "driver=null-co,size=1M", "Parameter 'size' expects integer" },
    { ADD, "driver=null-co,read-zeroes=maybe", "Parameter 'read-zeroes' expects 'on' or 'off'" },
    { ADD, "driver=null-co,size.x=1", "Parameters 'size.*' are unexpected" },
    { ADD, "driver=qcow2,file.driver=file", "Parameter 'file.filename' is missing" },
    { ADD, "driver=qcow2,file.driver=file,file.filename=/x,file.foo=1",
      "Parameter 'file.foo' is unexpected" },
    { ADD, "driver=raw,file.a.b=1", "Parameter 'file.driver' is missing" },
    { ADD, "driver=raw,file=x,size=0x1g", "Parameter 'size' expects integer" },
    { ADD, "driver=raw,file=x,size=0x10", NULL },
    { ADD, "node-name=x", "Parameter 'driver' is missing" },
    { ADD, "driver=nbd,server.type=inet,server.host=a,server.port=1,server.to=70000",
      "Parameter 'to' expects uint16_t" },
    { ADD, "driver=nbd,server.type=inet,server.host=a,server.port=1,server.to=x",
      "Parameter 'server.to' expects integer" },
    { ADD, "driver=nbd,server=a", "Invalid parameter type for 'server', expected: object" },
    { ADD, "driver=qcow2,file.0=a", "Invalid parameter type for 'file', expected: BlockdevRef" },
    { ADD, "driver=qcow2,file=x,lazy-refcounts=on,zz.b.c=1", "Parameter 'zz' is unexpected" },
    { ADD, "driver=file,filename=x,read-only=yes", NULL },
    { MERGE, "node=a,target=b,bitmaps.0=x,bitmaps.1.node=y",
      "Parameter 'bitmaps.1.name' is missing" },
    { &qapi_type_blockdev_create_options, "driver=file,filename=x,size=1.5G", NULL },
    { &qapi_type_blockdev_create_options, "driver=file,filename=x,size=z",
      "Parameter 'size' expects size" },
};

static void expect_row(const struct row *row, const struct json *in, enum qapi_input input)
{
    void *value;
    struct err *err = qapi_decode(row->type, in, input, &value);

    test_note("in %s", row->in);
    if (row->error) {
        EXPECT_ERR(err, row->error);
        EXPECT_PTR(value, NULL);
    } else {
        EXPECT_OK(err);
    }
    qapi_free(row->type, value);
}

static void strict_errors_name_the_parameter(void)
{
    for (size_t i = 0; i < ARRAY_LEN(strict_rows); i++) {
        CLEANUP(json_free) struct json *in = NULL;

        REQUIRE_OK(json_parse_text(strict_rows[i].in, &in));
        expect_row(&strict_rows[i], in, QAPI_STRICT);
    }
}

static void keyval_errors_name_the_parameter(void)
{
    for (size_t i = 0; i < ARRAY_LEN(keyval_rows); i++) {
        CLEANUP(json_free) struct json *in = NULL;

        REQUIRE_OK(keyval_parse(keyval_rows[i].in, NULL, &in));
        expect_row(&keyval_rows[i], in, QAPI_KEYVAL);
    }
}

static void both_inputs_encode_to_the_same_json(void)
{
    CLEANUP(json_free) struct json *from_qmp = NULL, *from_line = NULL, *a = NULL, *b = NULL;
    CLEANUP(qapi_free_blockdev_options) struct qapi_blockdev_options *x = NULL, *y = NULL;

    REQUIRE_OK(json_parse_text(
        "{'driver':'qcow2','node-name':'n','read-only':true,'cache':{'direct':false},"
        "'lazy-refcounts':true,'l2-cache-size':1048576,'backing':'base',"
        "'file':{'driver':'nbd','server':{'type':'unix','path':'/s'},"
        "'reconnect-delay':5}}",
        &from_qmp));
    REQUIRE_OK(
        keyval_parse("driver=qcow2,node-name=n,read-only=on,cache.direct=off,lazy-refcounts=on,"
                     "l2-cache-size=0x100000,backing=base,file.driver=nbd,"
                     "file.server.type=unix,file.server.path=/s,file.reconnect-delay=5",
                     NULL, &from_line));
    REQUIRE_OK(qapi_decode_blockdev_options(from_qmp, QAPI_STRICT, &x));
    REQUIRE_OK(qapi_decode_blockdev_options(from_line, QAPI_KEYVAL, &y));
    EXPECT_EQ(y->driver, QAPI_BLOCKDEV_DRIVER_QCOW2);
    EXPECT(y->read_only.set && y->read_only.value);
    EXPECT(!y->auto_read_only.set);
    EXPECT_EQ(y->u.qcow2.l2_cache_size.value, 1 << 20);
    EXPECT_EQ(y->u.qcow2.backing->kind, QAPI_BLOCKDEV_REF_OR_NULL_REFERENCE);
    EXPECT_STR(y->u.qcow2.file->u.definition->u.nbd.server->u.q_unix.path, "/s");
    a = qapi_encode_blockdev_options(x);
    b = qapi_encode_blockdev_options(y);
    EXPECT(json_equal(a, from_qmp));
    EXPECT(json_equal(a, b));
}

static void lists_grow_and_encode(void)
{
    struct qapi_block_export_info_list list = { 0 };
    CLEANUP(json_free) struct json *json = NULL;

    for (int i = 0; i < 5; i++) {
        struct qapi_block_export_info *info = qapi_block_export_info_list_add(&list);

        info->id = xasprintf("e%d", i);
        info->node_name = xstrdup("n");
    }
    json = qapi_encode(&qapi_type_block_export_info_list, &list);
    EXPECT_EQ(json_array_len(json), 5);
    EXPECT_STR(json_object_get_str(json_array_get(json, 4), "id"), "e4");
    EXPECT_STR(json_object_get_str(json_array_get(json, 4), "type"), "nbd");
    qapi_block_export_info_list_fini(&list);
    EXPECT_EQ(list.len, 0);
}

static void widths_are_kept(void)
{
    CLEANUP(json_free) struct json *in = NULL, *out = NULL;
    CLEANUP(qapi_free_inet_socket_address) struct qapi_inet_socket_address *a = NULL;

    REQUIRE_OK(json_parse_text("{'host':'h','port':'p','to':65535}", &in));
    REQUIRE_OK(qapi_decode_inet_socket_address(in, QAPI_STRICT, &a));
    EXPECT_EQ(a->to.value, 65535);
    out = qapi_encode_inet_socket_address(a);
    EXPECT(json_equal(in, out));
}

static void memory_failure_is_an_error(void)
{
    CLEANUP(json_free) struct json *in = NULL;
    bool done = false;

    REQUIRE_OK(json_parse_text("{'actions':[{'type':'block-dirty-bitmap-merge','data':{'node':'n',"
                               "'target':'t','bitmaps':['a',{'node':'m','name':'b'}]}}]}",
                               &in));
    for (unsigned long n = 1; !done; n++) {
        void *value;
        struct err *err;

        alloc_fail_after(n);
        err = qapi_decode(TRANSACTION, in, QAPI_STRICT, &value);
        done = alloc_fail_reset() < n;
        EXPECT_EQ(err == NULL, done);
        EXPECT_EQ(value != NULL, done);
        err_free(err);
        qapi_free(TRANSACTION, value);
    }
}

TEST_LIST(TEST(strict_errors_name_the_parameter), TEST(keyval_errors_name_the_parameter),
          TEST(both_inputs_encode_to_the_same_json), TEST(lists_grow_and_encode),
          TEST(widths_are_kept), TEST(memory_failure_is_an_error));
