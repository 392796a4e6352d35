/*
 * Yanking: giving up connections that hang.
 *
 * Whoever owns connections registers an instance, under the name by which users know the owner, and
 * for each connection a function that cuts it. yank_run() checks that all instances it is given
 * exist, and then calls their functions.
 *
 * All functions may be called on any thread: yank is executed out of band, on the monitor thread,
 * while the main reactor may be stuck. One lock guards the whole of it, and it is held while yank
 * functions run, so that nothing they touch is unregistered meanwhile. Therefore a yank function
 * only calls shutdown(2) on a descriptor of its owner, sets what the owner reads atomically, and may
 * post to the owner's reactor; it takes no lock, calls no yank_* or stream_*, frees nothing and waits
 * for nothing.
 *
 * Unregistering a function before its connection is closed is what makes cutting safe.
 */
#ifndef EMU_YANK_YANK_H
#define EMU_YANK_YANK_H

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/list.h"
#include "emu/qmp/schema/qapi_yank.h" // Generated.

struct yank;
struct yank_instance;

typedef void yank_fn(void *arg);

/* One connection that can be cut; embedded in its owner. Zeroed memory is not registered. */
struct yank_function {
    struct list link;
    struct yank_instance *instance;
    yank_fn *fn;
    void *arg;
};

struct yank *yank_new(void);
/* All instances must be gone. NULL is fine. */
void yank_free(struct yank *yank);

/*
 * Registers an instance. name is the node's name or the chardev's id; it is copied, and ignored for
 * QAPI_YANK_INSTANCE_TYPE_MIGRATION. Fails when it is there already. *out is new.
 */
MUST_USE struct err *yank_register_instance(struct yank *yank, enum qapi_yank_instance_type type,
                                            const char *name, struct yank_instance **out);
/* Its functions must be gone. NULL is fine. */
void yank_unregister_instance(struct yank_instance *instance);

/* f must not be registered. From now on fn(arg) may be called at any time, on any thread. */
void yank_register_function(struct yank_instance *instance, struct yank_function *f, yank_fn *fn,
                            void *arg);
/* When it returns, fn is not running and will not be called. No effect when not registered. */
void yank_unregister_function(struct yank_function *f);

/* Calls the functions of all named instances, or of none when one of them does not exist. */
MUST_USE struct err *yank_run(struct yank *yank, const struct qapi_yank_instance_list *instances);

/* Appends all instances, oldest first; the caller frees what *out then holds. */
void yank_query(struct yank *yank, struct qapi_yank_instance_list *out);

#endif
