/* See framing.h. */
#include "emu/qmp/framing.h"

static void emit(void *arg, struct json *value, struct err *err)
{
    struct qmp_framing *f = arg;

    f->emitted = true;
    f->message(f->arg, value, err);
}

void qmp_framing_init(struct qmp_framing *f, qmp_message *message, void *arg)
{
    *f = (struct qmp_framing){ .message = message, .arg = arg };
    json_stream_init(&f->stream, emit, f);
}

void qmp_framing_fini(struct qmp_framing *f) { json_stream_fini(&f->stream); }

/* Bytes up to and with the next one that can end a message. */
static size_t piece_len(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] == '}' || bytes[i] == ']')
            return i + 1;
    return len;
}

size_t qmp_framing_feed(struct qmp_framing *f, const char *bytes, size_t len)
{
    size_t used = 0;

    f->emitted = false;
    while (used < len && !f->emitted) {
        size_t piece = piece_len(bytes + used, len - used);

        json_stream_feed(&f->stream, bytes + used, piece);
        used += piece;
    }
    return used;
}
