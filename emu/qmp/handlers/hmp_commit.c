/*
 * commit: what an overlay holds is written into its backing file; the overlay stays in use.
 *
 * It is a commit job that ends without pivot as soon as both are equal. Disks are done one after the
 * other, by the loop: the monitor that asked is answered in the end, others meanwhile.
 */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/notify.h"
#include "emu/jobs/job.h"
#include "emu/jobs/job_query.h"
#include "emu/qmp/handlers/hmp.h"
#include "emu/qmp/handlers/world.h"
#include "emu/storage/backend.h"

struct commit {
    struct hmp_call *call;
    struct notifier notifier;
    struct task task;
    char *device; /* Owned. */
    char *job_id; /* Owned. */
    bool over;
    char *error; /* Owned; NULL: none. */
};

static void free_commit(void *state)
{
    struct commit *c = state;

    notifier_remove(&c->notifier);
    reactor_undefer(&c->task);
    xfree(c->device);
    xfree(c->job_id);
    xfree(c->error);
    xfree(c);
}

/* The answer to block-job-cancel; the job tells the rest. */
static void asked_to_end(struct hmp_call *call, struct json *ret) {}

static void step(struct task *task)
{
    struct commit *c = container_of(task, struct commit, task);
    struct hmp_call *call = c->call;
    struct json *args;

    if (c->over) {
        if (c->error)
            hmp_print(call, "'commit' error for '%s': %s\n", c->device, c->error);
        hmp_end(call);
        return;
    }
    args = json_object();
    json_object_set_str(args, "device", c->job_id);
    hmp_qmp(call, "block-job-cancel", args, asked_to_end);
}

static void job_told(struct notifier *notifier, void *data)
{
    struct commit *c = container_of(notifier, struct commit, notifier);
    const struct job_event *event = data;
    struct job_facts facts;

    if (!str_eq(event->job->id, c->job_id))
        return;
    if (event->kind != JOB_EVENT_READY && event->kind != JOB_EVENT_COMPLETED &&
        event->kind != JOB_EVENT_CANCELLED)
        return;
    c->over = event->kind != JOB_EVENT_READY;
    job_query(event->job, &facts);
    if (c->over && facts.error)
        c->error = xstrdup(facts.error);
    reactor_defer(c->call->world->reactor, &c->task, step);
}

/* The job runs; it was refused, and the call has ended, when this is not called. */
static void started(struct hmp_call *call, struct json *ret) {}

static struct err *find_overlay(struct hmp_call *call, struct backend **out)
{
    const char *device = hmp_word(call, "device");

    *out = backend_find(call->world->graph, device);
    if (!*out)
        return err_new("Device '%s' not found", device);
    if (!(*out)->root)
        return err_new("'commit' error for '%s': %s", device, strerror(ENOMEDIUM));
    if (!node_backing((*out)->root->node))
        return err_new("'commit' error for '%s': %s", device, strerror(ENOTSUP));
    return NULL;
}

void hmp_commit(struct hmp_call *call)
{
    struct backend *backend;
    struct err *err = find_overlay(call, &backend);
    struct json *args;
    struct commit *c;

    if (err) {
        hmp_print(call, "%s\n", err_text(err));
        err_free(err);
        hmp_end(call);
        return;
    }
    c = NEW(struct commit);
    c->call = call;
    c->device = xstrdup(backend->name);
    c->job_id = xasprintf("hmp-commit-%s", backend->name);
    c->notifier.fn = job_told;
    call->state = c;
    call->free_state = free_commit;
    notifier_add(&call->world->jobs->on_event, &c->notifier);
    args = json_object();
    json_object_set_str(args, "job-id", c->job_id);
    json_object_set_str(args, "device", backend->name);
    hmp_qmp(call, "block-commit", args, started);
}
