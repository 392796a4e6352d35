#!/usr/bin/env python3
"""The life of the daemon: ways to end it, to start it, and to talk to it."""

import json
import os
import signal
import socket
import subprocess
import time

from harness import QMP, Daemon, check, check_each, equal, main, program, run

BOTH = ("emu-storage-daemon", "qemu-storage-daemon")
NULL = "null-co,node-name=n,size=67108864"
EXPORT = ("--blockdev", NULL, "--nbd-server", "addr.type=unix,addr.path=nbd", "--export", "nbd,id=e,node-name=n")


@check_each(*BOTH)
def quit_deletes_exports_answers_and_ends(name):
    with Daemon(*EXPORT, name=name) as daemon:
        equal(daemon.qmp.run("quit"), {}, "answer")
        assert {"id": "e"} in [event.get("data") for event in daemon.qmp.events], daemon.qmp.events
        equal(daemon.process.wait(20), 0, "exit status")
        assert name in BOTH[1:] or not os.path.exists("nbd"), "the socket of the NBD server is still there"


@check_each(*((name, number) for name in BOTH for number in ("SIGTERM", "SIGINT", "SIGHUP")))
def a_signal_ends_it(name, number):
    with Daemon(*EXPORT, name=name) as daemon:
        daemon.process.send_signal(getattr(signal, number))
        equal(daemon.process.wait(20), 0, "exit status")
        daemon.qmp.rest()
        assert "BLOCK_EXPORT_DELETED" in [event["event"] for event in daemon.qmp.events], daemon.qmp.events


@check_each(*BOTH)
def it_runs_in_the_background_with_a_pidfile(name):
    subprocess.run([program(name), "--daemonize", "--pidfile", "pid", "--chardev",
                    "socket,id=c,path=qmp,server=on,wait=off", "--monitor", "c"], check=True, timeout=30)
    with open("pid", encoding="ascii") as file:
        pid = int(file.read())
    os.kill(pid, 0)
    qmp = QMP.connect("qmp")
    qmp.run("quit")
    qmp.rest()
    deadline = time.monotonic() + 20
    while os.path.exists("pid") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists("pid"), "the pidfile is still there"


@check_each(*BOTH)
def the_parent_of_a_daemon_that_cannot_start_fails(name):
    done = subprocess.run([program(name), "--daemonize", "--blockdev", "file,node-name=f,filename=nothere"],
                          capture_output=True, text=True, timeout=30, check=False)
    equal(done.returncode, 1, "exit status")
    assert "Could not open 'nothere': No such file or directory" in done.stderr, done.stderr


@check_each(*BOTH)
def it_takes_over_a_listening_socket(name):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("given")
        listener.listen()
        fd = listener.fileno()
        with subprocess.Popen([program(name), "--chardev", f"socket,id=c,fd={fd},server=on,wait=off", "--monitor", "c"],
                              pass_fds=(fd,)) as process:
            qmp = QMP.connect("given")
            qmp.run("quit")
            equal(process.wait(20), 0, "exit status")


@check_each(*BOTH)
def it_talks_over_stdio(name):
    requests = '{"execute":"qmp_capabilities"}{"execute":"query-jobs","id":7}{"execute":"quit"}\n'
    done = subprocess.run([program(name), "--chardev", "stdio,id=c", "--monitor", "c"], input=requests, text=True,
                          capture_output=True, timeout=30, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    equal(done.returncode, 0, "exit status")
    assert "QMP" in lines[0] and {"return": [], "id": 7} in lines, lines


@check_each(*BOTH)
def two_monitors_get_the_same_events(name):
    with Daemon("--chardev", "socket,id=c2,path=second,server=on,wait=off", "--monitor", "c2", "--blockdev", NULL,
                "--blockdev", NULL.replace("=n,", "=t,"), name=name) as daemon:
        second = QMP.connect("second")
        late = daemon.qmp
        late.run("blockdev-backup", job_id="j", device="n", target="t", sync="full")
        for qmp in (late, second):
            qmp.wait("JOB_STATUS_CHANGE", id="j", status="null")
        equal([event["event"] for event in late.events], [event["event"] for event in second.events], "events")


@check_each(*BOTH)
def a_client_may_come_again(name):
    with Daemon("--blockdev", NULL, name=name) as daemon:
        daemon.qmp.stream.close()
        again = daemon.connect()
        equal(len(again.run("query-named-block-nodes")), 1, "nodes")


@check
def oob_overtakes_what_is_queued():
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind("silent")
        silent.listen()
        with Daemon(capabilities=("oob",)) as daemon:
            qmp = daemon.qmp
            add = {"driver": "nbd", "node-name": "x", "server": {"type": "unix", "path": "silent"}}
            qmp.send(json.dumps({"execute": "blockdev-add", "arguments": add, "id": "add"}))
            instance = {"type": "block-node", "node-name": "x"}
            deadline = time.monotonic() + 20
            while instance not in daemon_instances(qmp) and time.monotonic() < deadline:
                time.sleep(0.01)
            qmp.send(json.dumps({"exec-oob": "yank", "arguments": {"instances": [instance]}, "id": "yank"}))
            answers = [qmp.reply(), qmp.reply()]
            equal(sorted(answer["id"] for answer in answers), ["add", "yank"], "answers")
            add_answer = next(answer for answer in answers if answer["id"] == "add")
            assert "error" in add_answer, add_answer


def daemon_instances(qmp):
    """Asked out of band too, because the monitor is waiting for the answer to blockdev-add."""
    qmp.send(json.dumps({"exec-oob": "query-yank", "id": "q"}))
    answer = qmp.reply()
    return answer.get("return", [{"type": "block-node", "node-name": "x"}])


@check_each(*BOTH)
def options_are_carried_out_in_order(name):
    done = subprocess.run([program(name), "--nbd-server", "addr.type=unix,addr.path=nbd", "--export",
                           "nbd,id=e,node-name=n", "--blockdev", NULL], capture_output=True, text=True, timeout=30,
                          check=False)
    equal(done.returncode, 1, "exit status")
    assert "nor node-name='n'" in done.stderr, done.stderr


@check_each("--nope", "--blockdev driver=nope,node-name=n", "--monitor nope", "--chardev nope,id=c", "extra")
def wrong_options_are_refused(option):
    done = subprocess.run([program("emu-storage-daemon"), *option.split()], capture_output=True, text=True, timeout=30,
                          check=False)
    equal(done.returncode, 1, "exit status")
    assert "emu-storage-daemon: " in done.stderr, done.stderr


@check
def a_compressed_backup_of_scattered_data_is_whole():
    """Pieces smaller than a cluster, with holes between: each cluster is compressed as a whole."""
    with open("source", "wb") as file:
        file.truncate(1 << 20)
        for at in (5000, 70000, 300000, 310000, 655360):
            file.seek(at)
            file.write(bytes([at % 251]) * 3000)
    run("emu-img", "create", "-q", "-f", "qcow2", "target", "1M")
    nodes = ("file,node-name=sf,filename=source", "raw,node-name=s,file=sf", "file,node-name=tf,filename=target",
             "qcow2,node-name=t,file=tf")
    with Daemon(*(part for node in nodes for part in ("--blockdev", node))) as daemon:
        daemon.qmp.run("blockdev-backup", job_id="j", device="s", target="t", sync="full", compress=True)
        event = daemon.qmp.wait("BLOCK_JOB_COMPLETED")
        assert "error" not in event["data"], event
    run("emu-img", "compare", "-f", "raw", "-F", "qcow2", "source", "target")


if __name__ == "__main__":
    main()
