/* The command line of emu-nbd. */

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/str.h"
#include "emu/cmd/common/version.h"
#include "emu/cmd/nbd/nbd.h"
#include "emu/storage/nbd_wire/nbd_wire.h"

static const char help[] =
    "Usage: %s [OPTIONS] FILE\n"
    "  or:  %s -L [OPTIONS]\n"
    "emu disk network block device server\n\n"
    "  -h, --help                display this help and exit\n"
    "  -V, --version             output version information and exit\n\n"
    "Connection properties:\n"
    "  -p, --port=PORT           port to listen on (default `10809')\n"
    "  -b, --bind=IFACE          interface to bind to (default `0.0.0.0')\n"
    "  -k, --socket=PATH         path to the unix socket\n"
    "  -e, --shared=NUM          device can be shared by NUM clients (default '1')\n"
    "  -t, --persistent          don't exit on the last connection\n"
    "  -v, --verbose             display extra debugging information\n"
    "  -x, --export-name=NAME    expose export by name (default is empty string)\n"
    "  -D, --description=TEXT    export a human-readable description\n"
    "      --handshake-limit=N   limit client's handshake to N seconds (default 10)\n\n"
    "Exposing part of the image:\n"
    "  -o, --offset=OFFSET       offset into the image\n"
    "  -A, --allocation-depth    expose the allocation depth\n"
    "  -B, --bitmap=NAME         expose a persistent dirty bitmap\n\n"
    "General purpose options:\n"
    "  -L, --list                list exports available from another NBD server\n"
    "  --object type,id=ID,...   define an object such as 'secret'\n"
    "  -T, --trace [enable=]PATTERN\n"
    "                            print the trace points whose names match\n"
    "  --fork                    fork off the server process and exit the parent\n"
    "                            once the server is running\n"
    "  --pid-file=PATH           store the server's process ID in the given file\n\n"
    "Kernel NBD client support:\n"
    "  -d, --disconnect          disconnect the specified device\n\n"
    "Block device options:\n"
    "  -f, --format=FORMAT       set image format (raw, qcow2, ...)\n"
    "  -r, --read-only           export read-only\n"
    "  -s, --snapshot            write to a temporary image over FILE\n"
    "  -l, --load-snapshot=SNAPSHOT_PARAM\n"
    "                            export an internal snapshot, read-only:\n"
    "                            'snapshot.id=[ID],snapshot.name=[NAME]' or '[ID_OR_NAME]'\n"
    "  -n, --nocache             disable host cache\n"
    "      --cache=MODE          none, writeback (default), writethrough, directsync, unsafe\n"
    "      --aio=MODE            native, io_uring or threads\n"
    "      --discard=MODE        ignore, unmap\n"
    "      --detect-zeroes=MODE  off, on, unmap\n"
    "      --image-opts          treat FILE as a full set of image options\n";

enum {
    OPT_CACHE = 256,
    OPT_AIO,
    OPT_DISCARD,
    OPT_DETECT_ZEROES,
    OPT_OBJECT,
    OPT_TLS_CREDS,
    OPT_TLS_AUTHZ,
    OPT_TLS_HOSTNAME,
    OPT_IMAGE_OPTS,
    OPT_FORK,
    OPT_PID_FILE,
    OPT_HANDSHAKE,
};

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { "port", required_argument, NULL, 'p' },
    { "bind", required_argument, NULL, 'b' },
    { "socket", required_argument, NULL, 'k' },
    { "shared", required_argument, NULL, 'e' },
    { "persistent", no_argument, NULL, 't' },
    { "verbose", no_argument, NULL, 'v' },
    { "export-name", required_argument, NULL, 'x' },
    { "description", required_argument, NULL, 'D' },
    { "handshake-limit", required_argument, NULL, OPT_HANDSHAKE },
    { "offset", required_argument, NULL, 'o' },
    { "allocation-depth", no_argument, NULL, 'A' },
    { "bitmap", required_argument, NULL, 'B' },
    { "list", no_argument, NULL, 'L' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "tls-creds", required_argument, NULL, OPT_TLS_CREDS },
    { "tls-authz", required_argument, NULL, OPT_TLS_AUTHZ },
    { "tls-hostname", required_argument, NULL, OPT_TLS_HOSTNAME },
    { "trace", required_argument, NULL, 'T' },
    { "fork", no_argument, NULL, OPT_FORK },
    { "pid-file", required_argument, NULL, OPT_PID_FILE },
    { "connect", required_argument, NULL, 'c' },
    { "disconnect", no_argument, NULL, 'd' },
    { "format", required_argument, NULL, 'f' },
    { "read-only", no_argument, NULL, 'r' },
    { "snapshot", no_argument, NULL, 's' },
    { "load-snapshot", required_argument, NULL, 'l' },
    { "nocache", no_argument, NULL, 'n' },
    { "cache", required_argument, NULL, OPT_CACHE },
    { "aio", required_argument, NULL, OPT_AIO },
    { "discard", required_argument, NULL, OPT_DISCARD },
    { "detect-zeroes", required_argument, NULL, OPT_DETECT_ZEROES },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { 0 },
};

