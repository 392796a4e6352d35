/* Metadata contexts: base:allocation, qemu:allocation-depth, qemu:dirty-bitmap:NAME (specs: section 2). */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/export/nbd_conn.h"

/* The name of a context of an export, NULL when it has none of that id. Returns new. */
static char *context_name(const struct export *export, unsigned id)
{
    if (id == 0)
        return xstrdup(NBD_CONTEXT_ALLOCATION);
    if (id == 1)
        return export->allocation_depth ? xstrdup(NBD_CONTEXT_DEPTH) : NULL;
    if (id - 2 < export->bitmap_count)
        return xasprintf(NBD_CONTEXT_BITMAP_PREFIX "%s", export->bitmaps[id - 2]->name);
    return NULL;
}

/* Queries that end in ':' and name a name space are wildcards, in LIST only. */
static bool matches(const char *query, size_t len, const char *name, bool list)
{
    static const char *const wildcards[] = { "base:", "qemu:", NBD_CONTEXT_BITMAP_PREFIX };

    if (strlen(name) == len && memcmp(query, name, len) == 0)
        return true;
    for (size_t i = 0; list && i < ARRAY_LEN(wildcards); i++)
        if (strlen(wildcards[i]) == len && memcmp(query, wildcards[i], len) == 0 &&
            str_has_prefix(name, wildcards[i]))
            return true;
    return false;
}

static uint32_t match_query(const struct export *export, const char *query, size_t len, bool list)
{
    uint32_t found = 0;

    for (unsigned id = 0; id < NBD_CONTEXTS; id++) {
        char *name = context_name(export, id);

        if (name && matches(query, len, name, list))
            found |= BIT(id);
        xfree(name);
    }
    return found;
}

static void answer(struct nbd_conn *conn, uint32_t option, const struct export *export,
                   uint32_t found)
{
    for (unsigned id = 0; id < NBD_CONTEXTS; id++) {
        char *name;
        struct str data = { 0 };
        uint8_t wire_id[4];

        if (!(found & BIT(id)))
            continue;
        name = context_name(export, id);
        store_be32(wire_id, option == NBD_OPT_SET_META_CONTEXT ? id : 0);
        str_addn(&data, wire_id, sizeof(wire_id));
        str_add(&data, name);
        nbd_option_reply(conn, option, NBD_REP_META_CONTEXT, data.data, data.len);
        str_fini(&data);
        xfree(name);
    }
    nbd_option_reply(conn, option, NBD_REP_ACK, NULL, 0);
}

/* Reads a string with its length in front; false when it does not fit. */
static bool take_string(const uint8_t **data, size_t *len, const char **out, uint32_t *out_len)
{
    if (*len < 4 || load_be32(*data) > *len - 4)
        return false;
    *out_len = load_be32(*data);
    *out = (const char *)*data + 4;
    *data += 4 + *out_len;
    *len -= 4 + *out_len;
    return *out_len <= NBD_STRING_MAX;
}

void nbd_meta_option(struct nbd_conn *conn, uint32_t option, const uint8_t *data, size_t len)
{
    bool list = option == NBD_OPT_LIST_META_CONTEXT;
    struct export *export;
    const char *text;
    uint32_t text_len, count, found = 0;

    if (!nbd_chunked(conn)) {
        nbd_option_error(conn, option, NBD_REP_ERR_INVALID,
                         "request option '%s' when structured reply is not negotiated",
                         nbd_option_name(option));
        return;
    }
    /* A SET that fails selects nothing, whatever was selected before. */
    if (!list) {
        conn->contexts = 0;
        conn->meta_export = NULL;
    }
    if (!take_string(&data, &len, &text, &text_len) || len < 4) {
        nbd_option_error(conn, option, NBD_REP_ERR_INVALID, "Inconsistent lengths in option %s",
                         nbd_option_name(option));
        return;
    }
    export = memchr(text, '\0', text_len) ? NULL
                                          : export_find_name(conn->server->exports, text, text_len);
    if (!export) {
        nbd_option_error(conn, option, NBD_REP_ERR_UNKNOWN, "export '%.*s%s' not present",
                         (int)MIN(text_len, (size_t)NBD_NAME_SHOWN), text,
                         text_len > NBD_NAME_SHOWN ? "..." : "");
        return;
    }
    count = load_be32(data);
    data += 4;
    len -= 4;
    if (list && count == 0)
        found = match_query(export, "base:", 5, true) | match_query(export, "qemu:", 5, true);
    for (uint32_t i = 0; i < count; i++) {
        if (!take_string(&data, &len, &text, &text_len)) {
            nbd_option_error(conn, option, NBD_REP_ERR_INVALID, "Inconsistent lengths in option %s",
                             nbd_option_name(option));
            return;
        }
        found |= match_query(export, text, text_len, list);
    }
    if (len) {
        nbd_option_error(conn, option, NBD_REP_ERR_INVALID, "option '%s' has unexpected length",
                         nbd_option_name(option));
        return;
    }
    if (!list) {
        conn->contexts = found;
        conn->meta_export = export;
    }
    answer(conn, option, export, found);
}
