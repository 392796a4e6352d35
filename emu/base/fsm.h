/*
 * Helper for explicit state machines: an enum of states that ends in _COUNT, a table of legal edges
 *
 *     static const uint32_t job_edges[JOB_STATE_COUNT] = {
 *         [JOB_RUNNING] = BIT(JOB_PAUSED) | BIT(JOB_READY),
 *     };
 *
 * and one function, x_enter, that is the only writer of the state and begins with fsm_check_edge.
 */
#ifndef EMU_BASE_FSM_H
#define EMU_BASE_FSM_H

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/check.h"

/* Whether the table allows the step. `edges` is an array (not a pointer) of at most 32 states. */
#define fsm_edge_ok(edges, from, to)                                                               \
    fsm_edge_in((edges), ARRAY_LEN(edges), (unsigned)(from), (unsigned)(to))

/* Aborts, naming the table and the states, unless the table allows the step. */
#define fsm_check_edge(edges, from, to)                                                            \
    fsm_check_edge_in((edges), ARRAY_LEN(edges), (unsigned)(from), (unsigned)(to), #edges,         \
                      __FILE__, __LINE__, __func__)

static inline bool fsm_edge_in(const uint32_t *edges, size_t count, unsigned from, unsigned to)
{
    return from < count && to < count && to < 32 && (edges[from] & BIT(to));
}

static inline void fsm_check_edge_in(const uint32_t *edges, size_t count, unsigned from,
                                     unsigned to, const char *table, const char *file, int line,
                                     const char *function)
{
    if (UNLIKELY(!fsm_edge_in(edges, count, from, to)))
        check_failed_fmt(file, line, function, "no edge from %u to %u in %s", from, to, table);
}

#endif
