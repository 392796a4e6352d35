/*
 * Socket addresses: from struct addr to what the kernel takes, and to text. Private to the real
 * reactors.
 */
#ifndef EMU_REACTOR_ADDR_H
#define EMU_REACTOR_ADDR_H

#include <netdb.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "emu/base/err.h"
#include "emu/reactor/reactor.h"

struct addr_sock {
    struct sockaddr_storage storage;
    socklen_t len;
};

/* For UNIX and VSOCK; 0 or -errno. */
int addr_to_sock(const struct addr *addr, struct addr_sock *out);

enum addr_lookup { ADDR_LOOKUP_NUMERIC, ADDR_LOOKUP_NAMES };

/* What of an inet address takes part in a look-up. */
struct addr_query {
    const char *host, *port; /* borrowed */
    int family;              /* AF_UNSPEC, AF_INET or AF_INET6. */
    bool passive;
};

/* 0 or -errno (both families switched off). */
int addr_query_of(const struct addr *addr, bool passive, struct addr_query *out);
/* getaddrinfo; 0 and *out (for freeaddrinfo), or an EAI_* code. Names may block. */
int addr_resolve(const struct addr_query *query, enum addr_lookup how, struct addrinfo **out);
/* -errno for an EAI_* code. */
int addr_eai_errno(int eai);

/* "unix:/path", "unix:@name", "127.0.0.1:80", "[::1]:80", "vsock:2:1234". Returns new. */
char *addr_text(const struct sockaddr *sa, socklen_t len);
/* The address as the user gave it, for messages. Returns new. */
char *addr_describe(const struct addr *addr);

#endif
