/* Commands for people about disks and block jobs. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/qmp/handlers/hmp.h"
#include "emu/qmp/handlers/world.h"
#include "emu/storage/backend.h"
#include "emu/storage/shell/shell.h"

/* ---- qemu-io: one command of emu-io on a disk of the machine ---- */

struct io_call {
    struct hmp_call *hmp; /* NULL once the command has ended. */
    struct shell *shell;
    struct edge *own; /* Of a node without a backend; NULL: the backend's. */
};

static const struct edge_parent_ops io_parent = { .what = "qemu-io" };

/* Results go where those of emu-io go, not into the answer. */
static void io_print(void *arg, const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

static void io_complain(void *arg, const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

static void io_report(void *arg, struct err *err)
{
    struct io_call *io = arg;

    if (io->hmp)
        hmp_print(io->hmp, "%s\n%s", err_text(err), err_hint(err));
    err_free(err);
}

/* The requests that aio_ commands left have ended. */
static void io_quiet(void *arg, int result)
{
    struct io_call *io = arg;
    struct hmp_call *hmp = io->hmp;

    shell_free(io->shell);
    if (io->own)
        edge_detach(io->own);
    xfree(io);
    if (hmp)
        hmp_end(hmp);
}

/* On a backend they go on beside; the use of a mere node ends with the command. */
static void io_ran(void *arg, int result)
{
    struct io_call *io = arg;
    struct hmp_call *hmp = io->hmp;

    if (!io->own) {
        io->hmp = NULL;
        shell_set_edge(io->shell, NULL);
        hmp_end(hmp);
    }
    shell_quiesce(io->shell, io_quiet, io);
}

static struct err *io_edge(struct hmp_call *call, struct io_call *io, struct edge **out)
{
    struct graph *graph = call->world->graph;
    const char *name = hmp_word(call, "device");
    struct backend *backend =
        hmp_flag(call, "qdev") ? backend_find_device(graph, name) : backend_find(graph, name);
    struct node *node;

    *out = NULL;
    if (backend && !backend->root)
        return err_new("Device '%s' has no medium", name);
    if (backend) {
        *out = backend->root;
        return NULL;
    }
    if (hmp_flag(call, "qdev"))
        return err_new_class(ERR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
    node = graph_find(graph, name);
    if (!node)
        return err_new("Cannot find device='' nor node-name='%s'", name);
    TRY(edge_attach(node, "root", &io_parent, io, 0, PERM_ALL, &io->own));
    *out = io->own;
    return NULL;
}

static void qemu_io(struct hmp_call *call)
{
    struct io_call *io = NEW(struct io_call);
    struct edge *edge;
    struct err *err = io_edge(call, io, &edge);

    if (err) {
        xfree(io);
        hmp_end_err(call, err);
        return;
    }
    io->hmp = call;
    io->shell = shell_new(&(struct shell_config){ .reactor = call->world->reactor,
                                                  .print = io_print,
                                                  .complain = io_complain,
                                                  .report = io_report,
                                                  .arg = io });
    shell_set_edge(io->shell, edge);
    shell_run(io->shell, hmp_word(call, "command"), io_ran, io);
}

/* ---- Commands that are QMP commands ---- */

static struct json *with(struct json *args, const char *name, const char *text)
{
    if (text)
        json_object_set_str(args, name, text);
    return args;
}

static void block_resize(struct hmp_call *call) { hmp_pass(call, "block_resize"); }
static void eject(struct hmp_call *call) { hmp_pass(call, "eject"); }

static void job_set_speed(struct hmp_call *call) { hmp_pass(call, "block-job-set-speed"); }
static void job_cancel(struct hmp_call *call) { hmp_pass(call, "block-job-cancel"); }
static void job_complete(struct hmp_call *call) { hmp_pass(call, "block-job-complete"); }
static void job_pause(struct hmp_call *call) { hmp_pass(call, "block-job-pause"); }
static void job_resume(struct hmp_call *call) { hmp_pass(call, "block-job-resume"); }

static void block_stream(struct hmp_call *call)
{
    struct json *args = json_object();

    with(args, "job-id", hmp_word(call, "device"));
    with(args, "device", hmp_word(call, "device"));
    with(args, "base", hmp_word(call, "base"));
    if (json_object_has(call->args, "speed"))
        json_object_set(args, "speed", json_ref(json_object_get(call->args, "speed")));
    hmp_qmp(call, "block-stream", args, NULL);
}

/* drive_mirror and drive_backup: -n an existing file, -f all of the chain, else the top. */
static struct json *copy_args(struct hmp_call *call)
{
    struct json *args = json_object();

    with(args, "device", hmp_word(call, "device"));
    with(args, "target", hmp_word(call, "target"));
    with(args, "format", hmp_word(call, "format"));
    with(args, "sync", hmp_flag(call, "full") ? "full" : "top");
    with(args, "mode", hmp_flag(call, "reuse") ? "existing" : "absolute-paths");
    return args;
}

static void drive_mirror(struct hmp_call *call)
{
    hmp_qmp(call, "drive-mirror", copy_args(call), NULL);
}

static void drive_backup(struct hmp_call *call)
{
    struct json *args = copy_args(call);

    if (hmp_flag(call, "compress"))
        json_object_set_bool(args, "compress", true);
    hmp_qmp(call, "drive-backup", args, NULL);
}

static void snapshot_blkdev(struct hmp_call *call)
{
    struct json *args = json_object();

    if (!hmp_word(call, "file")) {
        json_free(args);
        hmp_end_err(call, err_new("Parameter 'snapshot-file' is missing"));
        return;
    }
    with(args, "device", hmp_word(call, "device"));
    with(args, "snapshot-file", hmp_word(call, "file"));
    with(args, "format", hmp_word(call, "format"));
    with(args, "mode", hmp_flag(call, "reuse") ? "existing" : "absolute-paths");
    hmp_qmp(call, "blockdev-snapshot-sync", args, NULL);
}

static void snapshot_blkdev_internal(struct hmp_call *call)
{
    hmp_pass(call, "blockdev-snapshot-internal-sync");
}

static void snapshot_delete_blkdev_internal(struct hmp_call *call)
{
    hmp_pass(call, "blockdev-snapshot-delete-internal-sync");
}

/* ---- NBD ---- */

static void nbd_server_stop(struct hmp_call *call) { hmp_pass(call, "nbd-server-stop"); }
static void nbd_server_add(struct hmp_call *call) { hmp_pass(call, "nbd-server-add"); }
static void nbd_server_remove(struct hmp_call *call) { hmp_pass(call, "nbd-server-remove"); }

/* Disks still to be exported by nbd_server_start -a, one after the other. */
static void export_next(struct hmp_call *call, struct json *unused)
{
    struct json *args;
    size_t skip = 0, n = 0;
    uint64_t done;

    if (!json_as_uint64(json_object_get(call->args, "exported"), &done))
        done = 0;
    list_for_each(backend, graph_backends(call->world->graph), struct backend, link) {
        if (!backend->root || !*backend->name || skip++ < done)
            continue;
        args = with(json_object(), "device", backend->name);
        json_object_set_bool(args, "writable",
                             hmp_flag(call, "writable") && !backend->root->node->read_only);
        n = skip;
        json_object_set_uint(call->args, "exported", n);
        hmp_qmp(call, "nbd-server-add", args, export_next);
        return;
    }
    hmp_end(call);
}

static void nbd_started(struct hmp_call *call, struct json *ret)
{
    if (hmp_flag(call, "all"))
        export_next(call, NULL);
    else
        hmp_end(call);
}

static void nbd_server_start(struct hmp_call *call)
{
    const char *uri = hmp_word(call, "uri"), *path = str_after_prefix(uri, "unix:"), *colon;
    struct json *args = json_object(), *addr = json_object(), *data = json_object();

    if (hmp_flag(call, "writable") && !hmp_flag(call, "all")) {
        json_free(args);
        json_free(addr);
        json_free(data);
        hmp_end_err(call, err_new("-w only valid together with -a"));
        return;
    }
    json_object_set(args, "addr", addr);
    json_object_set(addr, "data", data);
    if (path) {
        json_object_set_str(addr, "type", "unix");
        json_object_set_str(data, "path", path);
    } else {
        colon = strrchr(uri, ':');
        json_object_set_str(addr, "type", "inet");
        json_object_set(data, "host", json_strn(uri, colon ? (size_t)(colon - uri) : strlen(uri)));
        json_object_set_str(data, "port", colon ? colon + 1 : "10809");
    }
    hmp_qmp(call, "nbd-server-start", args, nbd_started);
}

const struct hmp_command hmp_block_commands[] = {
    { "qemu-io", "qdev:-d,device:s,command:s", "[-d] [device] \"[command]\"",
      "run a qemu-io command on a block device", qemu_io },
    { "commit", "device:s", "device", "commit changes to the disk images", hmp_commit },
    { "block_resize", "device:s,size:o", "device size", "resize a block image", block_resize },
    { "eject", "force:-f,device:s", "[-f] device", "eject a removable medium (use -f to force it)",
      eject },
    { "block_stream", "device:s,speed:o?,base:s?", "device [speed [base]]",
      "copy data from a backing file into a block device", block_stream },
    { "block_job_set_speed", "device:s,speed:o", "device speed",
      "set maximum speed for a background block operation", job_set_speed },
    { "block_job_cancel", "force:-f,device:s", "[-f] device",
      "stop an active background block operation", job_cancel },
    { "block_job_complete", "device:s", "device", "stop an active background block operation",
      job_complete },
    { "block_job_pause", "device:s", "device", "pause an active background block operation",
      job_pause },
    { "block_job_resume", "device:s", "device", "resume a paused background block operation",
      job_resume },
    { "drive_mirror", "reuse:-n,full:-f,device:s,target:s,format:s?",
      "[-n] [-f] device target [format]", "initiate live storage migration for a device",
      drive_mirror },
    { "drive_backup", "reuse:-n,full:-f,compress:-c,device:s,target:s,format:s?",
      "[-n] [-f] [-c] device target [format]", "initiate a point-in-time copy for a device",
      drive_backup },
    { "snapshot_blkdev", "reuse:-n,device:s,file:s?,format:s?",
      "[-n] device [new-image-file] [format]", "initiates a live snapshot of device",
      snapshot_blkdev },
    { "snapshot_blkdev_internal", "device:s,name:s", "device name",
      "take an internal snapshot of device", snapshot_blkdev_internal },
    { "snapshot_delete_blkdev_internal", "device:s,name:s,id:s?", "device name [id]",
      "delete an internal snapshot of device", snapshot_delete_blkdev_internal },
    { "nbd_server_start", "all:-a,writable:-w,uri:s", "nbd_server_start [-a] [-w] host:port",
      "serve block devices on the given host and port", nbd_server_start },
    { "nbd_server_add", "writable:-w,device:s,name:s?", "nbd_server_add [-w] device [name]",
      "export a block device via NBD", nbd_server_add },
    { "nbd_server_remove", "force:-f,name:s", "nbd_server_remove [-f] name",
      "remove an export previously exposed via NBD", nbd_server_remove },
    { "nbd_server_stop", "", "nbd_server_stop", "stop serving block devices using the NBD protocol",
      nbd_server_stop },
    { 0 },
};
