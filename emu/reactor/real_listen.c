/*
 * Listening and accepting. One listener is one socket: for a name with several addresses, the first that
 * can be bound, IPv4 before IPv6; for any address, one IPv6 socket that also takes IPv4 where allowed.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"
#include "emu/reactor/addr.h"
#include "emu/reactor/real.h"

struct real_listener {
    struct reactor_listener listener; /* First. */
    struct watch watch;
    bool closed, keep_alive;
    unsigned held;     /* Accepts the body holds, plus one while closing. */
    char *unlink_path; /* owned: the unix path that is ours; */
    dev_t dev;         /* ... and what it was, */
    ino_t ino;         /* ... so that nobody else's is removed. */
};

static struct real *real_of_listener(struct real_listener *l)
{
    return real_of(l->listener.reactor);
}

/* ---- Binding ---- */

/* Whether nobody listens on the socket at that path any more. */
static bool unix_is_stale(const struct addr_sock *sock, const char *path)
{
    struct stat st;
    int fd, error;

    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    error = connect(fd, (const struct sockaddr *)&sock->storage, sock->len) < 0 ? errno : 0;
    close(fd);
    return error == ECONNREFUSED;
}

/* A socket bound to the address, or -errno. */
static int bind_sock(const struct sockaddr *sa, socklen_t len, bool v6_only)
{
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1, only = v6_only;
    int error;

    if (fd < 0)
        return -errno;
    if (sa->sa_family == AF_INET || sa->sa_family == AF_INET6)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (sa->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    if (bind(fd, sa, len) == 0)
        return fd;
    error = -errno;
    close(fd);
    return error;
}

static int bind_unix(const struct addr *addr)
{
    struct addr_sock sock;
    int fd = addr_to_sock(addr, &sock);

    if (fd < 0)
        return fd;
    fd = bind_sock((struct sockaddr *)&sock.storage, sock.len, false);
    if (fd == -EADDRINUSE && addr->kind == ADDR_UNIX && !addr->abstract &&
        unix_is_stale(&sock, addr->path)) {
        unlink(addr->path);
        fd = bind_sock((struct sockaddr *)&sock.storage, sock.len, false);
    }
    return fd;
}

static int bind_family(const struct addrinfo *list, int family, bool v6_only)
{
    int fd = -EADDRNOTAVAIL;

    for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
        if (ai->ai_family == family)
            fd = bind_sock(ai->ai_addr, ai->ai_addrlen, v6_only);
    }
    return fd;
}

/* One port, every address of the name. */
static int bind_port(const struct addr *addr, const struct addr_query *query, int *eai)
{
    struct addrinfo *list;
    int first = query->host ? AF_INET : AF_INET6;
    int second = query->host ? AF_INET6 : AF_INET;
    bool v6_only = query->host || query->family == AF_INET6 || addr->ipv4 == 0;
    int fd;

    *eai = addr_resolve(query, ADDR_LOOKUP_NAMES, &list);
    if (*eai)
        return addr_eai_errno(*eai);
    fd = bind_family(list, first, v6_only);
    if (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT) {
        int other = bind_family(list, second, v6_only);

        if (other != -EADDRNOTAVAIL)
            fd = other;
    }
    freeaddrinfo(list);
    return fd;
}

static int bind_inet(const struct addr *addr, int *eai)
{
    struct addr_query query;
    uint64_t port, last;
    char text[8];
    int fd = addr_query_of(addr, true, &query);

    if (fd < 0)
        return fd;
    fd = bind_port(addr, &query, eai);
    if (!addr->port_to || !parse_u64(query.port, &port))
        return fd;
    last = addr->port_to;
    query.port = text;
    while (fd == -EADDRINUSE && ++port <= last) {
        snprintf(text, sizeof(text), "%u", (unsigned)port & 0xffffu);
        fd = bind_port(addr, &query, eai);
    }
    return fd;
}

/* ---- Listeners ---- */

static struct real_listener *listener_new(struct real *real, int fd, const struct addr *addr)
{
    struct real_listener *l = NEW(struct real_listener);
    struct stat st;

    l->listener.reactor = &real->reactor;
    watch_init(&l->watch, fd);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    l->keep_alive = addr->keep_alive;
    if (addr->kind == ADDR_UNIX && !addr->abstract && lstat(addr->path, &st) == 0) {
        l->unlink_path = xstrdup(addr->path);
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    real->reactor.handles++;
    return l;
}

static struct err *listen_fd(struct reactor *r, const struct addr *addr,
                             struct reactor_listener **out)
{
    int listening = 0;
    socklen_t len = sizeof(listening);

