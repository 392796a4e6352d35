#ifndef EMU_CMD_CTL_ARGUMENTS_H
#define EMU_CMD_CTL_ARGUMENTS_H

/*
 * Turns "key=value" words into the arguments object of a command, with the types the server's
 * schema asks for: "size=1G" becomes a number for an integer member and stays text for a string.
 * Dots nest ("addr.type=unix"); "key:=JSON" gives a value as it is.
 */

#include "emu/cmd/ctl/client.h"

struct err *arguments_build(struct client *client, const char *command, int count,
                            char *const *words, struct json **out) MUST_USE;

#endif
