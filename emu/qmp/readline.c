/* See readline.h. */
#include "emu/qmp/readline.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/vec.h"
#include "emu/qmp/version.h"

enum { LINE_BYTES_MAX = 4095, HISTORY_MAX = 64 };

#define PROMPT "(qemu) "

/* Where in an escape sequence the input is. */
enum escape { ESCAPE_NONE, ESCAPE_BEGUN, ESCAPE_BRACKET };

struct readline {
    struct reactor *reactor;
    struct chardev *chr;
    struct chardev_frontend frontend;
    struct channel *channel; /* Owned; NULL: nobody is there. */
    struct hmp *hmp;
    struct str line;
    size_t cursor;
    size_t shown_cursor; /* Where the terminal's cursor is, from the prompt's end. */
    enum escape escape;
    VEC(char *) history; /* Owned lines, oldest first. */
    size_t browsed;
    struct running *running; /* The command under way. */
    bool held, stopped;
};

/* A command outlives the monitor it came from. */
struct running {
    struct readline *rl; /* NULL: gone. */
};

static void send(struct readline *rl, const char *text)
{
    if (rl->channel)
        channel_send(rl->channel, text, strlen(text));
}

/* Output has the line ends of a terminal. */
static void send_lines(struct readline *rl, const char *text)
{
    struct str out = { 0 };

    for (; *text; text++) {
        if (*text == '\n')
            str_addc(&out, '\r');
        str_addc(&out, *text);
    }
    send(rl, str_cstr(&out));
    str_fini(&out);
}

static void update_input(struct readline *rl)
{
    if (!rl->channel)
        return;
    if (rl->running || rl->held || rl->stopped)
        channel_pause(rl->channel);
    else
        channel_resume(rl->channel);
}

/* ---- The line ---- */

static void show_line(struct readline *rl)
{
    struct str out = { 0 };

    for (size_t i = 0; i < rl->shown_cursor; i++)
        str_add(&out, "\033[D");
    str_add(&out, str_cstr(&rl->line));
    str_add(&out, "\033[K");
    for (size_t i = rl->cursor; i < rl->line.len; i++)
        str_add(&out, "\033[D");
    rl->shown_cursor = rl->cursor;
    send(rl, str_cstr(&out));
    str_fini(&out);
}

static void set_line(struct readline *rl, const char *text)
{
    str_clear(&rl->line);
    str_add(&rl->line, text);
    rl->cursor = rl->line.len;
    show_line(rl);
}

static void insert(struct readline *rl, char c)
{
    if (rl->line.len >= LINE_BYTES_MAX)
        return;
    str_addc(&rl->line, c);
    memmove(rl->line.data + rl->cursor + 1, rl->line.data + rl->cursor,
            rl->line.len - rl->cursor - 1);
    rl->line.data[rl->cursor++] = c;
    show_line(rl);
}

static void erase(struct readline *rl, size_t at)
{
    if (at >= rl->line.len)
        return;
    memmove(rl->line.data + at, rl->line.data + at + 1, rl->line.len - at - 1);
    str_truncate(&rl->line, rl->line.len - 1);
    if (rl->cursor > at)
        rl->cursor--;
    show_line(rl);
}

static void browse(struct readline *rl, int step)
{
    if (step < 0 ? rl->browsed == 0 : rl->browsed >= vec_len(&rl->history))
        return;
    rl->browsed += (size_t)step;
    set_line(rl, rl->browsed < vec_len(&rl->history) ? vec_at(&rl->history, rl->browsed) : "");
}

static void remember(struct readline *rl, const char *line)
{
    if (!*line)
        return;
    if (vec_len(&rl->history) == HISTORY_MAX) {
        xfree(vec_at(&rl->history, 0));
        vec_remove(&rl->history, 0);
    }
    vec_push(&rl->history, xstrdup(line));
}

static void prompt(struct readline *rl)
{
    str_clear(&rl->line);
    rl->cursor = rl->shown_cursor = 0;
    rl->browsed = vec_len(&rl->history);
    send(rl, PROMPT);
}

/* ---- Commands ---- */

static void finished(void *arg, const char *text)
{
    struct running *running = arg;
    struct readline *rl = running->rl;

    xfree(running);
    if (!rl)
        return;
    rl->running = NULL;
    send_lines(rl, text);
    if (!hmp_is_ending(rl->hmp))
        prompt(rl);
    update_input(rl);
}

