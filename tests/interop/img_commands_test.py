#!/usr/bin/env python3
"""The image tool's commands that change images, and emu-nbd; the peer's tools look at the result where they are there.

Oracles: the data written before, `qemu-img check` and `qemu-io` of the peer, and the texts of the peer's own tests.
"""

import os
import subprocess
import time

from harness import check, check_each, equal, main, output, program, run
from images import MIB, pattern


def img(*command, expect=0):
    done = subprocess.run([program("emu-img"), *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60)
    equal(done.returncode, expect, f"exit status of {command}: {done.stdout}")
    return done.stdout


def write(name, text, offset=0):
    with open(name, "r+b") as file:
        file.seek(offset)
        file.write(text)


def raw(name, size, *pieces):
    with open(name, "wb") as file:
        file.truncate(size)
    for offset, text in pieces:
        write(name, text, offset)


def same(one, two):
    img("compare", one, two)


def chain():
    """old and new hold different data in three places; top lies on old and holds its own in a fourth."""
    a, b, c = b"a" * 65536, b"b" * 65536, b"c" * 65536
    raw("old", 4 * MIB, (0, a), (MIB, a), (3 * MIB, a))
    raw("new", 4 * MIB, (0, b), (2 * MIB, b), (3 * MIB, a))
    raw("own", 4 * MIB, (0, a), (MIB, a), (3 * MIB, c))
    img("convert", "-f", "raw", "-O", "qcow2", "-B", "old", "-F", "raw", "own", "top")


@check_each("off", "metadata", "falloc", "full")
def what_grows_above_a_longer_backing_file_is_zero(preallocation):
    raw("old", 4 * MIB, *((at * MIB, b"o" * MIB) for at in range(4)))
    img("create", "-q", "-f", "qcow2", "-b", "old", "-F", "raw", "top", "1000K")
    img("resize", "-q", "--preallocation=" + preallocation, "top", "1900K")
    raw("want", 1900 * 1024, (0, b"o" * 1000 * 1024))
    same("top", "want")


@check_each((), ("-c",), ("-p",))
def rebase_keeps_what_the_image_shows(*options):
    chain()
    img("convert", "-O", "raw", "top", "before")
    img("rebase", *options, "-b", "new", "-F", "raw", "top")
    assert "backing file: new" in img("info", "top")
    img("convert", "-O", "raw", "top", "after")
    same("before", "after")
    img("rebase", *options, "-b", "", "top")
    assert "backing file" not in img("info", "top")
    same("before", "top")


@check
def rebase_onto_a_smaller_image_hides_nothing_and_shows_nothing():
    raw("old", MIB, (0, b"a" * 65536))
    raw("new", 2 * MIB, (MIB, b"n" * 65536))
    img("create", "-q", "-f", "qcow2", "-b", "old", "-F", "raw", "top", "3M")
    img("convert", "-O", "raw", "top", "before")
    img("rebase", "-b", "new", "-F", "raw", "top")
    same("before", "top")


@check
def unsafe_rebase_only_changes_the_name():
    chain()
    img("rebase", "-u", "-b", "nothere", "-F", "raw", "top")
    assert "backing file: nothere" in img("info", "top")
    equal(img("rebase", "-u", "-b", "new", "top", expect=1).split(": ", 1)[1],
          "Could not change the backing file to 'new': backing format must be specified\n", "text")


@check_each((), ("-d",))
def commit_moves_the_data_down(*options):
    chain()
    img("convert", "-O", "raw", "top", "before")
    equal(img("commit", *options, "top"), "Image committed.\n", "text")
    same("before", "old")
    same("before", "top")


@check
def commit_into_a_deeper_image_passes_the_one_between():
    chain()
    img("create", "-q", "-f", "qcow2", "-b", "top", "-F", "qcow2", "over", "5M")
    img("convert", "-O", "raw", "over", "before")
    img("commit", "-q", "-b", "old", "over")
    same("before", "old")
    equal(os.path.getsize("old"), 5 * MIB, "size of the base")
    text = img("commit", "-b", "foo", "over", expect=1)
    assert "Did not find 'foo' in the backing chain of 'over'" in text, text


@check_each("raw", "qcow2")
def resize_grows_and_shrinks(image_format):
    img("create", "-q", "-f", image_format, "x", "1M")
    equal(img("resize", "-f", image_format, "x", "+1M"), "Image resized.\n", "text")
    assert "(2097152 bytes)" in img("info", "-f", image_format, "x")
    text = img("resize", "-f", image_format, "x", "1M", expect=1)
    assert "Use the --shrink option to perform a shrink operation." in text, text
    img("resize", "-q", "--shrink", "-f", image_format, "x", "--", "-1M")
    assert "(1048576 bytes)" in img("info", "-f", image_format, "x")


@check_each("512", "7", "1M")
def dd_copies_blocks(size):
    pattern("in.raw")
    with open("in.raw", "rb") as file:
        data = file.read()
    bytes_each = {"512": 512, "7": 7, "1M": MIB}[size]
    img("dd", "-f", "raw", "-O", "raw", f"bs={size}", "skip=1", "count=3", "if=in.raw", "of=out.raw")
    with open("out.raw", "rb") as file:
        equal(file.read()[:3 * bytes_each], data[bytes_each:4 * bytes_each], "data")


@check
def snapshots_come_and_go():
    raw("x.raw", MIB, (0, b"a" * 65536))
    img("convert", "-f", "raw", "-O", "qcow2", "x.raw", "x")
    img("snapshot", "-c", "first", "x")
    assert "first" in img("snapshot", "-l", "x")
    img("convert", "-l", "first", "-O", "raw", "x", "snap.raw")
    same("x.raw", "snap.raw")
    img("snapshot", "-a", "first", "x")
    same("x.raw", "x")
    img("snapshot", "-d", "first", "x")
    equal(img("snapshot", "-l", "x"), "", "list")
    assert "Could not delete snapshot 'first': snapshot not found" in img("snapshot", "-d", "first", "x", expect=1)


@check
def bitmaps_are_kept_and_copied():
    img("create", "-q", "-f", "qcow2", "x", "1M")
    img("bitmap", "--add", "-g", "32k", "x", "b")
    img("bitmap", "--add", "--disable", "x", "c")
    img("bitmap", "--merge", "b", "x", "b2", expect=1)
    img("convert", "--bitmaps", "-O", "qcow2", "x", "y")
    for name in ("x", "y"):
        info = img("info", name)
        assert "granularity: 32768" in info and "name: c" in info, info
    img("bitmap", "--remove", "x", "b")
    assert "granularity: 32768" not in img("info", "x")


@check_each((), ("-c",))
def convert_joins_sources(*options):
    raw("one", 1047552, (0, b"1" * 65536), (1047552 - 512, b"e" * 512))
    raw("two", 1047552, (0, b"2" * 65536))
    img("convert", "-f", "raw", *options, "-O", "qcow2", "one", "two", "both")
    raw("expected", 2 * 1047552)
    with open("one", "rb") as one, open("two", "rb") as two:
        write("expected", one.read() + two.read())
    same("expected", "both")


class Server:
    """emu-nbd with its socket "sock"."""

    def __init__(self, *options):
        if os.path.exists("sock"):
            os.unlink("sock")
        self.process = subprocess.Popen([program("emu-nbd"), "-k", os.path.abspath("sock"), *options])
        for _ in range(200):
            if os.path.exists("sock") or self.process.poll() is not None:
                return
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=20)