static const char *const aio_modes[] = { "native", "io_uring", "threads" };
static const char *const discard_modes[] = { "ignore", "off", "unmap", "on" };
static const char *const detect_options[] = { "detect-zeroes=off", "detect-zeroes=on",
                                              "detect-zeroes=unmap" };

struct parser {
    struct nbd_options *o;
    struct tool *tool;
    bool disconnect, cache_given;
};

#define refuse(p, ...) (tool_error((p)->tool, __VA_ARGS__), 1)

static int parse_cache(struct parser *p, const char *mode)
{
    if (p->cache_given)
        return refuse(p, "-n and --cache can only be specified once");
    p->cache_given = p->o->device_settings = true;
    if (!tool_cache_valid(mode))
        return refuse(p, "Invalid cache mode `%s'", mode);
    p->o->image.cache = mode;
    return -1;
}

static int parse_detect_zeroes(struct parser *p, const char *mode)
{
    for (size_t i = 0; i < ARRAY_LEN(detect_options); i++) {
        if (str_eq(strchr(detect_options[i], '=') + 1, mode)) {
            p->o->image.options = detect_options[i];
            return -1;
        }
    }
    return refuse(p, "Failed to parse detect_zeroes mode: invalid parameter value: %s", mode);
}

/* Options of the image and how it is opened. */
static int parse_image_option(struct parser *p, int c)
{
    struct nbd_options *o = p->o;

    o->device_settings |= c != OPT_IMAGE_OPTS && c != 'r' && c != 's' && c != OPT_DETECT_ZEROES;
    switch (c) {
    case 'f': o->image.format = optarg; return -1;
    case 'r': o->read_only = true; return -1;
    case 's': o->temporary = true; return -1;
    case 'l':
        o->read_only = true;
        return source_snapshot_parse(&o->snapshot, p->tool, optarg) ? 1 : -1;
    case 'n': return parse_cache(p, "none");
    case OPT_CACHE: return parse_cache(p, optarg);
    case OPT_AIO:
        o->image.aio = optarg;
        if (str_index(optarg, aio_modes, ARRAY_LEN(aio_modes)) < 0)
            return refuse(p, "Invalid aio mode '%s'", optarg);
        return -1;
    case OPT_DISCARD:
        o->image.discard = optarg;
        if (str_index(optarg, discard_modes, ARRAY_LEN(discard_modes)) < 0)
            return refuse(p, "Invalid discard mode `%s'", optarg);
        return -1;
    case OPT_DETECT_ZEROES: return parse_detect_zeroes(p, optarg);
    case OPT_IMAGE_OPTS: o->image.image_opts = true; return -1;
    case 'o':
        if (!parse_u64(optarg, &o->offset) || o->offset > INT64_MAX)
            return refuse(p, "Invalid offset '%s'", optarg);
        return -1;
    case 'A': o->allocation_depth = true; return -1;
    case 'B': vec_push(&o->bitmaps, optarg); return -1;
    case 'x':
        o->export_name = optarg;
        if (strlen(optarg) > NBD_STRING_MAX)
            return refuse(p, "export name '%s' too long", optarg);
        return -1;
    case 'D':
        o->description = optarg;
        if (strlen(optarg) > NBD_STRING_MAX)
            return refuse(p, "export description '%s' too long", optarg);
        return -1;
    case 'c': o->connect = optarg; return -1;
    default: p->disconnect = true; return -1;
    }
}

