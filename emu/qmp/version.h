/* The version whose interface this is, as the greeting and query-version tell it. */
#ifndef EMU_QMP_VERSION_H
#define EMU_QMP_VERSION_H

#include "emu/base/attrs.h"
#include "emu/base/json.h"

#define QMP_VERSION_MAJOR 10
#define QMP_VERSION_MINOR 0
#define QMP_VERSION_MICRO 2

/* Returns a new VersionInfo. package: name and version of the program itself. */
MUST_USE static inline struct json *qmp_version_json(const char *package)
{
    struct json *version = json_object(), *triple = json_object();

    json_object_set_int(triple, "major", QMP_VERSION_MAJOR);
    json_object_set_int(triple, "minor", QMP_VERSION_MINOR);
    json_object_set_int(triple, "micro", QMP_VERSION_MICRO);
    json_object_set(version, "qemu", triple);
    json_object_set_str(version, "package", package);
    return version;
}

#endif
