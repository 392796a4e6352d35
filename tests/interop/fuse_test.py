#!/usr/bin/env python3
"""Nodes as files over FUSE: content, size, holes, attributes, errors, the end. Oracles: the system calls on the image
itself, and the peer's texts and order of events where it is installed."""

import ctypes
import errno
import json
import os
import subprocess
import time

from harness import Daemon, check, check_each, equal, main, ours, program, run, skip

DAEMONS = ("emu-storage-daemon", "qemu-storage-daemon")
SIZE = 1 << 20
KEEP, PUNCH, ZERO = 1, 2, 16
LIBC = ctypes.CDLL(None, use_errno=True)


def mounted(path="mp"):
    with open("/proc/mounts", encoding="ascii") as mounts:
        return any(line.split()[1] == os.path.realpath(path) for line in mounts)


def daemon(name="emu-storage-daemon", image_size=SIZE):
    if not os.path.exists("/dev/fuse") or os.geteuid() != 0:
        skip("/dev/fuse and the right to mount are needed")
    with open("image", "wb") as image:
        image.truncate(image_size)
    with open("mp", "wb"):
        pass
    return Daemon("--blockdev", "file,node-name=n,filename=image,discard=unmap", name=name)


def add(d, **options):
    d.qmp.run("block-export-add", {"type": "fuse", "id": "e", "node-name": "n", "mountpoint": "mp"} | options)


def code(function, *args):
    """The name of the error, or the result."""
    try:
        return function(*args)
    except OSError as error:
        return errno.errorcode[error.errno]


def fallocate(fd, mode, offset, length):
    if LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) == 0:
        return 0
    return errno.errorcode[ctypes.get_errno()]


def image_bytes():
    with open("image", "rb") as image:
        return image.read()


@check_each(*DAEMONS)
def data_goes_both_ways(name):
    with daemon(name) as d:
        add(d, writable=True)
        fd = os.open("mp", os.O_RDWR)
        equal(os.pwrite(fd, b"x" * 70000, 4000), 70000)
        equal(os.pread(fd, 70010, 3995), bytes(5) + b"x" * 70000 + bytes(5))
        os.fsync(fd)
        equal(image_bytes()[4000:74000], b"x" * 70000)
        equal(os.pwrite(fd, b"y" * 200, SIZE - 100), 100, "write across the end")
        equal(code(os.pwrite, fd, b"y", SIZE), "EIO", "write at the end")
        equal(os.pread(fd, 200, SIZE - 100), b"y" * 100, "read across the end")
        equal(os.pread(fd, 200, SIZE + 5), b"", "read behind the end")
        os.close(fd)


@check
def many_requests_at_a_time():
    with daemon(image_size=64 << 20) as d:
        add(d, writable=True)
        run(ours("emu-io"), "-f", "raw", "-n", "-c", "aio_write -P 1 0 32M", "-c", "aio_write -P 2 32M 32M",
            "-c", "aio_flush", "-c", "read -P 1 0 32M", "-c", "read -P 2 32M 32M", "mp")


