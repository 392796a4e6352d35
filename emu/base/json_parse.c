/*
 * The streamer: bytes to tokens, tokens to a tree of values kept on a stack of open containers.
 */

#include "emu/base/json_parse.h"

#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/json_lex.h"

/* What the lexer is inside of. */
enum lexer_state {
    LEX_START,    /* Between tokens. */
    LEX_RECOVERY, /* After a bad byte: skips to something structural. */
    LEX_DQ,       /* A string in double quotes. */
    LEX_DQ_ESCAPE,
    LEX_SQ,
    LEX_SQ_ESCAPE,
    LEX_MINUS, /* "-": a digit must follow. */
    LEX_ZERO,  /* "0": no digit may follow. */
    LEX_DIGITS,
    LEX_POINT, /* "1.": a digit must follow. */
    LEX_FRACTION,
    LEX_EXP,      /* "1e" */
    LEX_EXP_SIGN, /* "1e+" */
    LEX_EXP_DIGITS,
    LEX_KEYWORD,
};

/* What the grammar allows next. */
enum expectation {
    EXPECT_VALUE,        /* A value. */
    EXPECT_VALUE_OR_END, /* After '[': a value or ']'. */
    EXPECT_KEY_OR_END,   /* After '{'. */
    EXPECT_KEY,          /* After ',' in an object. */
    EXPECT_COLON,
    EXPECT_SEPARATOR, /* ',' or the end of the container. */
    EXPECT_NOTHING,   /* The value is complete. */
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
    s->lexer = LEX_START;
}

static void emit(struct json_stream *s, struct json *value, struct err *err)
{
    if (s->emit) {
        s->emit(s->arg, value, err);
    } else {
        json_free(value);
        err_free(err);
    }
}

/* The message is over: delivers its value or its first error. */
static void finish_message(struct json_stream *s)
{
    struct json *value = s->value;
    struct err *err = s->err;

    s->value = NULL;
    s->err = NULL;
    if (!value && !err)
        err = err_new("JSON parse error, expecting value");
    if (err) {
        json_free(value);
        value = NULL;
    }
    drop_message(s);
    emit(s, value, err);
}

/* An error that cannot wait for the end of the message. */
static void fail_now(struct json_stream *s, struct err *err)
{
    drop_message(s);
    emit(s, NULL, err);
}

static void note_error(struct json_stream *s, struct err *err)
{
    if (s->err)
        err_free(err);
    else
        s->err = err;
}

/* A complete value goes to where the innermost container wants it. */
static void add_value(struct json_stream *s, struct json *value)
{
    struct json_frame *top;

    if (vec_len(&s->frames) == 0) {
        s->value = value;
        s->expect = EXPECT_NOTHING;
        return;
    }
    top = &vec_last(&s->frames);
    if (json_type_of(top->value) == JSON_ARRAY) {
        json_array_add(top->value, value);
    } else {
        if (!json_object_add_n(top->value, top->key, top->key_len, value))
            note_error(s, err_new("JSON parse error, duplicate key"));
        xfree(top->key);
        top->key = NULL;
    }
    s->expect = EXPECT_SEPARATOR;
}

static void unexpected(struct json_stream *s)
{
    bool in_array =
        vec_len(&s->frames) > 0 && json_type_of(vec_last(&s->frames).value) == JSON_ARRAY;

    switch ((enum expectation)s->expect) {
    case EXPECT_KEY:
    case EXPECT_KEY_OR_END:
        note_error(s, err_new("JSON parse error, key is not a string in object"));
        break;
    case EXPECT_COLON: note_error(s, err_new("JSON parse error, missing : in object pair")); break;
    case EXPECT_SEPARATOR:
        note_error(
            s, err_new("JSON parse error, expected separator in %s", in_array ? "list" : "dict"));
        break;
    case EXPECT_VALUE:
    case EXPECT_VALUE_OR_END:
    case EXPECT_NOTHING: note_error(s, err_new("JSON parse error, expecting value")); break;
    }
}

static bool wants_value(const struct json_stream *s)
{
    return s->expect == EXPECT_VALUE || s->expect == EXPECT_VALUE_OR_END;
}

static void open_container(struct json_stream *s, bool object)
{
    if (s->err)
        return;
    if (!wants_value(s)) {
        unexpected(s);
        return;
    }
    vec_push(&s->frames, ((struct json_frame){ .value = object ? json_object() : json_array() }));
    s->expect = object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
}

static void close_container(struct json_stream *s, bool object)
{
    struct json_frame frame;
    bool matches;

    if (s->err)
        return;
    matches = vec_len(&s->frames) > 0 &&
              (json_type_of(vec_last(&s->frames).value) == JSON_OBJECT) == object &&
              (s->expect == EXPECT_SEPARATOR ||
               s->expect == (object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END));
    if (!matches) {
        unexpected(s);
        return;
    }
    frame = vec_pop(&s->frames);
    add_value(s, frame.value);
}

