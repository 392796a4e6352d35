#!/usr/bin/env python3
"""The command language of emu-io, and the errors and breakpoints of blkdebug that it is used with.

Oracles: the texts of the peer (qemu-io 10.0), data written before, and the documented order of events and rules.
"""

import re
import subprocess

from harness import check, check_each, equal, main, program, run


def plain(text):
    """Without what differs from run to run."""
    text = re.sub(r"[0-9:.]+ sec \(.*\)", "TIME", text)
    return re.sub(r"[0-9]+\.[0-9]+ (bytes|KiB|MiB|GiB|TiB)/sec and .*\)", "RATE)", text)


def image(name="x", size="1M", image_format="qcow2"):
    run("emu-img", "create", "-q", "-f", image_format, name, size)


def talk(*commands, options=("-f", "qcow2"), name="x", expect=0, tool="emu-io"):
    """What the tool prints for the commands, its complaints behind."""
    argv = [program(tool), *options, *(part for c in commands for part in ("-c", c)), *([name] if name else [])]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    equal(done.returncode, expect, f"exit status of {commands}: {done.stdout}{done.stderr}")
    return plain(done.stdout + done.stderr)


def stats(verb, size, text, offset=0):
    return f"{verb} {size}/{size} bytes at offset {offset}\n{text}, 1 ops; TIME\n"


@check
def what_was_written_is_read():
    image()
    equal(talk("write -P 0xa 0 64k", "read -P 0xa 0 64k"), stats("wrote", 65536, "64 KiB") + stats("read", 65536, "64 KiB"),
          "text")


@check
def a_wrong_pattern_fails():
    image()
    equal(talk("read -P 1 512 1k", expect=1),
          "Pattern verification failed at offset 512, 1024 bytes\n" + stats("read", 1024, "1 KiB", 512), "text")
    equal(talk("read -q -P 0 -s 100 -l 4 0 512"), "", "text of a part")
    equal(talk("read -P 0 -s 510 -l 4 0 512", expect=1), "pattern verification range exceeds end of read data\n", "text")


@check
def a_dump_shows_bytes_and_letters():
    image()
    equal(talk("write -q -P 65 0 512", "read -v 0 20").split("\nread")[0],
          "00000000:  41 41 41 41 41 41 41 41 41 41 41 41 41 41 41 41  AAAAAAAAAAAAAAAA\n"
          "00000010:  41 41 41 41  AAAA", "dump")


@check
def vectors_and_asynchronous_requests():
    image()
    equal(talk("writev -P 3 0 1k 2k", "aio_read -P 3 0 1k 2k", "aio_flush"),
          stats("wrote", 3072, "3 KiB") + stats("read", 3072, "3 KiB"), "text")
    equal(talk("aio_write -z 0 512 512", expect=1), "-z supports only a single length parameter\n", "text")


@check
def allocation_is_told():
    image()
    equal(talk("write -q 0 64k", "alloc 0 128k", "map"),
          "65536/131072 bytes allocated at offset 0 bytes\n"
          "64 KiB (0x10000) bytes     allocated at offset 0 bytes (0x0)\n"
          "960 KiB (0xf0000) bytes not allocated at offset 64 KiB (0x10000)\n", "text")
    equal(talk("truncate 1537k", "length"), "1.501 MiB\n", "length")


@check_each(
    ("read 0", "bad argument count 1 to read, expected at least 2 arguments\n"),
    ("foo", 'command "foo" not found\n'),
    ("read 0 1x", "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- 1x\n"),
    ("write 0 8E", "Parsing error: argument too large -- 8E\n"),
    ("write -P 300 0 512", "300 is not a valid pattern byte\n"),
    ("read 0 3G", "length cannot exceed 2147483136, given 3G\n"),
    ("write -u 0 512", "-u requires -z to be specified\n"),
    ("write -z -P 1 0 512", "Only one of -z, -P, and -s can be specified at the same time\n"),
    ("write -s nofile 0 512", "nofile: No such file or directory\n"),
    ("read 2M 512", "read failed: Input/output error\n"),
    ("aio_write 0 1 x", "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- x\n"),
    ("length 5", "bad argument count 1 to length, expected 0 arguments\n"),
    ("truncate -m foo 1M", "emu-io: Invalid preallocation mode 'foo'\n"),
    ("break l2_load A", "Could not set breakpoint: Operation not supported\n"),
    ("open x", "emu-io: file open already, try 'help close'\n"),
)
def what_is_wrong_is_said(command, text):
    image()
    equal(talk(command, expect=1), text, "text")


