/* Command lines of character devices. */
#include "emu/chardev/cmdline.h"

#include "emu/base/alloc.h"
#include "emu/base/json.h"
#include "emu/base/json_write.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static const struct {
    const char *in, *out, *error;
} rows[] = {
    { "socket,id=c,path=/s,server=on,wait=off",
      "{\"id\":\"c\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"unix\","
      "\"data\":{\"path\":\"/s\"}},\"server\":true,\"wait\":false}}}",
      NULL },
    { "socket,id=c,path=/s,server,nowait",
      "{\"id\":\"c\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"unix\","
      "\"data\":{\"path\":\"/s\"}},\"server\":true,\"wait\":false}}}",
      NULL },
    { "socket,id=c,path=/s,server=on",
      "{\"id\":\"c\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"unix\","
      "\"data\":{\"path\":\"/s\"}},\"server\":true,\"wait\":true}}}",
      NULL },
    { "socket,id=c,path=n,abstract=on,tight=off,reconnect=3",
      "{\"id\":\"c\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"unix\","
      "\"data\":{\"path\":\"n\",\"abstract\":true,\"tight\":false}},\"server\":false,"
      "\"reconnect\":3}}}",
      NULL },
    { "socket,id=c,host=::1,port=5,to=7,ipv6,nodelay",
      "{\"id\":\"c\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"inet\","
      "\"data\":{\"host\":\"::1\",\"port\":\"5\",\"to\":7,\"ipv6\":true}},\"server\":false,"
      "\"nodelay\":true}}}",
      NULL },
    { "socket,id=c,fd=5",
      "{\"id\":\"c\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{"
      "\"type\":\"fd\",\"data\":{\"str\":\"5\"}},\"server\":false}}}",
      NULL },
    { "backend=null,id=n", "{\"id\":\"n\",\"backend\":{\"type\":\"null\",\"data\":{}}}", NULL },
    { "file,id=f,path=/a,,b,append=on",
      "{\"id\":\"f\",\"backend\":{\"type\":\"file\",\"data\":{\"out\":\"/a,b\",\"append\":true}}}",
      NULL },
    { "stdio,id=s,signal=off",
      "{\"id\":\"s\",\"backend\":{\"type\":\"stdio\",\"data\":{\"signal\":false}}}", NULL },
    { "{\"id\":\"n\",\"backend\":{\"type\":\"null\",\"data\":{}}}",
      "{\"id\":\"n\",\"backend\":{\"type\":\"null\",\"data\":{}}}", NULL },
    { "socket", NULL, "chardev: no id specified" },
    { "id=c", NULL, "chardev: \"c\" missing backend" },
    { "zz,id=c", NULL, "'zz' is not a valid char driver name" },
    { "null,id=1c", NULL, "Parameter 'id' expects an identifier" },
    { "null,id=c,foo=b", NULL, "Invalid parameter 'foo'" },
    { "socket,id=c,path=/s,foo=1", NULL, "Invalid parameter 'foo'" },
    { "file,id=c", NULL, "chardev: file: no filename given" },
    { "socket,id=c,host=a", NULL, "chardev: socket: no port given" },
    { "socket,id=c,path=/x,reconnect=a", NULL, "Parameter 'reconnect' expects a number" },
    { "stdio,id=c,signal=maybe", NULL, "Parameter 'signal' expects 'on' or 'off'" },
    { "socket,id=c,path=/x,host=a,port=1", NULL,
      "None or one of 'path', 'fd' or 'host' option required." },
    { "{\"id\":\"n\"}", NULL, "Parameter 'backend' is missing" },
};

static void expect_args(const struct qapi_chardev_add_args *args, const char *expected)
{
    CLEANUP(json_free) struct json *json = args ? qapi_encode_chardev_add_args(args) : NULL;
    CLEANUP(xfree) char *text = json ? json_to_text(json, JSON_TIGHT) : NULL;

    EXPECT_STR(text, expected);
}

static void lines_become_arguments(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(qapi_free_chardev_add_args) struct qapi_chardev_add_args *args = NULL;
        struct err *err = chardev_parse(rows[i].in, &args);

        test_note("for %s", rows[i].in);
        if (rows[i].error)
            EXPECT_ERR(err, rows[i].error);
        else
            EXPECT_OK(err);
        expect_args(args, rows[i].out);
    }
}

static void compat_lines_become_arguments(void)
{
    static const char *const compat[][2] = {
        { "unix:/s,server=on,wait=off",
          "{\"id\":\"m\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"unix\","
          "\"data\":{\"path\":\"/s\"}},\"server\":true,\"wait\":false}}}" },
        { "unix:/s,server,nowait",
          "{\"id\":\"m\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"unix\","
          "\"data\":{\"path\":\"/s\"}},\"server\":true,\"wait\":false}}}" },
        { "tcp:localhost:4444,server=on,wait=off",
          "{\"id\":\"m\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"inet\","
          "\"data\":{\"host\":\"localhost\",\"port\":\"4444\"}},\"server\":true,\"wait\":false}}}" },
        { "stdio", "{\"id\":\"m\",\"backend\":{\"type\":\"stdio\",\"data\":{}}}" },
        { "file:/x", "{\"id\":\"m\",\"backend\":{\"type\":\"file\",\"data\":{\"out\":\"/x\"}}}" },
    };

    for (size_t i = 0; i < ARRAY_LEN(compat); i++) {
        CLEANUP(qapi_free_chardev_add_args) struct qapi_chardev_add_args *args = NULL;

        test_note("for %s", compat[i][0]);
        EXPECT_OK(chardev_parse_compat(compat[i][0], "m", &args));
        expect_args(args, compat[i][1]);
    }
}

TEST_LIST(TEST(lines_become_arguments), TEST(compat_lines_become_arguments));
