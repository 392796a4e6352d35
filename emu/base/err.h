/*
 * The error object of the control path.
 *
 * A function that can fail returns `struct err *`: NULL means success, anything else is owned by
 * the caller, who passes it on, reports it and frees it, or calls err_ignore. The text is for the
 * user; the function that detects the error words it. Data-path results are 0 or -errno instead.
 *
 * Creating an error never fails. An object has one owner and one thread at a time.
 */
#ifndef EMU_BASE_ERR_H
#define EMU_BASE_ERR_H

#include <stdarg.h>

#include "emu/base/attrs.h"

struct err;

/* What a QMP client sees in "class". */
enum err_class {
    ERR_GENERIC,
    ERR_COMMAND_NOT_FOUND,
    ERR_DEVICE_NOT_ACTIVE,
    ERR_DEVICE_NOT_FOUND,
    ERR_KVM_MISSING_CAP,
    ERR_CLASS_COUNT,
};

/* Returns a new error of class ERR_GENERIC without an errno. */
MUST_USE PRINTF(1, 2) struct err *err_new(const char *fmt, ...);
MUST_USE PRINTF(1, 0) struct err *err_new_va(const char *fmt, va_list args);

MUST_USE PRINTF(2, 3) struct err *err_new_class(enum err_class class, const char *fmt, ...);

/*
 * Returns a new error whose text is "<fmt>: <strerror(errnum)>" and which remembers errnum. Takes
 * E* and -E* alike. 0 appends nothing and remembers nothing.
 */
MUST_USE PRINTF(2, 3) struct err *err_new_errno(int errnum, const char *fmt, ...);

/* Puts text in front of the text of e (no separator is added). Takes e and returns it; NULL stays
 * NULL. */
PRINTF(2, 3) struct err *err_prefix(struct err *e, const char *fmt, ...);

/* Adds to the hint: advice for people, printed by tools after the text and never sent over QMP.
 * The caller ends its lines with '\n'. NULL does nothing. */
PRINTF(2, 3) void err_hint_append(struct err *e, const char *fmt, ...);

/* The text; lives as long as e. */
const char *err_text(const struct err *e);

/* The hint, "" when there is none; lives as long as e. */
const char *err_hint(const struct err *e);

enum err_class err_class_of(const struct err *e);

/* The QMP name: "GenericError" ... */
const char *err_class_name(enum err_class class);

/* The positive errno of err_new_errno, or 0. */
int err_errnum(const struct err *e);

/* Sets the errno of an error worded otherwise (sign ignored). Returns e. */
struct err *err_set_errnum(struct err *e, int errnum);

/* Returns a new equal error; NULL for NULL. */
MUST_USE struct err *err_copy(const struct err *e);

/* NULL is fine. */
void err_free(struct err *e);
CLEANUP_FREE(err_free, struct err);

/* Drops an error whose only consequence is that something was not done. NULL is fine. */
void err_ignore(struct err *e);

/* Keeps the first error: if *first is NULL it becomes e, else e is freed. Takes e (NULL is fine).
 */
void err_keep_first(struct err **first, struct err *e);

/* Returns the error of expr from the calling function, if there is one. */
#define TRY(expr)                                                                                  \
    do {                                                                                           \
        struct err *try_err_ = (expr);                                                             \
        if (UNLIKELY(try_err_ != NULL))                                                            \
            return try_err_;                                                                       \
    } while (0)

#endif
