#!/usr/bin/env python3
"""Tests of the checks: for each rule of tidy.py text that breaks it and text that does not, and the include table."""

import os
import sys
import unittest

sys.dont_write_bytecode = True
TOOLS = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [TOOLS, os.path.join(TOOLS, "devlib")]

import fmt
import layers
import tests
import tidy

C = "emu/jobs/job.c"
HEADER = "#ifndef EMU_JOBS_JOB_H\n#define EMU_JOBS_JOB_H\n%s\n#endif\n"


def function(lines):
    return "static int f(void)\n{\n" + "    step();\n" * (lines - 2) + "}\n"


# rule, path, text, whether the rule objects.
FIXTURES = [
    ("time", C, "int f(void)\n{\n    return time(NULL);\n}\n", True),
    ("time", "emu/jobs/job_test.c", "void f(void)\n{\n    usleep(10);\n}\n", True),
    ("time", "emu/reactor/loop.c", "void f(void)\n{\n    clock_gettime(CLOCK_MONOTONIC, &ts);\n}\n", False),
    ("time", C, "/* Like time(NULL). */\nvoid f(void)\n{\n    job->time(1);\n    puts(\"sleep(1)\");\n}\n", False),
    ("constructor", C, "__attribute__((constructor)) static void f(void)\n{\n}\n", True),
    ("constructor", C, "/* No constructor here. */\n", False),
    ("todo", C, "/* TO" "DO: later */\n", True),
    ("todo", C, "/* FIX" "ME */\n", True),
    ("todo", C, "/* TO" "DO(#12): later */\n", False),
    ("todo", C, "char path[] = \"/tmp/emu-XXXXXX\";\n", False),
    ("sizeof_loop", C, "void f(void)\n{\n    for (size_t i = 0; i < sizeof(a); i++)\n        g(a[i]);\n}\n", True),
    ("sizeof_loop", C, "void f(void)\n{\n    n = sizeof(a) / sizeof(a[0]);\n}\n", True),
    ("sizeof_loop", C, "void f(void)\n{\n    if (len < sizeof(header))\n        g();\n}\n", False),
    ("file_length", C, "/* What it is. */\n" + "int x;\n" * 600, True),
    ("file_length", C, "/*\n * What it is; it is long\n * because a table is.\n */\n" + "int x;\n" * 600, False),
    ("file_length", C, "int x;\n" * 600, False),
    ("c_include", C, '#include "emu/jobs/job_run.c"\n', True),
    ("c_include", C, '#include "emu/jobs/job.h"\n', False),
    ("guard", "emu/jobs/job.h", "#ifndef JOB_H\n#define JOB_H\n#endif\n", True),
    ("guard", "emu/jobs/job.h", "#pragma once\n", True),
    ("guard", "emu/jobs/job.h", "/* What. */\n" + HEADER % "int f(void);", False),
    ("guard", "tests/sim/oracle.h", "#ifndef EMU_TESTS_SIM_ORACLE_H\n#define EMU_TESTS_SIM_ORACLE_H\n#endif\n", False),
    ("allocation", C, "void f(void)\n{\n    p = malloc(3);\n}\n", True),
    ("allocation", "emu/base/alloc.c", "void f(void)\n{\n    p = malloc(3);\n}\n", False),
    ("allocation", "emu/jobs/job_test.c", "void f(void)\n{\n    p = strdup(s);\n}\n", False),
    ("allocation", C, "void f(void)\n{\n    p = xmalloc(3);\n}\n", False),
    ("unsafe", C, "void f(void)\n{\n    strcpy(a, b);\n}\n", True),
    ("unsafe", C, "void f(void)\n{\n    n = atoi(s);\n}\n", True),
    ("unsafe", C, "void f(void)\n{\n    snprintf(a, sizeof(a), b);\n    rng_rand(r);\n}\n", False),
    ("globals", C, "static int count;\n", True),
    ("globals", C, "int count = 1, other;\n", True),
    ("globals", C, "static const char *name = \"x\";\n", True),
    ("globals", C, "static struct job *jobs[4];\n", True),
    ("globals", C, "static struct table {\n    int a;\n} table = { 1 };\n", True),
    ("globals", C, "static void (*hook)(void);\n", True),
    ("globals", C, "void f(void)\n{\n    static int calls;\n    calls++;\n}\n", True),
    ("globals", C, "static const char *const names[] = { \"a\", \"b\" };\n", False),
    ("globals", C, "static const struct { int a; } rows[] = { { 1 }, { 2 } };\n", False),
    ("globals", C, "static void (*const hook)(void) = f;\n", False),
    ("globals", C, "struct job {\n    int id;\n    struct { int x; } at;\n};\nenum e { A, B };\nstruct other;\n", False),
    ("globals", C, "typedef void done_fn(void *arg);\nextern int x;\nint f(int a, void (*done)(void));\n", False),
    ("globals", C, "int f(void)\n{\n    int local = 0;\n    struct job *job = g();\n    return local;\n}\n", False),
    ("globals", C, "MUST_USE static int f(void (*g)(void))\n{\n    return 0;\n}\n_Static_assert(1, \"\");\n", False),
    ("globals", "emu/base/log.c", "static int level;\n", False),
    ("conditional", C, "void f(void)\n{\n#ifdef __linux__\n    g();\n#endif\n}\n", True),
    ("conditional", C, "#ifdef __linux__\nvoid f(void)\n{\n}\n#endif\n", False),
    ("waiver", C, "int x; /* NO" "LINT */\n", True),
    ("waiver", C, "#pragma GCC diagnostic ignored \"-Wall\"\n", True),
    ("typedef", C, "typedef struct job job_t;\n", True),
    ("typedef", C, "typedef void done_fn(void *arg);\n", False),
    ("columns", C, "/* " + "x" * 120 + " */\n", True),
    ("columns", C, "/* " + "x" * 90 + " */\n", False),
    ("paths", "tools/x.py", "open('/ho" "me/someone/x')\n", True),
    ("paths", C, "/* See /wo" "rk/notes. */\n", True),
    ("paths", C, "char *p = \"images/ho" "me/x\"; /* https://site/wo" "rk/ */\n", False),
]


