/*
 * The numbers and fixed headers of the NBD protocol, shared by the client driver and the server
 * (specs: section 2). All integers on the wire are big-endian.
 */
#ifndef EMU_STORAGE_NBD_WIRE_NBD_WIRE_H
#define EMU_STORAGE_NBD_WIRE_NBD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/bytes.h"

/* ---- Magic numbers ---- */

#define NBD_MAGIC_INIT         UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_MAGIC_OPTION       UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_MAGIC_OLDSTYLE     UINT64_C(0x00420281861253)
#define NBD_MAGIC_OPTION_REPLY UINT64_C(0x0003e889045565a9)
#define NBD_MAGIC_REQUEST      UINT32_C(0x25609513)
#define NBD_MAGIC_REQUEST_EXT  UINT32_C(0x21e41c71)
#define NBD_MAGIC_REPLY_SIMPLE UINT32_C(0x67446698)
#define NBD_MAGIC_REPLY_CHUNK  UINT32_C(0x668e33ef)
#define NBD_MAGIC_REPLY_EXT    UINT32_C(0x6e8a278c)

enum {
    NBD_GREETING_BYTES = 18, /* Two magics, flags16. */
    NBD_CLIENT_FLAGS_BYTES = 4,
    NBD_OPTION_BYTES = 16,       /* Magic, option32, length32. */
    NBD_OPTION_REPLY_BYTES = 20, /* Magic, option32, type32, length32. */
    NBD_EXPORT_NAME_PAD = 124,   /* Zeroes after the answer to EXPORT_NAME. */
    NBD_REQUEST_BYTES = 28,
    NBD_REQUEST_EXT_BYTES = 32,
    NBD_REPLY_SIMPLE_BYTES = 16,
    NBD_REPLY_CHUNK_BYTES = 20,
    NBD_REPLY_EXT_BYTES = 32,
    NBD_STRING_MAX = 4096,      /* Names, descriptions, texts. */
    NBD_PAYLOAD_MAX = 32 << 20, /* READ, WRITE, CACHE. */
    NBD_PREFERRED_BLOCK = 4096,
    NBD_MIN_BLOCK_MAX = 65536, /* Largest minimum block a server may ask for. */
    NBD_DEFAULT_PORT = 10809,
};

/* Handshake flags: the same bits in both directions. */
enum { NBD_HS_FIXED_NEWSTYLE = 1, NBD_HS_NO_ZEROES = 2, NBD_HS_KNOWN = 3 };

enum nbd_option {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
    NBD_OPT_EXTENDED_HEADERS = 11,
};

#define NBD_REP_ERROR               UINT32_C(0x80000000)
#define NBD_REP_ACK                 UINT32_C(1)
#define NBD_REP_SERVER              UINT32_C(2)
#define NBD_REP_INFO                UINT32_C(3)
#define NBD_REP_META_CONTEXT        UINT32_C(4)
#define NBD_REP_ERR_UNSUP           (NBD_REP_ERROR | 1)
#define NBD_REP_ERR_POLICY          (NBD_REP_ERROR | 2)
#define NBD_REP_ERR_INVALID         (NBD_REP_ERROR | 3)
#define NBD_REP_ERR_PLATFORM        (NBD_REP_ERROR | 4)
#define NBD_REP_ERR_TLS_REQD        (NBD_REP_ERROR | 5)
#define NBD_REP_ERR_UNKNOWN         (NBD_REP_ERROR | 6)
#define NBD_REP_ERR_SHUTDOWN        (NBD_REP_ERROR | 7)
#define NBD_REP_ERR_BLOCK_SIZE_REQD (NBD_REP_ERROR | 8)
#define NBD_REP_ERR_TOO_BIG         (NBD_REP_ERROR | 9)
#define NBD_REP_ERR_EXT_HEADER_REQD (NBD_REP_ERROR | 10)

enum nbd_info {
    NBD_INFO_EXPORT = 0,
    NBD_INFO_NAME = 1,
    NBD_INFO_DESCRIPTION = 2,
    NBD_INFO_BLOCK_SIZE = 3
};

/* Transmission flags of an export. */
enum nbd_tx_flags {
    NBD_FLAG_HAS_FLAGS = 1 << 0,
    NBD_FLAG_READ_ONLY = 1 << 1,
    NBD_FLAG_FLUSH = 1 << 2,
    NBD_FLAG_FUA = 1 << 3,
    NBD_FLAG_ROTATIONAL = 1 << 4,
    NBD_FLAG_TRIM = 1 << 5,
    NBD_FLAG_WRITE_ZEROES = 1 << 6,
    NBD_FLAG_DF = 1 << 7,
    NBD_FLAG_MULTI_CONN = 1 << 8,
    NBD_FLAG_CACHE = 1 << 10,
    NBD_FLAG_FAST_ZERO = 1 << 11,
};

enum nbd_command {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
    NBD_CMD_COUNT,
};

