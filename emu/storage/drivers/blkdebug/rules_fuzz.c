/* Any text as a configuration file: rules or an error, and events and requests are then taken calmly. */
#include <stddef.h>
#include <stdint.h>

#include "emu/base/alloc.h"
#include "emu/storage/drivers/blkdebug/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct blkdebug_rules rules;
    struct req req = { .kind = REQ_WRITE, .offset = 512, .len = 4096 };
    char *text = xstrndup((const char *)data, size);

    blkdebug_rules_init(&rules);
    err_free(blkdebug_rules_from_text(&rules, text));
    blkdebug_rules_start(&rules);
    blkdebug_rules_event(&rules, "write_aio");
    blkdebug_rules_event(&rules, "write_aio");
    (void)blkdebug_rules_check(&rules, &req);
    (void)blkdebug_rules_check(&rules, &req);
    blkdebug_rules_fini(&rules);
    xfree(text);
    return 0;
}
