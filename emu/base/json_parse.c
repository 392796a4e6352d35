/*
 * The streamer: tokens to a tree of values, kept on a stack of open containers.
 *
 * The tree is built as tokens arrive; there is no list of tokens in between. An error of grammar is noted, and the rest
 * of the message is then only counted until it is complete, because the reply to a message comes after its end.
 */
#include "emu/base/json_parse.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_lex.h"
#include "emu/base/json_scan.h"

/* What the grammar allows next. */
enum expectation {
    EXPECT_VALUE,        /* A value. */
    EXPECT_VALUE_OR_END, /* After '[': a value or ']'. */
    EXPECT_KEY_OR_END,   /* After '{'. */
    EXPECT_KEY,          /* After ',' in an object. */
    EXPECT_COLON,
    EXPECT_SEPARATOR, /* ',' or the end of the container. */
};

void json_stream_init(struct json_stream *s, json_stream_emit *emit, void *arg)
{
    memset(s, 0, sizeof(*s));
    s->emit = emit;
    s->arg = arg;
}

/* Forgets the message under way, and its error. */
static void drop_message(struct json_stream *s)
{
    while (vec_len(&s->frames) > 0) {
        struct json_frame frame = vec_pop(&s->frames);

        json_free(frame.value);
        xfree(frame.key);
    }
    json_free(s->value);
    s->value = NULL;
    err_free(s->err);
    s->err = NULL;
    s->braces = s->brackets = 0;
    s->bytes = s->tokens = 0;
    s->expect = EXPECT_VALUE;
}

void json_stream_fini(struct json_stream *s)
{
    drop_message(s);
    vec_fini(&s->frames);
    str_fini(&s->token);
    s->finished = true;
}

void json_stream_reset(struct json_stream *s)
{
    drop_message(s);
    str_clear(&s->token);
    s->lexer = SCAN_START;
}

/* The message is over: delivers its value or its first error. */
static void finish_message(struct json_stream *s)
{
    struct json *value = s->err ? NULL : s->value;
    struct err *err = s->err;

    if (value)
        s->value = NULL;
    s->err = NULL;
    drop_message(s);
    s->emit(s->arg, value, err);
}

/* An error that cannot wait for the end of the message, which is dropped. */
static void fail_now(struct json_stream *s, struct err *err)
{
    drop_message(s);
    s->emit(s->arg, NULL, err);
}

/* The bytes of the token, with the one that spoils it, are quoted as they came. */
static void fail_stray(struct json_stream *s)
{
    struct err *err = err_new("JSON parse error, stray '%s'", str_cstr(&s->token));

    str_clear(&s->token);
    s->lexer = SCAN_RECOVERY;
    fail_now(s, err);
}

static bool in_object(const struct json_stream *s)
{
    return vec_len(&s->frames) > 0 && json_type_of(vec_last(&s->frames).value) == JSON_OBJECT;
}

static bool wants_key(const struct json_stream *s)
{
    return s->expect == EXPECT_KEY || s->expect == EXPECT_KEY_OR_END;
}

static bool wants_value(const struct json_stream *s)
{
    return s->expect == EXPECT_VALUE || s->expect == EXPECT_VALUE_OR_END;
}

/* Notes that this token cannot be here. */
static void unexpected(struct json_stream *s)
{
    if (s->expect == EXPECT_COLON)
        s->err = err_new("JSON parse error, missing : in object pair");
    else if (s->expect == EXPECT_SEPARATOR)
        s->err =
            err_new("JSON parse error, expected separator in %s", in_object(s) ? "dict" : "list");
    else
        s->err = err_new("JSON parse error, expecting value");
}

