/* See sockaddr.h. */
#include "emu/chardev/sockaddr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"

static int tristate(bool set, bool value) { return set ? value : -1; }

static struct err *no_such_host(const char *host, const char *port)
{
    return err_new("address resolution failed for %s:%s: Name or service not known", host, port);
}

static struct err *inet_addr_of(const struct qapi_inet_socket_address *in, struct addr *out)
{
    struct in6_addr number;

    *out = (struct addr){
        .kind = ADDR_INET,
        .host = in->host,
        .port = in->port,
        .port_to = in->to.set ? in->to.value : 0,
        .ipv4 = tristate(in->ipv4.set, in->ipv4.value),
        .ipv6 = tristate(in->ipv6.set, in->ipv6.value),
        .keep_alive = in->keep_alive.set && in->keep_alive.value,
    };
    if (in->numeric.set && in->numeric.value && *in->host &&
        inet_pton(AF_INET, in->host, &number) != 1 && inet_pton(AF_INET6, in->host, &number) != 1)
        return no_such_host(in->host, in->port);
    return NULL;
}

static void unix_addr_of(const struct qapi_unix_socket_address *in, struct addr *out)
{
    *out = (struct addr){
        .kind = ADDR_UNIX,
        .path = in->path,
        .abstract = in->abstract.set && in->abstract.value,
        .tight = !in->tight.set || in->tight.value,
    };
}

static struct err *fd_addr_of(const struct qapi_fd_socket_address *in, struct addr *out)
{
    struct stat st;
    uint64_t fd;

    if (!parse_u64(in->str, &fd) || fd > INT32_MAX)
        return err_new("Unable to parse FD number %s", in->str);
    if (fstat((int)fd, &st) < 0 || !S_ISSOCK(st.st_mode))
        return err_new("File descriptor '%s' is not a socket", in->str);
    *out = (struct addr){ .kind = ADDR_FD, .fd = (int)fd };
    return NULL;
}

static void vsock_addr_of(const struct qapi_vsock_socket_address *in, struct addr *out)
{
    *out = (struct addr){ .kind = ADDR_VSOCK, .host = in->cid, .port = in->port };
}

struct err *sockaddr_to_addr(const struct qapi_socket_address *in, struct addr *out)
{
    switch (in->type) {
    case QAPI_SOCKET_ADDRESS_TYPE_INET: return inet_addr_of(&in->u.inet, out);
    case QAPI_SOCKET_ADDRESS_TYPE_UNIX: unix_addr_of(&in->u.q_unix, out); return NULL;
    case QAPI_SOCKET_ADDRESS_TYPE_VSOCK: vsock_addr_of(&in->u.vsock, out); return NULL;
    case QAPI_SOCKET_ADDRESS_TYPE_FD: return fd_addr_of(&in->u.fd, out);
    }
    unreachable();
}

struct err *sockaddr_legacy_to_addr(const struct qapi_socket_address_legacy *in, struct addr *out)
{
    switch (in->type) {
    case QAPI_SOCKET_ADDRESS_TYPE_INET: return inet_addr_of(in->u.inet.data, out);
    case QAPI_SOCKET_ADDRESS_TYPE_UNIX: unix_addr_of(in->u.q_unix.data, out); return NULL;
    case QAPI_SOCKET_ADDRESS_TYPE_VSOCK: vsock_addr_of(in->u.vsock.data, out); return NULL;
    case QAPI_SOCKET_ADDRESS_TYPE_FD: return fd_addr_of(in->u.fd.data, out);
    }
    unreachable();
}

char *sockaddr_name(const struct addr *a)
{
    switch (a->kind) {
    case ADDR_UNIX:
        return xasprintf("unix:%s%s%s", a->path, a->abstract ? ",abstract=on" : "",
                         a->abstract && a->tight ? ",tight=on" : "");
    case ADDR_INET: return xasprintf("tcp:%s:%s", a->host, a->port);
    case ADDR_VSOCK: return xasprintf("vsock:%s:%s", a->host, a->port);
    case ADDR_FD: return xasprintf("fd:%d", a->fd);
    }
    unreachable();
}

struct err *sockaddr_connect_err(const struct addr *a, int error)
{
    if (a->kind == ADDR_INET && error == ENXIO)
        return no_such_host(a->host, a->port);
    if (a->kind == ADDR_UNIX)
        return err_new_errno(error, "Failed to connect to '%s'", a->path);
    if (a->kind == ADDR_FD)
        return err_new_errno(error, "Failed to use file descriptor '%d'", a->fd);
    return err_new_errno(error, "Failed to connect to '%s:%s'", a->host, a->port);
}
