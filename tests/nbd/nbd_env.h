/*
 * A world for NBD tests on one reactor, real or simulated: a disk file below a server, and clients as
 * nodes of the same graph. Functions wait by running the reactor, as tests may.
 */
#ifndef EMU_TESTS_NBD_NBD_ENV_H
#define EMU_TESTS_NBD_NBD_ENV_H

#include <stdbool.h>
#include <stdint.h>

#include "emu/reactor/sim.h"
#include "emu/storage/export/export.h"
#include "emu/storage/node.h"
#include "emu/yank/yank.h"

struct nbd_env {
    struct sim *sim; /* NULL: a real reactor. */
    struct reactor *reactor;
    struct graph *graph;
    struct yank *yank;
    struct exports *exports;
};

void env_init_sim(struct nbd_env *env, const struct sim_options *options);
void env_init_real(struct nbd_env *env);
/* Closes all that is open and checks that nothing is pending. */
void env_fini(struct nbd_env *env);

/* Runs until *flag or about 20 s (virtual or real) went by; returns *flag. */
bool env_run_until(struct nbd_env *env, const bool *flag);
/* Runs what can run now, and some more. */
void env_run_idle(struct nbd_env *env);

/* Opens from JSON text; on failure *err is set (owned by the caller) and NULL returned. */
struct node *env_open(struct nbd_env *env, const char *json_text, struct err **err);
struct node *env_open_ok(struct nbd_env *env, const char *json_text);

void env_serve(struct nbd_env *env, const char *socket_path);
void env_export(struct nbd_env *env, const struct export_options *options);

/* Runs one request to its end and returns its result. */
int env_io(struct nbd_env *env, struct edge *edge, struct req *req);
int env_rw(struct nbd_env *env, struct edge *edge, enum req_kind kind, uint64_t offset, void *buf,
           uint64_t len);
struct edge *env_attach(struct node *node, bool write);

/* A JSON text with 'single' quotes turned into "double" ones; static storage. */
const char *q(const char *text);

#endif
