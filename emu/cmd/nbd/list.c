/*
 * emu-nbd -L: asks a server for its exports (specs: section 2) and prints what it says of each.
 *
 * A conversation of one question after the other, over a blocking socket: nothing else runs meanwhile.
 */

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/bytes.h"
#include "emu/base/str.h"
#include "emu/cmd/nbd/nbd.h"
#include "emu/storage/nbd_wire/nbd_wire.h"

enum { REPLY_MAX = 64 << 10, EXPORTS_MAX = 10000, CONTEXTS_MAX = 100, TIMEOUT_SECONDS = 30 };

struct export_entry {
    char *name, *description; /* owned */
    uint64_t size;
    uint16_t flags;
    bool have_block_size;
    uint32_t min_block, opt_block, max_block;
    char *contexts[CONTEXTS_MAX]; /* owned */
    unsigned context_count;
};

struct listing {
    int fd;
    bool no_zeroes, structured, extended;
    VEC(struct export_entry) exports;
    uint8_t data[REPLY_MAX + 1]; /* Of the last reply. */
    uint32_t type, len;
};

static struct err *connect_unix(const char *path, int *out)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(sun.sun_path))
        return err_new("UNIX socket path '%s' is too long", path);
    memcpy(sun.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
        struct err *err = err_new_errno(errno, "Failed to connect to '%s'", path);

        if (fd >= 0)
            close(fd);
        return err;
    }
    *out = fd;
    return NULL;
}

static struct err *connect_inet(const char *host, const char *port, int *out)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *all;
    int result = getaddrinfo(host, port, &hints, &all), fd = -1, error = 0;

    if (result != 0)
        return err_new("address resolution failed for %s:%s: %s", host, port, gai_strerror(result));
    for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0)
            break;
        error = errno;
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(all);
    if (fd < 0)
        return err_new_errno(error, "Failed to connect to '%s:%s'", host, port);
    *out = fd;
    return NULL;
}

static struct err *receive(struct listing *l, void *data, size_t len)
{
    uint8_t *at = data;

    while (len) {
        ssize_t n = recv(l->fd, at, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_new_errno(errno, "Unable to read from socket");
        if (n == 0)
            return err_new("Unexpected end-of-file before all data were read");
        at += n;
        len -= (size_t)n;
    }
    return NULL;
}

static struct err *send_all(struct listing *l, const void *data, size_t len)
{
    const uint8_t *at = data;

    while (len) {
        ssize_t n = send(l->fd, at, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_new_errno(errno, "Unable to write to socket");
        at += n;
        len -= (size_t)n;
    }
    return NULL;
}

static struct err *send_option(struct listing *l, uint32_t option, const void *data, uint32_t len)
{
    uint8_t head[NBD_OPTION_BYTES];

    store_be64(head, NBD_MAGIC_OPTION);
    store_be32(head + 8, option);
    store_be32(head + 12, len);
    TRY(send_all(l, head, sizeof(head)));
    return send_all(l, data, len);
}

/* One reply into l->type, l->len and l->data, which ends with a NUL. */
static struct err *receive_reply(struct listing *l, uint32_t option)
{
    uint8_t head[NBD_OPTION_REPLY_BYTES];

    TRY(err_prefix(receive(l, head, sizeof(head)), "Failed to read option reply: "));
    if (load_be64(head) != NBD_MAGIC_OPTION_REPLY)
        return err_new("Unexpected option reply magic");
    if (load_be32(head + 8) != option)
        return err_new("Unexpected option type %u, expected %u", load_be32(head + 8), option);
    l->type = load_be32(head + 12);
    l->len = load_be32(head + 16);
    if (l->len > REPLY_MAX)
        return err_new("The reply of %u bytes to option %u is too long", l->len, option);
    TRY(receive(l, l->data, l->len));
    l->data[l->len] = 0;
    return NULL;
}

static struct err *refused(const struct listing *l, uint32_t option, const char *name)
{
    if (l->type == NBD_REP_ERR_TLS_REQD)
        return err_new("TLS negotiation required before option %u (%s)", option, name);
    return err_new("Server refused option %u (%s): %s", option, name, (const char *)l->data);
}

/* Options without data that the server takes or not. */
static struct err *offer(struct listing *l, uint32_t option, bool *taken)
{
    TRY(send_option(l, option, NULL, 0));
    TRY(receive_reply(l, option));
    *taken = l->type == NBD_REP_ACK;
    if (l->type == NBD_REP_ERR_TLS_REQD)
        return refused(l, option,
                       option == NBD_OPT_STRUCTURED_REPLY ? "structured reply"
                                                          : "extended headers");
    return NULL;
}

static struct err *greet(struct listing *l)
{
    uint8_t hello[NBD_GREETING_BYTES], answer[NBD_CLIENT_FLAGS_BYTES];
    uint16_t flags;

