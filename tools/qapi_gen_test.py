#!/usr/bin/env python3
"""Tests qapi_gen.py: names in C, layout of each kind of type, and what it refuses in a schema."""

import os
import subprocess
import sys
import tempfile
import unittest

GENERATOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "qapi_gen.py")

SCHEMA = """
{ 'include': 'inner.json' }
##
# @set-things: Sets things.
##
{ 'command': 'set-things', 'data': { 'name': 'str', '*unix': 'int', '*list': [ 'Thing' ] },
  'returns': 'Thing', 'allow-oob': true, 'features': [ 'unstable' ] }
##
# @THING_DONE: It is done.
##
{ 'event': 'THING_DONE', 'data': { 'thing': 'Thing' }, 'rate-limit': [ 'thing' ] }
"""

INNER = """
# A comment.
{ 'enum': 'ThingKind', 'data': [ 'a-b', { 'name': 'c', 'features': [ 'deprecated' ] } ] }
{ 'struct': 'ThingA', 'data': { 'x': 'uint16', '*inner': 'Thing' } }
##
# @Thing: A thing.
##
{ 'union': 'Thing', 'base': { 'kind': 'ThingKind' }, 'discriminator': 'kind',
  'data': { 'a-b': 'ThingA' } }
{ 'alternate': 'ThingOrNull', 'data': { 'def': 'Thing', 'none': 'null' } }
"""


class Generator(unittest.TestCase):
    def run_on(self, mode, files):
        """Returns (exit code, stderr, name -> generated text)."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                with open(os.path.join(folder, name), "w") as out:
                    out.write(text)
            made = os.path.join(folder, "made")
            os.mkdir(made)
            done = subprocess.run(
                [sys.executable, "-B", GENERATOR, mode, os.path.join(folder, "main.json"), made],
                capture_output=True, text=True)
            texts = {}
            for name in os.listdir(made):
                with open(os.path.join(made, name)) as file:
                    texts[name] = file.read()
            return done.returncode, done.stderr, texts

    def refuses(self, schema, message):
        code, stderr, _ = self.run_on("types", {"main.json": schema})
        self.assertEqual(code, 1)
        self.assertIn(message, stderr)

    def test_types(self):
        code, stderr, texts = self.run_on("types", {"main.json": SCHEMA, "inner.json": INNER})
        self.assertEqual((code, stderr), (0, ""))
        self.assertEqual(sorted(texts), ["qapi_inner.c", "qapi_inner.h", "qapi_main.c", "qapi_main.h"])
        inner = texts["qapi_inner.h"]
        for line in ("QAPI_THING_KIND_A_B,", "enum { QAPI_THING_KIND_COUNT = 2 };", "/* A thing. */",
                     "struct qapi_thing *inner; /* or NULL */", "uint16_t x;", "struct qapi_thing_a a_b;",
                     "enum qapi_thing_or_null_kind { QAPI_THING_OR_NULL_DEF, QAPI_THING_OR_NULL_NONE };",
                     "struct qapi_thing *items;"):
            self.assertIn(line, inner)
        self.assertLess(inner.index("struct qapi_thing_a {"), inner.index("struct qapi_thing {"))
        main = texts["qapi_main.h"]
        for line in ("OPT(int64_t) q_unix;", "OPT(struct qapi_thing_list) list;", "char *name;"):
            self.assertIn(line, main)
        self.assertIn('#include "emu/qmp/schema/qapi_inner.h"', main)
        self.assertIn('{"deprecated", NULL}', texts["qapi_inner.c"])

    def test_commands(self):
        code, _, texts = self.run_on("commands", {"main.json": SCHEMA, "inner.json": INNER})
        self.assertEqual(code, 0)
        self.assertEqual(sorted(texts), ["qmp_main.c", "qmp_main.h"])  # The other has none.
        for line in ("typedef void qmp_set_things_fn(struct qmp_call *call, const struct qapi_set_things_args *args);",
                     "qmp_reply_set_things(struct qmp_call *call, const struct qapi_thing *ret)",
                     "qapi_event_thing_done(struct qmp_events *events, const struct qapi_thing_done_event *data)"):
            self.assertIn(line, texts["qmp_main.h"])
        for line in (".flags = QMP_OOB,", '.name = "set-things",', '{"thing", NULL}', ".order = 1,", ".order = 2,"):
            self.assertIn(line, texts["qmp_main.c"])

    def test_refuses(self):
        self.refuses("{ 'struct': 'A', 'data': { 'x': 'Nope' } }", "unknown type 'Nope'")
        self.refuses("{ 'struct': 'A', 'data': {} } { 'struct': 'A', 'data': {} }", "invalid syntax")
        self.refuses("{ 'struct': 'A', 'data': {} }\n{ 'struct': 'A', 'data': {} }", "defined twice")
        self.refuses("{ 'struct': 'A', 'date': {} }", "unknown key date")
        self.refuses("{ 'thing': 'A' }", "unknown expression")
        self.refuses("{ 'enum': 'A', 'data': [ 'x', 'x' ] }", "value named twice")
        self.refuses("{ 'command': 'a' }", "has no documentation")
        self.refuses("{ 'struct': 'A', 'data': {", "unfinished expression")
        kind = "{ 'enum': 'K', 'data': [ 'x' ] }\n{ 'struct': 'S', 'data': { 'k': 'str' } }\n"
        union = kind + "{ 'union': 'U', 'base': { %s }, 'discriminator': 'k', 'data': { '%s': 'S' } }"
        self.refuses(union % ("'k': 'K'", "x"), "branch x repeats")
        self.refuses(union % ("'k': 'K'", "y"), "no such case: y")
        self.refuses(union % ("'*k': 'K'", "x"), "discriminator is no required member")
        self.refuses(union % ("'k': 'str'", "x"), "discriminator is no enum")


if __name__ == "__main__":
    unittest.main()
