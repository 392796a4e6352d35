/* The commands that tell of the open disk, and open it again with other options. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/json_write.h"
#include "emu/base/keyval.h"
#include "emu/storage/driver.h"
#include "emu/storage/reopen.h"
#include "emu/storage/shell/private.h"

/* ---- info ---- */

struct asking {
    struct shell_call *call;
    struct image_facts facts;
};

static void print_facts(struct shell_call *call, const struct image_facts *facts)
{
    const struct json *data =
        facts->format_specific ? json_object_get(facts->format_specific, "data") : NULL;
    CLEANUP(str_fini) struct str text = { 0 };
    const struct driver *driver = call->shell->edge->node->driver;
    char size[64];

    shell_print(call->shell, "format name: %s\n", driver->name);
    if (driver->is_protocol) /* Its name as a format and as a protocol. */
        shell_print(call->shell, "format name: %s\n", driver->name);
    if (facts->cluster_size)
        shell_print(call->shell, "cluster size: %s\n",
                    shell_size_text((double)facts->cluster_size, size));
    if (facts->vm_state_offset)
        shell_print(call->shell, "vm state offset: %s\n",
                    shell_size_text((double)facts->vm_state_offset, size));
    if (!data || !json_object_size(data))
        return;
    json_write_outline(&text, data, 4);
    shell_print(call->shell, "Format specific information:\n%s", str_cstr(&text));
}

static void facts_known(void *arg, struct err *err)
{
    struct asking *asking = arg;
    struct shell_call *call = asking->call;
    const int result = err ? -EIO : 0;

    if (err)
        shell_report(call->shell, err);
    else
        print_facts(call, &asking->facts);
    image_facts_fini(&asking->facts);
    xfree(asking);
    shell_done(call, result);
}

static void info_run(struct shell_call *call)
{
    struct node *node = call->shell->edge->node;
    struct asking *asking = NEW(struct asking);

    asking->call = call;
    if (node->driver->facts)
        node->driver->facts(node, &asking->facts, facts_known, asking);
    else
        facts_known(asking, NULL);
}

/* ---- reopen ---- */

struct reopen_args {
    const char *options, *cache;
    bool read_only, writable;
};

static struct json *cache_options(const char *mode)
{
    static const struct {
        const char *name;
        bool direct, no_flush;
    } modes[] = {
        { "none", true, false },          { "off", true, false },
        { "writeback", false, false },    { "writethrough", false, false },
        { "directsync", true, false },    { "unsafe", false, true },
    };
    struct json *cache;

    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (!str_eq(mode, modes[i].name))
            continue;
        cache = json_object();
        json_object_set_bool(cache, "direct", modes[i].direct);
        json_object_set_bool(cache, "no-flush", modes[i].no_flush);
        return cache;
    }
    return NULL;
}

/* What the command's options ask to be changed, as a new object. */
static struct err *changes_of(const struct reopen_args *args, struct json **out)
{
    CLEANUP(json_free) struct json *changes = NULL;
    CLEANUP(json_free) struct json *cache = NULL;

    TRY(keyval_parse_mixed(args->options ? args->options : "", &changes));
    if (args->cache && !(cache = cache_options(args->cache)))
        return err_new("Invalid cache option: %s", args->cache);
    if ((args->read_only || args->writable) && json_object_has(changes, "read-only"))
        return err_new("Cannot set both -r/-w and 'read-only'");
    if (cache && json_object_has(changes, "cache"))
        return err_new("Cannot set both -c and the cache options");
    if (args->read_only || args->writable)
        json_object_set_bool(changes, "read-only", args->read_only);
    if (cache)
        json_object_set(changes, "cache", json_ref(cache));
    *out = changes;
    changes = NULL;
    return NULL;
}

/* A disk that becomes read-only must not be held for writing; commands that write ask for it again. */
static struct err *stop_writing(struct edge *edge)
{
    const uint32_t writing = PERM_WRITE | PERM_WRITE_UNCHANGED | PERM_RESIZE;

    return edge_set_perm(edge, edge->perm & ~writing, edge->shared);
}

static void reopened(void *arg, struct err *err)
{
    struct shell_call *call = arg;
    const int result = err ? -EINVAL : 0;

    if (err)
        shell_report(call->shell, err);
    shell_done(call, result);
}

static struct err *start_reopen(struct shell_call *call, const struct reopen_args *args)
{
    CLEANUP(json_free) struct json *changes = NULL;
    struct edge *edge = call->shell->edge;
    struct reopen *reopen;
    struct err *err;

    TRY(changes_of(args, &changes));
    reopen = reopen_new(edge->node->graph);
    err = reopen_add_changes(reopen, edge->node, changes);
    if (!err && args->read_only)
        err = stop_writing(edge);
    if (err) {
        reopen_free(reopen);
        return err;
    }
    reopen_run(reopen, reopened, call);
    return NULL;
}

static void reopen_command_run(struct shell_call *call)
{
    struct reopen_args args = { 0 };
    struct err *err;
    int c;

    shell_getopt_start();
    while ((c = shell_getopt(call, "c:o:rw")) != -1) {
        switch (c) {
        case 'c': args.cache = optarg; break;
        case 'o': args.options = optarg; break;
        case 'r': args.read_only = true; break;
        case 'w': args.writable = true; break;
        default: return;
        }
    }
    if (optind != call->argc) {
        shell_usage(call);
        return;
    }
    err = args.read_only && args.writable ? err_new("Only one -r/-w option can be given")
                                          : start_reopen(call, &args);
    if (err)
        reopened(call, err);
}

const struct shell_command shell_reopen_commands[] = {
    { .name = "info",
      .alias = "i",
      .summary = "prints information about the current file",
      .run = info_run },
    { .name = "reopen",
      .args_max = -1,
      .args = "[(-r|-w)] [-c cache] [-o options]",
      .summary = "reopens an image with new options",
      .help =
          "\n"
          " Changes the open options of an already opened image\n"
          "\n"
          " Example:\n"
          " 'reopen -o lazy-refcounts=on' - activates lazy refcount writeback on a qcow2 image\n"
          "\n"
          " -r, -- Reopen the image read-only\n"
          " -w, -- Reopen the image read-write\n"
          " -c, -- Change the cache mode to the given value\n"
          " -o, -- Changes block driver options (cf. 'open' command)\n"
          "\n",
      .run = reopen_command_run },
    { 0 },
};