/* A complete value goes to where the innermost container wants it. Takes value. */
static void add_value(struct json_stream *s, struct json *value)
{
    struct json_frame *top;
    char *key;

    if (vec_len(&s->frames) == 0) {
        s->value = value;
        return;
    }
    top = &vec_last(&s->frames);
    s->expect = EXPECT_SEPARATOR;
    if (json_type_of(top->value) == JSON_ARRAY) {
        json_array_add(top->value, value);
    } else if (top->key) {
        key = top->key;
        top->key = NULL;
        if (!json_object_add_take(top->value, key, top->key_len, value))
            s->err = err_new("JSON parse error, duplicate key");
    } else {
        json_free(value);
        s->err = err_new("JSON parse error, key is not a string in object");
    }
}

static void open_container(struct json_stream *s, bool object)
{
    if (!wants_value(s) && !wants_key(s)) {
        unexpected(s);
        return;
    }
    vec_push(&s->frames, (struct json_frame){ .value = object ? json_object() : json_array() });
    s->expect = object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
}

static void close_container(struct json_stream *s, bool object)
{
    struct json_frame frame;

    if (vec_len(&s->frames) == 0 || in_object(s) != object ||
        (s->expect != EXPECT_SEPARATOR &&
         s->expect != (object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END))) {
        unexpected(s);
        return;
    }
    frame = vec_pop(&s->frames);
    add_value(s, frame.value);
}

static void punctuation(struct json_stream *s, char c)
{
    if (c == ':' && s->expect == EXPECT_COLON)
        s->expect = EXPECT_VALUE;
    else if (c == ',' && s->expect == EXPECT_SEPARATOR)
        s->expect = in_object(s) ? EXPECT_KEY : EXPECT_VALUE;
    else
        unexpected(s);
}

static void string_token(struct json_stream *s, const char *token, size_t len)
{
    char *text;
    size_t text_len;

    if (!wants_value(s) && !wants_key(s)) {
        unexpected(s);
        return;
    }
    if (s->plain && wants_value(s)) {
        add_value(s, json_strn(token + 1, len - 2));
        return;
    }
    if (s->plain) {
        text_len = len - 2;
        text = xstrndup(token + 1, text_len);
    } else {
        s->err = json_lex_string(token, len, &text, &text_len);
        if (s->err)
            return;
    }
    if (wants_value(s)) {
        add_value(s, json_strn(text, text_len));
        xfree(text);
    } else {
        vec_last(&s->frames).key = text;
        vec_last(&s->frames).key_len = text_len;
        s->expect = EXPECT_COLON;
    }
}

static void scalar_token(struct json_stream *s, bool number, const char *token, size_t len)
{
    struct json *value = NULL;

    if (!wants_value(s) && !wants_key(s)) {
        unexpected(s);
        return;
    }
    if (number)
        value = json_lex_number(token, len);
    else
        s->err = json_lex_keyword(token, len, &value);
    if (value)
        add_value(s, value);
}

/* After a token of len bytes: is the message too large, or complete? */
static void after_token(struct json_stream *s, size_t len)
{
    s->tokens++;
    s->bytes += len;
    if (s->bytes > JSON_MESSAGE_BYTES_MAX)
        fail_now(s, err_new("JSON token size limit exceeded"));
    else if (s->tokens > JSON_MESSAGE_TOKENS_MAX)
        fail_now(s, err_new("JSON token count limit exceeded"));
    else if (s->braces + s->brackets > JSON_DEPTH_MAX)
        fail_now(s, err_new("JSON nesting depth limit exceeded"));
    else if (s->braces < 0 || s->brackets < 0 || s->braces + s->brackets == 0)
        finish_message(s);
}

static void structural_token(struct json_stream *s, char c)
{
    bool object = c == '{' || c == '}';

    switch (c) {
    case '{':
    case '[':
        *(object ? &s->braces : &s->brackets) += 1;
        if (!s->err)
            open_container(s, object);
        break;
    case '}':
    case ']':
        *(object ? &s->braces : &s->brackets) -= 1;
        if (!s->err)
            close_container(s, object);
        break;
    default:
        if (!s->err)
            punctuation(s, c);
    }
    after_token(s, 1);
}

