/* The null chardev: nothing arrives, everything vanishes. */
#include "emu/base/alloc.h"
#include "emu/chardev/backend.h"

static struct err *start(struct chardev *chr, const struct qapi_chardev_backend *backend)
{
    (void)backend;
    chardev_ready(chr, NULL);
    chardev_opened(chr, channel_new_sink(chr->reactor, NULL, NULL));
    return NULL;
}

static char *filename(const struct chardev *chr)
{
    (void)chr;
    return xstrdup("null");
}

const struct chardev_ops chardev_null_ops = {
    .size = sizeof(struct chardev), .start = start, .stop = chardev_gone, .filename = filename
};
