/* See background.h. */
#include "emu/cmd/common/background.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/log.h"

void background_fork(struct background *bg, const char *program)
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
    bg->ready_fd = fds[1];
}

struct err *background_write_pidfile(struct background *bg, const char *path)
{
    FILE *file = fopen(path, "w");
    bool ok = file && fprintf(file, "%ld\n", (long)getpid()) > 0;

    if (file && fclose(file) != 0)
        ok = false;
    if (!ok || !realpath(path, bg->pidfile)) {
        bg->pidfile[0] = '\0';
        return err_new_errno(errno, "cannot create PID file '%s'", path);
    }
    return NULL;
}

void background_ready(struct background *bg)
{
    int null;
    char status = 0;

    if (bg->ready_fd < 0)
        return;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < 3; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    if (chdir("/") < 0)
        log_warn("cannot change to '/': %s", strerror(errno));
    if (write(bg->ready_fd, &status, 1) < 0)
        log_warn("cannot tell the parent: %s", strerror(errno));
    close(bg->ready_fd);
    bg->ready_fd = -1;
}

void background_end(struct background *bg)
{
    if (bg->pidfile[0])
        unlink(bg->pidfile);
}
