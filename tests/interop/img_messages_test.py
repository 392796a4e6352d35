#!/usr/bin/env python3
"""What emu-img says and how it exits, good and bad, against what qemu-img 10.0.2 said (img_messages.json)."""

import json
import os
import re
import shlex
import shutil
import subprocess

from harness import check_each, equal, main, program, run

RECORD = os.path.join(os.path.dirname(os.path.realpath(__file__)), "img_messages.json")
CLUSTER = 65536
REFCOUNTS = 2 * CLUSTER  # Where an image of emu-img or qemu-img has its first refcount block.

MADE = {}  # The files of images(), by name.

with open(RECORD, encoding="utf-8") as record:
    CASES = {case["command"]: case for case in json.load(record)}


def patched(name, offset, data, length=None):
    shutil.copy("a.qcow2", name)
    with open(name, "r+b") as file:
        file.seek(offset)
        file.write(data)
        if length is not None:
            file.truncate(length)


def images():
    """A good image and its damaged relatives."""
    run("qemu-img", "create", "-q", "-f", "qcow2", "a.qcow2", "4M")
    run("qemu-io", "-c", "write -P 1 0 1M", "a.qcow2")
    shutil.copy("a.qcow2", "b.qcow2")
    run("qemu-io", "-c", "write -P 2 64k 1k", "b.qcow2")
    patched("leak.qcow2", REFCOUNTS + 60, b"\0\1", 4 << 20)
    patched("bad.qcow2", REFCOUNTS + 12, b"\0\0")
    patched("short.qcow2", 0, b"", 60)
    patched("ver.qcow2", 4, b"\0\0\0\x09")
    patched("feat.qcow2", 72, b"\x80")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "nothere", "-F", "raw", "orphan.qcow2", "1M")
    with open("r.raw", "wb") as raw, open("small", "wb") as small:
        raw.truncate(4 << 20)
        small.write(b"hello\n")


def said(text):
    return re.sub(r"^(emu|qemu)-img|(?<=')\S*(emu|qemu)-img", "IMG", text, flags=re.MULTILINE).splitlines()


@check_each(*CASES)
def emu_img(command):
    if not MADE:
        images()
        MADE.update({name: open(name, "rb").read() for name in os.listdir()})
    for name, content in MADE.items():
        with open(name, "wb") as file:
            file.write(content)
    done = subprocess.run([program("emu-img"), *shlex.split(command)], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60)
    equal(said(done.stdout), CASES[command]["output"], "output")
    equal(done.returncode, CASES[command]["status"], "exit status")


if __name__ == "__main__":
    main()
