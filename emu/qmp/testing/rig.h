/*
 * What tests of the QMP wire share: a simulated world with an environment for sessions, clients that
 * talk to them, and a set of commands that do what a test needs:
 *
 *     qmp_capabilities   as it should be
 *     query-version      answers at once, with the version
 *     job-pause          waits until rig_release(); then fails with the id as the text
 *     job-resume         fails with the id as the text
 *     block-job-set-speed, blockdev-mirror    succeed
 *     query-qmp-schema   the schema, a long answer
 *     query-yank         out of band: counted, answers an empty list
 *     quit               is not in the set
 * and the events JOB_STATUS_CHANGE and BLOCK_IO_ERROR.
 */
#ifndef EMU_QMP_TESTING_RIG_H
#define EMU_QMP_TESTING_RIG_H

#include <stdbool.h>

#include "emu/base/queue.h"
#include "emu/base/str.h"
#include "emu/base/vec.h"
#include "emu/chardev/channel.h"
#include "emu/qmp/events.h"
#include "emu/qmp/oob.h"
#include "emu/qmp/registry.h"
#include "emu/qmp/session.h"
#include "emu/reactor/reactor.h"
#include "emu/reactor/sim.h"

#define RIG_EVENTS_MAX 1000000

struct qmp_call;

struct rig {
    struct sim *sim;
    struct reactor *reactor;
    struct qmp_env env;
    struct qmp_events *events;
    struct list lingering;
    VEC(struct qmp_call *) held; /* Of job-pause, oldest first. */
    unsigned oob_calls;
    unsigned in_band_calls;
    unsigned resumed_at; /* in_band_calls at the last job-resume. */
};

extern const struct qmp_command_set rig_commands;
extern const struct qmp_command_set *const rig_sets[];

void rig_init(struct rig *rig, uint64_t seed);
/* All sessions must be closed. */
void rig_fini(struct rig *rig);

/* Runs until nothing moves. */
void rig_run(struct rig *rig);

/* Answers the oldest held call. */
void rig_release(struct rig *rig);

/* One client and its session. */
struct client {
    struct rig *rig;
    struct qmp_session *session; /* NULL once it has ended */
    struct channel *channel;
    struct str text; /* What came and was not yet taken. */
    bool reading;
    bool ended;
};

/* Connects and takes the greeting; negotiates unless raw. */
enum client_kind { CLIENT_RAW, CLIENT_PLAIN, CLIENT_OOB, CLIENT_PRETTY_RAW };
void client_connect(struct client *c, struct rig *rig, enum client_kind kind);

/* Ends both sides, also a session that lingers. */
void client_close(struct client *c);

/* Only the client goes away; its session notices when the world runs. */
void client_drop(struct client *c);

void client_send(struct client *c, const char *text);
/* Stops or goes on reading. */
void client_read(struct client *c, bool on);

/* Runs, then takes the next line without its end: "" when there is none. Valid until the next call. */
const char *client_line(struct client *c);

/* Sends and takes the next line. */
const char *client_ask(struct client *c, const char *text);

#endif
