/*
 * The client's handshake as a machine of bytes in, bytes out: no I/O, no clock (specs: section 2).
 *
 *     while (!nbd_handshake_over(hs)) {
 *         send and clear hs->out; receive exactly nbd_handshake_need(hs) bytes;
 *         nbd_handshake_input(hs, bytes);
 *     }
 *
 * It asks for structured replies, then for the one metadata context, then GO, and falls back to
 * EXPORT_NAME with servers that do not know GO. All texts of errors are the reference's.
 */
#ifndef EMU_STORAGE_DRIVERS_NBD_HANDSHAKE_H
#define EMU_STORAGE_DRIVERS_NBD_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/str.h"

enum nbd_handshake_state {
    NBD_HS_MAGIC,        /* The first 8 bytes are awaited. */
    NBD_HS_SERVER_MAGIC, /* The second 8 bytes: new style or old. */
    NBD_HS_FLAGS,        /* The server's handshake flags. */
    NBD_HS_REPLY,        /* The header of a reply to hs->option. */
    NBD_HS_PAYLOAD,      /* Its payload of hs->reply_len bytes. */
    NBD_HS_STARTTLS,     /* The caller starts TLS, then calls nbd_handshake_tls_done(). */
    NBD_HS_EXPORT,       /* The headerless answer to EXPORT_NAME. */
    NBD_HS_DONE,         /* hs->info is valid. Terminal. */
    NBD_HS_FAILED,       /* hs->err is set. Terminal. */
    NBD_HS_STATE_COUNT,
};

/* What the server said of the export. */
struct nbd_export_info {
    uint64_t size;                             /* Bytes. */
    uint16_t flags;                            /* enum nbd_tx_flags */
    uint32_t min_block, pref_block, max_block; /* 0: not said. */
    bool structured;
    bool has_context;
    uint32_t context_id;
};

enum { NBD_HANDSHAKE_NEED_MAX = 8192 };

struct nbd_handshake {
    enum nbd_handshake_state state;
    const char *export;  /* borrowed */
    const char *context; /* borrowed; the metadata context to ask for. */
    struct nbd_export_info info;
    bool tls; /* TLS must be started before anything else is said. */
    bool no_zeroes, got_export;
    uint32_t option; /* The one that was sent last. */
    uint32_t reply_type, reply_len;
    struct str out;  /* Bytes to send, also when it is over. */
    struct err *err; /* owned */
};

void nbd_handshake_init(struct nbd_handshake *hs, const char *export, const char *context,
                        bool tls);
void nbd_handshake_fini(struct nbd_handshake *hs);
/* Exactly this many bytes go into the next call of input; at most NBD_HANDSHAKE_NEED_MAX, never 0. */
size_t nbd_handshake_need(const struct nbd_handshake *hs);
void nbd_handshake_input(struct nbd_handshake *hs, const uint8_t *bytes);
/* In STARTTLS: the session stands, or err (taken) says why not. */
void nbd_handshake_tls_done(struct nbd_handshake *hs, struct err *err);
/*
 * The connection ended (result 0) or failed (-errno) while bytes were awaited; enters FAILED. why: what is known
 * beside the error number, or NULL.
 */
void nbd_handshake_broken(struct nbd_handshake *hs, int result, const char *why);

static inline bool nbd_handshake_over(const struct nbd_handshake *hs)
{
    return hs->state == NBD_HS_DONE || hs->state == NBD_HS_FAILED;
}

#endif
