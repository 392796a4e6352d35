#ifndef EMU_STORAGE_DRIVE_H
#define EMU_STORAGE_DRIVE_H

/*
 * Drives: the text of -drive and drive_add, which names a disk, its backend, and how the machine is to
 * plug it in.
 *
 * drive_parse() splits the text; drive_open() opens the disk and makes the backend. What remains for
 * the machine is in struct drive.
 */

#include "emu/storage/backend.h"

enum drive_interface {
    DRIVE_NONE,
    DRIVE_IDE,
    DRIVE_SCSI,
    DRIVE_FLOPPY,
    DRIVE_PFLASH,
    DRIVE_MTD,
    DRIVE_SD,
    DRIVE_VIRTIO,
    DRIVE_XEN,
    DRIVE_INTERFACE_COUNT,
};

struct drive {
    struct list link; /* The owner's. */
    char *text;       /* As given, for messages. Owned. */
    char *id;         /* Owned. */
    enum drive_interface interface;
    unsigned bus, unit;
    bool cdrom;
    bool automatic;        /* Made by the machine itself. */
    bool empty;            /* No medium was named. */
    char *serial;          /* Or NULL. Owned. */
    char *address;         /* Or NULL. Owned. */
    struct json *options;  /* For node_open(); NULL without a medium. Owned. */
    bool snapshot;         /* Writes go to a temporary file. */
    bool read_only, write_cache, detect_unset;
    enum backend_on_error rerror, werror;
    struct backend *backend; /* Borrowed; NULL until opened. */
    bool used;               /* A device took it. */
};

/* What a machine plugs drives into when they do not say, and how many units a bus has. */
struct drive_defaults {
    enum drive_interface interface;
    unsigned ide_units; /* On an IDE bus; 0: two. */
    bool snapshot; /* -snapshot */
};

/*
 * Splits the text. implied: what the option says itself ("index=0,media=disk" of -hda), or NULL; file:
 * the name it gives, or NULL. Places are given in turn, so all drives of the machine are in `all`, where *out, which
 * is new, is appended. Errors have the reference's texts.
 */
struct err *drive_parse(const char *text, const char *file, const char *implied,
                        const struct drive_defaults *defaults, struct list *all,
                        struct drive **out) MUST_USE;

/* Opens the disk and makes the backend. */
void drive_open(struct graph *graph, struct drive *drive, graph_done_fn *done, void *arg);

/* Frees the description; the backend stays. */
void drive_free(struct drive *drive);

/* "ide", "virtio" ... */
const char *drive_interface_name(enum drive_interface interface);
struct drive *drive_at(struct list *all, enum drive_interface interface, unsigned bus,
                       unsigned unit);

#endif
