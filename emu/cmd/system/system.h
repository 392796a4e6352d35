#ifndef EMU_CMD_SYSTEM_SYSTEM_H
#define EMU_CMD_SYSTEM_SYSTEM_H

/*
 * emu-system-x86_64: a machine with the storage daemon's roots.
 *
 * options.c knows the command line, build.c carries it out, qtest.c speaks the protocol of tests that
 * play the processor, main.c is the life of the process.
 */

#include "emu/cmd/common/background.h"
#include "emu/cmd/common/front_end.h"
#include "emu/cmd/system/options.h"
#include "emu/machine/machine.h"
#include "emu/qmp/handlers/runstate.h"

struct qtest;

struct system {
    struct front_end fe;
    struct system_options options;
    struct background background;
    struct machine *machine; /* Owned. */
    struct machine_events machine_events;
    struct list drives; /* struct drive */
    struct qtest *qtest; /* Owned, or NULL. */
    unsigned monitors;   /* Of -qmp and -monitor so far. */
    enum qapi_shutdown_cause cause;
};

/* Makes everything that the options ask for. The error is ready for the user. */
struct err *system_build(struct system *s) MUST_USE;

/* qtest.c: listens on a chardev. */
struct err *qtest_new(struct system *s, struct chardev *chr, struct qtest **out) MUST_USE;
void qtest_free(struct qtest *qtest);

#endif
