#ifndef EMU_CMD_COMMON_VERSION_H
#define EMU_CMD_COMMON_VERSION_H

/*
 * Versions: of emu itself, and of the reference whose command lines and protocols it speaks, which is
 * what clients parse.
 */
#define EMU_VERSION      "0.1.0"
#define EMU_COMPAT_MAJOR 10
#define EMU_COMPAT_MINOR 0
#define EMU_COMPAT_MICRO 2

/* "PROGRAM version 10.0.2 (emu 0.1.0)" on stdout. */
void version_print(const char *program);

#endif
