/* Commands about the disk rather than its data, and breakpoints of the debugging driver. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/driver.h"
#include "emu/storage/shell/private.h"

enum { STATUS_STEP = 1 << 30 };

/* A command that makes one request after the other. */
struct step {
    struct shell_call *call;
    struct req req;
    uint64_t offset, end;
    uint64_t allocated;           /* alloc: bytes so far. */
    uint64_t run_start, run_host; /* map: the stretch being gathered. */
    bool run_allocated, run_begun;
    struct timer timer;
    char *tag; /* Owned. */
};

static struct step *step_new(struct shell_call *call)
{
    struct step *step = NEW(struct step);

    step->call = call;
    return step;
}

static void step_end(struct step *step, int result)
{
    struct shell_call *call = step->call;

    xfree(step->tag);
    xfree(step);
    shell_done(call, result);
}

/* ---- alloc, map ---- */

static void ask(struct step *step, req_done_fn *done)
{
    step->req = (struct req){ .kind = REQ_STATUS,
                              .offset = step->offset,
                              .len = MIN(step->end - step->offset, (uint64_t)STATUS_STEP),
                              .done = done };
    edge_submit(step->call->shell->edge, &step->req);
}

static void alloc_end(struct step *step, uint64_t start, uint64_t count)
{
    char text[64];

    shell_print(step->call->shell, "%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n",
                step->allocated, count, shell_size_text((double)start, text));
    step_end(step, 0);
}

static void alloc_answer(struct req *req)
{
    struct step *step = container_of(req, struct step, req);

    if (req->result < 0) {
        shell_print(step->call->shell, "is_allocated failed: %s\n", strerror(-req->result));
        step_end(step, req->result);
        return;
    }
    if (req->status.flags & STATUS_ALLOCATED && req->status.depth == 0)
        step->allocated += req->status.len;
    step->offset += req->status.len;
    if (step->offset < step->end)
        ask(step, alloc_answer);
    else
        alloc_end(step, step->run_start, step->end - step->run_start);
}

static void alloc_run(struct shell_call *call)
{
    const uint64_t size = call->shell->edge->node->size;
    uint64_t start, count = 512;
    struct step *step;

    if (!shell_size(call, call->argv[1], &start))
        return;
    if (call->argc > 2 && !shell_size(call, call->argv[2], &count))
        return;
    step = step_new(call);
    step->offset = step->run_start = start;
    step->end = start < size ? start + MIN(count, size - start) : start;
    if (step->offset < step->end)
        ask(step, alloc_answer);
    else
        alloc_end(step, start, 0);
}

static void map_print(struct step *step, uint64_t end)
{
    char size[64], at[64];

    shell_print(step->call->shell,
                "%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n",
                shell_size_text((double)(end - step->run_start), size), end - step->run_start,
                step->run_allocated ? "   " : "not", shell_size_text((double)step->run_start, at),
                step->run_start);
}

static void map_answer(struct req *req)
{
    struct step *step = container_of(req, struct step, req);
    const bool allocated = (req->status.flags & STATUS_ALLOCATED) && req->status.depth == 0;

    if (req->result < 0) {
        shell_print(step->call->shell, "Failed to get allocation status\n");
        step_end(step, req->result);
        return;
    }
    if (step->run_begun && allocated != step->run_allocated) {
        map_print(step, step->offset);
        step->run_start = step->offset;
    }
    step->run_begun = true;
    step->run_allocated = allocated;
    step->offset += req->status.len;
    if (step->offset < step->end) {
        ask(step, map_answer);
        return;
    }
    map_print(step, step->end);
    step_end(step, 0);
}

static void map_run(struct shell_call *call)
{
    struct step *step = step_new(call);

    step->end = call->shell->edge->node->size;
    if (step->end)
        ask(step, map_answer);
    else
        step_end(step, 0);
}

/* ---- flush, length, truncate, sleep, signals ---- */

static void flushed(struct req *req)
{
    struct step *step = container_of(req, struct step, req);

    step_end(step, req->result);
}

static void flush_run(struct shell_call *call)
{
    struct step *step = step_new(call);

    step->req = (struct req){ .kind = REQ_FLUSH, .done = flushed };
    edge_submit(call->shell->edge, &step->req);
}

static void length_run(struct shell_call *call)
{
    char text[64];

    shell_print(call->shell, "%s\n", shell_size_text((double)call->shell->edge->node->size, text));
    shell_done(call, 0);
}

static void truncated(void *arg, struct err *err)
{
    struct shell_call *call = arg;
    int result = err ? -EINVAL : 0;

    if (err)
        shell_report(call->shell, err);
    shell_done(call, result);
}

static void truncate_run(struct shell_call *call)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full" };
    int c, mode = 0;
    uint64_t size;

    shell_getopt_start();
    while ((c = shell_getopt(call, "m:")) != -1) {
        if (c == '?')
            return;
        mode = str_index(optarg, modes, ARRAY_LEN(modes));
        if (mode < 0) {
            shell_report(call->shell, err_new("Invalid preallocation mode '%s'", optarg));
            shell_done(call, -EINVAL);
            return;
        }
    }
    if (optind != call->argc - 1) {
        shell_usage(call);
        return;
    }
    if (shell_size(call, call->argv[optind], &size))
        edge_truncate(call->shell->edge, size, false, (enum prealloc)mode, truncated, call);
}

