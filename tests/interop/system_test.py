#!/usr/bin/env python3
"""The machine without a processor: devices on disks, media, people's monitors, run states. Texts are recorded from the reference."""

import os
import socket
import subprocess
import tempfile

from harness import QMP, check, equal, main, ours

NULL = "driver=null-co,node-name=n,size=67108864,read-zeroes=on"
QUIET = ("-nodefaults", "-display", "none", "-accel", "qtest")


class Machine:
    """A machine with a QMP monitor on an inherited socket, as test suites start it."""

    def __init__(self, *options, fds=(), capabilities=()):
        mine, theirs = socket.socketpair()
        mine.settimeout(20)
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [ours("emu-system-x86_64"), *QUIET, "-chardev", f"socket,id=mon,fd={theirs.fileno()}", "-mon",
             "chardev=mon,mode=control", *options], pass_fds=[theirs.fileno(), *fds], stderr=self.log,
            stdin=subprocess.DEVNULL)
        theirs.close()
        try:
            self.qmp = QMP(mine, capabilities=capabilities)
        except EOFError as error:
            self.process.wait(20)
            raise AssertionError(self.text()) from error

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def hmp(self, line):
        return self.qmp.run("human-monitor-command", command_line=line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def fails(*options):
    """What a machine that cannot start says."""
    done = subprocess.run([ours("emu-system-x86_64"), *QUIET, *options], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=30, check=False)
    equal(done.returncode, 1, "exit status")
    return done.stderr.split(": ", 1)[1].strip()


@check
def a_disk_is_plugged_and_unplugged():
    with Machine("-blockdev", NULL, "-device", "virtio-scsi,id=s") as vm:
        vm.qmp.run("device_add", driver="scsi-hd", id="d", drive="n")
        equal([(b["qdev"], b["io-status"], b["inserted"]["node-name"]) for b in vm.qmp.run("query-block")],
              [("d", "ok", "n")], "query-block")
        equal(vm.qmp.refused("blockdev-del", node_name="n"), ("GenericError", "Node n is in use"))
        vm.qmp.run("device_del", id="d")
        vm.qmp.wait("DEVICE_DELETED", device="d", path="/machine/peripheral/d")
        vm.qmp.run("blockdev-del", node_name="n")


@check
def a_guest_has_a_say_in_unplugging_from_pci_until_reset():
    with Machine("-blockdev", NULL, "-device", "virtio-blk,id=d,drive=n") as vm:
        vm.qmp.run("device_del", id="d")
        equal(vm.qmp.refused("device_del", id="d"),
              ("GenericError", "Device d is already in the process of unplug"))
        vm.qmp.run("system_reset")
        names = [(e["event"], e.get("data", {}).get("path")) for e in vm.qmp.events]
        equal(names, [("DEVICE_DELETED", "/machine/peripheral/d/virtio-backend"),
                      ("DEVICE_DELETED", "/machine/peripheral/d"), ("RESET", None)], "events")
        equal(vm.qmp.run("query-block"), [], "query-block")


@check
def what_is_wrong_with_a_device_is_said():
    with Machine("-blockdev", NULL, "-device", "virtio-scsi,id=s") as vm:
        for arguments, text in (
                ({"driver": "nope"}, "'nope' is not a valid device model name"),
                ({"driver": "scsi-hd", "drive": "zz"}, "Property 'scsi-hd.drive' can't find value 'zz'"),
                ({"driver": "virtio-blk-pci", "drive": "zz"},
                 "Property 'virtio-blk-device.drive' can't find value 'zz'"),
                ({"driver": "scsi-hd"}, "drive property not set"),
                ({"driver": "scsi-hd", "drive": "n", "bus": "nobus"}, "Bus 'nobus' not found"),
                ({"driver": "virtio-blk-pci", "drive": "n", "id": "s"}, "Duplicate device ID 's'"),
                ({"driver": "scsi-hd", "drive": "n", "nope": 1}, "Property 'scsi-hd.nope' not found"),
        ):
            equal(vm.qmp.refused("device_add", arguments), ("GenericError", text), str(arguments))


@check
def two_devices_do_not_share_a_disk_unless_told_to():
    with Machine("-blockdev", NULL, "-device", "virtio-scsi", "-device", "scsi-hd,drive=n,share-rw=on") as vm:
        _, text = vm.qmp.refused("device_add", driver="scsi-hd", drive="n")
        assert "Permission conflict on node 'n'" in text, text
        vm.qmp.run("device_add", {"driver": "scsi-hd", "drive": "n", "share-rw": True})


@check
def devices_of_a_disk_have_one_thread():
    with Machine("-blockdev", NULL, "-object", "iothread,id=t", "-device", "virtio-scsi,iothread=t",
                 "-device", "scsi-hd,drive=n,share-rw=on") as vm:
        equal(vm.qmp.refused("device_add", {"driver": "virtio-blk", "drive": "n", "share-rw": True}),
              ("GenericError", "Cannot change iothread of active block backend"))


@check
def the_thread_of_a_used_disk_stays():
    with Machine("-blockdev", NULL, "-blockdev", "null-co,node-name=m", "-object", "iothread,id=t",
                 "-object", "secret,id=s,data=x", "-device", "virtio-blk,drive=n") as vm:
        refused = lambda **arguments: vm.qmp.refused("x-blockdev-set-iothread", arguments)[1]
        equal(refused(**{"node-name": "zz", "iothread": "t"}), "Failed to find node with node-name='zz'")
        equal(refused(**{"node-name": "m", "iothread": "zz"}), "Cannot find iothread zz")
        equal(refused(**{"node-name": "m", "iothread": "s"}), "Cannot find iothread s")
        equal(refused(**{"node-name": "n", "iothread": "t"}),
              "Node n is associated with a BlockBackend and could be in use (use force=true to override this check)")
        equal(refused(**{"node-name": "n", "iothread": "t", "force": True}),
              "Cannot change iothread of active block backend")
        vm.qmp.run("x-blockdev-set-iothread", {"node-name": "n", "iothread": None, "force": True})
        vm.qmp.run("x-blockdev-set-iothread", {"node-name": "m", "iothread": "t"})


@check
def media_come_and_go():
    with Machine("-blockdev", NULL, "-device", "virtio-scsi", "-device", "scsi-cd,id=cd") as vm:
        equal(vm.qmp.refused("blockdev-insert-medium", id="cd", node_name="n"),
              ("GenericError", "Tray of the device is not open"))
        vm.qmp.run("blockdev-open-tray", id="cd")
        vm.qmp.wait("DEVICE_TRAY_MOVED", **{"id": "cd", "tray-open": True})
        vm.qmp.run("blockdev-insert-medium", id="cd", node_name="n")
        vm.qmp.run("blockdev-close-tray", id="cd")
        vm.qmp.wait("DEVICE_TRAY_MOVED", **{"id": "cd", "tray-open": False})
        equal(vm.qmp.refused("blockdev-remove-medium", id="cd"),
              ("GenericError", "Tray of device 'cd' is not open"))
        vm.qmp.run("eject", id="cd")
        assert "inserted" not in vm.qmp.run("query-block")[0]
        equal(vm.qmp.refused("eject", id="nope"), ("DeviceNotFound", "Device 'nope' not found"))


@check
def drives_are_named_and_placed():
    with Machine("-drive", "if=virtio," + NULL, "-drive", "if=ide,media=cdrom", "-drive", "if=floppy") as vm:
        equal([b["device"] for b in vm.qmp.run("query-block")], ["virtio0", "ide0-cd0", "floppy0"], "names")
    for text, error in (
            ("if=nope", "unsupported bus type 'nope'"),
            ("cache=nope", "invalid cache option"),
            ("media=nope", "'nope' invalid media"),
            ("format=raw,driver=raw,file=x", "Cannot specify both 'driver' and 'format'"),
            ("if=none,id=1x", "Parameter 'id' expects an identifier"),
            ("rerror=enospc", "'enospc' invalid read error action"),
            ("snapshot=on,file=x", "snapshot=on is not supported"),
            ("unit=2", "unit 2 too big (max is 1)"),
    ):
        said = fails("-drive", text)
        assert said.startswith(f"-drive {text}: {error}"), said


@check
def a_hard_disk_needs_a_medium_it_can_write_to():
    equal(fails("-drive", "if=ide"), "Device needs media, but drive is empty")
    equal(fails("-drive", "if=virtio"), "-drive if=virtio: Device needs media, but drive is empty")
    equal(fails("-drive", "if=ide,readonly=on," + NULL), "Block node is read-only")


@check
def stop_and_cont_are_told():
    with Machine("-S") as vm:
        equal(vm.qmp.run("query-status"), {"running": False, "status": "prelaunch"}, "status")
        equal(vm.hmp("info status"), "VM status: paused (prelaunch)\r\n", "info status")
        vm.qmp.run("cont")
        vm.qmp.run("stop")
        vm.qmp.run("stop")
        equal([e["event"] for e in vm.qmp.events], ["RESUME", "STOP"], "events")
        vm.qmp.run("quit")
        equal(vm.qmp.events[-1]["data"], {"guest": False, "reason": "host-qmp-quit"}, "SHUTDOWN")
        equal(vm.process.wait(20), 0, "exit status")


@check
def people_get_their_answers_over_qmp():
    with Machine("-blockdev", NULL, "-device", "virtio-blk,drive=n,id=d") as vm:
        equal(vm.hmp("bogus"), "unknown command: 'bogus'\r\n")
        equal(vm.hmp("info version"), "10.0.2\r\n")
        equal(vm.hmp("info block-jobs"), "No active jobs\r\n")
        equal(vm.hmp('qemu-io n "read 0 4k"'), "")
        equal(vm.hmp('qemu-io zz "read 0 4k"'), "Error: Cannot find device='' nor node-name='zz'\r\n")
        equal(vm.hmp("eject zz"), "Error: Device 'zz' not found\r\n")
        equal(vm.hmp("info block").split("\r\n")[1],
              "    Attached to:      /machine/peripheral/d/virtio-backend")


@check
def a_line_is_echoed_as_it_is_typed():
    done = subprocess.run([ours("emu-system-x86_64"), *QUIET, "-monitor", "stdio"], input=b"quit\n",
                          stdout=subprocess.PIPE, timeout=30, check=True)
    back, clear = b"\x1b[D", b"\x1b[K"
    typed = b"".join(back * n + b"quit"[:n + 1] + clear for n in range(4))
    equal(done.stdout, b"QEMU 10.0.2 monitor - type 'help' for more information\r\n(qemu) " + typed + b"\r\n")


@check
def objects_have_paths():
    with Machine("-object", "iothread,id=t", "-blockdev", NULL, "-device", "virtio-blk,drive=n,id=d") as vm:
        equal([row["name"] for row in vm.qmp.run("qom-list", path="/machine/peripheral")], ["type", "d"], "list")
        equal(vm.qmp.run("qom-get", path="/machine/peripheral/d", property="drive"), "n")
        equal(vm.qmp.run("qom-get", path="/objects/t", property="type"), "iothread")
        equal(vm.qmp.refused("qom-get", path="d", property="nope"),
              ("GenericError", "Property 'virtio-blk-pci.nope' not found"))


@check
def a_disk_with_a_stored_bitmap_becomes_writable():
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "disk")
        for words in (("create", "-q", "-f", "qcow2", image, "1M"), ("bitmap", "--add", image, "b")):
            subprocess.run([ours("emu-img"), *words], check=True, timeout=30)
        with Machine("-drive", f"if=none,id=d,node-name=n,read-only=on,format=qcow2,file={image}") as vm:
            vm.qmp.run("blockdev-reopen", options=[{"node-name": "n", "driver": "qcow2", "read-only": False,
                                                    "file": {"driver": "file", "filename": image}}])
            equal(vm.qmp.run("query-block")[0]["inserted"]["ro"], False, "read-only")
            equal(vm.hmp('qemu-io d "write 0 4k"'), "")
            equal(vm.qmp.run("query-block")[0]["inserted"]["dirty-bitmaps"][0]["count"], 65536, "dirty bytes")


