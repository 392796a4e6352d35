#ifndef EMU_MACHINE_DEVICES_BLOCK_H
#define EMU_MACHINE_DEVICES_BLOCK_H

/*
 * What all disks of a guest share: the properties that name the disk and say how it is seen, and the
 * life of its backend.
 *
 *     struct disk { struct device dev; struct block_conf conf; };      in the device
 *     { block_drive_props, offsetof(struct disk, conf) } ...           in its groups of properties
 *     TRY(block_attach(&conf, &(struct block_need){ ... }));           in realize
 *     block_settle(&conf, done, arg);                                  in settle
 *     block_detach(&conf);                                             in unrealize
 */

#include "emu/machine/bus/board.h"
#include "emu/machine/bus/device.h"
#include "emu/storage/backend.h"

extern const struct prop_kind prop_drive, prop_on_error;

struct block_conf {
    struct device *dev;      /* Who has it; set by block_attach. */
    struct backend *backend; /* From the property drive; owned when it has no name. NULL: none. */
    bool own_backend;
    uint32_t logical_block_size, physical_block_size; /* Bytes; 0 until attached: chosen then. */
    uint32_t min_io_size, opt_io_size;                /* Bytes; 0: not said. */
    uint32_t discard_granularity;                     /* Bytes; UINT32_MAX: chosen. */
    int32_t bootindex;                                /* -1: none */
    int backend_defaults, write_cache;                /* enum on_off_auto */
    int account_invalid, account_failed;              /* enum on_off_auto */
    bool share_rw;
    int rerror, werror; /* enum backend_on_error */
};

/* Tables for the part of a device that is its struct block_conf. */
extern const struct prop block_drive_props[]; /* drive, bootindex */
extern const struct prop block_size_props[];  /* Block sizes, caching, sharing, accounting. */
extern const struct prop block_error_props[]; /* rerror, werror */

/* What a device needs of its disk. */
struct block_need {
    struct device *dev;
    const struct backend_device_ops *ops;
    void *owner;          /* Of ops. */
    bool read_only;       /* The device never writes, or not to this disk. */
    bool writes;          /* It cannot do without writing: "Block node is read-only". */
    bool resizable;       /* It notices when others change the size. */
    bool removable;       /* It works without a medium. */
    void *iothread;       /* Where its requests run; NULL: in the main loop ... */
    bool any_thread;      /* ... or wherever those of other devices of the disk do. */
    bool makes_backend;   /* Without a drive it gets an empty backend of its own. */
};

/*
 * Takes the disk: "drive property not set", "Device needs media, but drive is empty", "Block node is read-only",
 * permission conflicts. Chooses block sizes.
 */
struct err *block_attach(struct block_conf *conf, const struct block_need *need) MUST_USE;
/* Waits until file locks are had. */
void block_settle(struct block_conf *conf, device_done_fn *done, void *arg);
/* Gives it back. What was not attached is fine. */
void block_detach(struct block_conf *conf);

/* A medium was put into a drive that writes to what it can write to; or it is about to go. */
struct err *block_take_medium(struct block_conf *conf) MUST_USE;
void block_leave_medium(struct block_conf *conf);

#endif
