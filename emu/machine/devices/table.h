#ifndef EMU_MACHINE_DEVICES_TABLE_H
#define EMU_MACHINE_DEVICES_TABLE_H

/* All device classes, in the order of their names. */

#include "emu/machine/bus/device.h"

extern const struct device_class *const all_device_classes[]; /* Ends with NULL. */

extern const struct device_class floppy_class, i440fx_class, i440fx_host_class, ich9_ahci_class,
    ich9_lpc_class, ide_cd_class, ide_hd_class, isa_fdc_class, mch_class, piix3_class,
    piix3_ide_class, q35_host_class, scsi_cd_class, scsi_hd_class, virtio_blk_device_class,
    virtio_blk_pci_class, virtio_scsi_device_class, virtio_scsi_pci_class;

#endif