static void run_line(struct readline *rl)
{
    CLEANUP(xfree) char *line = xstrdup(str_cstr(&rl->line));

    send(rl, "\r\n");
    remember(rl, line);
    rl->running = NEW(struct running);
    rl->running->rl = rl;
    hmp_run(rl->hmp, line, finished, rl->running);
    update_input(rl);
}

/* ---- Keys ---- */

static void escape_key(struct readline *rl, char c)
{
    if (rl->escape == ESCAPE_BEGUN) {
        rl->escape = c == '[' || c == 'O' ? ESCAPE_BRACKET : ESCAPE_NONE;
        return;
    }
    if (c >= '0' && c <= '9')
        return;
    rl->escape = ESCAPE_NONE;
    switch (c) {
    case 'A': browse(rl, -1); break;
    case 'B': browse(rl, 1); break;
    case 'C':
        rl->cursor += rl->cursor < rl->line.len;
        show_line(rl);
        break;
    case 'D':
        rl->cursor -= rl->cursor > 0;
        show_line(rl);
        break;
    default: break;
    }
}

static void key(struct readline *rl, char c)
{
    if (rl->escape != ESCAPE_NONE) {
        escape_key(rl, c);
        return;
    }
    switch (c) {
    case 1:
        rl->cursor = 0;
        show_line(rl);
        break;
    case 4: erase(rl, rl->cursor); break;
    case 5:
        rl->cursor = rl->line.len;
        show_line(rl);
        break;
    case 8:
    case 127:
        if (rl->cursor)
            erase(rl, rl->cursor - 1);
        break;
    case 10:
    case 13: run_line(rl); break;
    case 27: rl->escape = ESCAPE_BEGUN; break;
    default:
        if ((unsigned char)c >= 32)
            insert(rl, c);
    }
}

/* ---- The connection ---- */

static size_t received(void *arg, const char *bytes, size_t len)
{
    struct readline *rl = arg;
    size_t used = 0;

    while (used < len && !rl->running && !rl->held && !rl->stopped)
        key(rl, bytes[used++]);
    return used;
}

static void ended(void *arg)
{
    struct readline *rl = arg;

    channel_close(rl->channel);
    rl->channel = NULL;
    chardev_hangup(rl->chr);
}

static void opened(struct chardev_frontend *frontend, struct channel *ch)
{
    static const struct channel_user user = { .received = received, .ended = ended };
    struct readline *rl = container_of(frontend, struct readline, frontend);
    struct str banner = { 0 };

    rl->channel = ch;
    channel_attach(ch, &user, rl);
    str_addf(&banner, "QEMU %d.%d.%d monitor - type 'help' for more information\r\n",
             QMP_VERSION_MAJOR, QMP_VERSION_MINOR, QMP_VERSION_MICRO);
    send(rl, str_cstr(&banner));
    str_fini(&banner);
    if (!rl->held)
        prompt(rl);
    update_input(rl);
}

struct err *readline_new(struct reactor *reactor, struct chardev *chr, struct hmp *hmp,
                         struct readline **out)
{
    struct readline *rl = NEW(struct readline);
    struct err *err;

    rl->reactor = reactor;
    rl->chr = chr;
    rl->hmp = hmp;
    rl->frontend.opened = opened;
    err = chardev_claim(chr, &rl->frontend);
    if (err) {
        xfree(rl);
        return err;
    }
    *out = rl;
    return NULL;
}

void readline_free(struct readline *rl)
{
    if (!rl)
        return;
    if (rl->running)
        rl->running->rl = NULL;
    channel_close(rl->channel);
    chardev_release(rl->chr);
    for (size_t i = 0; i < vec_len(&rl->history); i++)
        xfree(vec_at(&rl->history, i));
    vec_fini(&rl->history);
    str_fini(&rl->line);
    xfree(rl);
}

size_t readline_pending(const struct readline *rl)
{
    return rl->channel ? channel_pending(rl->channel) : 0;
}

void readline_stop(struct readline *rl)
{
    rl->stopped = true;
    update_input(rl);
}

void readline_hold(struct readline *rl, bool hold)
{
    if (rl->held && !hold && rl->channel) {
        rl->held = false;
        prompt(rl);
    }
    rl->held = hold;
    update_input(rl);
}
