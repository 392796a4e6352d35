"""Commands that build a program and hand over to it: sim, fuzz, bench, demo."""

import os
import re
import subprocess

import bazel

SIM = "//tests/sim:sim"


def sim_args(args):
    if args.long:
        return ["--long"]
    if args.seeds:
        return ["--seeds", str(args.seeds)]
    return [args.seed] if args.seed else []


def sim(args):
    path = bazel.binary(SIM, args.config)
    if not path:
        return 1
    return subprocess.run([path] + sim_args(args), cwd=bazel.ROOT, check=False).returncode


def fuzz_label(name):
    """The one fuzzer whose label ends in the name."""
    found = bazel.output("query", "attr(tags, '\\bfuzz\\b', tests(//...))").split()
    matches = [label for label in found if re.search(r"(^|[/:])" + re.escape(name) + r"(_fuzz)?$", label)]
    if len(matches) != 1:
        known = "\n  ".join(sorted(found)) or "none"
        raise SystemExit(f"tools/dev: '{name}' names {len(matches)} fuzzers, not one; there are:\n  {known}")
    return matches[0]


def seed_folders(label):
    """Folders under tests/fuzz that the fuzzer's corpus comes from."""
    files = bazel.output("query", f"labels(data, {label})").split()
    names = {file.split(":")[1] for file in files if file.startswith("//tests/fuzz:")}
    return [os.path.join("tests/fuzz", name) for name in sorted(names)]


def fuzz(args):
    """New inputs go to a work folder, so that what enters the corpus is chosen by hand."""
    label = fuzz_label(args.name)
    path = bazel.binary(label, "fuzz")
    if not path:
        return 1
    work = os.path.join("/tmp", "emu-fuzz-" + label.split(":")[1])
    os.makedirs(work, exist_ok=True)
    line = [path, f"-max_total_time={args.seconds}", f"-artifact_prefix={work}/", work] + seed_folders(label)
    print(f"inputs and findings are kept in {work}", flush=True)
    return subprocess.run(line, cwd=bazel.ROOT, check=False).returncode


def script(path, args):
    """Runs a program of the repository; what tools/dev does not know of the command line is its."""
    if not os.path.exists(path):
        raise SystemExit(f"tools/dev: '{path}' does not exist")
    programs = os.path.join(bazel.output("info", "bazel-bin"), "emu/cmd")
    return subprocess.run([path] + args.rest, cwd=bazel.ROOT, env={**os.environ, "EMU_BIN": programs},
                          check=False).returncode


def bench(args):
    return script("tools/bench/bench.py", args)


def demo(args):
    return script("tools/demo/demo", args)
