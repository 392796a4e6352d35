#include "emu/crypto/random.h"

#include <errno.h>
#include <stdint.h>
#include <sys/random.h>

#include "emu/base/check.h"

void random_bytes(void *out, size_t len)
{
    uint8_t *at = out;

    while (len) {
        ssize_t n = getrandom(at, len, 0);

        /* Without randomness a key would be worthless: going on is no option. */
        check(n > 0 || errno == EINTR);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}