/* Options of the server. */
static int parse_server_option(struct parser *p, int c)
{
    struct nbd_options *o = p->o;

    switch (c) {
    case 'p':
        o->address_given = true;
        o->addr.port = optarg;
        return -1;
    case 'b':
        o->address_given = true;
        o->addr.host = optarg;
        return -1;
    case 'k':
        o->addr.kind = ADDR_UNIX;
        o->addr.path = optarg;
        if (optarg[0] != '/')
            return refuse(p, "socket path must be absolute");
        return -1;
    case 'e':
        if (!parse_u64(optarg, &o->shared) || o->shared > INT32_MAX)
            return refuse(p, "Invalid shared device number '%s'", optarg);
        return -1;
    case OPT_HANDSHAKE:
        if (!parse_u64(optarg, &o->handshake_seconds) || o->handshake_seconds > UINT32_MAX)
            return refuse(p, "Invalid handshake limit '%s'", optarg);
        return -1;
    case 't': o->persistent = true; return -1;
    case 'v': o->verbose = true; return -1;
    case 'L': o->list = true; return -1;
    case 'T': tool_trace(optarg); return -1;
    case OPT_OBJECT: vec_push(&o->objects, optarg); return -1;
    case OPT_TLS_CREDS: o->tls_creds = optarg; return -1;
    case OPT_TLS_AUTHZ: o->tls_authz = optarg; return -1;
    case OPT_TLS_HOSTNAME: o->tls_hostname = optarg; return -1;
    case OPT_FORK: o->fork = true; return -1;
    default: o->pid_file = optarg; return -1;
    }
}

/* What the options mean together. */
static int check_together(struct parser *p, int operands)
{
    struct nbd_options *o = p->o;

    if (o->list && operands)
        return refuse(p, "List mode is incompatible with a file name");
    if (o->list && o->device_settings)
        return refuse(p, "List mode is incompatible with per-device settings");
    if (!o->list && operands != 1) {
        tool_error(p->tool, "Invalid number of arguments");
        fprintf(stderr, "Try `%s --help' for more information.\n", p->tool->invoked);
        return 1;
    }
    if (!o->tls_creds && o->tls_authz)
        return refuse(p, "--tls-authz is not permitted without --tls-creds");
    if (!o->tls_creds && o->tls_hostname)
        return refuse(p, "--tls-hostname is not permitted without --tls-creds");
    if (o->image.image_opts && o->image.format)
        return refuse(p, "--image-opts and -f are mutually exclusive");
    return -1;
}

int nbd_options_parse(struct nbd_options *o, struct tool *tool, int argc, char **argv)
{
    struct parser p = { .o = o, .tool = tool };
    int c, status = -1;

    *o = (struct nbd_options){ .shared = 1, .handshake_seconds = 10 };
    o->addr = (struct addr){ .kind = ADDR_INET, .ipv4 = -1, .ipv6 = -1 };
    while (status < 0 && (c = getopt_long(argc, argv, "hVb:o:p:rsnc:dvk:e:f:tl:x:T:D:AB:L",
                                          long_options, NULL)) != -1) {
        if (c == '?') {
            tool_error(tool, "Try `%s --help' for more information.", argv[0]);
            return 1;
        }
        if (c == 'h') {
            printf(help, argv[0], argv[0]);
            return 0;
        }
        if (c == 'V') {
            version_print(tool->program);
            return 0;
        }
        if (strchr("frslnoABxDcd", c) || (c >= OPT_CACHE && c <= OPT_DETECT_ZEROES) ||
            c == OPT_IMAGE_OPTS)
            status = parse_image_option(&p, c);
        else
            status = parse_server_option(&p, c);
    }
    if (status >= 0)
        return status;
    status = check_together(&p, argc - optind);
    if (status >= 0 || o->list)
        return status;
    o->image.name = argv[optind];
    if (p.disconnect)
        o->disconnect = argv[optind];
    return -1;
}

void nbd_options_fini(struct nbd_options *o)
{
    vec_fini(&o->objects);
    vec_fini(&o->bitmaps);
    source_snapshot_fini(&o->snapshot);
}