    TRY(err_prefix(receive(l, hello, sizeof(hello)), "Failed to read initial magic: "));
    if (load_be64(hello) != NBD_MAGIC_INIT)
        return err_new("Bad initial magic received: 0x%016" PRIx64, load_be64(hello));
    if (load_be64(hello + 8) != NBD_MAGIC_OPTION)
        return err_new("The server does not offer a list (old style handshake)");
    flags = load_be16(hello + 16);
    if (!(flags & NBD_HS_FIXED_NEWSTYLE))
        return err_new("Server does not support fixed newstyle handshake");
    store_be32(answer, flags & NBD_HS_KNOWN);
    TRY(send_all(l, answer, sizeof(answer)));
    TRY(offer(l, NBD_OPT_EXTENDED_HEADERS, &l->extended));
    l->structured = l->extended;
    return l->extended ? NULL : offer(l, NBD_OPT_STRUCTURED_REPLY, &l->structured);
}

static struct err *list_names(struct listing *l)
{
    TRY(send_option(l, NBD_OPT_LIST, NULL, 0));
    for (;;) {
        struct export_entry entry = { 0 };
        uint32_t name_len;

        TRY(receive_reply(l, NBD_OPT_LIST));
        if (l->type == NBD_REP_ACK)
            return NULL;
        if (l->type & NBD_REP_ERROR)
            return refused(l, NBD_OPT_LIST, "list");
        if (l->type != NBD_REP_SERVER || l->len < 4 ||
            (name_len = load_be32(l->data)) > l->len - 4 || name_len > NBD_STRING_MAX)
            return err_new("Incorrect reply to option list");
        if (vec_len(&l->exports) >= EXPORTS_MAX)
            return err_new("The server has more than %d exports", EXPORTS_MAX);
        entry.name = xstrndup((char *)l->data + 4, name_len);
        if (l->len > 4 + name_len)
            entry.description = xstrdup((char *)l->data + 4 + name_len);
        vec_push(&l->exports, entry);
    }
}

static void take_info(struct listing *l, struct export_entry *e)
{
    uint16_t kind = l->len >= 2 ? load_be16(l->data) : UINT16_MAX;

    if (kind == NBD_INFO_EXPORT && l->len == 12) {
        e->size = load_be64(l->data + 2);
        e->flags = load_be16(l->data + 10);
    } else if (kind == NBD_INFO_BLOCK_SIZE && l->len == 14) {
        e->have_block_size = true;
        e->min_block = load_be32(l->data + 2);
        e->opt_block = load_be32(l->data + 6);
        e->max_block = load_be32(l->data + 10);
    } else if (kind == NBD_INFO_DESCRIPTION && l->len > 2) {
        xfree(e->description);
        e->description = xstrdup((char *)l->data + 2);
    }
}

static struct err *ask_info(struct listing *l, struct export_entry *e)
{
    static const uint16_t wanted[] = { NBD_INFO_DESCRIPTION, NBD_INFO_BLOCK_SIZE };
    uint32_t name_len = (uint32_t)strlen(e->name);
    uint8_t data[4 + NBD_STRING_MAX + 2 + sizeof(wanted)];

    store_be32(data, name_len);
    memcpy(data + 4, e->name, name_len);
    store_be16(data + 4 + name_len, ARRAY_LEN(wanted));
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        store_be16(data + 6 + name_len + 2 * i, wanted[i]);
    TRY(send_option(l, NBD_OPT_INFO, data, 6 + name_len + (uint32_t)sizeof(wanted)));
    for (;;) {
        TRY(receive_reply(l, NBD_OPT_INFO));
        if (l->type == NBD_REP_ACK)
            return NULL;
        if (l->type & NBD_REP_ERROR)
            return refused(l, NBD_OPT_INFO, "info");
        take_info(l, e);
    }
}

static struct err *ask_contexts(struct listing *l, struct export_entry *e)
{
    uint32_t name_len = (uint32_t)strlen(e->name);
    uint8_t data[4 + NBD_STRING_MAX + 4];