enum nbd_command_flags {
    NBD_CMD_FLAG_FUA = 1 << 0,
    NBD_CMD_FLAG_NO_HOLE = 1 << 1,
    NBD_CMD_FLAG_DF = 1 << 2,
    NBD_CMD_FLAG_REQ_ONE = 1 << 3,
    NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
    NBD_CMD_FLAG_PAYLOAD_LEN = 1 << 5,
};

enum nbd_chunk {
    NBD_CHUNK_NONE = 0,
    NBD_CHUNK_OFFSET_DATA = 1,
    NBD_CHUNK_OFFSET_HOLE = 2,
    NBD_CHUNK_BLOCK_STATUS = 5,
    NBD_CHUNK_BLOCK_STATUS_EXT = 6,
    NBD_CHUNK_ERROR_BIT = 0x8000,
    NBD_CHUNK_ERROR = 0x8001,
    NBD_CHUNK_ERROR_OFFSET = 0x8002,
};
enum { NBD_CHUNK_FLAG_DONE = 1 };

/* Extent flags of the context "base:allocation". */
enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 };

#define NBD_CONTEXT_ALLOCATION    "base:allocation"
#define NBD_CONTEXT_DEPTH         "qemu:allocation-depth"
#define NBD_CONTEXT_BITMAP_PREFIX "qemu:dirty-bitmap:"

/* ---- Headers ---- */

struct nbd_request {
    uint16_t flags, type;
    uint64_t cookie, offset, len; /* Bytes. */
};

static inline void nbd_request_store(uint8_t p[NBD_REQUEST_BYTES], const struct nbd_request *r)
{
    store_be32(p, NBD_MAGIC_REQUEST);
    store_be16(p + 4, r->flags);
    store_be16(p + 6, r->type);
    store_be64(p + 8, r->cookie);
    store_be64(p + 16, r->offset);
    store_be32(p + 24, (uint32_t)r->len);
}

/* False when the magic is wrong. extended: the 32-byte form. */
static inline bool nbd_request_load(const uint8_t *p, bool extended, struct nbd_request *out)
{
    if (load_be32(p) != (extended ? NBD_MAGIC_REQUEST_EXT : NBD_MAGIC_REQUEST))
        return false;
    out->flags = load_be16(p + 4);
    out->type = load_be16(p + 6);
    out->cookie = load_be64(p + 8);
    out->offset = load_be64(p + 16);
    out->len = extended ? load_be64(p + 24) : load_be32(p + 24);
    return true;
}

static inline void nbd_reply_simple_store(uint8_t p[NBD_REPLY_SIMPLE_BYTES], uint32_t error,
                                          uint64_t cookie)
{
    store_be32(p, NBD_MAGIC_REPLY_SIMPLE);
    store_be32(p + 4, error);
    store_be64(p + 8, cookie);
}

/* A reply chunk of either form; offset is sent in the extended one only. */
struct nbd_chunk_header {
    uint16_t flags, type;
    uint64_t cookie, offset, len;
};

static inline size_t nbd_chunk_store(uint8_t *p, bool extended, const struct nbd_chunk_header *h)
{
    store_be32(p, extended ? NBD_MAGIC_REPLY_EXT : NBD_MAGIC_REPLY_CHUNK);
    store_be16(p + 4, h->flags);
    store_be16(p + 6, h->type);
    store_be64(p + 8, h->cookie);
    if (!extended) {
        store_be32(p + 16, (uint32_t)h->len);
        return NBD_REPLY_CHUNK_BYTES;
    }
    store_be64(p + 16, h->offset);
    store_be64(p + 24, h->len);
    return NBD_REPLY_EXT_BYTES;
}

static inline void nbd_option_store(uint8_t p[NBD_OPTION_BYTES], uint32_t option, uint32_t len)
{
    store_be64(p, NBD_MAGIC_OPTION);
    store_be32(p + 8, option);
    store_be32(p + 12, len);
}

static inline void nbd_option_reply_store(uint8_t p[NBD_OPTION_REPLY_BYTES], uint32_t option,
                                          uint32_t type, uint32_t len)
{
    store_be64(p, NBD_MAGIC_OPTION_REPLY);
    store_be32(p + 8, option);
    store_be32(p + 12, type);
    store_be32(p + 16, len);
}

/* ---- Names and errors ---- */

const char *nbd_option_name(uint32_t option);   /* "go", "<unknown>" */
const char *nbd_reply_type_name(uint32_t type); /* "info", "<unknown>" */
const char *nbd_command_name(uint16_t type);    /* "write zeroes", "<unknown>" */

/* The error number on the wire for a result (0 or -errno). -ENOTSUP passes only with fast_zero: the
 * protocol forbids it elsewhere. */
uint32_t nbd_error_to_wire(int result, bool fast_zero);
/* 0 or the -errno for an error number from the wire; unknown ones are -EINVAL. */
int nbd_error_from_wire(uint32_t error);

#endif
