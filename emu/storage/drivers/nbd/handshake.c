/* The client's handshake. */
#include "emu/storage/drivers/nbd/handshake.h"

#include <stdarg.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/storage/nbd_wire/nbd_wire.h"

static const uint32_t handshake_edges[NBD_HS_STATE_COUNT] = {
    [NBD_HS_MAGIC] = BIT(NBD_HS_SERVER_MAGIC) | BIT(NBD_HS_FAILED),
    [NBD_HS_SERVER_MAGIC] = BIT(NBD_HS_FLAGS) | BIT(NBD_HS_FAILED),
    [NBD_HS_FLAGS] = BIT(NBD_HS_REPLY) | BIT(NBD_HS_EXPORT) | BIT(NBD_HS_FAILED),
    [NBD_HS_REPLY] = BIT(NBD_HS_REPLY) | BIT(NBD_HS_PAYLOAD) | BIT(NBD_HS_EXPORT) |
                     BIT(NBD_HS_STARTTLS) | BIT(NBD_HS_DONE) | BIT(NBD_HS_FAILED),
    [NBD_HS_STARTTLS] = BIT(NBD_HS_REPLY) | BIT(NBD_HS_FAILED),
    [NBD_HS_PAYLOAD] =
        BIT(NBD_HS_REPLY) | BIT(NBD_HS_EXPORT) | BIT(NBD_HS_DONE) | BIT(NBD_HS_FAILED),
    [NBD_HS_EXPORT] = BIT(NBD_HS_DONE) | BIT(NBD_HS_FAILED),
};

static void enter(struct nbd_handshake *hs, enum nbd_handshake_state to)
{
    fsm_check_edge(handshake_edges, hs->state, to);
    hs->state = to;
}

PRINTF(2, 3) static void fail(struct nbd_handshake *hs, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    hs->err = err_new_va(fmt, args);
    va_end(args);
    enter(hs, NBD_HS_FAILED);
}

void nbd_handshake_init(struct nbd_handshake *hs, const char *export, const char *context, bool tls)
{
    *hs = (struct nbd_handshake){
        .state = NBD_HS_MAGIC,
        .export = export,
        .context = context,
        .tls = tls,
    };
}

void nbd_handshake_fini(struct nbd_handshake *hs)
{
    str_fini(&hs->out);
    err_free(hs->err);
    hs->err = NULL;
}

/* ---- Sending options ---- */

static void put_be32(struct str *s, uint32_t v)
{
    uint8_t bytes[4];

    store_be32(bytes, v);
    str_addn(s, bytes, sizeof(bytes));
}

static void put_string(struct str *s, const char *text)
{
    put_be32(s, (uint32_t)strlen(text));
    str_add(s, text);
}

static void send_option(struct nbd_handshake *hs, uint32_t option, const struct str *data)
{
    uint8_t head[NBD_OPTION_BYTES];

    nbd_option_store(head, option, (uint32_t)(data ? data->len : 0));
    str_addn(&hs->out, head, sizeof(head));
    if (data && data->len)
        str_addn(&hs->out, data->data, data->len);
    hs->option = option;
    enter(hs, option == NBD_OPT_EXPORT_NAME ? NBD_HS_EXPORT : NBD_HS_REPLY);
}

static void send_set_meta(struct nbd_handshake *hs)
{
    CLEANUP(str_fini) struct str data = { 0 };

    put_string(&data, hs->export);
    put_be32(&data, 1);
    put_string(&data, hs->context);
    send_option(hs, NBD_OPT_SET_META_CONTEXT, &data);
}

static void send_go(struct nbd_handshake *hs)
{
    CLEANUP(str_fini) struct str data = { 0 };
    static const uint8_t infos[] = { 0, 1, 0, NBD_INFO_BLOCK_SIZE };

    put_string(&data, hs->export);
    str_addn(&data, infos, sizeof(infos));
    send_option(hs, NBD_OPT_GO, &data);
}

static void send_export_name(struct nbd_handshake *hs)
{
    CLEANUP(str_fini) struct str data = { 0 };

    str_add(&data, hs->export);
    send_option(hs, NBD_OPT_EXPORT_NAME, &data);
}

/* ---- Errors of the server ---- */

