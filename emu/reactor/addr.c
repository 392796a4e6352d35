/* Socket addresses. */
#include "emu/reactor/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"

static int unix_to_sock(const struct addr *addr, struct addr_sock *out)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&out->storage;
    size_t len = addr->path ? strlen(addr->path) : 0;
    size_t skip = addr->abstract ? 1 : 0;

    if (len == 0 && !addr->abstract)
        return -EINVAL;
    /* A path of full length needs no terminator in the kernel's view. */
    if (len + skip > sizeof(un->sun_path))
        return -ENAMETOOLONG;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path + skip, addr->path ? addr->path : "", len);
    out->len = sizeof(*un);
    if (addr->abstract && addr->tight)
        out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + skip + len);
    return 0;
}

static int vsock_to_sock(const struct addr *addr, struct addr_sock *out)
{
    struct sockaddr_vm *vm = (struct sockaddr_vm *)&out->storage;
    uint64_t cid = VMADDR_CID_ANY, port;

    if (addr->host && addr->host[0] && !parse_u64(addr->host, &cid))
        return -EINVAL;
    if (!addr->port || !parse_u64(addr->port, &port) || cid > UINT32_MAX || port > UINT32_MAX)
        return -EINVAL;
    vm->svm_family = AF_VSOCK;
    vm->svm_cid = (unsigned)cid;
    vm->svm_port = (unsigned)port;
    out->len = sizeof(*vm);
    return 0;
}

int addr_to_sock(const struct addr *addr, struct addr_sock *out)
{
    memset(out, 0, sizeof(*out));
    return addr->kind == ADDR_UNIX ? unix_to_sock(addr, out) : vsock_to_sock(addr, out);
}

int addr_query_of(const struct addr *addr, bool passive, struct addr_query *out)
{
    bool v4 = addr->ipv4 > 0 || (addr->ipv4 < 0 && addr->ipv6 <= 0);
    bool v6 = addr->ipv6 > 0 || (addr->ipv6 < 0 && addr->ipv4 <= 0);

    if (!v4 && !v6)
        return -EINVAL;
    *out = (struct addr_query){
        .host = addr->host && addr->host[0] ? addr->host : NULL,
        .port = addr->port ? addr->port : "0",
        .family = v4 && v6 ? AF_UNSPEC
                  : v4     ? AF_INET
                           : AF_INET6,
        .passive = passive,
    };
    return 0;
}

int addr_resolve(const struct addr_query *query, enum addr_lookup how, struct addrinfo **out)
{
    struct addrinfo hints = { .ai_family = query->family, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    int eai;

    if (query->passive)
        hints.ai_flags |= AI_PASSIVE;
    if (how == ADDR_LOOKUP_NUMERIC)
        hints.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    eai = getaddrinfo(query->host, query->port, &hints, &list);
    *out = eai ? NULL : list;
    return eai;
}

int addr_eai_errno(int eai)
{
    switch (eai) {
    case EAI_MEMORY: return -ENOMEM;
    case EAI_SYSTEM: return errno ? -errno : -ENXIO;
    default: return -ENXIO;
    }
}

static char *unix_text(const struct sockaddr_un *un, socklen_t len)
{
    size_t path_len = len > offsetof(struct sockaddr_un, sun_path)
                          ? len - offsetof(struct sockaddr_un, sun_path)
                          : 0;

    if (path_len == 0)
        return xstrdup("unix:");
    if (un->sun_path[0])
        return xasprintf("unix:%.*s", (int)path_len, un->sun_path);
    return xasprintf("unix:@%.*s", (int)path_len - 1, un->sun_path + 1);
}

char *addr_text(const struct sockaddr *sa, socklen_t len)
{
    char host[INET6_ADDRSTRLEN] = "";

    switch (sa->sa_family) {
    case AF_UNIX: return unix_text((const struct sockaddr_un *)sa, len);
    case AF_INET: {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        return xasprintf("%s:%u", host, ntohs(in->sin_port));
    }
    case AF_INET6: {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        return xasprintf("[%s]:%u", host, ntohs(in6->sin6_port));
    }
    case AF_VSOCK: {
        const struct sockaddr_vm *vm = (const struct sockaddr_vm *)sa;

        return xasprintf("vsock:%u:%u", vm->svm_cid, vm->svm_port);
    }
    default: return xasprintf("family:%u", sa->sa_family);
    }
}

char *addr_describe(const struct addr *addr)
{
    switch (addr->kind) {
    case ADDR_UNIX: return xstrdup(addr->path ? addr->path : "");
    case ADDR_INET:
        return xasprintf("%s:%s", addr->host ? addr->host : "", addr->port ? addr->port : "");
    case ADDR_VSOCK:
        return xasprintf("vsock:%s:%s", addr->host ? addr->host : "", addr->port ? addr->port : "");
    case ADDR_FD: return xasprintf("fd:%d", addr->fd);
    }
    unreachable();
}
