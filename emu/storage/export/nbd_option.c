/* The handshake: options up to GO or EXPORT_NAME. Texts are the reference's. */
#include <stdarg.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/export/nbd_conn.h"

/* ---- Answers ---- */

void nbd_option_reply(struct nbd_conn *conn, uint32_t option, uint32_t type, const void *data,
                      size_t len)
{
    uint8_t head[NBD_OPTION_REPLY_BYTES];

    nbd_option_reply_store(head, option, type, (uint32_t)len);
    str_addn(&conn->hs_out, head, sizeof(head));
    if (len)
        str_addn(&conn->hs_out, data, len);
    nbd_tx_kick(conn);
}

void nbd_option_error(struct nbd_conn *conn, uint32_t option, uint32_t type, const char *fmt, ...)
{
    va_list args;
    char *text;

    va_start(args, fmt);
    text = xvasprintf(fmt, args);
    va_end(args);
    nbd_option_reply(conn, option, type, text, MIN(strlen(text), (size_t)NBD_STRING_MAX));
    xfree(text);
}

static void ack(struct nbd_conn *conn, uint32_t option)
{
    nbd_option_reply(conn, option, NBD_REP_ACK, NULL, 0);
}

/* ---- Options ---- */

static uint16_t export_flags(const struct nbd_conn *conn, const struct export *export)
{
    uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_FLUSH | NBD_FLAG_FUA | NBD_FLAG_CACHE;

    /* All connections share the node, so a flush on one covers what completed on any. */
    flags |= NBD_FLAG_MULTI_CONN;
    if (export->writable)
        flags |= NBD_FLAG_TRIM | NBD_FLAG_WRITE_ZEROES | NBD_FLAG_FAST_ZERO;
    else
        flags |= NBD_FLAG_READ_ONLY;
    if (nbd_chunked(conn))
        flags |= NBD_FLAG_DF;
    return flags;
}

static void option_list(struct nbd_conn *conn)
{
    list_for_each(export, &conn->server->exports->list, struct export, link) {
        size_t name_len = strlen(export->name);
        size_t desc_len = export->description ? strlen(export->description) : 0;
        uint8_t *data;

        if (export->shutting_down)
            continue;
        data = xmalloc(4 + name_len + desc_len);
        store_be32(data, (uint32_t)name_len);
        memcpy(data + 4, export->name, name_len);
        if (desc_len)
            memcpy(data + 4 + name_len, export->description, desc_len);
        nbd_option_reply(conn, NBD_OPT_LIST, NBD_REP_SERVER, data, 4 + name_len + desc_len);
        xfree(data);
    }
    ack(conn, NBD_OPT_LIST);
}

static void info_text(struct nbd_conn *conn, uint32_t option, uint16_t info, const char *text)
{
    size_t len = strlen(text);
    uint8_t *data = xmalloc(2 + len);

    store_be16(data, info);
    memcpy(data + 2, text, len);
    nbd_option_reply(conn, option, NBD_REP_INFO, data, 2 + len);
    xfree(data);
}

/* want_blocks: the client knows about block sizes and will keep to them. */
static void send_info(struct nbd_conn *conn, uint32_t option, const struct export *export,
                      bool want_name, bool want_blocks)
{
    const struct node *node = export->edge->node;
    uint32_t align = MIN(MAX(node->limits.request_alignment, 1u), (uint32_t)NBD_MIN_BLOCK_MAX);
    uint8_t data[14];

    if (want_name)
        info_text(conn, option, NBD_INFO_NAME, export->name);
    if (export->description)
        info_text(conn, option, NBD_INFO_DESCRIPTION, export->description);
    store_be16(data, NBD_INFO_BLOCK_SIZE);
    store_be32(data + 2, option == NBD_OPT_INFO || want_blocks ? align : 1);
    store_be32(data + 6, MAX((uint32_t)NBD_PREFERRED_BLOCK, align));
    store_be32(data + 10, NBD_PAYLOAD_MAX);
    nbd_option_reply(conn, option, NBD_REP_INFO, data, 14);
    store_be16(data, NBD_INFO_EXPORT);
    store_be64(data + 2, node->size);
    store_be16(data + 10, export_flags(conn, export));
    nbd_option_reply(conn, option, NBD_REP_INFO, data, 12);
}

