"""Runs the tests and adds up what each test case said."""

import json
import os
import tempfile
import urllib.parse
import xml.etree.ElementTree

import bazel


class Counts:
    """Test cases of one run, or of several added together."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def line(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"

    def show(self):
        for name, reason in self.skipped:
            print(f"skipped: {name}: {reason}")
        for name in self.failed:
            print(f"failed: {name}")
        print(self.line(), flush=True)


def read_xml(path, label, counts):
    """Adds the test cases of one test.xml."""
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{label} {case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failed.append(name)
        elif skipped is not None:
            # googletest puts the place on the first line of the message.
            reason = (skipped.get("message") or skipped.text or "").strip().splitlines()
            counts.skipped.append((name, reason[-1] if reason else "no reason given"))
        elif case.get("status") != "notrun":
            counts.passed += 1


def read_result(result, label, counts):
    """Adds one run of one test target."""
    failed_before = len(counts.failed)
    for file in result.get("testActionOutput", []):
        if file["name"] != "test.xml":
            continue
        try:
            read_xml(urllib.parse.unquote(urllib.parse.urlparse(file["uri"]).path), label, counts)
        except (OSError, xml.etree.ElementTree.ParseError):
            pass  # A test that was killed may leave half a file; its status tells below.
    status = result.get("status", "NO_STATUS")
    if status != "PASSED" and len(counts.failed) == failed_before:
        counts.failed.append(f"{label} ({status.lower()})")


def read_events(path):
    """Counts from Bazel's event file: cached results are in it like fresh ones."""
    results = {}
    unbuilt = set()
    counts = Counts()
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            ident = event.get("id", {})
            if "testResult" in ident and "testResult" in event:
                key = ident["testResult"]
                # Of several attempts the last one counts; they come in order.
                results[key["label"], key.get("run"), key.get("shard")] = event["testResult"]
            elif "targetCompleted" in ident and not event.get("completed", {}).get("success"):
                unbuilt.add(ident["targetCompleted"]["label"])
    for (label, _run, _shard), result in results.items():
        read_result(result, label, counts)
    tested = {key[0] for key in results}
    for label in sorted(unbuilt - tested):
        counts.failed.append(f"{label} (does not build)")
    return counts


def targets(pattern):
    """Labels: as given, or every test whose label contains the pattern."""
    if pattern.startswith("//") or pattern.startswith("-"):
        return [pattern]
    found = bazel.output("query", f'filter("{pattern}", tests(//...))').split()
    if not found:
        raise SystemExit(f"tools/dev: no test's label contains '{pattern}'")
    return found


def run_targets(labels, config=None, extra=()):
    """Returns the counts and whether Bazel itself was content."""
    handle, events = tempfile.mkstemp(suffix=".json")
    os.close(handle)
    try:
        flags = ["--keep_going", "--build_event_json_file=" + events, *extra]
        code = bazel.call("test", *flags, "--", *labels, config=config)
        counts = read_events(events)
    finally:
        os.unlink(events)
    # 4 means that there were no tests, which is not a failure of any.
    return counts, code in (0, 4)


def run(args):
    extra = ["--test_arg=--gtest_filter=" + args.filter] if args.filter else []
    counts, content = run_targets(targets(args.pattern), args.config, extra)
    counts.show()
    return 0 if content and not counts.failed else 1