    if (!l->structured)
        return NULL;
    store_be32(data, name_len);
    memcpy(data + 4, e->name, name_len);
    store_be32(data + 4 + name_len, 0);
    TRY(send_option(l, NBD_OPT_LIST_META_CONTEXT, data, 8 + name_len));
    for (;;) {
        TRY(receive_reply(l, NBD_OPT_LIST_META_CONTEXT));
        if (l->type != NBD_REP_META_CONTEXT)
            return NULL; /* The end, or a server without contexts. */
        if (l->len > 4 && e->context_count < CONTEXTS_MAX)
            e->contexts[e->context_count++] = xstrdup((char *)l->data + 4);
    }
}

static void print_flags(uint16_t flags)
{
    static const struct {
        uint16_t flag;
        const char *name;
    } names[] = {
        { NBD_FLAG_READ_ONLY, "readonly" },
        { NBD_FLAG_FLUSH, "flush" },
        { NBD_FLAG_FUA, "fua" },
        { NBD_FLAG_ROTATIONAL, "rotational" },
        { NBD_FLAG_TRIM, "trim" },
        { NBD_FLAG_WRITE_ZEROES, "zeroes" },
        { NBD_FLAG_DF, "df" },
        { NBD_FLAG_MULTI_CONN, "multi" },
        { 1 << 9, "resize" },
        { NBD_FLAG_CACHE, "cache" },
        { NBD_FLAG_FAST_ZERO, "fast-zero" },
        { 1 << 12, "block-status-payload" },
    };

    printf("  flags: 0x%x (", flags);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (flags & names[i].flag)
            printf(" %s", names[i].name);
    }
    printf(" )\n");
}

static void print_entry(const struct listing *l, const struct export_entry *e)
{
    printf(" export: '%s'\n", e->name);
    if (e->description && *e->description)
        printf("  description: %s\n", e->description);
    if (e->flags & NBD_FLAG_HAS_FLAGS) {
        printf("  size:  %" PRIu64 "\n", e->size);
        print_flags(e->flags);
    }
    if (e->have_block_size)
        printf("  min block: %u\n  opt block: %u\n  max block: %u\n", e->min_block, e->opt_block,
               e->max_block);
    printf("  transaction size: %s\n", l->extended ? "64-bit" : "32-bit");
    if (e->context_count) {
        printf("  available meta contexts: %u\n", e->context_count);
        for (unsigned i = 0; i < e->context_count; i++)
            printf("   %s\n", e->contexts[i]);
    }
}

static struct err *converse(struct listing *l)
{
    const struct timeval limit = { .tv_sec = TIMEOUT_SECONDS };

    /* A server that says nothing must not hold the tool for ever. */
    (void)setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    TRY(greet(l));
    TRY(list_names(l));
    for (size_t i = 0; i < vec_len(&l->exports); i++) {
        TRY(ask_info(l, &vec_at(&l->exports, i)));
        TRY(ask_contexts(l, &vec_at(&l->exports, i)));
    }
    err_ignore(send_option(l, NBD_OPT_ABORT, NULL, 0));
    printf("exports available: %zu\n", vec_len(&l->exports));
    for (size_t i = 0; i < vec_len(&l->exports); i++)
        print_entry(l, &vec_at(&l->exports, i));
    return NULL;
}

static void listing_free(struct listing *l)
{
    for (size_t i = 0; i < vec_len(&l->exports); i++) {
        struct export_entry *e = &vec_at(&l->exports, i);

        xfree(e->name);
        xfree(e->description);
        for (unsigned k = 0; k < e->context_count; k++)
            xfree(e->contexts[k]);
    }
    vec_fini(&l->exports);
    if (l->fd >= 0)
        close(l->fd);
    xfree(l);
}

struct err *nbd_list(const struct nbd_options *o)
{
    struct listing *l = NEW(struct listing);
    struct err *err;

    l->fd = -1;
    if (o->tls_creds)
        err = err_new("Failed to get TLS creds: No TLS credentials with id '%s'", o->tls_creds);
    else if (o->addr.kind == ADDR_UNIX)
        err = connect_unix(o->addr.path, &l->fd);
    else
        err = connect_inet(o->addr.host ? o->addr.host : "0.0.0.0",
                           o->addr.port ? o->addr.port : "10809", &l->fd);
    if (!err)
        err = converse(l);
    listing_free(l);
    return err;
}
