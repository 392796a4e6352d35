#ifndef EMU_STORAGE_DRIVERS_LUKS_OPTIONS_H
#define EMU_STORAGE_DRIVERS_LUKS_OPTIONS_H

/* Options of LUKS volumes as users give them: of driver luks itself, and below "encrypt" of qcow2. */

#include "emu/base/opts.h"
#include "emu/storage/drivers/luks/volume.h"

struct objects;

/*
 * The password that option key-secret names, new (secret_free). "Parameter 'key-secret' is required for cipher" when it
 * is missing, and what secret_text() says.
 */
struct err *luks_read_password(struct objects *objects, struct opts *opts, char **out) MUST_USE;

/* cipher-alg, cipher-mode, ivgen-alg, ivgen-hash-alg, hash-alg and iter-time of a new volume. */
struct err *luks_read_options(struct opts *opts, struct luks_options *out) MUST_USE;

/*
 * Reads state, new-secret, old-secret, keyslot, iter-time and secret from options (a JSON object; members "format" and
 * "driver" are ignored), looks the secrets up, and starts luks_volume_amend(). key_secret is the id that the volume was
 * opened with, or NULL.
 */
void luks_amend_by_options(struct luks_volume *volume, struct objects *objects,
                           const char *key_secret, const struct json *options, bool force,
                           driver_done_fn *done, void *arg);

#endif
