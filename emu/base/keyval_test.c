/* Oracle: what `qemu-storage-daemon --blockdev TEXT` of 10.0.2 says. */
#include "emu/base/keyval.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_parse.h"
#include "emu/base/json_write.h"
#include "emu/base/str.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static void expect_parsed(const char *text, const char *implied, unsigned flags,
                          const char *expected)
{
    struct json *v = NULL;
    char *out;

    REQUIRE_OK(keyval_parse_flags(text, implied, flags, NULL, &v));
    out = json_to_text(v, JSON_TIGHT);
    EXPECT_STR(out, expected);
    xfree(out);
    json_free(v);
}

struct row {
    const char *text, *out;
};

static void dotted_keys_nest(void)
{
    static const struct row rows[] = {
        { "", "{}" },
        { "driver=file,node-name=x", "{\"driver\":\"file\",\"node-name\":\"x\"}" },
        { "a.b=1,a.c.d=2,", "{\"a\":{\"b\":\"1\",\"c\":{\"d\":\"2\"}}}" },
        { "a=x,a=y", "{\"a\":\"y\"}" },
        { "a=", "{\"a\":\"\"}" },
        { "a=b=c", "{\"a\":\"b=c\"}" },
        { "help=on", "{\"help\":\"on\"}" },
        { "__a.b_c.d=1", "{\"__a.b_c\":{\"d\":\"1\"}}" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_parsed(rows[i].text, NULL, 0, rows[i].out);
}

static void two_commas_are_one_in_a_value(void)
{
    expect_parsed("a=b,,c,d=,,", NULL, 0, "{\"a\":\"b,c\",\"d\":\",\"}");
    expect_parsed("a=b,,,c=d", NULL, 0, "{\"a\":\"b,\",\"c\":\"d\"}");
}

static void indices_make_arrays(void)
{
    expect_parsed("a.0=x,a.1=y", NULL, 0, "{\"a\":[\"x\",\"y\"]}");
    expect_parsed("a.1=y,a.0=x,a.00=z", NULL, 0, "{\"a\":[\"z\",\"y\"]}");
    expect_parsed("a.0.b=1,a.1.0=2", NULL, 0, "{\"a\":[{\"b\":\"1\"},[\"2\"]]}");
}

static void the_first_key_may_be_implied(void)
{
    expect_parsed("file,node-name=x", "driver", 0, "{\"driver\":\"file\",\"node-name\":\"x\"}");
    expect_parsed("node-name=x", "driver", 0, "{\"node-name\":\"x\"}");
    expect_parsed("file", "driver", 0, "{\"driver\":\"file\"}");
}

static void errors_have_the_texts_of_the_reference(void)
{
    static const struct row rows[] = {
        { "file,foo", "Expected '=' after parameter 'foo'" },
        { "driver=x,a.b", "Expected '=' after parameter 'a.b'" },
        { "=x", "Invalid parameter ''" },
        { ",", "Invalid parameter ''" },
        { "fi,,le", "Invalid parameter ''" },
        { "driver=x,=1", "Invalid parameter ''" },
        { "1x=1", "Invalid parameter '1x'" },
        { "0=1", "Invalid parameter '0'" },
        { "0.a=1", "Invalid parameter '0.a'" },
        { "a b=1", "Invalid parameter 'a b'" },
        { "a..b=1", "Invalid parameter 'a..b'" },
        { ".a=1", "Invalid parameter '.a'" },
        { "a.=1", "Invalid parameter 'a.'" },
        { "a.-1=1", "Invalid parameter 'a.-1'" },
        { "a.0x=1", "Invalid parameter 'a.0x'" },
        { "-a=1", "Invalid parameter '-a'" },
        { "__a=1", "Invalid parameter '__a'" },
        { "__a_1=1", "Invalid parameter '__a_1'" },
        { "?=1", "Invalid parameter '?'" },
        { "driver=x,1a", "Invalid parameter '1a'" },
        { "a.b=1,a=2", "Parameters 'a.*' used inconsistently" },
        { "a=1,a.b=2", "Parameters 'a.*' used inconsistently" },
        { "a.b=1,a.c=2,a.b.c=3", "Parameters 'a.b.*' used inconsistently" },
        { "a.b.c=3,a.b=1", "Parameters 'a.b.*' used inconsistently" },
        { "a.0=1,a.x=3", "Parameters 'a.*' used inconsistently" },
        { "a.0=1,a.2=3", "Parameter 'a.1' missing" },
        { "a.0.0=1,a.0.2=1", "Parameter 'a.0.1' missing" },
        { "a.99999999999999999999999=1", "Parameter 'a.0' missing" },
        { "help", "Help is not available for this option" },
        { "driver=x,?", "Help is not available for this option" },
    };
    struct json *v = NULL;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        test_note("%s", rows[i].text);
        EXPECT_ERR(keyval_parse(rows[i].text, "driver", &v), rows[i].out);
    }
    EXPECT(v == NULL);
}

static void long_fragments_are_refused(void)
{
    CLEANUP(str_fini) struct str text = { 0 };
    CLEANUP(str_fini) struct str error = { 0 };
    struct json *v = NULL;

    str_add_repeat(&text, 'a', 128);
    str_addf(&error, "Parameter '%s' is too long", str_cstr(&text));
    str_add(&text, "=1");
    EXPECT_ERR(keyval_parse(str_cstr(&text), NULL, &v), str_cstr(&error));
    str_clear(&text);
    str_clear(&error);
    str_add_repeat(&text, 'b', 128);
    str_addf(&error, "Parameter fragment '%s' is too long", str_cstr(&text));
    str_add(&text, ".c=1");
    EXPECT_ERR(keyval_parse(str_cstr(&text), NULL, &v), str_cstr(&error));
}

static void nesting_is_limited(void)
{
    CLEANUP(str_fini) struct str text = { 0 };
    struct json *v = NULL;
    struct err *err;

    for (int i = 0; i < 5000; i++)
        str_add(&text, "a.");
    str_add(&text, "a=1");
    err = keyval_parse(str_cstr(&text), NULL, &v);
    REQUIRE(err);
    EXPECT_CONTAINS(err_text(err), "nested too deeply");
    err_free(err);
}

static void help_is_reported_to_who_asks(void)
{
    struct json *v = NULL;
    bool help = false;

    REQUIRE_OK(keyval_parse_flags("file,help", "driver", 0, &help, &v));
    EXPECT(help);
    EXPECT_EQ(json_object_size(v), 1);
    json_free(v);
    REQUIRE_OK(keyval_parse_flags("file", "driver", 0, &help, &v));
    EXPECT(!help);
    json_free(v);
}

static void switches_of_the_old_style(void)
{
    expect_parsed("lazy_refcounts,noextended_l2,size=1k", NULL, KEYVAL_LEGACY_BOOL | KEYVAL_FLAT,
                  "{\"lazy_refcounts\":\"on\",\"extended_l2\":\"off\",\"size\":\"1k\"}");
    expect_parsed("my,,file,x", "path", KEYVAL_LEGACY_BOOL, "{\"path\":\"my,file\",\"x\":\"on\"}");
}

static void flat_keys_are_taken_as_they_are(void)
{
    expect_parsed("a.b=1,a.0=2,c d=3", NULL, KEYVAL_FLAT,
                  "{\"a.b\":\"1\",\"a.0\":\"2\",\"c d\":\"3\"}");
}

static void flattening_is_undone_by_nesting(void)
{
    static const char text[] =
        "{\"a\":[\"x\",{\"b\":\"1\",\"c\":[\"2\"]}],\"d\":{\"e\":{\"f\":3}}}";
    struct json *v = NULL, *flat, *nested = NULL;
    char *out;

    REQUIRE_OK(json_parse_text(text, &v));
    flat = keyval_flatten(v);
    out = json_to_text(flat, JSON_TIGHT);
    EXPECT_STR(out, "{\"a.0\":\"x\",\"a.1.b\":\"1\",\"a.1.c.0\":\"2\",\"d.e.f\":3}");
    REQUIRE_OK(keyval_nest(flat, &nested));
    EXPECT(json_equal(v, nested));
    xfree(out);
    json_free(v);
    json_free(flat);
    json_free(nested);
}

TEST_LIST(TEST(dotted_keys_nest), TEST(two_commas_are_one_in_a_value), TEST(indices_make_arrays),
          TEST(the_first_key_may_be_implied), TEST(errors_have_the_texts_of_the_reference),
          TEST(long_fragments_are_refused), TEST(nesting_is_limited),
          TEST(help_is_reported_to_who_asks), TEST(switches_of_the_old_style),
          TEST(flat_keys_are_taken_as_they_are), TEST(flattening_is_undone_by_nesting));