    if (getsockopt(addr->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
        return err_new_errno(errno, "descriptor %d is not a socket", addr->fd);
    if (!listening)
        return err_new("socket %d is not listening", addr->fd);
    *out = &listener_new(real_of(r), addr->fd, addr)->listener;
    return NULL;
}

struct err *real_listen(struct reactor *r, const struct addr *addr, int backlog,
                        struct reactor_listener **out)
{
    char *where CLEANUP(xfree) = NULL;
    int eai = 0;
    int fd;

    *out = NULL;
    if (addr->kind == ADDR_FD)
        return listen_fd(r, addr, out);
    where = addr_describe(addr);
    fd = addr->kind == ADDR_INET ? bind_inet(addr, &eai) : bind_unix(addr);
    if (eai)
        return err_new("address resolution failed for %s: %s", where, gai_strerror(eai));
    if (fd == -EADDRINUSE && addr->port_to)
        return err_new_errno(fd, "Failed to find an available port");
    if (fd < 0)
        return err_new_errno(fd, "Failed to bind socket to %s", where);
    if (listen(fd, MAX(backlog, 1)) < 0) {
        struct err *err = err_new_errno(errno, "Failed to listen on socket %s", where);

        close(fd);
        return err;
    }
    *out = &listener_new(real_of(r), fd, addr)->listener;
    return NULL;
}

unsigned real_listener_port(const struct reactor_listener *base)
{
    const struct real_listener *l = (const struct real_listener *)base;
    struct sockaddr_storage sa = { 0 };
    socklen_t len = sizeof(sa);

    if (getsockname(l->watch.fd, (struct sockaddr *)&sa, &len) < 0)
        return 0;
    if (sa.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&sa)->sin_port);
    if (sa.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
    return 0;
}

static void listener_unhold(struct real_listener *l)
{
    check(l->held > 0);
    if (--l->held > 0 || !l->closed)
        return;
    xfree(l->unlink_path);
    xfree(l);
}

void real_listener_close(struct reactor_listener *base)
{
    struct real_listener *l = (struct real_listener *)base;
    const struct body *body = real_of_listener(l)->body;
    struct stat st;

    if (l->unlink_path && lstat(l->unlink_path, &st) == 0 && st.st_dev == l->dev &&
        st.st_ino == l->ino)
        unlink(l->unlink_path);
    l->closed = true;
    l->held++;
    if (l->listener.accept_op)
        body->watch_cancel(&l->watch, l->listener.accept_op);
    body->watch_close(real_of_listener(l), &l->watch);
    close(l->watch.fd);
    l->watch.fd = -1;
    listener_unhold(l);
}

/* ---- Accepting ---- */

static void accept_end(struct real_listener *l, struct op *op, int result)
{
    if (l->closed)
        op->handle = NULL;
    op_finish(op, result);
}

/* Errors of the connection that was to be accepted, not of the listener (accept(2)). */
static bool is_transient(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH: return true;
    default: return false;
    }
}

static void proceed(struct real_listener *l, struct op *op)
{
    int on = 1;

    for (;;) {
        int fd = accept4(l->watch.fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0) {
            if (l->keep_alive)
                setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
            *(struct reactor_stream **)op->out = real_stream_from_fd(l->listener.reactor, fd);
            accept_end(l, op, 0);
            return;
        }
        if (errno == EAGAIN) {
            l->watch.can_read = false;
            l->held++;
            real_of_listener(l)->body->watch(&l->watch, op, WATCH_READ);
            return;
        }
        if (!is_transient(errno)) {
            accept_end(l, op, -errno);
            return;
        }
    }
}

void real_accept_start(struct op *op) { proceed(op->handle, op); }

void real_accept_ready(struct op *op)
{
    struct real_listener *l = op->handle;

    if (l->closed || (op->flags & OPF_CANCELLED))
        accept_end(l, op, -ECANCELED);
    else
        proceed(l, op);
    listener_unhold(l);
}

void real_accept_cancel(struct op *op)
{
    struct real_listener *l = op->handle;

    real_of_listener(l)->body->watch_cancel(&l->watch, op);
}
