/* emu-storage-daemon: the command line and the life of the process. */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/log.h"
#include "emu/cmd/common/version.h"
#include "emu/cmd/daemon/daemon.h"

static const char help[] =
    "Usage: %s [options]\n"
    "emu storage daemon\n\n"
    "  -h, --help             display this help and exit\n"
    "  -V, --version          output version information and exit\n\n"
    "  --blockdev [driver=]<driver>[,node-name=<N>][,discard=ignore|unmap]\n"
    "             [,cache.direct=on|off][,cache.no-flush=on|off]\n"
    "             [,read-only=on|off][,auto-read-only=on|off]\n"
    "             [,force-share=on|off][,detect-zeroes=on|off|unmap]\n"
    "             [,driver specific parameters...]\n"
    "                         configure a block node\n\n"
    "  --chardev <options>    configure a character device:\n"
    "             socket,id=<id>,path=<path>|host=<host>,port=<port>|fd=<N>\n"
    "                   [,server=on][,wait=off][,reconnect-ms=<N>]\n"
    "             stdio,id=<id> | file,id=<id>,path=<path> | null,id=<id>\n\n"
    "  --daemonize            run in the background; the parent exits when startup is complete\n\n"
    "  --export [type=]nbd,id=<id>,node-name=<node-name>[,name=<export-name>]\n"
    "           [,writable=on|off]\n"
    "                         export a node over NBD (needs --nbd-server)\n\n"
    "  --monitor [chardev=]name[,mode=control][,pretty[=on|off]]\n"
    "                         configure a QMP monitor\n\n"
    "  --nbd-server addr.type=inet,addr.host=<host>,addr.port=<port>[,max-connections=<n>]\n"
    "  --nbd-server addr.type=unix,addr.path=<path>[,max-connections=<n>]\n"
    "                         start an NBD server\n\n"
    "  --pidfile <path>       write the process ID to a file after startup\n\n"
    "Options are carried out in the order given; most also take a JSON object.\n";

enum { OPT_DAEMONIZE = 256, OPT_PIDFILE, OPT_MAKE };

static const struct option long_options[] = {
    { "blockdev", required_argument, NULL, OPT_MAKE },
    { "chardev", required_argument, NULL, OPT_MAKE },
    { "daemonize", no_argument, NULL, OPT_DAEMONIZE },
    { "export", required_argument, NULL, OPT_MAKE },
    { "help", no_argument, NULL, 'h' },
    { "monitor", required_argument, NULL, OPT_MAKE },
    { "nbd-server", required_argument, NULL, OPT_MAKE },
    { "pidfile", required_argument, NULL, OPT_PIDFILE },
    { "version", no_argument, NULL, 'V' },
    { 0 },
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* What must be known before anything is made: help, version, and whether to go to the background. */
static void first_pass(int argc, char **argv, bool *daemonize)
{
    int c;

    *daemonize = false;
    while ((c = getopt_long(argc, argv, "-hV", long_options, NULL)) != -1) {
        switch (c) {
        case 'h': printf(help, base_name(argv[0])); exit(0);
        case 'V': version_print(base_name(argv[0])); exit(0);
        case OPT_DAEMONIZE: *daemonize = true; break;
        case '?': exit(1);
        case 1:
            fprintf(stderr, "%s: Unexpected argument '%s'\n", base_name(argv[0]), optarg);
            exit(1);
        }
    }
    optind = 0;
}

/*
 * Forks; the parent waits for the child's word and exits with its status. Returns, in the child,
 * where to write the word.
 */
static int go_to_background(const char *program)
{
    int fds[2];
    char status = 1;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        fprintf(stderr, "%s: cannot daemonize: %s\n", program, strerror(errno));
        exit(1);
    }
    if (pid > 0) {
        close(fds[1]);
        while (read(fds[0], &status, 1) < 0 && errno == EINTR)
            ;
        _exit(status);
    }
    close(fds[0]);
    setsid();
    return fds[1];
}

/* Startup is complete: the parent may exit. The terminal is given up. */
static void report_ready(struct daemon *d)
{
    int null;
    char status = 0;

    if (d->ready_fd < 0)
        return;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < 3; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    if (chdir("/") < 0)
        log_warn("cannot change to '/': %s", strerror(errno));
    if (write(d->ready_fd, &status, 1) < 0)
        log_warn("cannot tell the parent: %s", strerror(errno));
    close(d->ready_fd);
    d->ready_fd = -1;
}

static struct err *write_pidfile(const char *path)
{
    FILE *file = fopen(path, "w");
    bool ok = file && fprintf(file, "%ld\n", (long)getpid()) > 0;

    if (file && fclose(file) != 0)
        ok = false;
    return ok ? NULL : err_new_errno(errno, "cannot create PID file '%s'", path);
}

/* Monitors come last, so that no client is answered before all that it may ask for is there. */
static struct err *second_pass(struct daemon *d, int argc, char **argv)
{
    const char **monitors = xcalloc((size_t)argc, sizeof(*monitors));
    struct err *err = NULL;
    int c, index, count = 0;

    while (!err && (c = getopt_long(argc, argv, "-hV", long_options, &index)) != -1) {
        if (c == OPT_PIDFILE)
            d->pidfile = optarg;
        else if (c == OPT_MAKE && strcmp(long_options[index].name, "monitor") == 0)
            monitors[count++] = optarg;
        else if (c == OPT_MAKE)
            err = daemon_option(d, long_options[index].name, optarg);
    }
    for (int i = 0; i < count && !err; i++)
        err = daemon_option(d, "monitor", monitors[i]);
    xfree(monitors);
    if (err || !d->pidfile)
        return err;
    TRY(write_pidfile(d->pidfile));
    /* A daemon leaves the folder that the name may be relative to. */
    d->pidfile = realpath(d->pidfile, d->pidfile_path);
    return NULL;
}

static void on_signal(void *arg, int signo)
{
    struct daemon *d = arg;

    (void)signo;
    daemon_quit(&d->world, NULL, NULL);
}

int main(int argc, char **argv)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP, 0 };
    struct daemon d;
    struct err *err;
    bool daemonize;
    int ready_fd = -1;

    signal(SIGPIPE, SIG_IGN);
    first_pass(argc, argv, &daemonize);
    if (daemonize)
        ready_fd = go_to_background(base_name(argv[0]));
    daemon_init(&d, argv[0]);
    d.ready_fd = ready_fd;
    err = reactor_on_signals(d.reactor, signals, on_signal, &d);
    if (!err)
        err = second_pass(&d, argc, argv);
    if (err) {
        log_err(NULL, err);
        exit(1);
    }
    report_ready(&d);
    while (!d.ended)
        reactor_run(d.reactor);
    if (d.pidfile)
        unlink(d.pidfile);
    daemon_fini(&d);
    return 0;
}
