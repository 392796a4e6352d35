"""Formats C with clang-format, which decides where lines break and how they are indented.

Runs of spaces inside a line are the author's when nothing else on the line changes: clang-format can align columns
everywhere or nowhere, and tables are to be aligned while assignments are not.
"""

import difflib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import bazel
import sources

COLUMNS_MAX = 100


def squeezed(line):
    """The line with its indentation, and one space for every run of them after it."""
    body = line.lstrip(" ")
    return line[: len(line) - len(body)] + re.sub(" {2,}", " ", body)


def keep_columns(before, after):
    """The formatted text, with each line that differs in inner spaces only as it was."""
    old, new = before.split("\n"), after.split("\n")
    matcher = difflib.SequenceMatcher(
        None, [squeezed(line) for line in old], [squeezed(line) for line in new], autojunk=False)
    for old_start, new_start, length in matcher.get_matching_blocks():
        for i in range(length):
            if len(old[old_start + i]) <= COLUMNS_MAX:
                new[new_start + i] = old[old_start + i].rstrip()
    return "\n".join(new)


def formatted(path, text):
    tool = shutil.which("clang-format-14") or "clang-format"
    done = subprocess.run([tool, "--style=file", "--assume-filename=" + path], input=text, cwd=bazel.ROOT,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"tools/dev: clang-format fails on {path}: {done.stderr}")
    return text if done.stdout == text else keep_columns(text, done.stdout)


def show(path, before, after):
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), path, path + " (formatted)", "", "", 1, "")
    for line in list(lines)[:30]:
        print(line)


def chosen(paths):
    """All sources, or those at or below the paths given."""
    found = sources.files(".c", ".h", ".cc")
    roots = [os.path.normpath(path) for path in paths]
    return [path for path in found if not roots or any(path == root or path.startswith(root + "/") for root in roots)]


def run(args):
    paths = [path for path in chosen(args.paths) if os.path.exists(path)]
    texts = [sources.read(path) for path in paths]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(formatted, paths, texts))
    changed = 0
    for path, before, after in zip(paths, texts, results):
        if before == after:
            continue
        changed += 1
        if args.check:
            show(path, before, after)
            continue
        with open(path, "w", encoding="utf-8") as file:
            file.write(after)
        print("formatted " + path)
    if args.check and changed:
        print(f"{changed} of {len(paths)} files are not formatted; run tools/dev fmt", file=sys.stderr)
        return 1
    return 0