static void slept(struct timer *timer)
{
    struct step *step = container_of(timer, struct step, timer);

    step_end(step, 0);
}

static void sleep_run(struct shell_call *call)
{
    uint64_t ms;
    struct step *step;

    if (!parse_u64(call->argv[1], &ms) || ms > INT32_MAX) {
        shell_print(call->shell, "%s is not a valid number\n", call->argv[1]);
        shell_done(call, -EINVAL);
        return;
    }
    step = step_new(call);
    step->timer.fn = slept;
    timer_arm(call->shell->config.reactor, &step->timer,
              reactor_now(call->shell->config.reactor) + (int64_t)ms * 1000000);
}

static void sigraise_run(struct shell_call *call)
{
    uint64_t number;

    if (!shell_size(call, call->argv[1], &number))
        return;
    if (number > 64) {
        shell_print(call->shell, "signal argument '%s' is too large to be a valid signal number\n",
                    call->argv[1]);
        shell_done(call, -EINVAL);
        return;
    }
    raise((int)number);
    shell_done(call, 0);
}

static void abort_run(struct shell_call *call)
{
    (void)call;
    abort();
}

/* ---- Breakpoints ---- */

/* The node at or below the disk that has breakpoints. */
static struct node *debug_node(struct shell_call *call)
{
    struct node *node = call->shell->edge->node;

    while (node && !node->driver->debug)
        node = node->file ? node->file->node : NULL;
    return node;
}

static void break_run(struct shell_call *call)
{
    struct node *node = debug_node(call);
    const int result =
        node ? node->driver->debug->set(node, call->argv[1], call->argv[2]) : -ENOTSUP;

    if (result < 0)
        shell_print(call->shell, "Could not set breakpoint: %s\n", strerror(-result));
    shell_done(call, result);
}

static void remove_break_run(struct shell_call *call)
{
    struct node *node = debug_node(call);
    const int result = node ? node->driver->debug->remove(node, call->argv[1]) : -ENOTSUP;

    if (result < 0)
        shell_print(call->shell, "Could not remove breakpoint %s: %s\n", call->argv[1],
                    strerror(-result));
    shell_done(call, result);
}

static void resume_run(struct shell_call *call)
{
    struct node *node = debug_node(call);
    const int result = node ? node->driver->debug->resume(node, call->argv[1]) : -ENOTSUP;

    if (result < 0)
        shell_print(call->shell, "Could not resume request: %s\n", strerror(-result));
    shell_done(call, result);
}

static void suspended(void *arg)
{
    struct step *step = arg;

    step_end(step, 0);
}

static void wait_break_run(struct shell_call *call)
{
    struct node *node = debug_node(call);
    struct step *step;

    if (!node) {
        shell_print(call->shell, "Could not wait for breakpoint %s: %s\n", call->argv[1],
                    strerror(ENOTSUP));
        shell_done(call, -ENOTSUP);
        return;
    }
    step = step_new(call);
    step->tag = xstrdup(call->argv[1]);
    node->driver->debug->wait(node, step->tag, suspended, step);
}

const struct shell_command shell_meta_commands[] = {
    { .name = "abort",
      .flags = SHELL_NO_FILE,
      .summary = "simulate a program crash using abort(3)",
      .run = abort_run },
    { .name = "alloc",
      .args_min = 1,
      .args_max = 2,
      .args = "offset [count]",
      .summary = "checks if offset is allocated in the file",
      .run = alloc_run },
    { .name = "break",
      .args_min = 2,
      .args_max = 2,
      .args = "event tag",
      .summary = "sets a breakpoint on event and tags the stopped request as tag",
      .run = break_run },
    { .name = "flush",
      .alias = "f",
      .summary = "flush all in-core file state to disk",
      .run = flush_run },
    { .name = "length",
      .alias = "l",
      .summary = "gets the length of the current file",
      .run = length_run },
    { .name = "map",
      .args = "",
      .summary = "prints the allocated areas of a file",
      .run = map_run },
    { .name = "remove_break",
      .args_min = 1,
      .args_max = 1,
      .args = "tag",
      .summary = "remove a breakpoint by tag",
      .run = remove_break_run },
    { .name = "resume",
      .args_min = 1,
      .args_max = 1,
      .args = "tag",
      .summary = "resumes the request tagged as tag",
      .run = resume_run },
    { .name = "sigraise",
      .args_min = 1,
      .args_max = 1,
      .flags = SHELL_NO_FILE,
      .args = "signal",
      .summary = "raises a signal",
      .help = "\n"
              " raises a signal in this process\n"
              "\n"
              " Example:\n"
              " 'sigraise 15' - raises SIGTERM\n"
              "\n",
      .run = sigraise_run },
    { .name = "sleep",
      .args_min = 1,
      .args_max = 1,
      .flags = SHELL_NO_FILE,
      .summary = "waits for the given value in milliseconds",
      .run = sleep_run },
    { .name = "truncate",
      .alias = "t",
      .args_min = 1,
      .args_max = 3,
      .perm = PERM_WRITE | PERM_RESIZE,
      .args = "[-m prealloc_mode] off",
      .summary = "truncates the current file at the given offset",
      .run = truncate_run },
    { .name = "wait_break",
      .args_min = 1,
      .args_max = 1,
      .args = "tag",
      .summary = "waits for the suspension of a request",
      .run = wait_break_run },
    { 0 },
};