@check
def types_have_properties():
    with Machine() as vm:
        names = lambda name: {p["name"]: p["type"] for p in vm.qmp.run("qom-list-properties", typename=name)}
        equal(names("iothread")["poll-max-ns"], "int")
        equal(names("scsi-hd")["bootindex"], "int32")
        equal(vm.qmp.refused("qom-list-properties", typename="nope"), ("DeviceNotFound", "Class 'nope' not found"))


@check
def iothreads_are_listed():
    with Machine("-object", "iothread,id=b,poll-max-ns=7", "-object", "secret,id=s,data=x") as vm:
        vm.qmp.run("object-add", {"qom-type": "iothread", "id": "a", "aio-max-batch": 3})
        b, a = vm.qmp.run("query-iothreads")
        assert os.path.isdir(f"/proc/{vm.process.pid}/task/{a['thread-id']}"), a
        equal((a["id"], a["aio-max-batch"], b["id"], b["poll-max-ns"]), ("a", 3, "b", 7))


def send_fd(vm, path, flags):
    """Sends a descriptor ahead of the command that it belongs to, as clients do: with a space."""
    fd = os.open(path, flags)
    socket.send_fds(vm.qmp.stream, [b" "], [fd])
    os.close(fd)


def image(name, byte):
    with open(name, "wb") as file:
        file.write(byte * 65536)
    return name


