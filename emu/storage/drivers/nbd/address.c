/* Server addresses. */
#include "emu/storage/drivers/nbd/address.h"

#include <limits.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"

#define DEFAULT_PORT "10809"

void nbd_address_fini(struct nbd_address *address)
{
    xfree(address->path);
    xfree(address->host);
    xfree(address->port);
    *address = (struct nbd_address){ 0 };
}

static struct err *parse_tristate(struct opts *opts, const char *name, int *out)
{
    bool value;

    *out = -1;
    if (!opts_has(opts, name))
        return NULL;
    TRY(opts_bool(opts, name, &value));
    *out = value;
    return NULL;
}

static struct err *parse_unix(struct opts *opts, struct nbd_address *out)
{
    const char *path;

    out->addr.kind = ADDR_UNIX;
    out->addr.tight = true;
    TRY(opts_str(opts, "path", &path));
    TRY(opts_bool_opt(opts, "abstract", &out->addr.abstract));
    TRY(opts_bool_opt(opts, "tight", &out->addr.tight));
    out->path = xstrdup(path);
    out->addr.path = out->path;
    return NULL;
}

static struct err *parse_inet(struct opts *opts, struct nbd_address *out)
{
    const char *host, *port;
    bool numeric = false;
    uint64_t to = 0;

    out->addr.kind = ADDR_INET;
    TRY(opts_str(opts, "host", &host));
    TRY(opts_str(opts, "port", &port));
    TRY(opts_bool_opt(opts, "numeric", &numeric));
    TRY(opts_u64_opt(opts, "to", &to)); /* Only listeners use it. */
    TRY(parse_tristate(opts, "ipv4", &out->addr.ipv4));
    TRY(parse_tristate(opts, "ipv6", &out->addr.ipv6));
    TRY(opts_bool_opt(opts, "keep-alive", &out->addr.keep_alive));
    out->host = xstrdup(host);
    out->port = xstrdup(port);
    out->addr.host = out->host;
    out->addr.port = out->port;
    return NULL;
}

/* Numbers of inherited descriptors only: names passed over QMP are resolved by the command. */
static struct err *parse_fd(struct opts *opts, struct nbd_address *out)
{
    const char *text;
    uint64_t fd;

    out->addr.kind = ADDR_FD;
    TRY(opts_str(opts, "str", &text));
    if (!parse_u64(text, &fd) || fd > INT_MAX)
        return err_new("Unable to parse FD number %s", text);
    out->addr.fd = (int)fd;
    return NULL;
}

static struct err *parse_server(const struct json *server, struct nbd_address *out)
{
    static const char *const kinds[] = { "inet", "unix", "vsock", "fd" };
    CLEANUP(opts_fini) struct opts opts = { 0 };
    int kind;

    opts_init(&opts, server);
    TRY(opts_enum(&opts, "type", kinds, ARRAY_LEN(kinds), &kind));
    switch (kind) {
    case 0: TRY(parse_inet(&opts, out)); break;
    case 1: TRY(parse_unix(&opts, out)); break;
    case 3: TRY(parse_fd(&opts, out)); break;
    default: return err_new("server address type '%s' is not supported", kinds[kind]);
    }
    return opts_check_unused(&opts);
}

static struct err *parse_legacy(struct opts *opts, struct nbd_address *out)
{
    const char *path = NULL, *host = NULL, *port = NULL;

    TRY(opts_str_opt(opts, "path", &path));
    TRY(opts_str_opt(opts, "host", &host));
    TRY(opts_str_opt(opts, "port", &port));
    if (path && host)
        return err_new("path and host may not be used at the same time");
    if (path && port)
        return err_new("port may not be used without host");
    if (!path && !host)
        return err_new("NBD server address missing");
    out->addr.ipv4 = out->addr.ipv6 = -1;
    out->path = xstrdup(path);
    out->host = xstrdup(host);
    out->port = host ? xstrdup(port ? port : DEFAULT_PORT) : NULL;
    out->addr.kind = path ? ADDR_UNIX : ADDR_INET;
    out->addr.path = out->path;
    out->addr.host = out->host;
    out->addr.port = out->port;
    return NULL;
}

struct err *nbd_address_parse(struct opts *opts, struct nbd_address *out)
{
    const struct json *server = NULL;

    *out = (struct nbd_address){ 0 };
    TRY(opts_object_opt(opts, "server", &server));
    return server ? parse_server(server, out) : parse_legacy(opts, out);
}

char *nbd_address_text(const struct nbd_address *address)
{
    switch (address->addr.kind) {
    case ADDR_UNIX: return xstrdup(address->path);
    case ADDR_INET:
    case ADDR_VSOCK: return xasprintf("%s:%s", address->host, address->port);
    case ADDR_FD: return xasprintf("fd:%d", address->addr.fd);
    }
    return xstrdup("");
}

char *nbd_address_uri(const struct nbd_address *address, const char *export)
{
    const char *slash = export[0] ? "/" : "";

    if (address->addr.kind == ADDR_UNIX)
        return xasprintf("nbd+unix:///%s?socket=%s", export, address->path);
    if (address->addr.kind == ADDR_INET)
        return xasprintf("nbd://%s:%s%s%s", address->host, address->port, slash, export);
    return xstrdup("");
}
