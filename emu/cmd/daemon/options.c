/* The options that make things: --blockdev, --chardev, --export, --monitor, --nbd-server. */

#include <string.h>

#include "emu/base/attrs.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/base/str.h"
#include "emu/chardev/chardev.h"
#include "emu/chardev/cmdline.h"
#include "emu/cmd/daemon/daemon.h"
#include "emu/qmp/monitor.h"
#include "emu/qmp/schema/qapi_block_core.h"   // Generated.
#include "emu/qmp/schema/qapi_block_export.h" // Generated.

/* key=value text or JSON as an object; *mode tells how to decode it. */
static struct err *parse_object(const char *text, const char *implied_key, struct json **out,
                                enum qapi_input *mode)
{
    *mode = text[0] == '{' ? QAPI_STRICT : QAPI_KEYVAL;
    return text[0] == '{' ? json_parse_text(text, out) : keyval_parse(text, implied_key, out);
}

static struct err *add_blockdev(struct daemon *d, const char *text)
{
    CLEANUP(json_free) struct json *given = NULL;
    CLEANUP(json_free) struct json *canonical = NULL;
    CLEANUP(qapi_free_blockdev_options) struct qapi_blockdev_options *options = NULL;
    struct waiter waiter = { 0 };
    enum qapi_input mode;

    TRY(parse_object(text, "driver", &given, &mode));
    TRY(qapi_decode_blockdev_options(given, mode, &options));
    canonical = qapi_encode_blockdev_options(options);
    node_open(d->world.graph, canonical, NODE_OPEN_MONITOR, wait_node_done, &waiter);
    return wait_for(d->reactor, &waiter);
}

static void chardev_is_added(void *arg, struct err *err, struct chardev *chr)
{
    (void)chr;
    wait_done(arg, err);
}

static struct err *add_chardev(struct daemon *d, const char *text)
{
    CLEANUP(qapi_free_chardev_add_args) struct qapi_chardev_add_args *args = NULL;
    struct waiter waiter = { 0 };

    TRY(chardev_parse(text, &args));
    chardev_add(d->world.chardevs, args->id, args->backend, chardev_is_added, &waiter);
    return wait_for(d->reactor, &waiter);
}

static struct err *add_monitor(struct daemon *d, const char *text)
{
    CLEANUP(qapi_free_monitor_options) struct qapi_monitor_options *options = NULL;

    TRY(monitor_parse(text, &options));
    return monitor_add_from_opts(d->world.server, d->world.chardevs, options);
}

static struct err *start_nbd_server(struct daemon *d, const char *text)
{
    CLEANUP(json_free) struct json *given = NULL;
    CLEANUP(qapi_free_nbd_server_options) struct qapi_nbd_server_options *options = NULL;
    enum qapi_input mode;

    TRY(parse_object(text, NULL, &given, &mode));
    TRY(qapi_decode_nbd_server_options(given, mode, &options));
    return nbd_server_start_options(d->world.exports, options);
}

static struct err *add_export(struct daemon *d, const char *text)
{
    CLEANUP(json_free) struct json *given = NULL;
    CLEANUP(qapi_free_block_export_options) struct qapi_block_export_options *options = NULL;
    struct waiter waiter = { 0 };
    enum qapi_input mode;

    TRY(parse_object(text, "type", &given, &mode));
    TRY(qapi_decode_block_export_options(given, mode, &options));
    TRY(export_add_options(d->world.exports, options, wait_done, &waiter));
    return wait_for(d->reactor, &waiter);
}

struct err *daemon_option(struct daemon *d, const char *name, const char *value)
{
    static const struct {
        const char *name;
        struct err *(*run)(struct daemon *d, const char *text);
    } table[] = {
        { "blockdev", add_blockdev }, { "chardev", add_chardev },         { "export", add_export },
        { "monitor", add_monitor },   { "nbd-server", start_nbd_server },
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (strcmp(table[i].name, name) == 0)
            return err_prefix(table[i].run(d, value), "--%s %s: ", name, value);
    }
    return err_new("--%s is no option", name);
}
