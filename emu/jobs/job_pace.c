/* The speed limit of a job. */

#include "emu/jobs/job_pace.h"

#include "emu/base/nstime.h"

static void job_pace_over(struct timer *timer)
{
    job_kick(container_of(timer, struct job, pace_timer));
}

void job_pace_init(struct job *job)
{
    ratelimit_init(&job->pace);
    job->pace_timer.fn = job_pace_over;
}

void job_pace_set(struct job *job, uint64_t speed)
{
    const uint64_t old = job->pace.speed;

    ratelimit_set_speed(&job->pace, speed, RATELIMIT_SLICE_NS);
    if (speed != 0 && (old == 0 || speed < old))
        return;
    /* What was already overdrawn at the old speed is forgiven. */
    ratelimit_init(&job->pace);
    ratelimit_set_speed(&job->pace, speed, RATELIMIT_SLICE_NS);
    timer_disarm(&job->pace_timer);
    job_kick(job);
}

uint64_t job_pace_speed(const struct job *job) { return job->pace.speed; }

bool job_pace_wait(struct job *job)
{
    struct reactor *r = job->jobs->reactor;
    int64_t wait_ns;

    wait_ns = job->pace.speed ? ratelimit_wait_ns(&job->pace, reactor_now(r)) : 0;
    wait_ns = MAX(wait_ns, job->retry_ns - reactor_now(r));
    if (wait_ns <= 0)
        return false;
    timer_arm(r, &job->pace_timer, nstime_add(reactor_now(r), wait_ns));
    return true;
}

void job_pace_account(struct job *job, uint64_t bytes)
{
    if (job->pace.speed)
        ratelimit_account(&job->pace, bytes, reactor_now(job->jobs->reactor));
}
