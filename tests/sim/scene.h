#ifndef EMU_TESTS_SIM_SCENE_H
#define EMU_TESTS_SIM_SCENE_H

/* What is on stage while a scenario is played: its world, disks, guest and job. */

#include "emu/jobs/block/block_job.h"
#include "tests/sim/guest.h"
#include "tests/sim/oracle.h"
#include "tests/sim/plan.h"
#include "tests/sim/scenario.h"
#include "tests/sim/world.h"

#define SCENE_SOCKET "nbd.sock"

struct scene {
    struct world w;
    struct rng rng;
    struct plan plan;
    struct oracle oracle;
    struct guest guest;
    struct node *source, *target; /* Borrowed: of the monitor. */
    struct node *overlay;         /* Of the source; NULL unless the plan is a chain. */
    struct node
        *job_target; /* The target, or the NBD client that leads to it; the source of a commit. */
    struct edge *guest_edge;
    uint8_t *snapshot; /* Owned: what the source held when the job began. */
    struct scenario_counts *counts;
    bool struck;
    bool pivoting; /* A mirror was told to complete: the guest is on the target, or will be. */
    uint64_t job_began;
    int64_t struck_ns, cancelled_ns;
};

/* Where the guest is until a pivot. */
static inline struct node *scene_disk(const struct scene *s)
{
    return s->overlay ? s->overlay : s->source;
}
/* Files that the job reads from and writes to. */
const char *scene_source_file(const struct scene *s);
const char *scene_target_file(const struct scene *s);

/* NULL when there is none (any more). */
struct job *scene_job(struct scene *s);
/* Makes and starts the planned job. */
void scene_start_job(struct scene *s, bool faultless);
/* Lets the guest finish, with crash points on the way. */
void scene_quiet_guest(struct scene *s);
/* Runs the job to its end, with the planned misfortune and verbs at random. */
void scene_run_job(struct scene *s);
/* The same without either. */
void scene_run_job_plainly(struct scene *s);
/* Crashes a copy of the world now and then. */
void scene_maybe_crash(struct scene *s);

/* Holds what source and target hold at the end against the oracle. Nothing is in flight. */
void scene_verify(struct scene *s);
/* Reads a whole node to buf. False: noted. */
bool scene_read(struct scene *s, struct node *node, uint8_t *buf, const char *what);
/* Checks that buf is what a disk that the guest sees may hold now. */
void scene_check_now(struct scene *s, const uint8_t *buf, const char *what);

#endif
