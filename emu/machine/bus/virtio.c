/* See virtio.h. */
#include "emu/machine/bus/virtio.h"

const struct bus_type virtio_bus_type = { .name = "virtio-bus", .max_devices = 1 };
