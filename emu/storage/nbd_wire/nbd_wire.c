/* Names for messages, and the error numbers that may go over the wire (specs: section 2). */
#include "emu/storage/nbd_wire/nbd_wire.h"

#include <errno.h>

#include "emu/base/attrs.h"

struct name {
    uint32_t number;
    const char *text;
};

static const struct name option_names[] = {
    { NBD_OPT_EXPORT_NAME, "export name" },
    { NBD_OPT_ABORT, "abort" },
    { NBD_OPT_LIST, "list" },
    { NBD_OPT_STARTTLS, "starttls" },
    { NBD_OPT_INFO, "info" },
    { NBD_OPT_GO, "go" },
    { NBD_OPT_STRUCTURED_REPLY, "structured reply" },
    { NBD_OPT_LIST_META_CONTEXT, "list meta context" },
    { NBD_OPT_SET_META_CONTEXT, "set meta context" },
    { NBD_OPT_EXTENDED_HEADERS, "extended headers" },
};

static const struct name reply_type_names[] = {
    { NBD_REP_ACK, "ack" },
    { NBD_REP_SERVER, "server" },
    { NBD_REP_INFO, "info" },
    { NBD_REP_META_CONTEXT, "meta context" },
    { NBD_REP_ERR_UNSUP, "unsupported" },
    { NBD_REP_ERR_POLICY, "denied by policy" },
    { NBD_REP_ERR_INVALID, "invalid" },
    { NBD_REP_ERR_PLATFORM, "platform lacks support" },
    { NBD_REP_ERR_TLS_REQD, "TLS required" },
    { NBD_REP_ERR_UNKNOWN, "export unknown" },
    { NBD_REP_ERR_SHUTDOWN, "server shutting down" },
    { NBD_REP_ERR_BLOCK_SIZE_REQD, "block size required" },
    { NBD_REP_ERR_TOO_BIG, "option payload too big" },
    { NBD_REP_ERR_EXT_HEADER_REQD, "extended headers required" },
};

static const struct name command_names[] = {
    { NBD_CMD_READ, "read" },
    { NBD_CMD_WRITE, "write" },
    { NBD_CMD_DISC, "disconnect" },
    { NBD_CMD_FLUSH, "flush" },
    { NBD_CMD_TRIM, "trim" },
    { NBD_CMD_CACHE, "cache" },
    { NBD_CMD_WRITE_ZEROES, "write zeroes" },
    { NBD_CMD_BLOCK_STATUS, "block status" },
};

static const char *find_name(const struct name *names, size_t n, uint32_t number)
{
    for (size_t i = 0; i < n; i++)
        if (names[i].number == number)
            return names[i].text;
    return "<unknown>";
}

const char *nbd_option_name(uint32_t option)
{
    return find_name(option_names, ARRAY_LEN(option_names), option);
}

const char *nbd_reply_type_name(uint32_t type)
{
    return find_name(reply_type_names, ARRAY_LEN(reply_type_names), type);
}

const char *nbd_command_name(uint16_t type)
{
    return find_name(command_names, ARRAY_LEN(command_names), type);
}

/* Wire number and errno; the first row of an errno counts for sending. */
static const struct {
    uint32_t wire;
    int host;
} errors[] = {
    { 1, EPERM },   { 1, EROFS },      { 1, EACCES },      { 5, EIO },
    { 12, ENOMEM }, { 22, EINVAL },    { 28, ENOSPC },     { 28, EDQUOT },
    { 28, EFBIG },  { 75, EOVERFLOW }, { 95, EOPNOTSUPP }, { 108, ESHUTDOWN },
};

uint32_t nbd_error_to_wire(int result, bool fast_zero)
{
    if (result == 0)
        return 0;
    if (result == -EOPNOTSUPP && !fast_zero)
        return 22;
    if (result == -ECANCELED || result == -EIO)
        return 5;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        if (errors[i].host == -result)
            return errors[i].wire;
    return 22;
}

int nbd_error_from_wire(uint32_t error)
{
    if (error == 0)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        if (errors[i].wire == error)
            return -errors[i].host;
    return -EINVAL;
}
