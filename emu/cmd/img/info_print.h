#ifndef EMU_CMD_IMG_INFO_PRINT_H
#define EMU_CMD_IMG_INFO_PRINT_H

/* What `info` knows of an image, as the object that --output=json prints (ImageInfo of the schema). */

#include "emu/cmd/common/tool.h"

/* Gathers the facts of an open image and of its children. */
struct err *info_collect(struct image *image, struct json **out) MUST_USE;
void info_print_json(const struct json *info);
void info_print_human(const struct json *info);

#endif
