/*
 * The stdio chardev: standard input and output. On a terminal, keys come one by one and are not
 * echoed; `signal` says whether ^C and the like still raise signals.
 */
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/chardev/backend.h"

struct stdio_chardev {
    struct chardev chr;
    bool is_terminal;
    struct termios before; /* Of the terminal, when it is one. */
};

static void set_terminal(struct stdio_chardev *s, bool signals)
{
    struct termios t;

    if (tcgetattr(STDIN_FILENO, &t) < 0)
        return;
    s->is_terminal = true;
    s->before = t;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals)
        t.c_lflag &= ~(tcflag_t)ISIG;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

static struct err *start(struct chardev *chr, const struct qapi_chardev_backend *backend)
{
    struct stdio_chardev *s = container_of(chr, struct stdio_chardev, chr);
    const struct qapi_chardev_stdio *opts = backend->u.stdio.data;
    int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);

    if (in < 0 || out < 0) {
        if (in >= 0)
            close(in);
        if (out >= 0)
            close(out);
        return err_new("standard input or output is closed");
    }
    set_terminal(s, !opts->signal.set || opts->signal.value);
    chardev_ready(chr, NULL);
    chardev_opened(chr, channel_new(chr->reactor, reactor_stream_from_fd(chr->reactor, in),
                                    reactor_stream_from_fd(chr->reactor, out)));
    return NULL;
}

static void stop(struct chardev *chr)
{
    struct stdio_chardev *s = container_of(chr, struct stdio_chardev, chr);

    if (s->is_terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
    chardev_gone(chr);
}

static char *filename(const struct chardev *chr)
{
    (void)chr;
    return xstrdup("stdio");
}

const struct chardev_ops chardev_stdio_ops = {
    .size = sizeof(struct stdio_chardev), .start = start, .stop = stop, .filename = filename
};
