/*
 * "socket,id=c,path=/s,server=on,wait=off" and JSON to the arguments of chardev-add.
 */
#ifndef EMU_CHARDEV_CMDLINE_H
#define EMU_CHARDEV_CMDLINE_H

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/qmp/schema/qapi_char.h" // Generated.

/* Parses the value of --chardev: backend, id and options; "server" and "nowait" are taken for
 * server=on and wait=off; or the JSON form of chardev-add's arguments. *out is new. */
MUST_USE struct err *chardev_parse(const char *text, struct qapi_chardev_add_args **out);

/*
 * Parses what -qmp and -monitor take: "stdio", "null", "file:PATH", "unix:PATH[,options]",
 * "tcp:HOST:PORT[,options]". *out is new and has the given id.
 */
MUST_USE struct err *chardev_parse_compat(const char *text, const char *id,
                                          struct qapi_chardev_add_args **out);

#endif
