/* Texts of -drive: what becomes of them. Oracle: the texts and places of the reference. */
#include "emu/storage/drive.h"

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/json_parse.h"
#include "emu/base/json_write.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static const struct drive_defaults ide = { .interface = DRIVE_IDE };

static void free_all(struct list *all)
{
    list_for_each_safe(drive, all, struct drive, link)
        drive_free(drive);
}

static struct drive *must_parse(struct list *all, const char *text)
{
    struct drive *drive;
    struct err *err = drive_parse(text, NULL, NULL, &ide, all, &drive);

    EXPECT_MSG(!err, "%s: %s", text, err ? err_text(err) : "");
    REQUIRE(!err);
    return drive;
}

static void drives_fill_their_buses_in_turn(void)
{
    static const struct {
        const char *text, *id;
        unsigned bus, unit;
    } cases[] = {
        { "file=a", "ide0-hd0", 0, 0 },          { "file=b,media=cdrom", "ide0-cd1", 0, 1 },
        { "file=c", "ide1-hd0", 1, 0 },          { "file=d,if=virtio", "virtio0", 0, 0 },
        { "file=e,if=virtio", "virtio1", 0, 1 }, { "if=none", "none0", 0, 0 },
        { "if=none,id=x", "x", 0, 1 },           { "index=3,media=cdrom", "ide1-cd1", 1, 1 },
        { "if=floppy", "floppy0", 0, 0 },
    };
    struct list all;

    list_init(&all);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct drive *drive = must_parse(&all, cases[i].text);

        EXPECT_STR(drive->id, cases[i].id);
        EXPECT_EQ(drive->bus, cases[i].bus);
        EXPECT_EQ(drive->unit, cases[i].unit);
    }
    free_all(&all);
}

static void options_of_the_disk_are_nested(void)
{
    static const struct {
        const char *text, *options;
    } cases[] = {
        { "file=a,format=qcow2,cache=none",
          "{\"driver\": \"qcow2\", \"file\": {\"driver\": \"file\", \"filename\": \"a\"}, "
          "\"cache\": {\"direct\": \"on\", \"no-flush\": \"off\"}, \"read-only\": \"off\"}" },
        { "driver=qcow2,file.driver=file,file.filename=a,readonly=on",
          "{\"driver\": \"qcow2\", \"file\": {\"driver\": \"file\", \"filename\": \"a\"}, "
          "\"read-only\": \"on\"}" },
        { "file=a,file.locking=off,media=cdrom",
          "{\"file\": {\"driver\": \"file\", \"filename\": \"a\", \"locking\": \"off\"}, "
          "\"read-only\": \"on\"}" },
    };
    struct list all;

    list_init(&all);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct drive *drive = must_parse(&all, cases[i].text);
        CLEANUP(json_free) struct json *expected = NULL;
        CLEANUP(xfree) char *text = json_to_text(drive->options, JSON_COMPACT);

        REQUIRE_OK(json_parse_text(cases[i].options, &expected));
        EXPECT_MSG(json_equal(drive->options, expected), "%s gives %s", cases[i].text, text);
    }
    free_all(&all);
}

static void an_empty_drive_has_no_options(void)
{
    struct list all;

    list_init(&all);
    EXPECT(must_parse(&all, "if=none,media=cdrom")->options == NULL);
    EXPECT(must_parse(&all, "if=none,cache=writethrough")->write_cache == false);
    free_all(&all);
}

static void wrong_texts_are_refused_and_leave_nothing(void)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { "if=nope", "unsupported bus type 'nope'" },
        { "index=1,unit=0", "index cannot be used with bus and unit" },
        { "unit=2", "unit 2 too big (max is 1)" },
        { "werror=nope", "'nope' invalid write error action" },
        { "rerror=enospc", "'enospc' invalid read error action" },
        { "file=a,aio=nope", "invalid aio option" },
        { "file=a,driver=raw,format=raw", "Cannot specify both 'driver' and 'format'" },
        { "if=none,id=9", "Parameter 'id' expects an identifier" },
        { "addr=3", "addr is not supported by this bus type" },
        { "snapshot=maybe", "Parameter 'snapshot' expects 'on' or 'off'" },
    };
    struct list all;
    struct drive *drive;

    list_init(&all);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EXPECT_ERR(drive_parse(cases[i].text, NULL, NULL, &ide, &all, &drive), cases[i].error);
        EXPECT(list_empty(&all));
    }
}

TEST_LIST(TEST(drives_fill_their_buses_in_turn), TEST(options_of_the_disk_are_nested),
          TEST(an_empty_drive_has_no_options), TEST(wrong_texts_are_refused_and_leave_nothing));
