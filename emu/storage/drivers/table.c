/* The block drivers of the program. */
#include "emu/storage/driver.h"

const struct driver *const all_drivers[] = {
    /* clang-format off */
    &driver_bochs,
    &driver_cloop,
    &driver_dmg,
    &driver_file,
    &driver_luks,
    &driver_nbd,
    &driver_null_aio,
    &driver_null_co,
    &driver_parallels,
    &driver_qcow,
    &driver_qcow2,
    &driver_qed,
    &driver_raw,
    &driver_vdi,
    &driver_vhdx,
    &driver_vmdk,
    &driver_vpc,
    NULL,
    /* clang-format on */
};
