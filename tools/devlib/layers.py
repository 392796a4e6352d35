"""Checks every #include of emu/** against tools/layers.txt."""

import ast
import os
import re
import sys

import sources

TABLE = "tools/layers.txt"
GROUPS = "tools/bazel/layers.bzl"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
OUTSIDE_TESTS = ("tests/harness/",)  # What tests and fuzzers beside the code may include as well.


class Layers:
    """The table: packages in their order, and what each may include."""

    def __init__(self, text):
        self.allowed = {}
        self.levels = {}
        self.lines = {}
        level = None
        for number, line in enumerate(text.splitlines(), 1):
            line = line.split("#")[0].strip()
            if line.startswith("level "):
                level = int(line.split()[1])
            elif line:
                package, _, rest = line.partition(":")
                self.allowed[package] = rest.split()
                self.levels[package] = level
                self.lines[package] = number

    def package(self, path):
        """The package a path below emu/ belongs to: the longest that is a prefix of its folder. None if unlisted."""
        folder = os.path.dirname(path)[len("emu/"):]
        while folder:
            if folder in self.allowed:
                return folder
            folder = os.path.dirname(folder)
        return None

    def expand(self, package):
        """The packages it may include, with wildcards resolved."""
        result = {"base", package}
        order = list(self.allowed)
        for name in self.allowed[package]:
            if name == "*":
                result.update(order[: order.index(package)])
            elif name.endswith("/*"):
                result.update(other for other in order if other.startswith(name[:-1]))
            else:
                result.add(name)
        return result

    def faults(self):
        """What is wrong with the table itself."""
        for package in self.allowed:
            for other in sorted(self.expand(package) - {package}):
                if other not in self.allowed:
                    yield f"{TABLE}:{self.lines[package]}: '{package}' names '{other}', which has no line"
                elif self.levels[other] >= self.levels[package] and package != "base":
                    yield f"{TABLE}:{self.lines[package]}: '{package}' may not include '{other}': it is not below it"


def check_include(layers, path, included):
    """Why this include is not allowed, or None."""
    if included.startswith(OUTSIDE_TESTS):
        return None if sources.is_test(path) else "only tests and fuzzers may include the harness"
    if not included.startswith("emu/"):
        return "includes in quotes start at the workspace root, as in \"emu/jobs/job.h\""
    user, used = layers.package(path), layers.package(included)
    if used is None:
        return f"'{os.path.dirname(included)}' has no line in {TABLE}"
    if used in layers.expand(user):
        return None
    may = " ".join(layers.allowed[user]) or "nothing but base"
    return f"'{user}' may not include '{used}'; {TABLE}:{layers.lines[user]} says it may include: {may}"


def check_file(layers, path, text):
    """Messages about one file."""
    if layers.package(path) is None:
        yield f"{path}: '{os.path.dirname(path)}' has no line in {TABLE}"
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        reason = check_include(layers, path, match.group(1)) if match else None
        if reason:
            yield f"{path}:{number}: {reason}"


def check_groups(layers):
    """The visibility groups are the same table."""
    groups = ast.literal_eval(re.search(r"^LAYERS = (\{.*?^\})", sources.read(GROUPS), re.S | re.M).group(1))
    for package in sorted(set(groups) | set(layers.allowed)):
        if groups.get(package) != layers.allowed.get(package):
            yield f"{GROUPS}: '{package}' differs from {TABLE}"
    if list(groups) != list(layers.allowed):
        yield f"{GROUPS}: the order differs from {TABLE}"


def run(args):
    layers = Layers(sources.read(TABLE))
    messages = list(layers.faults()) + list(check_groups(layers))
    for path in sources.files(".c", ".h"):
        if path.startswith("emu/") and os.path.exists(path):
            messages += check_file(layers, path, sources.read(path))
    for message in messages:
        print(message)
    if messages:
        print(f"{len(messages)} includes break the layers", file=sys.stderr)
    return 1 if messages else 0
