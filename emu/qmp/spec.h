/*
 * What a command or an event is: generated constants, and the tables that bind commands to
 * handlers.
 *
 * A package of handlers offers one const struct qmp_command_set; a front end names the sets it has.
 * Only what is in these sets is accepted, listed and introspected:
 *
 *     const struct qmp_command_set job_commands = {
 *         .commands = {QMP_COMMAND(job_pause, job_pause_handler),
 *                      QMP_COMMAND(query_jobs, query_jobs_handler), QMP_COMMAND_END},
 *         .events = {&qmp_event_job_status_change, NULL},
 *     };
 */
#ifndef EMU_QMP_SPEC_H
#define EMU_QMP_SPEC_H

#include "emu/qmp/schema/qapi.h"

struct qmp_call;

/* Any handler; its true type is the generated qmp_<command>_fn. */
typedef void qmp_any_fn(void);

enum qmp_command_flags {
    QMP_OOB = 1,       /* May be called with exec-oob, then on the monitor thread. */
    QMP_PRECONFIG = 2, /* May be called before the machine exists. */
    QMP_RAW_ARGS = 4,  /* The handler gets the arguments object as it came, a struct json. */
};

/* Generated: one per command of the schema. */
struct qmp_command_spec {
    const char *name;
    unsigned order;               /* Place in the schema. */
    const struct qapi_type *args; /* qapi_type_empty when there are none. */
    const struct qapi_type *ret;  /* NULL when nothing is returned. */
    unsigned flags;
    const char *const *features;
    void (*invoke)(qmp_any_fn *fn, struct qmp_call *call, const void *args);
};

/* Generated: one per event of the schema. */
struct qmp_event_spec {
    const char *name;
    unsigned order;
    const struct qapi_type *data;
    const char *const *features;
    const char *const *rate_keys; /* Rate-limited per value of these members; NULL: not limited. */
};

/* One command and who does it. */
struct qmp_command {
    const struct qmp_command_spec *spec; /* NULL ends a table. */
    qmp_any_fn *fn;
};

/* The handler's type is checked. `name` is the command's with '_' for '-'. */
#define QMP_COMMAND(name, handler)                                                                 \
    {                                                                                              \
        &qmp_spec_##name, (qmp_any_fn *)_Generic(&(handler), qmp_##name##_fn * : &(handler))       \
    }
#define QMP_COMMAND_END                                                                            \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }

#define QMP_SET_COMMANDS_MAX 64
#define QMP_SET_EVENTS_MAX 32

/* What one file (or package) of handlers offers. */
struct qmp_command_set {
    struct qmp_command commands[QMP_SET_COMMANDS_MAX];       /* Ended by QMP_COMMAND_END. */
    const struct qmp_event_spec *events[QMP_SET_EVENTS_MAX]; /* Raised by them; ended by NULL. */
};

#endif