@check
def nbd_serves_an_image_to_our_tools():
    pattern("disk.raw")
    with Server("-f", "raw", "-t", "-x", "name", "-D", "about", "disk.raw") as server:
        img("compare", "disk.raw", "nbd+unix:///name?socket=sock")
        listed = output("emu-nbd", "-L", "-k", os.path.abspath("sock"))
        assert listed.startswith("exports available: 1\n export: 'name'\n  description: about\n"), listed
        equal(server.process.poll(), None, "still there")


@check
def nbd_ends_with_its_last_client():
    pattern("disk.raw")
    with Server("-f", "raw", "-r", "-o", "512", "disk.raw") as server:
        img("convert", "-f", "raw", "nbd+unix:///?socket=sock", "copy.raw")
        equal(server.process.wait(timeout=20), 0, "exit status")
    with open("disk.raw", "rb") as disk, open("copy.raw", "rb") as copy:
        equal(copy.read(), disk.read()[512:], "data behind the offset")


@check
def nbd_forks_when_it_listens():
    pattern("disk.raw")
    sock = os.path.abspath("fsock")
    run("emu-nbd", "--fork", "--pid-file", "pid", "-k", sock, "-f", "raw", "disk.raw")
    assert os.path.exists("pid") and os.path.exists(sock)
    img("compare", "disk.raw", "nbd+unix:///?socket=fsock")
    run("emu-nbd", "--fork", "-k", sock, "-f", "raw", "nothere", expect=1)


if __name__ == "__main__":
    main()
