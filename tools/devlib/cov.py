"""Measures which lines the tests reach."""

import glob
import os
import shutil
import subprocess

import bazel
import tests

PROFILES = "/tmp/emu-cov"  # As in .bazelrc: below /tmp, where a sandboxed test may write.


def tool(name):
    return shutil.which(name + "-14") or name


def objects(labels):
    """The programs of the tests, as arguments of llvm-cov."""
    bin_dir = bazel.output("info", "bazel-bin", config="cov")
    paths = [os.path.join(bin_dir, label.lstrip("/").replace(":", "/")) for label in labels]
    paths = [path for path in paths if os.path.exists(path)]
    return paths[:1] + [argument for path in paths[1:] for argument in ("-object", path)]


def run(args):
    shutil.rmtree(PROFILES, ignore_errors=True)
    os.makedirs(PROFILES)
    os.chmod(PROFILES, 0o1777)
    labels = bazel.output("query", f"kind(cc_test, {' + '.join(tests.targets(args.pattern))})").split()
    # A cached result leaves no profile.
    counts, _ = tests.run_targets(labels, "cov", ["--nocache_test_results"])
    raw = glob.glob(os.path.join(PROFILES, "*.profraw"))
    if not raw:
        raise SystemExit("tools/dev: no test left a profile")
    merged = os.path.join(PROFILES, "merged.profdata")
    subprocess.run([tool("llvm-profdata"), "merge", "-sparse", "-o", merged] + raw, check=True)
    root = bazel.output("info", "execution_root", config="cov")
    report = [tool("llvm-cov"), "report", "-instr-profile=" + merged, "-ignore-filename-regex=(_test|_fuzz|testing)[.]c|^tests/|^/usr"]
    report.append(f"-path-equivalence=/proc/self/cwd,{root}")
    code = subprocess.run(report + objects(labels), cwd=bazel.ROOT, check=False).returncode
    counts.show()
    return 1 if code or counts.failed else 0
