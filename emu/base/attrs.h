/*
 * Attributes and small macros that every file may use.
 *
 * Nothing here has state or a .c file. Macros evaluate each argument once unless noted.
 */
#ifndef EMU_BASE_ATTRS_H
#define EMU_BASE_ATTRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The caller must look at the result. */
#define MUST_USE __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define FALLTHROUGH __attribute__((fallthrough))
#define UNUSED __attribute__((unused))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* printf-like function: the format is argument `a`, its values start at argument `b` (0: va_list).
 */
#define PRINTF(a, b) __attribute__((format(printf, a, b)))

/*
 * Runs fn on a local when its scope ends:
 *
 *     CLEANUP(err_free) struct err *err = NULL;
 *     CLEANUP(str_fini) struct str text = {0};
 *
 * The attribute wants a function taking a pointer to the variable, so the header that declares fn
 * also makes an adapter, fn_cleanup, with one of the two macros below. The variable must be
 * initialised where it is declared; set it to NULL (or zero it) after giving its content away.
 */
#define CLEANUP(fn) __attribute__((cleanup(fn##_cleanup)))

/* For `type *variable` and `void fn(type *)`. */
#define CLEANUP_FREE(fn, type)                                                                     \
    static inline void fn##_cleanup(type **variable) { fn(*variable); }                            \
    struct attrs_semicolon

/* For `type variable` held by value and `void fn(type *)`. */
#define CLEANUP_FINI(fn, type)                                                                     \
    static inline void fn##_cleanup(type *variable) { fn(variable); }                              \
    struct attrs_semicolon

/* Number of elements of an array; does not compile for a pointer. */
#define ARRAY_LEN(a)                                                                               \
    (sizeof(a) / sizeof((a)[0]) +                                                                  \
     0 * sizeof(struct {                                                                           \
         int is_array : __builtin_types_compatible_p(typeof(a), typeof(&(a)[0])) ? -1 : 1;         \
     }))

/* The structure of the given type whose member `ptr` points at. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define BIT(n) (UINT32_C(1) << (n))
#define BIT64(n) (UINT64_C(1) << (n))

/* The libc's <sys/param.h> has versions that evaluate twice. */
#undef MIN
#undef MAX
#define MIN(a, b) ATTRS_PICK(<, a, b, __COUNTER__)
#define MAX(a, b) ATTRS_PICK(>, a, b, __COUNTER__)
/* The counter gives each use names of its own, so that nested uses do not shadow each other. */
#define ATTRS_PICK(op, a, b, unique) ATTRS_PICK_(op, a, b, unique)
#define ATTRS_PICK_(op, a, b, unique)                                                              \
    __extension__({                                                                                \
        typeof(a) pick_a_##unique = (a);                                                           \
        typeof(b) pick_b_##unique = (b);                                                           \
        pick_a_##unique op pick_b_##unique ? pick_a_##unique : pick_b_##unique;                    \
    })
/* For constant expressions and array sizes, where a statement expression is not allowed. */
#define MIN_CONST(a, b) ((a) < (b) ? (a) : (b))
#define MAX_CONST(a, b) ((a) > (b) ? (a) : (b))

/* An optional member: `OPT(uint64_t) speed;` then `if (x->speed.set) use(x->speed.value);`. */
#define OPT(type)                                                                                  \
    struct {                                                                                       \
        bool set;                                                                                  \
        type value;                                                                                \
    }

#endif
