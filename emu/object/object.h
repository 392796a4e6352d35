#ifndef EMU_OBJECT_OBJECT_H
#define EMU_OBJECT_OBJECT_H

/*
 * Objects that users make by object-add and --object: secrets, credentials, throttle groups, I/O threads, memory.
 *
 * A type is const data listed by the front end that offers it. Whoever uses an object finds it by id and type and
 * holds a reference; object-del refuses meanwhile. A registry and its objects live on one reactor.
 */

#include <stdbool.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/list.h"
#include "emu/base/opts.h"

struct object;
struct objects;
struct clock;
struct reactor;

struct object_property {
    const char *name, *type; /* "poll-max-ns", "int": as help and introspection show them. */
};

struct object_type {
    const char *name; /* "secret" */
    const struct object_property *properties; /* For help, sorted by name; ends with name NULL. */
    size_t size; /* Of the instance, whose first member is a struct object; zeroed when made. */
    /*
     * Reads its properties from props, checks them and makes the object ready. The core refuses what was not read.
     * On an error finalize is called as well.
     */
    struct err *(*complete)(struct object *object, struct opts *props);
    void (*finalize)(struct object *object); /* May be NULL. */
    /* Changes a property at run time (qom-set); NULL: none can be. */
    struct err *(*set)(struct object *object, const char *name, const struct json *value);
    /* Value of a property (qom-get), new; NULL in *out when there is none of that name. NULL: as it was made. */
    struct err *(*get)(struct object *object, const char *name, struct json **out);
};

struct object {
    const struct object_type *type;
    struct objects *registry; /* Borrowed. */
    char *id;                 /* Owned. */
    struct json *props;       /* As given, without id and qom-type. Owned. */
    unsigned refs;            /* The registry's and those of users. */
    bool listed;
    struct list link;
};

/* types: NULL-terminated, borrowed. */
struct objects *objects_new(struct reactor *reactor, const struct object_type *const *types);
/* Deletes all, users or not; a reference that is left keeps its object's memory. NULL is ignored. */
void objects_free(struct objects *objects);
struct reactor *objects_reactor(struct objects *objects);
/* The clock that guests go by: the reactor's unless a test steps it. */
struct clock *objects_clock(struct objects *objects);
const struct object_type *const *objects_types(const struct objects *objects);
struct list *objects_list(
    struct objects *objects); /* struct object by link, in order of creation. */

/*
 * Makes an object from {"qom-type": T, "id": I, properties...}. Errors are the reference's: "Parameter 'qom-type'
 * does not accept value 'T'" for an unknown type, "attempt to add duplicate
 * property 'I' to object (type 'container')", "Parameter 'id' expects
 * an identifier", and what the type says.
 */
struct err *objects_add(struct objects *objects, const struct json *options) MUST_USE;
/* "object 'I' not found", "object 'I' is in use, can not be deleted". */
struct err *objects_del(struct objects *objects, const char *id) MUST_USE;
/* Borrowed; NULL when there is none. objects may be NULL. */
struct object *objects_find(struct objects *objects, const char *id);
/* A reference to the object of that id and type, or NULL: the user words the error. objects may be NULL. */
struct object *objects_ref(struct objects *objects, const char *id, const char *type);
struct object *object_ref(struct object *object);
void object_unref(struct object *object); /* NULL is ignored. */

struct err *object_get(struct object *object, const char *name, struct json **out) MUST_USE;
struct err *object_set(struct object *object, const char *name, const struct json *value) MUST_USE;

#endif