static void begin_transmission(struct nbd_conn *conn, struct export *export)
{
    /* Contexts chosen for another export do not count. */
    if (conn->meta_export != export)
        conn->contexts = 0;
    conn->export = export;
    nbd_conn_enter(conn, NBD_CONN_TRANSMIT);
}

static void option_info(struct nbd_conn *conn, uint32_t option, const uint8_t *data, size_t len)
{
    static const char inconsistent[] = "Inconsistent lengths in option info";
    bool want_name = false, want_blocks = false;
    struct export *export;
    uint32_t name_len;
    unsigned infos;

    if (len < 6) {
        nbd_option_error(conn, option, NBD_REP_ERR_INVALID, inconsistent);
        return;
    }
    name_len = load_be32(data);
    if (name_len > NBD_STRING_MAX) {
        nbd_option_error(conn, option, NBD_REP_ERR_INVALID, "Invalid name length: %u", name_len);
        return;
    }
    if (name_len > len - 6) {
        nbd_option_error(conn, option, NBD_REP_ERR_INVALID, inconsistent);
        return;
    }
    infos = load_be16(data + 4 + name_len);
    if (len - 6 - name_len != infos * 2u) {
        nbd_option_error(conn, option, NBD_REP_ERR_INVALID, inconsistent);
        return;
    }
    for (unsigned i = 0; i < infos; i++) {
        uint16_t info = load_be16(data + 6 + name_len + i * 2);

        want_name |= info == NBD_INFO_NAME;
        want_blocks |= info == NBD_INFO_BLOCK_SIZE;
    }
    export = export_find_name(conn->server->exports, (const char *)data + 4, name_len);
    if (!export || memchr(data + 4, '\0', name_len)) {
        nbd_option_error(conn, option, NBD_REP_ERR_UNKNOWN, "export '%.*s%s' not present",
                         (int)MIN(name_len, (uint32_t)NBD_NAME_SHOWN), (const char *)data + 4,
                         name_len > NBD_NAME_SHOWN ? "..." : "");
        return;
    }
    send_info(conn, option, export, want_name, want_blocks);
    ack(conn, option);
    if (option == NBD_OPT_GO)
        begin_transmission(conn, export);
}

/* The old way in: it cannot be refused but by closing, and it is answered without a header. */
static void option_export_name(struct nbd_conn *conn, const uint8_t *data, size_t len)
{
    struct export *export = NULL;
    uint8_t reply[10 + NBD_EXPORT_NAME_PAD] = { 0 };

    if (len <= NBD_STRING_MAX && !memchr(data, '\0', len) && !conn->extended)
        export = export_find_name(conn->server->exports, (const char *)data, len);
    if (!export) {
        nbd_conn_cut(conn);
        return;
    }
    store_be64(reply, export->edge->node->size);
    store_be16(reply + 8, export_flags(conn, export));
    str_addn(&conn->hs_out, reply, conn->no_zeroes ? 10 : sizeof(reply));
    nbd_tx_kick(conn);
    begin_transmission(conn, export);
}

static void option_headers(struct nbd_conn *conn, uint32_t option)
{
    if (option == NBD_OPT_EXTENDED_HEADERS && !conn->extended) {
        conn->extended = true;
        ack(conn, option);
    } else if (option == NBD_OPT_STRUCTURED_REPLY && !nbd_chunked(conn)) {
        conn->structured = true;
        ack(conn, option);
    } else if (conn->extended) {
        nbd_option_error(conn, option,
                         option == NBD_OPT_STRUCTURED_REPLY ? NBD_REP_ERR_EXT_HEADER_REQD
                                                            : NBD_REP_ERR_INVALID,
                         "extended headers already negotiated");
    } else {
        nbd_option_error(conn, option, NBD_REP_ERR_INVALID, "structured reply already negotiated");
    }
}

