/* Disk geometry and checksums as the specification has them. */

#include "emu/base/arith.h"
#include "emu/storage/drivers/vpc/vpc.h"

struct vpc_geometry vpc_geometry_of(uint64_t total)
{
    uint64_t sectors, heads, tracks; /* tracks: cylinders times heads. */

    total = MIN(total, VPC_GEOMETRY_MAX);
    if (total >= UINT64_C(65535) * 16 * 63) {
        sectors = VPC_GEOMETRY_SECTORS;
        heads = VPC_GEOMETRY_HEADS;
        tracks = total / sectors;
    } else {
        sectors = 17;
        tracks = total / sectors;
        heads = MAX(div_round_up(tracks, 1024), UINT64_C(4));
        if (tracks >= heads * 1024 || heads > 16) {
            sectors = 31;
            heads = 16;
            tracks = total / sectors;
        }
        if (tracks >= heads * 1024) {
            sectors = 63;
            heads = 16;
            tracks = total / sectors;
        }
    }
    return (struct vpc_geometry){ (uint16_t)(tracks / heads), (uint8_t)heads, (uint8_t)sectors };
}

uint32_t vpc_checksum(const uint8_t *bytes, uint32_t len, uint32_t skip)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < len; i++)
        sum += i - skip < 4 ? 0 : bytes[i];
    return ~sum;
}
