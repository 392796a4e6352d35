/*
 * Text to JSON values: a streamer fed with bytes as they arrive (QMP), and a one-shot parser.
 *
 * RFC 8259 plus single-quoted strings with the escape \'. Duplicate keys are an error. Integers
 * that fit neither int64_t nor uint64_t become doubles.
 *
 * A message is complete when its braces and brackets balance (or more close than opened); a scalar
 * at the top level when a delimiter follows. Newlines mean nothing. A grammatical error is reported
 * when the message is complete; a byte that can be in no token at once: it drops the message so
 * far, and input is skipped up to a structural character, a control byte other than tab, or
 * 0xFE/0xFF. A client gets back in step by sending 0xFF, which costs one error.
 */
#ifndef EMU_BASE_JSON_PARSE_H
#define EMU_BASE_JSON_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/str.h"
#include "emu/base/vec.h"

/* Limits for one message. */
#define JSON_MESSAGE_BYTES_MAX (UINT64_C(64) << 20)
#define JSON_MESSAGE_TOKENS_MAX (UINT64_C(2) << 20)
#define JSON_DEPTH_MAX 1024

/* One message: value (takes; NULL on error) or err (takes; NULL on success). May call
 * json_stream_fini, after which the feed under way stops, but not json_stream_feed. */
typedef void json_stream_emit(void *arg, struct json *value, struct err *err);

/* One open container of the message being parsed. */
struct json_frame {
    struct json *value; /* owned */
    char *key;          /* owned; the member whose value is next. */
    size_t key_len;
};

/* The fields are private to json_parse.c. */
struct json_stream {
    json_stream_emit *emit;
    void *arg;
    int lexer;        /* State inside a token. */
    int expect;       /* What the grammar allows next. */
    bool plain;       /* The string under way is ASCII without escapes so far. */
    struct str token; /* Raw bytes of the token under way. */
    VEC(struct json_frame) frames;
    struct json *value;     /* owned; a finished message. */
    struct err *err;        /* owned; first grammatical error of the message. */
    int braces, brackets;   /* Open counts; negative: closed too often. */
    uint64_t bytes, tokens; /* Seen of this message. */
    bool finished;          /* json_stream_fini was called. */
};

void json_stream_init(struct json_stream *s, json_stream_emit *emit, void *arg);
/* Drops an unfinished message. Zeroed is fine. */
void json_stream_fini(struct json_stream *s);

/* Parses len bytes and calls emit for every message that they complete, in order. */
void json_stream_feed(struct json_stream *s, const char *bytes, size_t len);

/* The input ended: a scalar under way is complete, an open container is an error. */
void json_stream_end(struct json_stream *s);

/* Drops an unfinished message and starts afresh (a new client). */
void json_stream_reset(struct json_stream *s);

/* Parses exactly one value; anything but white space around it is an error. *out is new. */
MUST_USE struct err *json_parse(const char *text, size_t len, struct json **out);
/* The same for terminated text. */
MUST_USE struct err *json_parse_text(const char *text, struct json **out);

#endif