static const struct {
    uint32_t type;
    bool bare; /* The text is complete without the option. */
    const char *text;
} refusals[] = {
    { NBD_REP_ERR_POLICY, false, "Denied by server for" },
    { NBD_REP_ERR_INVALID, false, "Invalid parameters for" },
    { NBD_REP_ERR_PLATFORM, false, "Server lacks support for" },
    { NBD_REP_ERR_TLS_REQD, false, "TLS negotiation required before" },
    { NBD_REP_ERR_UNKNOWN, true, "Requested export not available" },
    { NBD_REP_ERR_SHUTDOWN, false, "Server shutting down before" },
    { NBD_REP_ERR_BLOCK_SIZE_REQD, false, "Server requires INFO_BLOCK_SIZE for" },
    { NBD_REP_ERR_TOO_BIG, false, "Payload too big for" },
};

/* A server that refused is told that we leave, so that it need not take it for a broken connection. */
static void refused(struct nbd_handshake *hs, const uint8_t *text, size_t len)
{
    const char *what = "Unknown error code when asking for";
    uint8_t leave[NBD_OPTION_BYTES];
    bool bare = false;

    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        if (refusals[i].type == hs->reply_type) {
            what = refusals[i].text;
            bare = refusals[i].bare;
        }
    }
    if (bare)
        fail(hs, "%s", what);
    else
        fail(hs, "%s option %u (%s)", what, hs->option, nbd_option_name(hs->option));
    if (hs->reply_type == NBD_REP_ERR_TLS_REQD)
        err_hint_append(hs->err, "Did you forget a valid tls-creds?\n");
    if (len)
        err_hint_append(hs->err, "server reported: %.*s\n", (int)len, (const char *)text);
    nbd_option_store(leave, NBD_OPT_ABORT, 0);
    str_addn(&hs->out, leave, sizeof(leave));
}

/* ---- Replies ---- */

static void structured_reply(struct nbd_handshake *hs)
{
    if (hs->reply_type & NBD_REP_ERROR) {
        send_go(hs);
    } else if (hs->reply_type != NBD_REP_ACK) {
        fail(hs, "Server answered option %u (%s) with unexpected reply %u (%s)", hs->option,
             nbd_option_name(hs->option), hs->reply_type, nbd_reply_type_name(hs->reply_type));
    } else if (hs->reply_len) {
        fail(hs, "Option %u ('%s') response length is %u (it should be zero)", hs->option,
             nbd_option_name(hs->option), hs->reply_len);
    } else {
        hs->info.structured = true;
        send_set_meta(hs);
    }
}

static void meta_reply(struct nbd_handshake *hs, const uint8_t *data, size_t len)
{
    if (hs->reply_type & NBD_REP_ERROR || (hs->reply_type == NBD_REP_ACK && !len)) {
        if (hs->reply_type & NBD_REP_ERROR)
            hs->info.has_context = false;
        send_go(hs);
    } else if (hs->reply_type != NBD_REP_META_CONTEXT) {
        fail(hs, "Unexpected reply type %u (%s), expected %u (%s)", hs->reply_type,
             nbd_reply_type_name(hs->reply_type), NBD_REP_META_CONTEXT, "meta context");
    } else if (len <= 4) {
        fail(hs, "Failed to negotiate meta context, server answered with unexpected length %zu",
             len);
    } else if (len - 4 != strlen(hs->context) || memcmp(data + 4, hs->context, len - 4) != 0) {
        fail(hs,
             "Failed to negotiate meta context '%s', server answered with different context '%.*s'",
             hs->context, (int)(len - 4), (const char *)data + 4);
    } else if (hs->info.has_context) {
        fail(hs, "Server answered with more than one context");
    } else {
        hs->info.has_context = true;
        hs->info.context_id = load_be32(data);
        enter(hs, NBD_HS_REPLY);
    }
}

static void info_blocks(struct nbd_handshake *hs, const uint8_t *data, size_t len)
{
    uint32_t min, pref, max;

    if (len != 14) {
        fail(hs, "remaining export info len %zu is unexpected size", len - 2);
        return;
    }
    min = load_be32(data + 2);
    pref = load_be32(data + 6);
    max = load_be32(data + 10);
    if (!is_pow2(min) || min > NBD_MIN_BLOCK_MAX)
        fail(hs, "server minimum block size %u is not a power of two", min);
    else if (!is_pow2(pref) || pref < min)
        fail(hs, "server preferred block size %u is not valid", pref);
    else if (max < min)
        fail(hs, "server maximum block size %u is not valid", max);
    else {
        hs->info.min_block = min;
        hs->info.pref_block = pref;
        hs->info.max_block = (uint32_t)align_down_u64(max, min);
        enter(hs, NBD_HS_REPLY);
    }
}