class Tidy(unittest.TestCase):
    def test_fixtures(self):
        for rule, path, text, objects in FIXTURES:
            with self.subTest(rule=rule, text=text[:80]):
                found = list(getattr(tidy, "rule_" + rule)(tidy.File(path, text)))
                self.assertEqual(bool(found), objects, found)

    def test_every_rule_has_both_fixtures(self):
        for rule in tidy.RULES:
            name = rule.__name__[len("rule_"):]
            self.assertIn(True, [objects for other, _, _, objects in FIXTURES if other == name], name)

    def test_clean_file_is_clean(self):
        self.assertEqual(tidy.check("emu/jobs/job.h", HEADER % "int job_count(const struct jobs *jobs);"), [])

    def test_message_names_the_line(self):
        self.assertEqual(tidy.check(C, "\n\nstatic int x;\n")[0][0], 3)


class Ratchet(unittest.TestCase):
    def test_measures_functions(self):
        self.assertEqual(tidy.long_functions(C, function(70)), {})
        self.assertEqual(tidy.long_functions(C, function(71)), {(C, "f"): 71})

    def test_sees_through_attributes_and_macros(self):
        text = "#define X(a) {\\\n    a\n" + "MUST_USE struct err *g(int a) __attribute__((cold))\n" + function(80)[18:]
        self.assertEqual(list(tidy.long_functions(C, text)), [(C, "g")])

    def test_growth_and_new_functions_are_refused(self):
        self.assertEqual(len(list(tidy.check_ratchet({(C, "f"): 80}, {(C, "f"): 81}))), 1)
        self.assertEqual(len(list(tidy.check_ratchet({}, {(C, "f"): 71}))), 1)
        self.assertEqual(list(tidy.check_ratchet({(C, "f"): 80}, {(C, "f"): 80})), [])

    def test_shrinking_is_recorded(self):
        allowed = {(C, "f"): 80, (C, "g"): 90}
        self.assertEqual(len(list(tidy.check_ratchet(allowed, {(C, "f"): 75}))), 2)
        text = f"# Why.\n{C} f 80\n{C} g 90\n"
        self.assertEqual(tidy.tighten(text, allowed, {(C, "f"): 75}), f"# Why.\n{C} f 75\n")