@check
def descriptors_come_over_the_monitor(capabilities=()):
    image("a", b"a")
    none = ("GenericError", "No file descriptor supplied via SCM_RIGHTS")
    with Machine(capabilities=capabilities) as vm:
        equal(vm.qmp.refused("getfd", fdname="x"), none)
        equal(vm.qmp.refused("add-fd"), none)
        send_fd(vm, "a", os.O_RDONLY)
        equal(vm.qmp.refused("getfd", fdname="0x"),
              ("GenericError", "Parameter 'fdname' expects a name not starting with a digit"))
        send_fd(vm, "a", os.O_RDONLY)
        vm.qmp.run("getfd", fdname="x")
        vm.qmp.run("closefd", fdname="x")
        equal(vm.qmp.refused("closefd", fdname="x"), ("GenericError", "File descriptor named 'x' not found"))
        for flags in (os.O_RDONLY, os.O_RDWR):
            send_fd(vm, "a", flags)
            equal(vm.qmp.run("add-fd", fdset_id=2, opaque=str(flags))["fdset-id"], 2)
        send_fd(vm, "a", os.O_RDONLY)
        equal(vm.qmp.run("add-fd")["fdset-id"], 0)
        many, one = vm.qmp.run("query-fdsets")
        equal([fd["opaque"] for fd in many["fds"]], [str(os.O_RDONLY), str(os.O_RDWR)])
        os.unlink("a")
        options = {"driver": "file", "filename": "/dev/fdset/2", "node-name": "f"}
        vm.qmp.run("blockdev-add", options)
        equal(vm.hmp('qemu-io f "read -P 0x61 0 4k"'), "")
        vm.qmp.run("blockdev-del", node_name="f")
        equal(vm.qmp.refused("blockdev-add", {**options, "filename": "/dev/fdset/0"}),
              ("GenericError", "Could not open '/dev/fdset/0': Permission denied"))
        equal(vm.qmp.refused("blockdev-add", {**options, "filename": "/dev/fdset/7"}),
              ("GenericError", "Could not open '/dev/fdset/7': No such file or directory"))
        equal(vm.qmp.refused("remove-fd", fdset_id=2, fd=999),
              ("GenericError", "File descriptor named 'fdset-id:2, fd:999' not found"))
        vm.qmp.run("remove-fd", fdset_id=0, fd=one["fds"][0]["fd"])
        vm.qmp.run("remove-fd", fdset_id=2)
        equal(vm.qmp.refused("remove-fd", fdset_id=2),
              ("GenericError", "File descriptor named 'fdset-id:2' not found"))
        equal(vm.qmp.run("query-fdsets"), [])


