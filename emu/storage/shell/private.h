/* Private to the shell: what its files share. */
#ifndef EMU_STORAGE_SHELL_PRIVATE_H
#define EMU_STORAGE_SHELL_PRIVATE_H

#include "emu/base/list.h"
#include "emu/storage/shell/shell.h"

struct shell {
    struct shell_config config;
    struct edge *edge; /* Borrowed. */
    struct shell_call call;
    char *line; /* Owned; argv points into it. */
    shell_done_fn *done;
    void *done_arg;
    unsigned aio_pending;
    struct list waiters; /* struct shell_waiter: for aio_pending to fall to 0. */
    unsigned refs;       /* The owner's and one for each aio request. */
    bool silent;         /* The owner has gone. */
};

struct shell_waiter {
    struct list link;
    shell_done_fn *done;
    void *arg;
};

void shell_unref(struct shell *shell);

extern const struct shell_command shell_rw_commands[], shell_aio_commands[], shell_meta_commands[],
    shell_reopen_commands[];

/* Most for one request, as the reference has it. */
enum { SHELL_LEN_MAX = 2147483136 };

/* ---- shell_io.c: a read or write with its buffer ---- */

struct shell_io {
    struct shell *shell;
    struct shell_call *call; /* NULL for aio. */
    struct req req;
    struct iovec *iov; /* Owned. */
    unsigned niov;
    uint8_t *buf; /* Owned; NULL for requests without data. */
    uint64_t offset, len;
    int64_t started_ns;
    const char *verb; /* "read", "wrote", "discard" */
    const char *fail; /* "readv failed" is fail + " failed" */
    bool quiet, machine, dump, verify;
    uint8_t pattern;
    uint64_t verify_offset, verify_len;
    bool pattern_failed;
};

struct shell_io *shell_io_new(struct shell_call *call);
void shell_io_free(struct shell_io *io);
/* "0x1f" or "31"; prints what is wrong and ends the call. */
bool shell_pattern(struct shell_call *call, const char *text, uint8_t *out);
/* Offset and one or more lengths from argv[optind]: fills offset, len, iov (without memory) or ends the call. */
bool shell_io_range(struct shell_io *io, struct shell_call *call, bool one_length);
/* Makes the buffer, filled with a byte. Ends the call when there is no memory. */
bool shell_io_buffer(struct shell_io *io, struct shell_call *call, uint8_t fill);
/* Submits to the disk or its VM state area. */
void shell_io_submit(struct shell_io *io, req_done_fn *done, bool vm_state);
/* Verifies, dumps and prints the statistics or the error. Returns the result of the command. */
int shell_io_finish(struct shell_io *io);

#endif