class Layers(unittest.TestCase):
    TABLE = "level 0\nbase:\nlevel 1\nreactor:\nlevel 2\njobs: reactor\nstorage: reactor\nlevel 3\njobs/block: jobs storage\ncmd: *\n"

    def messages(self, path, include):
        return list(layers.check_file(layers.Layers(self.TABLE), path, f'#include "{include}"\n'))

    def test_allows_what_the_table_allows(self):
        self.assertEqual(self.messages("emu/jobs/job.c", "emu/reactor/reactor.h"), [])
        self.assertEqual(self.messages("emu/jobs/job.c", "emu/base/err.h"), [])
        self.assertEqual(self.messages("emu/jobs/job.c", "emu/jobs/job.h"), [])
        self.assertEqual(self.messages("emu/jobs/block/deep/x.c", "emu/storage/node.h"), [])
        self.assertEqual(self.messages("emu/cmd/img/main.c", "emu/storage/node.h"), [])

    def test_names_the_rule(self):
        (message,) = self.messages("emu/jobs/job.c", "emu/storage/node.h")
        self.assertIn("emu/jobs/job.c:1: 'jobs' may not include 'storage'", message)
        self.assertIn("layers.txt:6", message)

    def test_refuses_going_up_and_the_unknown(self):
        self.assertEqual(len(self.messages("emu/jobs/job.c", "emu/jobs/block/mirror.h")), 1)
        self.assertEqual(len(self.messages("emu/jobs/job.c", "emu/other/x.h")), 1)
        self.assertEqual(len(self.messages("emu/jobs/job.c", "job.h")), 1)
        self.assertEqual(len(self.messages("emu/other/x.c", "emu/base/err.h")), 1)

    def test_harness_is_for_tests(self):
        self.assertEqual(self.messages("emu/jobs/job_test.c", "tests/harness/test.h"), [])
        self.assertEqual(self.messages("emu/jobs/testing.c", "tests/harness/test.h"), [])
        self.assertEqual(self.messages("emu/jobs/testing/rig.c", "tests/harness/test.h"), [])
        self.assertEqual(len(self.messages("emu/jobs/job.c", "tests/harness/test.h")), 1)

    def test_table_cannot_point_up(self):
        table = layers.Layers("level 0\nbase:\nlevel 1\njobs: cmd\nlevel 2\ncmd:\n")
        self.assertEqual(len(list(table.faults())), 1)


class Format(unittest.TestCase):
    def test_keeps_columns(self):
        self.assertEqual(fmt.keep_columns("{\n    [A]   = 1,\n}", "{\n    [A] = 1,\n}"), "{\n    [A]   = 1,\n}")

    def test_takes_every_other_change(self):
        self.assertEqual(fmt.keep_columns("if(a)  b;", "if (a)\n    b;"), "if (a)\n    b;")
        self.assertEqual(fmt.keep_columns("  a  = b;", "    a = b;"), "    a = b;")


class Count(unittest.TestCase):
    XML = """<testsuites><testsuite><testcase name="a" status="run"/>
        <testcase name="b" status="run"><failure message="x"/></testcase>
        <testcase name="c" status="run" result="skipped"><skipped message="file.c:1&#10;no tool"/></testcase>
        <testcase name="d" status="notrun"/></testsuite></testsuites>"""

    def test_counts_cases(self):
        path = os.path.join(os.environ.get("TEST_TMPDIR", "/tmp"), "tidy_test.xml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.XML)
        counts = tests.Counts()
        tests.read_result({"status": "FAILED", "testActionOutput": [{"name": "test.xml", "uri": "file://" + path}]},
                          "//x:y", counts)
        self.assertEqual(counts.line(), "1 passed, 1 failed, 1 skipped")
        self.assertEqual(counts.skipped, [("//x:y c", "no tool")])

    def test_a_killed_test_counts_as_failed(self):
        counts = tests.Counts()
        tests.read_result({"status": "TIMEOUT"}, "//x:y", counts)
        self.assertEqual(counts.failed, ["//x:y (timeout)"])


if __name__ == "__main__":
    unittest.main()
