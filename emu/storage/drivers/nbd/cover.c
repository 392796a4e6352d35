/* Which bytes of a read have arrived: a short sorted list of ranges. */
#include <string.h>

#include "emu/storage/drivers/nbd/client.h"

bool nbd_cover_add(struct nbd_cover *cover, uint64_t off, uint64_t len)
{
    unsigned i = 0;
    bool joins_prev, joins_next;

    while (i < cover->count && cover->ranges[i].off < off)
        i++;
    if (i > 0 && cover->ranges[i - 1].off + cover->ranges[i - 1].len > off)
        return false;
    if (i < cover->count && off + len > cover->ranges[i].off)
        return false;
    joins_prev = i > 0 && cover->ranges[i - 1].off + cover->ranges[i - 1].len == off;
    joins_next = i < cover->count && off + len == cover->ranges[i].off;
    if (joins_prev && joins_next) {
        cover->ranges[i - 1].len += len + cover->ranges[i].len;
        memmove(&cover->ranges[i], &cover->ranges[i + 1],
                (cover->count - i - 1) * sizeof(cover->ranges[0]));
        cover->count--;
    } else if (joins_prev) {
        cover->ranges[i - 1].len += len;
    } else if (joins_next) {
        cover->ranges[i].off = off;
        cover->ranges[i].len += len;
    } else {
        if (cover->count == NBD_COVER_RANGES)
            return false;
        memmove(&cover->ranges[i + 1], &cover->ranges[i],
                (cover->count - i) * sizeof(cover->ranges[0]));
        cover->ranges[i].off = off;
        cover->ranges[i].len = len;
        cover->count++;
    }
    return true;
}

bool nbd_cover_full(const struct nbd_cover *cover, uint64_t off, uint64_t len)
{
    return cover->count == 1 && cover->ranges[0].off == off && cover->ranges[0].len == len;
}
