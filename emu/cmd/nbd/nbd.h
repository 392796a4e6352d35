#ifndef EMU_CMD_NBD_NBD_H
#define EMU_CMD_NBD_NBD_H

/* emu-nbd: the command line, the server of one image, and the list of another server's exports. */

#include "emu/base/vec.h"
#include "emu/cmd/common/source_snapshot.h"
#include "emu/cmd/common/tool.h"
#include "emu/reactor/reactor.h"

struct nbd_options {
    struct image_spec image;
    struct source_snapshot snapshot;
    struct addr addr; /* Strings are borrowed. */
    const char *export_name, *description;
    const char *pid_file, *connect, *disconnect;
    const char *tls_creds, *tls_authz, *tls_hostname;
    VEC(const char *) objects, bitmaps;
    uint64_t offset, shared, handshake_seconds;
    bool list, fork, persistent, verbose, temporary, allocation_depth, read_only;
    bool address_given, device_settings; /* For what does not go together. */
};

/*
 * Reads the command line. Returns -1 to go on; else the exit status, after help, version or a message with the prefix
 * that program names.
 */
int nbd_options_parse(struct nbd_options *o, struct tool *tool, int argc, char **argv);
void nbd_options_fini(struct nbd_options *o);

/* The node to export: opened, its snapshot shown, cut at the offset. Owned by image. */
struct err *nbd_open(struct tool *tool, struct nbd_options *o, struct image *image) MUST_USE;

/* Prints what another server offers. */
struct err *nbd_list(const struct nbd_options *o) MUST_USE;

/* -d: takes a client off a device of the kernel. Returns the exit status. */
int nbd_kernel_disconnect(const struct tool *tool, const char *device);
/* -c: NULL if the device could be used; this says why not. */
struct err *nbd_kernel_check(const char *device) MUST_USE;

#endif
