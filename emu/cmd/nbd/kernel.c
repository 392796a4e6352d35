/* Devices of the kernel's NBD client. */

#include <errno.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "emu/cmd/nbd/nbd.h"

int nbd_kernel_disconnect(const struct tool *tool, const char *device)
{
    int fd = open(device, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        tool_error(tool, "Cannot open %s: %s", device, strerror(errno));
        return 1;
    }
    /* A device without a client answers with errors that do not matter. */
    (void)ioctl(fd, NBD_CLEAR_QUE);
    (void)ioctl(fd, NBD_DISCONNECT);
    (void)ioctl(fd, NBD_CLEAR_SOCK);
    close(fd);
    printf("%s disconnected\n", device);
    return 0;
}

struct err *nbd_kernel_check(const char *device)
{
    int fd = open(device, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return err_new_errno(errno, "Failed to open %s", device);
    close(fd);
    return err_new("Kernel /dev/nbdN support not available");
}
