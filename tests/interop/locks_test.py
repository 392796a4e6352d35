#!/usr/bin/env python3
"""One writer at a time: the locks of image files hold between our programs and the peer's, both ways."""

import subprocess

from harness import Daemon, check, check_each, equal, main, program, run

WRITE_LOCK = 'Failed to get "write" lock'
SHARED_LOCK = 'Failed to get shared "write" lock'


def image():
    run("emu-img", "create", "-q", "-f", "qcow2", "disk.qcow2", "4M")


def holder(*more, **options):
    image()
    read_only = options.get("read_only", "off")
    blockdevs = ["--blockdev", f"file,node-name=f,filename=disk.qcow2,read-only={read_only}",
                 "--blockdev", f"qcow2,node-name=disk,file=f,read-only={read_only}"]
    return Daemon(*blockdevs, "--nbd-server", "addr.type=unix,addr.path=nbd", "--export",
                  f"nbd,id=e,node-name=disk,writable={'off' if read_only == 'on' else 'on'}", *more,
                  name=options.get("name", "emu-storage-daemon"))


def refused(*command, text):
    done = run(*command, expect=None)
    said = done.stdout + done.stderr
    assert text in said, f"{command} was not refused: {said}"
    assert 'Is another process using the image [disk.qcow2]?' in said, said


@check_each("qemu-io -c quit disk.qcow2", "qemu-img check -r all disk.qcow2", "emu-img check -r all disk.qcow2")
def what_our_daemon_writes_nobody_else_may_write(command):
    with holder():
        refused(*command.split(), text=WRITE_LOCK)


@check_each("qemu-img info disk.qcow2", "qemu-img convert -O raw disk.qcow2 x", "emu-img info disk.qcow2",
            "emu-img convert -O raw disk.qcow2 x", "emu-img map disk.qcow2", "emu-img compare disk.qcow2 disk.qcow2")
def what_our_daemon_writes_nobody_else_may_read(command):
    with holder():
        refused(*command.split(), text=SHARED_LOCK)
        run(*command.replace("disk.qcow2", "-U disk.qcow2", 1).split())


@check_each("qemu-img info disk.qcow2", "qemu-io -r -c quit disk.qcow2", "emu-img info disk.qcow2")
def what_our_daemon_only_reads_others_may_read(command):
    with holder(read_only="on"):
        run(*command.split())


@check_each("emu-img info disk.qcow2", "emu-img convert -O raw disk.qcow2 x", "emu-img map disk.qcow2")
def what_the_reference_writes_our_tools_may_not_read(command):
    with holder(name="qemu-storage-daemon"):
        refused(*command.split(), text=SHARED_LOCK)
        run(*command.replace("disk.qcow2", "-U disk.qcow2", 1).split())


@check
def what_qemu_io_holds_our_daemon_may_not_open():
    image()
    with subprocess.Popen([program("qemu-io"), "disk.qcow2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          bufsize=0) as peer:
        # The prompt comes when the image is open.
        equal(peer.stdout.read(7), b"qemu-io", "the prompt")
        refused("emu-img", "check", "-r", "all", "disk.qcow2", text=WRITE_LOCK)
        with Daemon("--blockdev", "file,node-name=f,filename=disk.qcow2") as daemon:
            error = daemon.qmp.refused("blockdev-add", driver="qcow2", node_name="disk", file="f")
            assert WRITE_LOCK in error[1], error
        peer.stdin.close()


@check
def two_of_our_daemons_may_not_write_one_image():
    with holder(), Daemon("--blockdev", "file,node-name=f,filename=disk.qcow2") as second:
        error = second.qmp.refused("blockdev-add", driver="qcow2", node_name="disk", file="f")
        assert WRITE_LOCK in error[1], error
        second.qmp.run("blockdev-del", node_name="f")


@check
def deleting_the_node_gives_the_image_back():
    with holder() as daemon:
        daemon.qmp.run("block-export-del", id="e", mode="hard")
        daemon.qmp.wait("BLOCK_EXPORT_DELETED", id="e")
        daemon.qmp.run("blockdev-del", node_name="disk")
        daemon.qmp.run("blockdev-del", node_name="f")
        run("qemu-io", "-c", "write -P 1 0 64k", "disk.qcow2")
        run("emu-img", "check", "disk.qcow2")


if __name__ == "__main__":
    main()
