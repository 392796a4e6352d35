/* The log and the trace, through sinks of the test. */
#include "emu/base/log.h"

#include "emu/base/str.h"
#include "emu/base/trace.h"
#include "tests/harness/test.h"

static void collect(void *arg, enum log_level level, const char *line)
{
    str_addf(arg, "%d %s\n", (int)level, line);
}

static void lines_have_the_name_of_the_program(void)
{
    struct str out = { 0 };
    struct err *err = err_new("bad");

    log_set_prefix("prog");
    log_set_sink(collect, &out);
    log_error("a %d", 1);
    log_warn("b");
    log_info("c");
    err_hint_append(err, "Try x.\nOr y.\n");
    log_err("file", err);
    log_set_prefix(NULL);
    log_err(NULL, err_new("plain"));
    log_set_sink(NULL, NULL);
    EXPECT_STR(str_cstr(&out), "0 prog: a 1\n1 prog: warning: b\n2 prog: info: c\n"
                               "0 prog: file: bad\n0 Try x.\n0 Or y.\n0 plain\n");
    str_fini(&out);
}

static void add_line(void *arg, const char *line) { str_addf(arg, "%s\n", line); }

static int evaluated;

static int count_evaluation(void) { return ++evaluated; }

static void a_trace_that_is_off_evaluates_nothing(void)
{
    evaluated = 0;
    trace(job_enter, "%d", count_evaluation());
    EXPECT_EQ(evaluated, 0);
    EXPECT_EQ(trace_seen("job_enter"), 0);
}

static void patterns_choose_the_points(void)
{
    struct str out = { 0 };

    trace_enable("job_*");
    trace_set_sink(add_line, &out);
    trace(job_enter, "from %d to %d", 1, 2);
    trace(node_open, "x");
    trace_mark("job_tricky");
    EXPECT_EQ(trace_seen("job_enter"), 1);
    EXPECT_EQ(trace_seen("node_open"), 0);
    EXPECT_EQ(trace_seen("job_tricky"), 1);
    EXPECT_EQ(trace_seen("job"), 0);
    trace_set_sink(NULL, NULL);
    trace_disable();
    EXPECT_STR(str_cstr(&out), "job_enter from 1 to 2\njob_tricky \n");
    str_fini(&out);
}

static void the_ring_keeps_the_last_lines(void)
{
    struct str out = { 0 };

    trace_enable("*");
    for (int i = 0; i < TRACE_RING_LINES + 5; i++)
        trace(count, "%d", i);
    trace_dump(add_line, &out);
    trace_disable();
    EXPECT(str_has_prefix(str_cstr(&out), "count 5\ncount 6\n"));
    EXPECT(str_has_suffix(str_cstr(&out), "count 1028\n"));
    str_fini(&out);
}

static void long_lines_are_cut(void)
{
    struct str out = { 0 };

    trace_enable("*");
    trace(wide, "%0500d", 1);
    trace_dump(add_line, &out);
    trace_disable();
    EXPECT_EQ(out.len, TRACE_LINE_MAX);
    str_fini(&out);
}

TEST_LIST(TEST(lines_have_the_name_of_the_program), TEST(a_trace_that_is_off_evaluates_nothing),
          TEST(patterns_choose_the_points), TEST(the_ring_keeps_the_last_lines),
          TEST(long_lines_are_cut));
