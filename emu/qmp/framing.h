/*
 * Bytes to messages, one at a time: the input after a complete message stays with the caller, so
 * that a monitor whose queue is full leaves the rest of its client's bytes alone.
 */
#ifndef EMU_QMP_FRAMING_H
#define EMU_QMP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/json_parse.h"

/* One message: takes value, or err when it is none. */
typedef void qmp_message(void *arg, struct json *value, struct err *err);

struct qmp_framing {
    struct json_stream stream;
    qmp_message *message;
    void *arg;
    bool emitted;
};

void qmp_framing_init(struct qmp_framing *f, qmp_message *message, void *arg);
void qmp_framing_fini(struct qmp_framing *f);

/*
 * Parses until a message is complete or the bytes end; returns how many were used. message may be
 * called several times: scalars have no end of their own, and one broken message can yield several
 * errors. It must not call back into this.
 */
size_t qmp_framing_feed(struct qmp_framing *f, const char *bytes, size_t len);

#endif
