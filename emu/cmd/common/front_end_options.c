/* The options that make things: blockdev, chardev, export, monitor, nbd-server. */

#include <string.h>

#include "emu/base/attrs.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/base/str.h"
#include "emu/chardev/chardev.h"
#include "emu/chardev/cmdline.h"
#include "emu/cmd/common/front_end.h"
#include "emu/cmd/common/loop.h"
#include "emu/cmd/common/object_types.h"
#include "emu/qmp/handlers/nbd.h"
#include "emu/qmp/monitor.h"
#include "emu/qmp/schema/qapi_block_core.h"   // Generated.
#include "emu/qmp/schema/qapi_block_export.h" // Generated.

struct err *front_end_parse(const char *text, const char *implied_key, struct json **out,
                            enum qapi_input *mode)
{
    *mode = text[0] == '{' ? QAPI_STRICT : QAPI_KEYVAL;
    return text[0] == '{' ? json_parse_text(text, out) : keyval_parse(text, implied_key, out);
}

static struct err *add_blockdev(struct front_end *fe, const char *text)
{
    CLEANUP(json_free) struct json *given = NULL;
    CLEANUP(json_free) struct json *canonical = NULL;
    CLEANUP(qapi_free_blockdev_options) struct qapi_blockdev_options *options = NULL;
    struct waiter waiter = { 0 };
    enum qapi_input mode;

    TRY(front_end_parse(text, "driver", &given, &mode));
    TRY(qapi_decode_blockdev_options(given, mode, &options));
    canonical = qapi_encode_blockdev_options(options);
    node_open(fe->world.graph, canonical, NODE_OPEN_MONITOR, wait_node_done, &waiter);
    return wait_for(fe->reactor, &waiter);
}

struct chardev_waiter {
    struct waiter waiter;
    struct chardev *chr;
};

static void chardev_is_added(void *arg, struct err *err, struct chardev *chr)
{
    struct chardev_waiter *cw = arg;

    cw->chr = chr;
    wait_done(&cw->waiter, err);
}

struct err *front_end_add_chardev(struct front_end *fe, const struct qapi_chardev_add_args *args,
                                  struct chardev **out)
{
    struct chardev_waiter cw = { 0 };

    chardev_add(fe->world.chardevs, args->id, args->backend, chardev_is_added, &cw);
    TRY(wait_for(fe->reactor, &cw.waiter));
    *out = cw.chr;
    return NULL;
}

static struct err *add_chardev(struct front_end *fe, const char *text)
{
    CLEANUP(qapi_free_chardev_add_args) struct qapi_chardev_add_args *args = NULL;
    struct chardev *chr;

    TRY(chardev_parse(text, &args));
    return front_end_add_chardev(fe, args, &chr);
}

static struct err *add_monitor(struct front_end *fe, const char *text)
{
    CLEANUP(qapi_free_monitor_options) struct qapi_monitor_options *options = NULL;

    TRY(monitor_parse(text, &options));
    return monitor_add_from_opts(fe->world.server, fe->world.chardevs, options);
}

static struct err *start_nbd_server(struct front_end *fe, const char *text)
{
    CLEANUP(json_free) struct json *given = NULL;
    CLEANUP(qapi_free_nbd_server_options) struct qapi_nbd_server_options *options = NULL;
    enum qapi_input mode;

    TRY(front_end_parse(text, NULL, &given, &mode));
    TRY(qapi_decode_nbd_server_options(given, mode, &options));
    return nbd_server_start_options(fe->world.exports, options);
}

static struct err *add_export(struct front_end *fe, const char *text)
{
    CLEANUP(json_free) struct json *given = NULL;
    CLEANUP(qapi_free_block_export_options) struct qapi_block_export_options *options = NULL;
    struct waiter waiter = { 0 };
    enum qapi_input mode;

    TRY(front_end_parse(text, "type", &given, &mode));
    TRY(qapi_decode_block_export_options(given, mode, &options));
    TRY(export_add_options(fe->world.exports, options, wait_done, &waiter));
    return wait_for(fe->reactor, &waiter);
}

static struct err *add_object(struct front_end *fe, const char *text)
{
    return object_add_text(fe->objects, text);
}

struct err *front_end_option(struct front_end *fe, const char *name, const char *value)
{
    static const struct {
        const char *name;
        struct err *(*run)(struct front_end *fe, const char *text);
    } table[] = {
        { "blockdev", add_blockdev }, { "chardev", add_chardev },         { "export", add_export },
        { "monitor", add_monitor },   { "nbd-server", start_nbd_server }, { "object", add_object },
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (strcmp(table[i].name, name) == 0)
            return table[i].run(fe, value);
    }
    return err_new("--%s is no option", name);
}
