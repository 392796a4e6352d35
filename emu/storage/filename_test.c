/* Names of images to options. */
#include "emu/base/alloc.h"
#include "emu/base/json.h"
#include "emu/base/json_parse.h"
#include "emu/base/json_write.h"
#include "emu/storage/node.h"
#include "emu/storage/open.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

struct row {
    const char *name, *format, *options, *error;
};

static const struct row rows[] = {
    { "a.img", NULL, "{\"file\": {\"driver\": \"file\", \"filename\": \"a.img\"}}", NULL },
    { "a.img", "qcow2",
      "{\"driver\": \"qcow2\", \"file\": {\"driver\": \"file\", \"filename\": \"a.img\"}}", NULL },
    { "a.img", "file", "{\"driver\": \"file\", \"filename\": \"a.img\"}", NULL },
    { "/dev/x", NULL, "{\"file\": {\"filename\": \"/dev/x\"}}", NULL },
    { "/dev/x", "host_device", "{\"filename\": \"/dev/x\", \"driver\": \"host_device\"}", NULL },
    { "host_cdrom:/dev/x", "raw",
      "{\"driver\": \"raw\", \"file\": {\"driver\": \"host_cdrom\", \"filename\": \"/dev/x\"}}",
      NULL },
    { "file:a:b", NULL, "{\"file\": {\"driver\": \"file\", \"filename\": \"./a:b\"}}", NULL },
    { "./a:b", NULL, "{\"file\": {\"driver\": \"file\", \"filename\": \"./a:b\"}}", NULL },
    { "raw:a.img", NULL,
      "{\"driver\": \"raw\", \"file\": {\"driver\": \"file\", \"filename\": \"a.img\"}}", NULL },
    { "nbd://h:1/e", "nbd",
      "{\"driver\": \"nbd\", \"export\": \"e\", \"server\": {\"type\": \"inet\", \"host\": \"h\", \"port\": \"1\"}}",
      NULL },
    { "nbd://[::1]", "nbd",
      "{\"driver\": \"nbd\", \"server\": {\"type\": \"inet\", \"host\": \"::1\", \"port\": \"10809\"}}",
      NULL },
    { "nbd+unix:///a%20b?socket=/s", "nbd",
      "{\"driver\": \"nbd\", \"export\": \"a b\", \"server\": {\"type\": \"unix\", \"path\": \"/s\"}}",
      NULL },
    { "nbd:h:1:exportname=x", "nbd",
      "{\"driver\": \"nbd\", \"export\": \"x\", \"server\": {\"type\": \"inet\", \"host\": \"h\", \"port\": \"1\"}}",
      NULL },
    { "nbd:unix:/s:exportname=x", "nbd",
      "{\"driver\": \"nbd\", \"export\": \"x\", \"server\": {\"type\": \"unix\", \"path\": \"/s\"}}",
      NULL },
    { "null-co://", NULL, "{\"file\": {\"driver\": \"null-co\"}}", NULL },
    { "json:{\"driver\": \"raw\", \"file\": {\"driver\": \"null-co\", \"size\": 5}}", NULL,
      "{\"driver\": \"raw\", \"file\": {\"driver\": \"null-co\", \"size\": 5}}", NULL },
    { "json:{\"file.driver\": \"file\", \"file.filename\": \"x\"}", "qcow2",
      "{\"file\": {\"driver\": \"file\", \"filename\": \"x\"}, \"driver\": \"qcow2\"}", NULL },
    { "foo:bar", NULL, NULL, "Unknown protocol 'foo'" },
    { "nbd+unix:///x", NULL, NULL, "Invalid URI" },
    { "nbd://h/%zz", NULL, NULL, "Invalid URI" },
    { "nbd:h", NULL, NULL, "host 'h' not found" },
};

static void names_become_options(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json *options = NULL;
        struct err *err = node_options_from_filename(rows[i].name, rows[i].format, &options);

        test_note("name %s", rows[i].name);
        if (rows[i].error) {
            EXPECT(err);
            if (err)
                EXPECT_STR(err_text(err), rows[i].error);
        } else {
            char *text = err ? NULL : json_to_text(options, JSON_COMPACT);

            EXPECT_STR(err ? err_text(err) : text, rows[i].options);
            xfree(text);
        }
        err_free(err);
        json_free(options);
    }
}

/* Checked against the peer: emu-io -c "open -o GIVEN NAME". */
static void a_name_goes_to_the_driver_that_takes_it(void)
{
    static const char *const cases[][3] = {
        { "a", "{}", "{\"file\": {\"driver\": \"file\", \"filename\": \"a\"}}" },
        { "a", "{\"driver\": \"raw\", \"file\": {\"driver\": \"qcow2\"}}",
          "{\"file\": {\"file\": {\"driver\": \"file\", \"filename\": \"a\"}, \"driver\": \"qcow2\"}, "
          "\"driver\": \"raw\"}" },
        { "a", "{\"file\": {\"driver\": \"blkdebug\"}}",
          "{\"file\": {\"image\": {\"driver\": \"file\", \"filename\": \"a\"}, \"driver\": \"blkdebug\"}}" },
        { "a", "{\"driver\": \"file\", \"locking\": \"off\"}",
          "{\"driver\": \"file\", \"filename\": \"a\", \"locking\": \"off\"}" },
        { "json:{\"file\": {\"driver\": \"null-co\"}}", "{\"driver\": \"raw\"}",
          "{\"file\": {\"driver\": \"null-co\"}, \"driver\": \"raw\"}" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json *given = NULL, *options = NULL;
        char *text;

        EXPECT_OK(json_parse_text(cases[i][1], &given));
        EXPECT_OK(node_options_from_both(cases[i][0], given, &options));
        text = json_to_text(options, JSON_COMPACT);
        EXPECT_STR(text, cases[i][2]);
        xfree(text);
        json_free(given);
        json_free(options);
    }
}

static void backing_names_are_relative_to_the_image(void)
{
    static const char *const cases[][3] = {
        { "/d/top", "base", "/d/base" },    { "top", "base", "base" },
        { "d/top", "e/base", "d/e/base" },  { "/d/top", "/base", "/base" },
        { "/d/top", "nbd://h", "nbd://h" }, { "json:{/}", "base", "base" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *name = filename_resolve(cases[i][0], cases[i][1]);

        EXPECT_STR(name, cases[i][2]);
        xfree(name);
    }
}

TEST_LIST(TEST(names_become_options), TEST(a_name_goes_to_the_driver_that_takes_it),
          TEST(backing_names_are_relative_to_the_image));
