/* See iothread.h. */
#include "emu/machine/devices/iothread.h"

struct err *iothread_take(struct board *board, const char *id, struct object **out)
{
    *out = NULL;
    if (!id)
        return NULL;
    *out = objects_ref(board->objects, id, "iothread");
    if (!*out && objects_find(board->objects, id))
        return err_new("Invalid parameter type for 'iothread', expected: iothread");
    return *out ? NULL : err_new_class(ERR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
}

void iothread_drop(struct object **iothread)
{
    object_unref(*iothread);
    *iothread = NULL;
}