/* A string, number or word that is whole. */
static void text_token(struct json_stream *s, enum json_scan_state kind, const char *token,
                       size_t len)
{
    s->lexer = SCAN_START;
    if (!s->err) {
        if (json_scan_in_string(kind))
            string_token(s, token, len);
        else
            scalar_token(s, json_scan_in_number(kind), token, len);
    }
    after_token(s, len);
}

/* Goes on with a token of which the bytes from start to p are not in s->token yet. */
static const char *continue_token(struct json_stream *s, const char *start, const char *p,
                                  const char *end)
{
    enum json_scan_state state = s->lexer;

    p = json_scan(&state, &s->plain, p, end);
    if (state == SCAN_START && s->token.len == 0) {
        text_token(s, s->lexer, start, (size_t)(p - start));
        return p;
    }
    str_addn(&s->token, start, (size_t)(p - start));
    if (state == SCAN_START) {
        text_token(s, s->lexer, s->token.data, s->token.len);
        str_clear(&s->token);
    } else if (state == SCAN_BAD) {
        str_addc(&s->token, *p++);
        fail_stray(s);
    } else if (s->token.len > JSON_MESSAGE_BYTES_MAX) {
        str_clear(&s->token);
        s->lexer = SCAN_RECOVERY;
        fail_now(s, err_new("JSON token size limit exceeded"));
    } else {
        s->lexer = state;
    }
    return p;
}

static const char *start_token(struct json_stream *s, const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    if (p == end)
        return p;
    switch (*p) {
    case '{':
    case '}':
    case '[':
    case ']':
    case ':':
    case ',': structural_token(s, *p); return p + 1;
    default:
        s->lexer = json_scan_first(*p);
        if (s->lexer == SCAN_BAD) {
            str_addc(&s->token, *p);
            fail_stray(s);
            return p + 1;
        }
        s->plain = true;
        return continue_token(s, p, p + 1, end);
    }
}

void json_stream_feed(struct json_stream *s, const char *bytes, size_t len)
{
    const char *p = bytes, *end = bytes + len;

    s->finished = false;
    while (p < end && !s->finished) {
        if (s->lexer == SCAN_START) {
            p = start_token(s, p, end);
        } else if (s->lexer == SCAN_RECOVERY) {
            p = json_scan_recover(p, end);
            if (p < end)
                s->lexer = SCAN_START;
        } else {
            p = continue_token(s, p, p, end);
        }
    }
}

void json_stream_end(struct json_stream *s)
{
    s->finished = false;
    if (json_scan_may_end(s->lexer))
        text_token(s, s->lexer, s->token.data, s->token.len);
    else if (s->lexer != SCAN_START && s->lexer != SCAN_RECOVERY)
        fail_stray(s);
    if (s->finished)
        return;
    if (s->tokens > 0) {
        if (!s->err)
            s->err = err_new("JSON parse error, premature EOI");
        finish_message(s);
    }
    if (!s->finished)
        json_stream_reset(s);
}

/* One value and nothing else. */
struct one_shot {
    struct json *value;
    struct err *err;
};

static void collect(void *arg, struct json *value, struct err *err)
{
    struct one_shot *one = arg;

    if (!one->value && !one->err) {
        one->value = value;
        one->err = err;
        return;
    }
    json_free(value);
    err_free(err);
    err_keep_first(&one->err, err_new("Expecting at most one JSON value"));
}

struct err *json_parse(const char *text, size_t len, struct json **out)
{
    struct one_shot one = { 0 };
    struct json_stream s;

    json_stream_init(&s, collect, &one);
    json_stream_feed(&s, text, len);
    json_stream_end(&s);
    json_stream_fini(&s);
    if (!one.err && !one.value)
        one.err = err_new("Expecting a JSON value");
    if (one.err) {
        json_free(one.value);
        return one.err;
    }
    *out = one.value;
    return NULL;
}

struct err *json_parse_text(const char *text, struct json **out)
{
    return json_parse(text, strlen(text), out);
}
