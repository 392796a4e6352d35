/*
 * Socket addresses of the schema as addresses of the reactor.
 */
#ifndef EMU_CHARDEV_SOCKADDR_H
#define EMU_CHARDEV_SOCKADDR_H

#include <stdbool.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/qmp/schema/qapi_sockets.h" // Generated.
#include "emu/reactor/reactor.h"

/* Text in *out is borrowed from in; an fd is only named, not taken. Fails for an fd that is none. */
MUST_USE struct err *sockaddr_to_addr(const struct qapi_socket_address *in, struct addr *out);
MUST_USE struct err *sockaddr_legacy_to_addr(const struct qapi_socket_address_legacy *in,
                                             struct addr *out);

/* "unix:/path", "tcp:host:port", "fd:5" with the options that query-chardev shows. New text. */
MUST_USE char *sockaddr_name(const struct addr *addr);

/* What a failed connect means to the user: "Failed to connect to ...". error is an errno. */
MUST_USE struct err *sockaddr_connect_err(const struct addr *addr, int error);

#endif
