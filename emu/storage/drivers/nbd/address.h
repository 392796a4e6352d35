/*
 * The server address among the options of an NBD node: "server" as an object or flattened, or one of the
 * old spellings ("path", or "host" with "port").
 */
#ifndef EMU_STORAGE_DRIVERS_NBD_ADDRESS_H
#define EMU_STORAGE_DRIVERS_NBD_ADDRESS_H

#include "emu/base/err.h"
#include "emu/base/opts.h"
#include "emu/reactor/reactor.h"

struct nbd_address {
    struct addr addr;         /* Strings point to the ones below. */
    char *path, *host, *port; /* owned */
};

struct err *nbd_address_parse(struct opts *opts, struct nbd_address *out) MUST_USE;
void nbd_address_fini(struct nbd_address *address);
/* "/path", "host:port": as errors name it. Returns new. */
char *nbd_address_text(const struct nbd_address *address);
/* "nbd+unix:///EXPORT?socket=/path", "nbd://host:port/EXPORT". Returns new; "" when there is no such name. */
char *nbd_address_uri(const struct nbd_address *address, const char *export);

#endif
