/*
 * Calls into a real reactor from other threads: posts and the wake-up. Private to the real reactors.
 */
#ifndef EMU_REACTOR_POST_H
#define EMU_REACTOR_POST_H

#include "emu/reactor/real.h"

/* Any thread: queues fn(arg) for the home thread. */
void post_add(struct reactor *r, void (*fn)(void *arg), void *arg);
/* Any thread: ends the wait of the home thread, if it waits. Costs no system call otherwise. */
void post_wake(struct real *real);
void post_wake_reactor(struct reactor *r);
/* Home thread: turns what was posted into tasks of the loop, oldest first. */
void post_collect(struct real *real);
/* Forgets posts that never ran. */
void post_drop(struct real *real);

#endif
