#ifndef EMU_CMD_SYSTEM_HELP_H
#define EMU_CMD_SYSTEM_HELP_H

#include <stdbool.h>

/* Lists for people and for scripts, on stdout. */

void help_machines(void);
void help_accelerators(void);
void help_devices(void);
/* "-device TYPE,help"; false when there is no such type. */
bool help_device(const char *name);
/* "-drive format=help" */
void help_formats(void);

#endif