@check_each(*DAEMONS)
def sizes_follow(name):
    with daemon(name) as d:
        add(d, writable=True, growable=True)
        fd = os.open("mp", os.O_RDWR)
        equal(os.pwrite(fd, b"z" * 120, SIZE + 5000), 120, "write that grows")
        equal((os.stat("mp").st_size, os.stat("image").st_size), (SIZE + 5120, SIZE + 5120))
        os.ftruncate(fd, SIZE // 2)
        equal(os.stat("image").st_size, SIZE // 2)
        os.close(os.open("mp", os.O_RDWR | os.O_TRUNC))
        equal(os.stat("mp").st_size, SIZE // 2, "size after O_TRUNC")
        os.close(fd)


@check_each(*DAEMONS)
def ranges_are_zeroed_and_allocated(name):
    with daemon(name) as d:
        add(d, writable=True)
        fd = os.open("mp", os.O_RDWR)
        os.pwrite(fd, b"x" * SIZE, 0)
        equal(fallocate(fd, PUNCH | KEEP, 100, 200000), 0, "punch")
        equal(os.pread(fd, 200200, 0), b"x" * 100 + bytes(200000) + b"x" * 100)
        equal(fallocate(fd, ZERO | KEEP, SIZE - 4096, 8192), 0, "zero, keeping the size")
        equal(os.stat("mp").st_size, SIZE)
        equal(fallocate(fd, ZERO, SIZE - 8192, 16384), 0, "zero")
        equal(os.stat("mp").st_size, SIZE + 8192)
        equal(os.pread(fd, 65536, SIZE - 8193), b"x" + bytes(16384))
        equal(fallocate(fd, 0, 0, 4096), "ENOTSUP", "allocate inside")
        blocks = os.stat("image").st_blocks
        equal(fallocate(fd, 0, SIZE + 8192, 65536), 0, "allocate behind the end")
        equal(os.stat("image").st_size, SIZE + 8192 + 65536)
        assert os.stat("image").st_blocks >= blocks + 65536 // 512, os.stat("image").st_blocks
        os.close(fd)


@check
def holes_are_found():
    with daemon() as d:
        fd = os.open("image", os.O_WRONLY)
        os.pwrite(fd, b"d" * 65536, 131072)
        os.close(fd)
        add(d)
        with open("mp", "rb") as mp, open("image", "rb") as image:
            for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                for offset in (0, 1, 131071, 131072, 150000, 196607, 196608, 500000, SIZE - 1, SIZE, SIZE + 1):
                    equal(code(os.lseek, mp.fileno(), offset, whence), code(os.lseek, image.fileno(), offset, whence),
                          f"seek {whence} from {offset}")


@check_each(*DAEMONS)
def read_only_exports_refuse_changes(name):
    with daemon(name) as d:
        add(d)
        equal(os.stat("mp").st_mode, 0o100400)
        fd = os.open("mp", os.O_RDWR)
        equal(code(os.pwrite, fd, b"x", 0), "EACCES")
        equal(code(os.ftruncate, fd, 5), "EACCES")
        equal(fallocate(fd, PUNCH | KEEP, 0, 4096), "EACCES")
        equal(code(os.chmod, "mp", 0o600), "EROFS")
        os.chmod("mp", 0o500)
        equal(os.stat("mp").st_mode, 0o100500)
        equal(code(os.utime, "mp", (1, 1)), "ENOTSUP")
        os.close(fd)
        equal(image_bytes(), bytes(SIZE))


@check_each(*DAEMONS)
def other_users_need_to_be_allowed(name):
    with daemon(name) as d:
        add(d, **{"allow-other": "off"})
        equal(code(os.chmod, "mp", 0o444), "EPERM")
        equal(code(os.chown, "mp", 0, 0), "ENOTSUP")
        d.qmp.run("block-export-del", {"id": "e"})
        with open("mp2", "wb"):
            pass
        add(d, id="e2", mountpoint="mp2", **{"allow-other": "on"})
        os.chmod("mp2", 0o444)
        os.chown("mp2", 0, 0)
        stat = os.stat("mp2")
        equal((stat.st_mode, stat.st_uid, stat.st_gid), (0o100444, 0, 0))


@check_each(*DAEMONS)
def bad_mount_points_are_refused(name):
    with daemon(name) as d:
        os.mkdir("dir")
        export = {"type": "fuse", "id": "e", "node-name": "n"}

        def refused(**more):
            return d.qmp.refused("block-export-add", export | more)[1]

        equal(refused(), "Parameter 'mountpoint' is missing")
        equal(refused(mountpoint="no"), "Failed to stat 'no': No such file or directory")
        equal(refused(mountpoint="dir"), "'dir' is not a regular file")
        add(d)
        equal(refused(id="e2", mountpoint="mp"), "There already is a FUSE export on 'mp'")
        equal(d.qmp.run("query-block-exports"),
              [{"id": "e", "type": "fuse", "node-name": "n", "shutting-down": False}])


@check_each(*DAEMONS)
def deletion_unmounts_before_it_is_told(name):
    with daemon(name) as d:
        for _ in range(3):
            add(d)
            equal(os.stat("mp").st_size, SIZE)
            d.qmp.send(json.dumps({"execute": "block-export-del", "arguments": {"id": "e"}}))
            event, answer = d.qmp.message(), d.qmp.message()
            equal((event.get("event"), event.get("data"), answer), ("BLOCK_EXPORT_DELETED", {"id": "e"}, {"return": {}}))
            equal((mounted(), os.stat("mp").st_size), (False, 0))


@check_each(*DAEMONS)
def stopping_the_server_leaves_files(name):
    with daemon(name) as d:
        add(d)
        server = {"addr": {"type": "unix", "data": {"path": "nbd"}}}
        d.qmp.run("nbd-server-start", server)
        d.qmp.run("block-export-add", {"type": "nbd", "id": "n", "node-name": "n"})
        d.qmp.run("nbd-server-stop")
        equal([export["id"] for export in d.qmp.run("query-block-exports")], ["e"])
        equal(os.stat("mp").st_size, SIZE)


def wait_unmounted():
    deadline = time.monotonic() + 20
    while mounted() and time.monotonic() < deadline:
        time.sleep(0.02)
    equal(mounted(), False, "mounted")


@check_each("TERM", "INT", "quit")
def the_end_unmounts(how):
    d = daemon()
    add(d, writable=True)
    busy = os.open("mp", os.O_RDONLY)
    equal(os.read(busy, 5), bytes(5))
    if how == "quit":
        d.qmp.run("quit")
    else:
        subprocess.run(["kill", f"-{how}", str(d.process.pid)], check=True)
    equal(d.process.wait(timeout=30), 0, "exit status")
    wait_unmounted()
    equal(code(os.close, busy), "ENOTCONN", "close")
    d.stop()


@check
def a_failed_start_unmounts():
    daemon().stop()
    done = subprocess.run([program("emu-storage-daemon"), "--blockdev", "file,node-name=n,filename=image",
                           "--export", "fuse,id=e,node-name=n,mountpoint=mp", "--export", "fuse,id=e,node-name=x,"
                           "mountpoint=mp"], capture_output=True, text=True, timeout=30, check=False)
    equal(done.returncode, 1, "exit status")
    equal(mounted(), False, "mounted")


if __name__ == "__main__":
    main()
