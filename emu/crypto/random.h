#ifndef EMU_CRYPTO_RANDOM_H
#define EMU_CRYPTO_RANDOM_H

/* Random bytes for keys and salts, from the kernel's generator. They must not repeat, so no seed makes them. */

#include <stddef.h>

void random_bytes(void *out, size_t len);

#endif
