/* The options that every node has, and what a child takes over from its parent. */
#include <string.h>

#include "emu/base/str.h"
#include "emu/storage/core.h"
#include "emu/storage/open.h"

static const char *const discard_names[] = { "ignore", "unmap", "off", "on" };
static const char *const detect_names[] = { "off", "on", "unmap" };

struct err *open_common(struct opts *opts, const struct open_inherit *inherit,
                        struct node_options *out)
{
    int discard = 0, detect = DETECT_ZEROES_OFF;
    const struct json *cache = NULL;
    bool writeback = true;

    *out = inherit->defaults;
    out->detect_zeroes = DETECT_ZEROES_OFF;
    discard = inherit->defaults.discard_unmap ? 1 : 0;
    TRY(opts_bool_opt(opts, "read-only", &out->read_only));
    TRY(opts_bool_opt(opts, "auto-read-only", &out->auto_read_only));
    TRY(opts_bool_opt(opts, "force-share", &out->force_share));
    TRY(opts_enum_opt(opts, "discard", discard_names, ARRAY_LEN(discard_names), &discard));
    TRY(opts_enum_opt(opts, "detect-zeroes", detect_names, ARRAY_LEN(detect_names), &detect));
    TRY(opts_object_opt(opts, "cache", &cache));
    out->discard_unmap = discard == 1 || discard == 3;
    out->detect_zeroes = (typeof(out->detect_zeroes))detect;
    if (cache) {
        CLEANUP(opts_fini) struct opts inner = { 0 };

        opts_init_prefix(&inner, cache, "cache.");
        TRY(opts_bool_opt(&inner, "direct", &out->cache_direct));
        TRY(opts_bool_opt(&inner, "no-flush", &out->cache_no_flush));
        TRY(opts_bool_opt(&inner, "writeback", &writeback));
        TRY(opts_check_unused(&inner));
    }
    if (out->force_share && !out->read_only)
        return err_new("force-share=on can only be used with read-only images");
    if (out->detect_zeroes == DETECT_ZEROES_UNMAP && !out->discard_unmap)
        return err_new(
            "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap");
    return NULL;
}

struct open_inherit open_inherit_for(const struct node *parent, uint32_t role)
{
    struct open_inherit inherit = { .defaults = parent->open };

    inherit.defaults.detect_zeroes = DETECT_ZEROES_OFF;
    if (role & ROLE_COW) {
        /* Backing files are read from; commit asks for more when it runs. */
        inherit.defaults.read_only = true;
        inherit.defaults.auto_read_only = false;
        inherit.defaults.discard_unmap = false;
    } else if (!(role & ROLE_FILTERED) || parent->driver->is_format) {
        /* A format decides itself what it discards. */
        inherit.defaults.discard_unmap = true;
    }
    return inherit;
}
