/* The block drivers of the program. */
#include "emu/storage/driver.h"

/* One a line: the comment keeps them so. */
const struct driver *const all_drivers[] = {
    &driver_blkdebug,    /* errors and breakpoints by rules, for tests */
    &driver_bochs,       /* growing Bochs images, read only */
    &driver_cloop,       /* compressed loop images, read only */
    &driver_compress,    /* stores all that is written compressed */
    &driver_copy_on_read, /* stores what is read from backing files */
    &driver_dmg,         /* Apple disk images, read only */
    &driver_file,        /* files of the host */
    &driver_host_cdrom,  /* optical drives of the host */
    &driver_host_device, /* disks of the host */
    &driver_luks,        /* LUKS volumes */
    &driver_nbd,         /* disks served over the network */
    &driver_null_aio,    /* no disk at all, answering later */
    &driver_null_co,     /* no disk at all */
    &driver_parallels,   /* Parallels images */
    &driver_qcow,        /* QEMU images, version 1 */
    &driver_qcow2,       /* QEMU images, versions 2 and 3 */
    &driver_qed,         /* QEMU enhanced images */
    &driver_raw,         /* the file is the disk */
    &driver_throttle,    /* limits of a throttle group */
    &driver_vdi,         /* VirtualBox images */
    &driver_vhdx,        /* Hyper-V images */
    &driver_vmdk,        /* VMware images */
    &driver_vpc,         /* virtual hard disk images */
    NULL,
};