static void string_token(struct json_stream *s)
{
    char *text;
    size_t len;
    struct err *err;

    if (s->err)
        return;
    if (!wants_value(s) && s->expect != EXPECT_KEY && s->expect != EXPECT_KEY_OR_END) {
        unexpected(s);
        return;
    }
    err = json_lex_string(str_cstr(&s->token), s->token.len, &text, &len);
    if (err) {
        note_error(s, err);
    } else if (wants_value(s)) {
        add_value(s, json_strn(text, len));
        xfree(text);
    } else {
        struct json_frame *top = &vec_last(&s->frames);

        top->key = text;
        top->key_len = len;
        s->expect = EXPECT_COLON;
    }
}

static void scalar_token(struct json_stream *s, bool keyword)
{
    struct json *value = NULL;
    struct err *err = NULL;

    if (s->err)
        return;
    /* A word that is none is reported as that, wherever it stands. */
    if (keyword)
        err = json_lex_keyword(str_cstr(&s->token), &value);
    else
        value = json_lex_number(str_cstr(&s->token), s->token.len);
    if (err) {
        note_error(s, err);
    } else if (wants_value(s)) {
        add_value(s, value);
    } else {
        json_free(value);
        unexpected(s);
    }
}

static void punctuation(struct json_stream *s, char c)
{
    if (s->err)
        return;
    if (c == ':' && s->expect == EXPECT_COLON)
        s->expect = EXPECT_VALUE;
    else if (c == ',' && s->expect == EXPECT_SEPARATOR)
        s->expect =
            json_type_of(vec_last(&s->frames).value) == JSON_OBJECT ? EXPECT_KEY : EXPECT_VALUE;
    else
        unexpected(s);
}

/* After a token: is the message complete, or too large? */
static void after_token(struct json_stream *s)
{
    s->tokens++;
    s->bytes += s->token.len;
    if (s->bytes > JSON_MESSAGE_BYTES_MAX)
        fail_now(s, err_new("JSON token size limit exceeded"));
    else if (s->tokens > JSON_MESSAGE_TOKENS_MAX)
        fail_now(s, err_new("JSON token count limit exceeded"));
    else if (s->braces + s->brackets > JSON_DEPTH_MAX)
        fail_now(s, err_new("JSON nesting depth limit exceeded"));
    else if ((s->braces <= 0 && s->brackets <= 0) || s->braces < 0 || s->brackets < 0)
        finish_message(s);
    str_clear(&s->token);
}

static void structural(struct json_stream *s, char c)
{
    str_clear(&s->token);
    str_addc(&s->token, c);
    switch (c) {
    case '{':
        s->braces++;
        open_container(s, true);
        break;
    case '}':
        s->braces--;
        close_container(s, true);
        break;
    case '[':
        s->brackets++;
        open_container(s, false);
        break;
    case ']':
        s->brackets--;
        close_container(s, false);
        break;
    default: punctuation(s, c);
    }
    after_token(s);
}

static bool is_structural(char c) { return c && strchr("{}[]:,", c); }

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_letter(char c) { return c >= 'a' && c <= 'z'; }

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* No token can go on or begin with this byte. Text that led to it is dropped with the message. */
static void bad_byte(struct json_stream *s, char c)
{
    struct err *err;

    if ((uint8_t)c < 0x20 || (uint8_t)c >= 0x7f) {
        err = err_new("JSON parse error, stray '\\u%04X'",
                      (uint8_t)c >= 0x80 ? 0xfffd : (unsigned)(uint8_t)c);
    } else {
        str_addc(&s->token, c);
        err = err_new("JSON parse error, stray '%s'", str_cstr(&s->token));
    }
    str_clear(&s->token);
    /* 0xFE and 0xFF are what a client sends to get back in step, so nothing is skipped after them. */
    s->lexer = (uint8_t)c >= 0xfe ? LEX_START : LEX_RECOVERY;
    fail_now(s, err);
}

static void start_token(struct json_stream *s, char c)
{
    s->lexer = LEX_START;
    if (is_space(c))
        return;
    if (is_structural(c)) {
        structural(s, c);
        return;
    }
    str_clear(&s->token);
    if (c == '"')
        s->lexer = LEX_DQ;
    else if (c == '\'')
        s->lexer = LEX_SQ;
    else if (c == '-')
        s->lexer = LEX_MINUS;
    else if (c == '0')
        s->lexer = LEX_ZERO;
    else if (is_digit(c))
        s->lexer = LEX_DIGITS;
    else if (is_letter(c))
        s->lexer = LEX_KEYWORD;
    else {
        bad_byte(s, c);
        return;
    }
    str_addc(&s->token, c);
}

