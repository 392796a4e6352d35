#!/usr/bin/env python3
"""NBD between our programs and the peer's: our daemon serves theirs, our tools use theirs."""

import contextlib
import json
import os
import subprocess
import time

from harness import Daemon, check, check_each, equal, main, output, program, run
from images import MIB, pattern

URI = "nbd+unix:///disk?socket=nbd"


def served(image_format="raw", writable="on"):
    """Our daemon serves "disk" with the pattern in it."""
    pattern("disk.raw")
    if image_format == "qcow2":
        run("emu-img", "convert", "-O", "qcow2", "disk.raw", "disk")
    else:
        os.link("disk.raw", "disk")
    return Daemon("--blockdev", "file,node-name=f,filename=disk", "--blockdev",
                  f"{image_format},node-name=disk,file=f,discard=unmap", "--nbd-server", "addr.type=unix,addr.path=nbd",
                  "--export", f"nbd,id=e,node-name=disk,name=disk,writable={writable}")


@check_each("raw", "qcow2")
def nbdinfo_describes_the_export(image_format):
    with served(image_format):
        export = json.loads(output("nbdinfo", "--json", URI))["exports"][0]
        equal(export["export-size"], 8 * MIB, "size")
        equal(export["is_read_only"], False, "read-only")
        for able in ("can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn", "can_df", "can_cache"):
            equal(export[able], True, able)
        assert "base:allocation" in export["contexts"], export["contexts"]
        listed = json.loads(output("nbdinfo", "--json", "--list", "nbd+unix:///?socket=nbd"))["exports"]
        equal([entry["export-name"] for entry in listed], ["disk"], "names")


@check
def nbdinfo_sees_a_read_only_export():
    with served(writable="off"):
        run("nbdinfo", "--is", "read-only", URI)
        run("nbdinfo", "--can", "write", URI, expect=2)


@check
def nbdinfo_does_not_find_another_name():
    with served():
        run("nbdinfo", "nbd+unix:///other?socket=nbd", expect=1)


@check_each("raw", "qcow2")
def nbdinfo_map_has_the_holes(image_format):
    with served(image_format):
        extents = json.loads(output("nbdinfo", "--map", "--json", URI))
        equal(sum(extent["length"] for extent in extents), 8 * MIB, "length of all extents")
        at_2m = next(extent for extent in extents if extent["offset"] + extent["length"] > 2 * MIB)
        equal(at_2m["description"], "hole,zero", "2 MiB")


@check_each("raw", "qcow2")
def nbdcopy_copies_from_and_to_the_daemon(image_format):
    with served(image_format):
        run("nbdcopy", URI, "copy.raw")
        run("cmp", "disk.raw", "copy.raw")
        with open("new.raw", "wb") as file:
            file.write(os.urandom(8 * MIB))
        run("nbdcopy", "--flush", "new.raw", URI)
        run("nbdcopy", URI, "back.raw")
        run("cmp", "new.raw", "back.raw")


@check_each("raw", "qcow2")
def qemu_img_converts_and_compares(image_format):
    with served(image_format):
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", URI, "copy.qcow2")
        run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", "copy.qcow2", URI)
        run("qemu-io", "-c", "write -P 77 1M 2M", "copy.qcow2")
        run("qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", "copy.qcow2", URI)
        run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", "copy.qcow2", URI)


@check_each("write -P 7 0 64k;read -P 7 0 64k", "write -P 7 1000 3;read -P 7 1000 3", "write -z 1M 1M;read -P 0 1M 1M",
            "write -z -u 1M 1M;read -P 0 1M 1M", "discard 5M 1M;read 5M 1M", "write -f -P 9 8191k 1k;read -P 9 8191k 1k",
            "aio_write -P 5 0 1M;aio_write -P 6 1M 1M;aio_flush;read -P 5 0 1M;read -P 6 1M 1M", "flush")
def qemu_io_runs(commands):
    for image_format in ("raw", "qcow2"):
        for name in ("disk", "disk.raw", "nbd"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        with served(image_format):
            flags = [word for command in commands.split(";") for word in ("-c", command)]
            said = output("qemu-io", "-f", "raw", *flags, URI)
            assert "failed" not in said.lower(), said


@check
def qemu_io_may_not_write_a_read_only_export():
    with served(writable="off"):
        done = run("qemu-io", "-f", "raw", "-c", "write 0 64k", URI, expect=None)
        equal(done.returncode, 1, "exit status")


@contextlib.contextmanager
def server(*command):
    """Another program's server on the socket "nbd"."""
    argv = [os.path.abspath(word) if word == "nbd" else word for word in command[1:]]
    with subprocess.Popen([program(command[0]), *argv], stderr=subprocess.DEVNULL) as process:
        try:
            while not os.path.exists("nbd"):
                assert process.poll() is None, f"{command} ended"
                time.sleep(0.01)
            yield
        finally:
            process.terminate()


SERVERS = ("qemu-nbd -t -f raw -k nbd -x disk disk.raw", "nbdkit -f -U nbd file disk.raw",
           "nbdkit -f -U nbd --no-sr file disk.raw", "nbdkit -f -U nbd --mask-handshake=0 file disk.raw",
           "nbdkit -f -U nbd --filter=blocksize-policy file disk.raw blocksize-minimum=4096 blocksize-error-policy=error")


@check_each(*SERVERS)
def emu_img_is_a_client_of(command):
    pattern("disk.raw")
    with server(*command.split()):
        run("emu-img", "compare", "-f", "raw", "-F", "raw", "disk.raw", URI)
        run("emu-img", "convert", "-f", "raw", "-O", "qcow2", URI, "copy.qcow2")
        run("emu-img", "check", "copy.qcow2")
        run("emu-img", "compare", "-f", "raw", "-F", "qcow2", "disk.raw", "copy.qcow2")
        info = json.loads(output("emu-img", "info", "-f", "raw", "--output=json", URI))
        equal(info["virtual-size"], 8 * MIB, "virtual size")
        extents = json.loads(output("emu-img", "map", "-f", "raw", "--output=json", URI))
        equal(sum(extent["length"] for extent in extents), 8 * MIB, "length of all extents")


@check_each(*SERVERS)
def emu_img_writes_to(command):
    with open("disk.raw", "wb") as file:
        file.write(b"\xff" * (8 * MIB))
    pattern("new.raw")
    with server(*command.split()):
        run("emu-img", "convert", "-n", "-f", "raw", "-O", "raw", "new.raw", URI)
    run("cmp", "disk.raw", "new.raw")


@check
def a_server_that_is_not_there():
    done = run("emu-img", "info", "-f", "raw", URI, expect=1)
    assert "Failed to connect to 'nbd': No such file or directory" in done.stderr, done.stderr


@check
def an_export_that_is_not_there():
    pattern("disk.raw")
    with server(*SERVERS[0].split()):
        done = run("emu-img", "info", "-f", "raw", "nbd+unix:///other?socket=nbd", expect=1)
        assert "export 'other' not present" in done.stderr, done.stderr


if __name__ == "__main__":
    main()
