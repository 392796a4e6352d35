"""Installs the Debian packages of tools/packages.txt that are missing."""

import os
import shutil
import subprocess
import sys

BUILD = "build"  # What building and testing need; a failure is fatal.
ALL = "all"      # The peers as well, as far as they can be had.


def wanted(path):
    with open(path, encoding="utf-8") as lines:
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def missing(names):
    query = ["dpkg-query", "-W", "-f", "${Package} ${Status}\n"] + names
    answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    have = {line.split()[0] for line in answer.splitlines() if line.endswith(" ok installed")}
    return [name for name in names if name not in have]


def install(names):
    """Returns whether apt-get installed them."""
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    if prefix and not shutil.which("sudo"):
        return False
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install_command = ["apt-get", "install", "-y", "-q", "--no-install-recommends"] + names
    for command in (["apt-get", "update", "-q"], install_command):
        # sudo drops the environment, so the variable is named on its command line.
        extra = ["DEBIAN_FRONTEND=noninteractive"] if prefix else []
        done = subprocess.run(prefix + extra + command, env=env, stdout=sys.stderr, check=False)
        if done.returncode != 0 and command is install_command:
            return False
    return True


def ensure(what):
    if not shutil.which("dpkg-query"):
        return  # Not Debian: whoever builds here brought the tools.
    names = missing(wanted("tools/packages.txt"))
    if names:
        print("installing " + " ".join(names), file=sys.stderr)
        if not install(names):
            sys.exit("tools/dev: cannot install " + " ".join(names))
    if what != ALL:
        return
    names = missing(wanted("tools/packages-peers.txt"))
    if names and not install(names):
        print("tools/dev: without " + " ".join(names) + "; what compares with them is skipped", file=sys.stderr)
