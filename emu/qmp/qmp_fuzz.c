/*
 * A client's bytes into a session on the simulated reactor. The first byte chooses: bits 0-1 how the
 * client begins, bit 2 whether it reads, the rest a seed for how its bytes are cut. Held calls are
 * answered now and then. Nothing may crash, leak or stay behind, and each request that is whole gets
 * one line.
 */
#include "tests/harness/fuzz.h"

#include "emu/base/check.h"
#include "emu/qmp/testing/rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum client_kind kinds[] = { CLIENT_RAW, CLIENT_PLAIN, CLIENT_OOB,
                                              CLIENT_PRETTY_RAW };
    struct rig rig;
    struct client c;
    size_t piece;

    if (size < 2)
        return 0;
    rig_init(&rig, data[0]);
    client_connect(&c, &rig, kinds[data[0] & 3]);
    client_read(&c, data[0] & 4);
    piece = 1 + data[1] % 64;
    for (size_t i = 2; i < size; i += piece) {
        channel_send(c.channel, (const char *)data + i, MIN(piece, size - i));
        rig_run(&rig);
        if (rig.held.len && i % 3 == 0)
            rig_release(&rig);
    }
    while (rig.held.len) {
        rig_release(&rig);
        rig_run(&rig);
    }
    check(qmp_session_pending(c.session) <= QMP_OUTPUT_MAX);
    client_close(&c);
    rig_fini(&rig);
    return 0;
}
