/* Lines of the standard input, a terminal, a pipe or a file. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/cmd/io/io.h"

enum { READ_BYTES = 4096, BUSY_TURN_MS = 1 };

/* While requests are in flight the reactor has its turns between two looks at the input. */
static void wait_for_input(struct reactor *reactor)
{
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

    while (poll(&input, 1, BUSY_TURN_MS) == 0)
        reactor_run_once(reactor, 0);
}

static void read_more(struct line_reader *reader, struct reactor *reactor, bool busy)
{
    ssize_t n;

    if (busy)
        wait_for_input(reactor);
    do
        n = read(STDIN_FILENO, str_reserve(&reader->text, READ_BYTES), READ_BYTES);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        str_added(&reader->text, (size_t)n);
    else
        reader->ended = true;
}

char *line_reader_next(struct line_reader *reader, struct reactor *reactor, bool busy)
{
    for (;;) {
        const char *rest = str_cstr(&reader->text) + reader->taken;
        const size_t len = reader->text.len - reader->taken;
        const char *end = memchr(rest, '\n', len);

        if (end || (reader->ended && len > 0)) {
            const size_t n = end ? (size_t)(end - rest) : len;

            reader->taken += n + (end ? 1 : 0);
            return xstrndup(rest, n);
        }
        if (reader->ended)
            return NULL;
        if (reader->taken == reader->text.len) {
            str_clear(&reader->text);
            reader->taken = 0;
        }
        read_more(reader, reactor, busy);
    }
}

void line_reader_fini(struct line_reader *reader) { str_fini(&reader->text); }
