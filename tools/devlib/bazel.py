"""Calls Bazel. EMU_BAZEL_OUTPUT_BASE gives a build its own outputs, EMU_DISK_CACHE shares them between several."""

import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def command(verb, *args, config=None):
    """The full command line of one call."""
    line = ["bazel"]
    base = os.environ.get("EMU_BAZEL_OUTPUT_BASE")
    if base:
        line.append("--output_base=" + base)
    line.append(verb)
    if verb in ("build", "test", "run", "info"):
        if config:
            line.append("--config=" + config)
        if base:
            line.append("--symlink_prefix=/")  # Builds side by side would fight over the bazel-* links.
        cache = os.environ.get("EMU_DISK_CACHE")
        if cache:
            line.append("--disk_cache=" + cache)
    return line + list(args)


def call(verb, *args, config=None):
    """Runs Bazel on the terminal and returns its exit code."""
    return subprocess.run(command(verb, *args, config=config), cwd=ROOT, check=False).returncode


def output(verb, *args, config=None):
    """What Bazel prints, without its own messages. An error ends the program, after Bazel said why."""
    line = command(verb, *args, config=config)
    line.insert(line.index(verb) + 1, "--ui_event_filters=-info")
    done = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.returncode)
    return done.stdout.strip()


def binary(label, config=None):
    """Builds one program and returns its path, or None when the build failed."""
    if call("build", label, config=config) != 0:
        return None
    path = label.lstrip("/").replace(":", "/")
    return os.path.join(output("info", "bazel-bin", config=config), path)


def exists(label):
    line = command("query", "--ui_event_filters=-info,-error", label)
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode == 0


def build(args):
    return call("build", *args.targets, config=args.config)
