/* Oracle: the texts of the reference's daemon and tools. */
#include "emu/base/opts.h"

#include "emu/base/json_parse.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static struct json *parse(const char *text)
{
    struct json *obj = NULL;

    REQUIRE_OK(json_parse_text(text, &obj));
    return obj;
}

static void native_values_and_text_mean_the_same(void)
{
    struct json *obj = parse("{'a': true, 'b': 'on', 'c': 12, 'd': '12', 'e': '0x10', 'f': '1.5k',"
                             " 'g': -3, 'h': '-3', 'i': 'no'}");
    CLEANUP(opts_fini) struct opts o;
    bool flag = false;
    uint64_t n = 0;
    int64_t i = 0;

    opts_init(&o, obj);
    EXPECT_OK(opts_bool(&o, "a", &flag));
    EXPECT(flag);
    flag = false;
    EXPECT_OK(opts_bool(&o, "b", &flag));
    EXPECT(flag);
    EXPECT_OK(opts_bool(&o, "i", &flag));
    EXPECT(!flag);
    EXPECT_OK(opts_u64(&o, "c", &n));
    EXPECT_EQ(n, 12);
    EXPECT_OK(opts_u64(&o, "d", &n));
    EXPECT_EQ(n, 12);
    EXPECT_OK(opts_u64(&o, "e", &n));
    EXPECT_EQ(n, 16);
    EXPECT_OK(opts_size(&o, "f", &n));
    EXPECT_EQ(n, 1536);
    EXPECT_OK(opts_size(&o, "c", &n));
    EXPECT_EQ(n, 12);
    EXPECT_OK(opts_i64(&o, "g", &i));
    EXPECT_EQ(i, -3);
    EXPECT_OK(opts_i64(&o, "h", &i));
    EXPECT_EQ(i, -3);
    EXPECT(opts_unused(&o) == NULL);
    json_free(obj);
}

static void defaults_stay_when_a_parameter_is_missing(void)
{
    struct json *obj = parse("{}");
    CLEANUP(opts_fini) struct opts o;
    bool flag = true;
    uint64_t n = 7;
    const char *text = "default";
    int choice = 3;

    opts_init(&o, obj);
    EXPECT_OK(opts_bool_opt(&o, "a", &flag));
    EXPECT_OK(opts_u64_opt(&o, "a", &n));
    EXPECT_OK(opts_size_opt(&o, "a", &n));
    EXPECT_OK(opts_str_opt(&o, "a", &text));
    EXPECT_OK(opts_enum_opt(&o, "a", NULL, 0, &choice));
    EXPECT(flag);
    EXPECT_EQ(n, 7);
    EXPECT_STR(text, "default");
    EXPECT_EQ(choice, 3);
    EXPECT_ERR(opts_str(&o, "a", &text), "Parameter 'a' is missing");
    json_free(obj);
}

static void a_wrong_type_is_named(void)
{
    struct json *obj = parse("{'n': 5, 'list': [], 'text': 'x', 'real': 1.5}");
    CLEANUP(opts_fini) struct opts o;
    const struct json *child = NULL;
    const char *text;
    bool flag;
    uint64_t n;

    opts_init(&o, obj);
    EXPECT_ERR(opts_str(&o, "n", &text), "Invalid parameter type for 'n', expected: string");
    EXPECT_ERR(opts_bool(&o, "n", &flag), "Invalid parameter type for 'n', expected: boolean");
    EXPECT_ERR(opts_u64(&o, "list", &n), "Invalid parameter type for 'list', expected: integer");
    EXPECT_ERR(opts_u64(&o, "real", &n), "Invalid parameter type for 'real', expected: integer");
    EXPECT_ERR(opts_object_opt(&o, "n", &child),
               "Invalid parameter type for 'n', expected: object");
    EXPECT_ERR(opts_array_opt(&o, "n", &child), "Invalid parameter type for 'n', expected: array");
    EXPECT_ERR(opts_u64(&o, "text", &n), "Parameter 'text' expects integer");
    EXPECT_ERR(opts_bool(&o, "text", &flag), "Parameter 'text' expects 'on' or 'off'");
    json_free(obj);
}

static void a_bad_size_comes_with_advice(void)
{
    struct json *obj = parse("{'size': '5x', 'large': '16E'}");
    CLEANUP(opts_fini) struct opts o;
    struct err *err;
    uint64_t n;

    opts_init(&o, obj);
    err = opts_size(&o, "size", &n);
    REQUIRE(err);
    EXPECT_STR(err_hint(err),
               "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
               "peta-\nand exabytes, respectively.\n");
    EXPECT_ERR(err, "Parameter 'size' expects a non-negative number below 2^64");
    EXPECT_ERR(opts_size(&o, "large", &n), "Value '16E' is out of range for parameter 'large'");
    json_free(obj);
}

static void an_unknown_choice_is_refused(void)
{
    static const char *const names[] = { "threads", "native", "io_uring" };
    struct json *obj = parse("{'aio': 'native', 'bad': 'x'}");
    CLEANUP(opts_fini) struct opts o;
    int choice = -1;

    opts_init(&o, obj);
    EXPECT_OK(opts_enum(&o, "aio", names, ARRAY_LEN(names), &choice));
    EXPECT_EQ(choice, 1);
    EXPECT_ERR(opts_enum(&o, "bad", names, ARRAY_LEN(names), &choice),
               "Parameter 'bad' does not accept value 'x'");
    json_free(obj);
}

static void what_nobody_read_is_found(void)
{
    struct json *obj = parse("{'a': 1, 'b': 2, 'c': 3}");
    CLEANUP(opts_fini) struct opts o;
    uint64_t n;

    opts_init(&o, obj);
    EXPECT_OK(opts_u64(&o, "a", &n));
    EXPECT(opts_has(&o, "b"));
    EXPECT_STR(opts_unused(&o), "b");
    EXPECT_ERR(opts_check_unused(&o), "Parameter 'b' is unexpected");
    opts_mark(&o, "b");
    opts_mark(&o, "c");
    EXPECT_OK(opts_check_unused(&o));
    json_free(obj);
}

static void nested_parameters_are_named_in_full(void)
{
    struct json *obj = parse("{'file': {'size': 'x'}}");
    const struct json *file = NULL;
    CLEANUP(opts_fini) struct opts o;
    CLEANUP(opts_fini) struct opts inner;
    uint64_t n;

    opts_init(&o, obj);
    REQUIRE_OK(opts_child(&o, "file", &file));
    opts_init_prefix(&inner, file, "file.");
    EXPECT_ERR(opts_u64(&inner, "size", &n), "Parameter 'file.size' expects integer");
    EXPECT_ERR(opts_u64(&inner, "gone", &n), "Parameter 'file.gone' is missing");
    json_free(obj);
}

TEST_LIST(TEST(native_values_and_text_mean_the_same),
          TEST(defaults_stay_when_a_parameter_is_missing), TEST(a_wrong_type_is_named),
          TEST(a_bad_size_comes_with_advice), TEST(an_unknown_choice_is_refused),
          TEST(what_nobody_read_is_found), TEST(nested_parameters_are_named_in_full));
