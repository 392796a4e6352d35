#ifndef EMU_QMP_READLINE_H
#define EMU_QMP_READLINE_H

/*
 * Monitors for people: a prompt, a line that is edited as it is typed, and the output of its
 * command. The bytes sent while a line changes are those that scripts know: back to its start, the line
 * anew, and the rest erased.
 */

#include "emu/base/err.h"
#include "emu/base/list.h"
#include "emu/chardev/chardev.h"
#include "emu/qmp/hmp.h"
#include "emu/reactor/reactor.h"

struct readline;

/* A monitor on chr; hmp is borrowed. *out is new. */
struct err *readline_new(struct reactor *reactor, struct chardev *chr, struct hmp *hmp,
                         struct readline **out) MUST_USE;
/* Ends it at once. A command that runs ends unseen. NULL is fine. */
void readline_free(struct readline *rl);
/* Bytes not yet written. */
size_t readline_pending(const struct readline *rl);
/* Takes no more input. */
void readline_stop(struct readline *rl);
/* Nothing is done before this is false (the machine is being built); then lines that wait are. */
void readline_hold(struct readline *rl, bool hold);

#endif