static void info_export(struct nbd_handshake *hs, const uint8_t *data, size_t len)
{
    if (len != 12) {
        fail(hs, "remaining export info len %zu is unexpected size", len - 2);
        return;
    }
    hs->info.size = load_be64(data + 2);
    hs->info.flags = load_be16(data + 10);
    hs->got_export = hs->info.flags & NBD_FLAG_HAS_FLAGS;
    enter(hs, NBD_HS_REPLY);
}

/* All that was said is known; whether it fits together. */
static void check_export(struct nbd_handshake *hs)
{
    if (hs->info.size > INT64_MAX)
        fail(hs, "export size %llu is too large", (unsigned long long)hs->info.size);
    else if (hs->info.min_block && !is_aligned(hs->info.size, hs->info.min_block))
        fail(hs, "export size %llu is not multiple of minimum block size %u",
             (unsigned long long)hs->info.size, hs->info.min_block);
    else
        enter(hs, NBD_HS_DONE);
}

static void go_reply(struct nbd_handshake *hs, const uint8_t *data, size_t len)
{
    if (hs->reply_type == NBD_REP_ERR_UNSUP) {
        /* Contexts chosen with SET_META stay chosen: they were for the same name. */
        send_export_name(hs);
    } else if (hs->reply_type & NBD_REP_ERROR) {
        refused(hs, data, len);
    } else if (hs->reply_type == NBD_REP_ACK) {
        if (len)
            fail(hs, "server sent invalid NBD_REP_ACK");
        else if (!hs->got_export)
            fail(hs, "broken server omitted NBD_INFO_EXPORT");
        else
            check_export(hs);
    } else if (hs->reply_type != NBD_REP_INFO) {
        fail(hs, "unexpected reply type %u (%s), expected %u (%s)", hs->reply_type,
             nbd_reply_type_name(hs->reply_type), NBD_REP_INFO, "info");
    } else if (len < 2) {
        fail(hs, "reply type length %zu is too short", len);
    } else if (load_be16(data) == NBD_INFO_EXPORT) {
        info_export(hs, data, len);
    } else if (load_be16(data) == NBD_INFO_BLOCK_SIZE) {
        info_blocks(hs, data, len);
    } else {
        enter(hs, NBD_HS_REPLY); /* Names and descriptions are of no use here. */
    }
}

static void starttls_reply(struct nbd_handshake *hs, const uint8_t *data, size_t len)
{
    if (hs->reply_type & NBD_REP_ERROR && hs->reply_type != NBD_REP_ERR_UNSUP)
        refused(hs, data, len);
    else if (hs->reply_type == NBD_REP_ERR_UNSUP)
        fail(hs, "Server don't support STARTTLS option");
    else if (hs->reply_type != NBD_REP_ACK)
        fail(hs, "Server answered option %u (%s) with unexpected reply %u (%s)", hs->option,
             nbd_option_name(hs->option), hs->reply_type, nbd_reply_type_name(hs->reply_type));
    else if (len)
        fail(hs, "Option %u ('%s') response length is %zu (it should be zero)", hs->option,
             nbd_option_name(hs->option), len);
    else
        enter(hs, NBD_HS_STARTTLS);
}

void nbd_handshake_tls_done(struct nbd_handshake *hs, struct err *err)
{
    check(hs->state == NBD_HS_STARTTLS);
    if (err) {
        hs->err = err;
        enter(hs, NBD_HS_FAILED);
    } else {
        send_option(hs, NBD_OPT_STRUCTURED_REPLY, NULL);
    }
}

static void handle_reply(struct nbd_handshake *hs, const uint8_t *data)
{
    size_t len = hs->reply_len;

    switch (hs->option) {
    case NBD_OPT_STARTTLS: starttls_reply(hs, data, len); break;
    case NBD_OPT_STRUCTURED_REPLY: structured_reply(hs); break;
    case NBD_OPT_SET_META_CONTEXT: meta_reply(hs, data, len); break;
    case NBD_OPT_GO: go_reply(hs, data, len); break;
    default: unreachable();
    }
}

