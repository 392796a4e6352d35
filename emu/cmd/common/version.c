#include "emu/cmd/common/version.h"

#include <stdio.h>

void version_print(const char *program)
{
    printf("%s version %d.%d.%d (emu %s)\n", program, EMU_COMPAT_MAJOR, EMU_COMPAT_MINOR,
           EMU_COMPAT_MICRO, EMU_VERSION);
}