@check
def a_read_only_disk_is_not_written():
    image()
    equal(talk("write 0 512", options=("-r", "-f", "qcow2"), expect=1), "emu-io: Block node is read-only\n", "text")


@check
def a_disk_is_reopened_with_other_options():
    image()
    equal(talk("reopen -r", "write 0 512", "reopen -w", "write -q 0 512", expect=1),
          "emu-io: Block node is read-only\n", "text of read-only and back")
    equal(talk("reopen -o cache-size=1M", "reopen -o l2-cache-size=512k", "reopen -o refcount-cache-size=128k"), "",
          "the parts of the cache override its total")


@check_each(
    ("reopen -o driver=raw", "Cannot change the option 'driver'"),
    ("reopen -o file.node-name=x", "Cannot change the option 'node-name'"),
    ("reopen -r -o read-only=on", "Cannot set both -r/-w and 'read-only'"),
    ("reopen -c none -o cache.direct=on", "Cannot set both -c and the cache options"),
    ("reopen -o overlap-check=none,overlap-check.template=all",
     "Conflicting values for qcow2 options 'overlap-check' ('none') and 'overlap-check.template' ('all')"),
    ("reopen -o refcount-cache-size=256T", "Refcount cache size too big"),
)
def wrong_new_options_are_refused(command, text):
    image()
    equal(talk(command, expect=1), f"emu-io: {text}\n", "text")


@check
def a_disk_is_described():
    image()
    text = talk("info")
    equal(text.split("\n")[:5], ["format name: qcow2", "cluster size: 64 KiB", "vm state offset: 512 MiB",
                                 "Format specific information:", "    compat: 1.1"], "information")


@check
def lines_come_from_the_input():
    image()
    done = subprocess.run([program("emu-io"), "-f", "qcow2", "x"], input="length\n\nquit\nlength\n", capture_output=True,
                          text=True, timeout=60, check=True)
    equal(done.stdout, "emu-io> 1 MiB\nemu-io> emu-io> ", "text")


def talk_debug(rules, *commands, expect=0):
    """On the image x above a blkdebug node with these rules."""
    name = "driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=x,"
    return talk(*commands, options=("--image-opts",), name=name + ",".join("file." + rule for rule in rules),
                expect=expect)


@check
def an_error_comes_once_after_its_event():
    image()
    talk("write -q 0 64k")
    text = talk_debug(("inject-error.0.event=read_aio", "inject-error.0.once=on", "inject-error.0.errno=28"),
                      "read -q 0 512", "read -q 0 512", expect=1)
    equal(text, "read failed: No space left on device\n", "text")


@check
def a_state_decides_when_errors_begin():
    image()
    talk("write -q 0 64k")
    text = talk_debug(("set-state.0.event=read_aio", "set-state.0.state=1", "set-state.0.new_state=2",
                       "inject-error.0.event=read_aio", "inject-error.0.state=2"),
                      "read -q 0 512", "read -q 0 512", expect=1)
    equal(text, "read failed: Input/output error\n", "text")


@check
def a_breakpoint_stops_a_request():
    image()
    text = talk_debug(("align=512",), "break write_aio A", "aio_write -q -P 7 0 64k", "wait_break A", "resume A", "aio_flush",
                      "read -q -P 7 0 64k")
    equal(text, "blkdebug: Suspended request 'A'\nblkdebug: Resuming request 'A'\n", "text")


@check_each(
    ("align=3", "Cannot meet constraints with align 3"),
    ("max-transfer=3", "Cannot meet constraints with max-transfer 3"),
    ("inject-error.0.event=foo", "invalid parameter value: foo"),
    ("inject-error.0.errno=5", "Missing event name for rule"),
    ("config=nofile", "Could not read blkdebug config file: No such file or directory"),
)
def wrong_rules_are_refused(rule, text):
    image()
    equal(talk_debug((rule,), "length", expect=1), f"emu-io: can't open: {text}\n", "text")


@check
def rules_come_from_a_file():
    image()
    talk("write -q 0 64k")
    with open("rules", "w") as file:
        file.write('# a comment\n[inject-error]\nevent = "read_aio"\nerrno = "5"\niotype = "read"\n')
    equal(talk("read -q 0 512", options=(), name="blkdebug:rules:x", expect=1), "read failed: Input/output error\n", "text")


if __name__ == "__main__":
    main()
