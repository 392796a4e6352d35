"""The files that the checks look at."""

import os
import subprocess

import bazel

FOLDERS = ["emu", "tests", "tools"]


def files(*suffixes):
    """Files with these suffixes that git tracks or would add, sorted."""
    line = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "--"]
    found = subprocess.run(line + FOLDERS, cwd=bazel.ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(path for path in found.splitlines() if path.endswith(suffixes))


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def is_test(path):
    """Tests, fuzzers, and the helpers only they use: testing.c, x_testing.c, and what is in a folder testing."""
    folders, _, file = path.rpartition("/")
    name = os.path.splitext(file)[0]
    return folders.split("/")[0] == "tests" or "testing" in folders.split("/") + [name] \
        or name.endswith(("_test", "_fuzz", "_testing"))
