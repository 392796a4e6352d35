#include "emu/machine/devices/table.h"

const struct device_class *const all_device_classes[] = {
    &scsi_cd_class,
    &scsi_hd_class,
    &virtio_blk_device_class,
    &virtio_blk_pci_class,
    &virtio_scsi_device_class,
    &virtio_scsi_pci_class,
    NULL,
};
