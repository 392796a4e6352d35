#ifndef EMU_STORAGE_EVENT_H
#define EMU_STORAGE_EVENT_H

/* What nodes tell the world: events that a front end passes to its clients. */

#include "emu/base/notify.h"
#include "emu/storage/node.h"

enum storage_event_kind {
    STORAGE_IMAGE_CORRUPTED,
    STORAGE_WRITE_THRESHOLD,
    STORAGE_QUORUM_FAILURE,
    STORAGE_QUORUM_REPORT_BAD,
    STORAGE_TRAY_MOVED,
    STORAGE_IO_ERROR,
    STORAGE_REQUEST_SUSPENDED, /* By a breakpoint. */
    STORAGE_REQUEST_RESUMED,
};

struct backend;

struct storage_event {
    enum storage_event_kind kind;
    struct node *node;       /* Who raises it; NULL for those of backends. */
    struct backend *backend; /* Of TRAY_MOVED and IO_ERROR. */
    union {
        struct {
            const char *message;
            bool fatal; /* The image was marked corrupt and takes no more writes. */
            bool have_range;
            uint64_t offset, size; /* Bytes in the image file; with have_range. */
        } corrupted;
        struct {
            uint64_t threshold, exceeded_by; /* Bytes. */
        } threshold;
        struct {
            const char *child;     /* Node name; REPORT_BAD. */
            const char *operation; /* "read", "write", "flush"; REPORT_BAD. */
            const char *message;   /* REPORT_BAD: NULL when there is no error text. */
            uint64_t sector, sectors;
        } quorum;
        bool tray_open; /* TRAY_MOVED */
        struct {
            bool is_read;
            int action; /* enum backend_action: what was done about it. */
            bool stops_possible; /* The backend could stop the machine: nospace is told. */
            int error;           /* Positive errno. */
        } io_error;
        struct {
            const char *tag;
        } suspended; /* SUSPENDED, RESUMED */
    } u;
};

/* Listeners of struct storage_event; it and what it points to are valid during the call. */
struct notifier_list *graph_events(struct graph *graph);
void graph_raise(struct graph *graph, struct storage_event *event);

#endif