static void reply_header(struct nbd_handshake *hs, const uint8_t *bytes)
{
    uint32_t option = load_be32(bytes + 8);

    hs->reply_type = load_be32(bytes + 12);
    hs->reply_len = load_be32(bytes + 16);
    if (load_be64(bytes) != NBD_MAGIC_OPTION_REPLY)
        fail(hs, "Unexpected option reply magic");
    else if (option != hs->option)
        fail(hs, "Unexpected option type %u (%s), expected %u (%s)", option,
             nbd_option_name(option), hs->option, nbd_option_name(hs->option));
    else if (hs->option == NBD_OPT_STRUCTURED_REPLY && !(hs->reply_type & NBD_REP_ERROR))
        structured_reply(hs);
    else if (hs->reply_len > NBD_HANDSHAKE_NEED_MAX)
        fail(hs, "server reply of %u bytes to option %u (%s) is too long", hs->reply_len,
             hs->option, nbd_option_name(hs->option));
    else if (hs->reply_len)
        enter(hs, NBD_HS_PAYLOAD);
    else
        handle_reply(hs, NULL);
}

/* ---- Greeting ---- */

static void server_magic(struct nbd_handshake *hs, uint64_t magic)
{
    if (magic == NBD_MAGIC_OPTION)
        enter(hs, NBD_HS_FLAGS);
    else if (magic == NBD_MAGIC_OLDSTYLE)
        fail(hs, "Server uses the old style of negotiation, which is not supported");
    else
        fail(hs, "Bad server magic received: 0x%llx", (unsigned long long)magic);
}

static void server_flags(struct nbd_handshake *hs, uint16_t flags)
{
    hs->no_zeroes = flags & NBD_HS_NO_ZEROES;
    put_be32(&hs->out, flags & NBD_HS_KNOWN);
    /* A server that is not "fixed" drops clients for unknown options: only EXPORT_NAME is safe. */
    if (hs->tls && !(flags & NBD_HS_FIXED_NEWSTYLE))
        fail(hs, "Server does not support STARTTLS");
    else if (hs->tls)
        send_option(hs, NBD_OPT_STARTTLS, NULL);
    else if (flags & NBD_HS_FIXED_NEWSTYLE)
        send_option(hs, NBD_OPT_STRUCTURED_REPLY, NULL);
    else
        send_export_name(hs);
}

size_t nbd_handshake_need(const struct nbd_handshake *hs)
{
    switch (hs->state) {
    case NBD_HS_MAGIC:
    case NBD_HS_SERVER_MAGIC: return 8;
    case NBD_HS_FLAGS: return 2;
    case NBD_HS_REPLY: return NBD_OPTION_REPLY_BYTES;
    case NBD_HS_PAYLOAD: return hs->reply_len;
    case NBD_HS_EXPORT: return hs->no_zeroes ? 10 : 10 + NBD_EXPORT_NAME_PAD;
    case NBD_HS_STARTTLS:
    case NBD_HS_DONE:
    case NBD_HS_FAILED:
    case NBD_HS_STATE_COUNT: break;
    }
    unreachable();
}

void nbd_handshake_input(struct nbd_handshake *hs, const uint8_t *bytes)
{
    switch (hs->state) {
    case NBD_HS_MAGIC:
        if (load_be64(bytes) == NBD_MAGIC_INIT)
            enter(hs, NBD_HS_SERVER_MAGIC);
        else
            fail(hs, "Bad initial magic received: 0x%llx", (unsigned long long)load_be64(bytes));
        return;
    case NBD_HS_SERVER_MAGIC: server_magic(hs, load_be64(bytes)); return;
    case NBD_HS_FLAGS: server_flags(hs, load_be16(bytes)); return;
    case NBD_HS_REPLY: reply_header(hs, bytes); return;
    case NBD_HS_PAYLOAD: handle_reply(hs, bytes); return;
    case NBD_HS_EXPORT:
        hs->info.size = load_be64(bytes);
        hs->info.flags = load_be16(bytes + 8);
        check_export(hs);
        return;
    case NBD_HS_STARTTLS:
    case NBD_HS_DONE:
    case NBD_HS_FAILED:
    case NBD_HS_STATE_COUNT: break;
    }
    unreachable();
}

void nbd_handshake_broken(struct nbd_handshake *hs, int result, const char *why)
{
    static const char *const what[NBD_HS_STATE_COUNT] = {
        [NBD_HS_MAGIC] = "initial magic",  [NBD_HS_SERVER_MAGIC] = "server magic",
        [NBD_HS_FLAGS] = "server flags",   [NBD_HS_REPLY] = "option reply",
        [NBD_HS_PAYLOAD] = "option reply", [NBD_HS_EXPORT] = "export length",
    };

    if (nbd_handshake_over(hs))
        return;
    if (result == 0)
        fail(hs, "Failed to read %s: Unexpected end-of-file before all data were read",
             what[hs->state]);
    else
        fail(hs, "Failed to read %s: %s", what[hs->state], why ? why : strerror(-result));
}
