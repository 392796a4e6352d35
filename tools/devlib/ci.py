"""Everything the CI checks, in one run. A failing step does not stop the later ones."""

import argparse
import subprocess
import time

import bazel
import fmt
import layers
import programs
import tests
import tidy


def counted(counts, labels, config=None):
    """Runs tests, adds their cases to the counts, and returns an exit code."""
    found, content = tests.run_targets(labels, config)
    mark = f" [{config}]" if config else ""
    found.failed = [name + mark for name in found.failed]
    found.skipped = [(name + mark, reason) for name, reason in found.skipped]
    counts.add(found)
    found.show()
    return 0 if content and not found.failed else 1


def sim(seeds):
    if not bazel.exists(programs.SIM):
        print(f"there is no {programs.SIM} yet")
        return 0
    path = bazel.binary(programs.SIM)
    return subprocess.run([path, "--seeds", str(seeds)], cwd=bazel.ROOT, check=False).returncode if path else 1


def steps(args, counts):
    """(name, function) in the order of running: the cheap ones first."""
    return [
        ("fmt", lambda: fmt.run(argparse.Namespace(check=True, paths=[]))),
        ("tidy", lambda: tidy.run(argparse.Namespace(tighten=False))),
        ("layers", lambda: layers.run(args)),
        ("test", lambda: counted(counts, ["//..."])),
        ("layering", lambda: bazel.call("build", "--keep_going", "//...", config="layering")),
        ("san", lambda: counted(counts, ["//..."], "san")),
        ("sim", lambda: sim(args.seeds)),
    ]


def run(args):
    counts = tests.Counts()
    report, failed = [], []
    chosen = [step for step in steps(args, counts) if args.only in (None, step[0])]
    if not chosen:
        raise SystemExit(f"tools/dev: there is no step '{args.only}'")
    for name, step in chosen:
        print(f"== {name}", flush=True)
        start = time.monotonic()
        try:
            code = step()
        except SystemExit as end:  # A tool could not run at all; that is this step's failure.
            print(end)
            code = 1
        report.append(f"{name:10} {'failed' if code else 'ok':8} {time.monotonic() - start:7.1f} s")
        if code:
            failed.append(name)
    print("== result")
    print("\n".join(report))
    for name, reason in counts.skipped:
        print(f"skipped: {name}: {reason}")
    for name in counts.failed:
        print(f"failed: {name}")
    if failed:
        print("failed steps: " + " ".join(failed))
    print(counts.line(), flush=True)
    return 1 if failed else 0