/* Options that take no payload say so. */
static bool has_payload(struct nbd_conn *conn, uint32_t option, size_t len)
{
    if (len)
        nbd_option_error(conn, option, NBD_REP_ERR_INVALID, "option '%s' has unexpected length",
                         nbd_option_name(option));
    return len != 0;
}

static void handle_option(struct nbd_conn *conn, uint32_t option, const uint8_t *data, size_t len)
{
    if (!nbd_starttls_allows(conn, option))
        return;
    switch (option) {
    case NBD_OPT_EXPORT_NAME: option_export_name(conn, data, len); break;
    case NBD_OPT_ABORT:
        ack(conn, option);
        nbd_conn_enter(conn, NBD_CONN_FINISH);
        break;
    case NBD_OPT_LIST:
        if (!has_payload(conn, option, len))
            option_list(conn);
        break;
    case NBD_OPT_STARTTLS: nbd_starttls_option(conn, len); break;
    case NBD_OPT_INFO:
    case NBD_OPT_GO: option_info(conn, option, data, len); break;
    case NBD_OPT_STRUCTURED_REPLY:
    case NBD_OPT_EXTENDED_HEADERS:
        if (!has_payload(conn, option, len))
            option_headers(conn, option);
        break;
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT: nbd_meta_option(conn, option, data, len); break;
    default:
        nbd_option_error(conn, option, NBD_REP_ERR_UNSUP, "Unsupported option %u (%s)", option,
                         nbd_option_name(option));
        break;
    }
}

enum nbd_step nbd_hello_step(struct nbd_conn *conn)
{
    uint32_t flags;

    if (nbd_rx_avail(conn) < NBD_CLIENT_FLAGS_BYTES)
        return NBD_STEP_MORE;
    flags = load_be32(nbd_rx_bytes(conn));
    conn->rx_pos += NBD_CLIENT_FLAGS_BYTES;
    if (flags & ~(uint32_t)NBD_HS_KNOWN) {
        nbd_conn_cut(conn);
        return NBD_STEP_WAIT;
    }
    conn->fixed_newstyle = flags & NBD_HS_FIXED_NEWSTYLE;
    conn->no_zeroes = flags & NBD_HS_NO_ZEROES;
    nbd_conn_enter(conn, NBD_CONN_OPTIONS);
    return NBD_STEP_AGAIN;
}

enum nbd_step nbd_option_step(struct nbd_conn *conn)
{
    const uint8_t *bytes = nbd_rx_bytes(conn);
    uint32_t option, len;

    /* Keeps (2): a client that does not read its answers is not listened to. */
    if (conn->hs_out.len || op_pending(&conn->tx_op))
        return NBD_STEP_WAIT;
    if (nbd_rx_avail(conn) < NBD_OPTION_BYTES)
        return NBD_STEP_MORE;
    option = load_be32(bytes + 8);
    len = load_be32(bytes + 12);
    if (load_be64(bytes) != NBD_MAGIC_OPTION || len > NBD_OPTION_DRAIN_MAX ||
        (!conn->fixed_newstyle && option != NBD_OPT_EXPORT_NAME) ||
        (option == NBD_OPT_EXPORT_NAME && len > NBD_OPTION_MAX)) {
        nbd_conn_cut(conn);
        return NBD_STEP_WAIT;
    }
    if (len > NBD_OPTION_MAX) {
        conn->rx_pos += NBD_OPTION_BYTES;
        conn->rx_skip = len;
        conn->skip_option = option;
        return NBD_STEP_AGAIN;
    }
    if (nbd_rx_avail(conn) < NBD_OPTION_BYTES + len)
        return NBD_STEP_MORE;
    conn->rx_pos += NBD_OPTION_BYTES + len;
    handle_option(conn, option, bytes + NBD_OPTION_BYTES, len);
    return conn->state == NBD_CONN_CLOSED ? NBD_STEP_WAIT : NBD_STEP_AGAIN;
}