/* Where a number goes with this byte; LEX_START: it ends before it; -1: the byte cannot be there. */
static int next_number_state(int state, char c)
{
    bool exponent = c == 'e' || c == 'E';

    switch (state) {
    case LEX_MINUS: return c == '0' ? LEX_ZERO : is_digit(c) ? LEX_DIGITS : -1;
    case LEX_ZERO: return c == '.' ? LEX_POINT : exponent ? LEX_EXP : is_digit(c) ? -1 : LEX_START;
    case LEX_DIGITS:
        return is_digit(c) ? LEX_DIGITS : c == '.' ? LEX_POINT : exponent ? LEX_EXP : LEX_START;
    case LEX_POINT: return is_digit(c) ? LEX_FRACTION : -1;
    case LEX_FRACTION: return is_digit(c) ? LEX_FRACTION : exponent ? LEX_EXP : LEX_START;
    case LEX_EXP: return c == '+' || c == '-' ? LEX_EXP_SIGN : is_digit(c) ? LEX_EXP_DIGITS : -1;
    case LEX_EXP_SIGN: return is_digit(c) ? LEX_EXP_DIGITS : -1;
    default: return is_digit(c) ? LEX_EXP_DIGITS : LEX_START;
    }
}

static void end_scalar(struct json_stream *s, bool keyword)
{
    s->lexer = LEX_START;
    scalar_token(s, keyword);
    after_token(s);
}

static void number_byte(struct json_stream *s, char c)
{
    int next = next_number_state(s->lexer, c);

    if (next < 0) {
        bad_byte(s, c);
    } else if (next == LEX_START) {
        end_scalar(s, false);
        if (!s->finished)
            start_token(s, c);
    } else {
        s->lexer = next;
        str_addc(&s->token, c);
    }
}

static void string_byte(struct json_stream *s, char c)
{
    bool single = s->lexer == LEX_SQ || s->lexer == LEX_SQ_ESCAPE;
    bool escaped = s->lexer == LEX_DQ_ESCAPE || s->lexer == LEX_SQ_ESCAPE;

    if ((uint8_t)c < 0x20 || (uint8_t)c >= 0xfe) {
        bad_byte(s, c);
        return;
    }
    str_addc(&s->token, c);
    if (escaped) {
        s->lexer = single ? LEX_SQ : LEX_DQ;
    } else if (c == '\\') {
        s->lexer = single ? LEX_SQ_ESCAPE : LEX_DQ_ESCAPE;
    } else if (c == (single ? '\'' : '"')) {
        s->lexer = LEX_START;
        string_token(s);
        after_token(s);
    }
}

static void feed_byte(struct json_stream *s, char c)
{
    switch ((enum lexer_state)s->lexer) {
    case LEX_START: start_token(s, c); break;
    case LEX_RECOVERY:
        if (is_structural(c))
            start_token(s, c);
        else if (((uint8_t)c < 0x20 && c != '\t') || (uint8_t)c >= 0xfe)
            s->lexer = LEX_START;
        break;
    case LEX_DQ:
    case LEX_DQ_ESCAPE:
    case LEX_SQ:
    case LEX_SQ_ESCAPE: string_byte(s, c); break;
    case LEX_KEYWORD:
        if (is_letter(c)) {
            str_addc(&s->token, c);
        } else {
            end_scalar(s, true);
            if (!s->finished)
                start_token(s, c);
        }
        break;
    default: number_byte(s, c);
    }
    if (s->token.len > JSON_MESSAGE_BYTES_MAX) {
        str_clear(&s->token);
        s->lexer = LEX_RECOVERY;
        fail_now(s, err_new("JSON token size limit exceeded"));
    }
}

void json_stream_feed(struct json_stream *s, const char *bytes, size_t len)
{
    s->finished = false;
    for (size_t i = 0; i < len && !s->finished; i++)
        feed_byte(s, bytes[i]);
}

void json_stream_end(struct json_stream *s)
{
    s->finished = false;
    if (s->lexer == LEX_KEYWORD)
        end_scalar(s, true);
    else if (s->lexer == LEX_ZERO || s->lexer == LEX_DIGITS || s->lexer == LEX_FRACTION ||
             s->lexer == LEX_EXP_DIGITS)
        end_scalar(s, false);
    if (s->finished)
        return;
    if (s->lexer != LEX_START && s->lexer != LEX_RECOVERY)
        fail_now(s, err_new("JSON parse error, premature EOI"));
    else if (s->braces || s->brackets)
        fail_now(s, s->err ? err_copy(s->err) : err_new("JSON parse error, premature EOI"));
    json_stream_reset(s);
}

/* One value and nothing else. */
struct one_shot {
    struct json *value;
    struct err *err;
    unsigned count;
};

static void collect(void *arg, struct json *value, struct err *err)
{
    struct one_shot *one = arg;

    if (one->count++ == 0) {
        one->value = value;
        one->err = err;
        return;
    }
    json_free(value);
    err_keep_first(&one->err, err ? err : err_new("JSON parse error, expecting one value"));
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
        one.err = err_new("JSON parse error, expecting value");
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