@check
def descriptors_come_to_the_monitor_thread():
    descriptors_come_over_the_monitor(("oob",))


@check
def descriptors_are_inherited():
    fd = os.open(image("a", b"a"), os.O_RDWR)
    with Machine("-add-fd", f"fd={fd},set=1,opaque=rw:1", "-drive", "if=none,id=d,format=raw,file=/dev/fdset/1",
                 fds=[fd]) as vm:
        equal([(s["fdset-id"], s["fds"][0]["opaque"]) for s in vm.qmp.run("query-fdsets")], [(1, "rw:1")])
        equal(vm.hmp('qemu-io d "write -P 0x62 0 512"'), "")
    equal(os.pread(fd, 2, 0), b"bb")
    os.close(fd)
    equal(fails("-add-fd", "fd=1,set=1"), "-add-fd fd=1,set=1: fd cannot be a standard I/O stream")
    equal(fails("-add-fd", "fd=999,set=1"), "-add-fd fd=999,set=1: fd is not valid or already in use")


@check
def lists_for_scripts():
    run = lambda *options: subprocess.run([ours("emu-system-x86_64"), *options], capture_output=True, text=True,
                                          check=True, timeout=30).stdout
    assert "pc-i440fx-10.0       Standard PC (i440FX + PIIX, 1996) (default)" in run("-machine", "help")
    assert 'name "virtio-blk-pci", bus PCI, alias "virtio-blk"' in run("-M", "none", "-device", "help")
    lines = run("-drive", "format=help").splitlines()
    assert lines[0].startswith("Supported formats: ") and " qcow2 " in lines[0], lines
    assert lines[1].startswith("Supported formats (read-only): "), lines


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C")
    main()
