#!/usr/bin/env python3
"""Negotiation and the texts of errors over QMP. The expected texts are those of 10.0.2; where qemu-storage-daemon is
installed it must give the same."""

import json

from harness import Daemon, check_each, equal, main

NULL = "null-co,node-name=n,size=67108864"
NOT_YET = "Expecting capabilities negotiation with 'qmp_capabilities'"
BOTH = ("emu-storage-daemon", "qemu-storage-daemon")

# Requests after negotiation: text, class of the error, its text.
REQUESTS = [
    ('[]', "GenericError", "QMP input must be a JSON object"),
    ('{"execute": 1}', "GenericError", "QMP input member 'execute' must be a string"),
    ('{"execute": "query-jobs", "arguments": []}', "GenericError", "QMP input member 'arguments' must be an object"),
    ('{"execute": "query-jobs", "arguments": null}', "GenericError", "QMP input member 'arguments' must be an object"),
    ('{"execute": "query-jobs", "extra": 1}', "GenericError", "QMP input member 'extra' is unexpected"),
    ('{"arguments": {}}', "GenericError", "QMP input lacks member 'execute'"),
    ('{"exec-oob": "query-jobs"}', "GenericError", "QMP input member 'exec-oob' is unexpected"),
    ('{"execute": "nope"}', "CommandNotFound", "The command nope has not been found"),
    ('{"execute": "qmp_capabilities"}', "CommandNotFound",
     "Capabilities negotiation is already complete, command ignored"),
    ('{"execute": "query-jobs", "arguments": {"x": 1}}', "GenericError", "Parameter 'x' is unexpected"),
    ('{"execute": tru}', "GenericError", "JSON parse error, invalid keyword 'tru'"),
    ('{"execute" 1}', "GenericError", "JSON parse error, missing : in object pair"),
    ('{"a": 1, "a": 2}', "GenericError", "JSON parse error, duplicate key"),
    ('[1 2]', "GenericError", "JSON parse error, expected separator in list"),
]

# Commands on a daemon with the node "n": name, arguments, class, text.
COMMANDS = [
    ("blockdev-add", {"driver": "null-co"}, "'node-name' must be specified for the root node"),
    ("blockdev-add", {"driver": "null-co", "node-name": "1x"}, "Invalid node-name: '1x'"),
    ("blockdev-add", {"driver": "null-co", "node-name": "n"}, "Duplicate nodes with node-name='n'"),
    ("blockdev-add", {"driver": "raw", "node-name": "r", "file": "zz"}, "Cannot find device='zz' nor node-name='zz'"),
    ("blockdev-add", {"driver": "file", "node-name": "f", "filename": "/nope"},
     "Could not open '/nope': No such file or directory"),
    ("blockdev-add", {"driver": "zz", "node-name": "f"}, "Parameter 'driver' does not accept value 'zz'"),
    ("blockdev-add", {"node-name": "f"}, "Parameter 'driver' is missing"),
    ("blockdev-add", {"driver": "file", "node-name": "f"}, "Parameter 'filename' is missing"),
    ("blockdev-add", {"driver": "null-co", "node-name": "f", "size": "x"},
     "Invalid parameter type for 'size', expected: integer"),
    ("blockdev-add", {"driver": "qcow2", "node-name": "q", "file": "n"}, "Image is not in qcow2 format"),
    ("blockdev-del", {"node-name": "zz"}, "Failed to find node with node-name='zz'"),
    ("blockdev-del", {}, "Parameter 'node-name' is missing"),
    ("block-dirty-bitmap-add", {"node": "zz", "name": "b"}, "Cannot find device='zz' nor node-name='zz'"),
    ("block-dirty-bitmap-add", {"node": "n", "name": "b", "granularity": 511},
     "Granularity must be power of 2 and at least 512"),
    ("block-dirty-bitmap-remove", {"node": "n", "name": "zz"}, "Dirty bitmap 'zz' not found"),
    ("block-dirty-bitmap-clear", {"node": "n", "name": "zz"}, "Dirty bitmap 'zz' not found"),
    ("nbd-server-stop", {}, "NBD server not running"),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "n"}, "NBD server not running"),
    ("block-export-del", {"id": "zz"}, "Export 'zz' is not found"),
    ("job-cancel", {"id": "zz"}, "Job not found"),
    ("job-pause", {"id": "zz"}, "Job not found"),
    ("job-complete", {"id": "zz"}, "Job not found"),
    ("job-dismiss", {"id": "zz"}, "Job not found"),
    ("blockdev-mirror", {"device": "n", "target": "n", "sync": "full", "job-id": "1"}, "Can't mirror node into itself"),
    ("blockdev-mirror", {"device": "n", "target": "t", "sync": "full", "job-id": "1"}, "Invalid job ID '1'"),
    ("blockdev-mirror", {"device": "n", "target": "t", "sync": "full"}, "Invalid job ID ''"),
    ("blockdev-mirror", {"device": "n", "target": "t", "sync": "incremental", "job-id": "j"},
     "Sync mode 'incremental' not supported"),
    ("blockdev-mirror", {"device": "n", "target": "t", "sync": "full", "job-id": "j", "speed": -1},
     "Parameter 'speed' expects a non-negative value"),
    ("blockdev-mirror", {"device": "n", "target": "zz", "sync": "full", "job-id": "j"},
     "Cannot find device='zz' nor node-name='zz'"),
    ("blockdev-backup", {"device": "n", "target": "n", "sync": "full", "job-id": "j"},
     "Source and target cannot be the same"),
    ("blockdev-backup", {"device": "n", "target": "t", "sync": "bitmap", "job-id": "j"},
     "must provide a valid bitmap name for 'bitmap' sync mode"),
    ("blockdev-backup", {"device": "n", "target": "t", "sync": "bitmap", "job-id": "j", "bitmap": "zz",
                         "bitmap-mode": "never"}, "Bitmap 'zz' could not be found"),
    ("blockdev-create", {"job-id": "j", "options": {"driver": "null-co"}}, "Driver does not support blockdev-create"),
    ("transaction", {"actions": [{"type": "abort", "data": {}}]}, "Transaction aborted using Abort action"),
    ("transaction", {"actions": [{"type": "abort", "data": {}}], "properties": {"completion-mode": "grouped"}},
     "Action 'abort' does not support transaction property completion-mode = grouped"),
]


def daemon(name, **options):
    return Daemon("--blockdev", NULL, "--blockdev", NULL.replace("=n,", "=t,"), name=name, **options)


def pairs(items):
    return tuple((name, i) for i in range(len(items)) for name in BOTH)


@check_each(*pairs(REQUESTS))
def a_request_is_refused(name, number):
    text, error_class, desc = REQUESTS[number]
    with daemon(name) as running:
        answer = running.qmp.ask(text)
        equal(answer.get("error"), {"class": error_class, "desc": desc}, text)


@check_each(*pairs(COMMANDS))
def a_command_is_refused(name, number):
    command, arguments, desc = COMMANDS[number]
    with daemon(name) as running:
        equal(running.qmp.refused(command, arguments), ("GenericError", desc), f"{command} {arguments}")


@check_each(*BOTH)
def old_job_commands_have_a_class_of_their_own(name):
    with daemon(name) as running:
        for command in ("block-job-cancel", "block-job-pause", "block-job-resume", "block-job-complete"):
            equal(running.qmp.refused(command, device="zz"), ("DeviceNotActive", "Block job 'zz' not found"), command)


@check_each(*BOTH)
def verbs_are_refused_by_state(name):
    with daemon(name) as running:
        qmp = running.qmp
        qmp.run("blockdev-backup", job_id="j", device="n", target="t", sync="full", auto_dismiss=False)
        qmp.wait("JOB_STATUS_CHANGE", id="j", status="concluded")
        for verb in ("cancel", "pause", "complete", "finalize"):
            equal(qmp.refused(f"job-{verb}", id="j")[1],
                  f"Job 'j' in state 'concluded' cannot accept command verb '{verb}'", verb)
        equal(qmp.refused("job-resume", id="j")[1], "Can't resume a job that was not paused", "resume")
        equal(qmp.refused("blockdev-backup", job_id="j", device="n", target="t", sync="full")[1],
              "Job ID 'j' already in use", "a second job")


@check_each(*BOTH)
def nodes_in_use_are_not_deleted(name):
    with daemon(name) as running:
        running.qmp.run("blockdev-mirror", job_id="j", device="n", target="t", sync="full", speed=1)
        # The reference says "Node t is in use"; ours may name the user.
        text = running.qmp.refused("blockdev-del", node_name="t")[1]
        assert "in use" in text, text
        equal(running.qmp.refused("job-complete", id="j")[1],
              "Job 'j' in state 'running' cannot accept command verb 'complete'", "complete")
        running.qmp.run("job-pause", id="j")
        equal(running.qmp.refused("job-pause", id="j")[1], "Job is already paused", "pause")


@check_each(*BOTH)
def bitmaps_and_exports_of_one_name_are_refused(name):
    with daemon(name) as running:
        qmp = running.qmp
        qmp.run("block-dirty-bitmap-add", node="n", name="b0")
        equal(qmp.refused("block-dirty-bitmap-add", node="n", name="b0")[1], "Bitmap already exists: b0", "bitmap")
        server = {"addr": {"type": "unix", "data": {"path": "nbd"}}}
        qmp.run("nbd-server-start", server)
        equal(qmp.refused("nbd-server-start", server)[1], "NBD server already running", "server")
        qmp.run("block-export-add", type="nbd", id="e0", node_name="n")
        equal(qmp.refused("block-export-add", type="nbd", id="e0", node_name="n")[1],
              "Block export id 'e0' is already in use", "export")
        assert "in use" in (text := qmp.refused("blockdev-del", node_name="n")[1]) or "is used" in text, text


@check_each(*BOTH)
def nothing_works_before_negotiation(name):
    with daemon(name, capabilities=None) as running:
        for command in ("query-commands", "quit", "nope"):
            equal(running.qmp.refused(command), ("CommandNotFound", NOT_YET), command)
        equal(running.qmp.refused("qmp_capabilities", enable=["foo"]),
              ("GenericError", "Parameter 'null' does not accept value 'foo'"), "unknown capability")
        running.qmp.run("qmp_capabilities", enable=["oob", "oob"])
        running.qmp.run("query-commands")


@check_each(*BOTH)
def the_greeting_names_version_and_capabilities(name):
    with daemon(name, capabilities=None) as running:
        greeting = running.qmp.greeting["QMP"]
        equal(sorted(greeting), ["capabilities", "version"], "members")
        equal(greeting["capabilities"], ["oob"], "capabilities")
        equal(sorted(greeting["version"]["qemu"]), ["major", "micro", "minor"], "version")
        assert isinstance(greeting["version"]["package"], str)


@check_each(*BOTH)
def ids_come_back_whatever_they_are(name):
    with daemon(name) as running:
        for ident in (1, "x", None, [1, {"a": 2}], {"k": 0.5}, True):
            for command in ("query-jobs", "nope"):
                answer = running.qmp.ask(json.dumps({"execute": command, "id": ident}))
                equal(answer["id"], ident, command)


@check_each(*BOTH)
def requests_may_share_a_line(name):
    with daemon(name) as running:
        running.qmp.send("{'execute':'query-jobs','id':1}{'execute':'nope','id':2} {'execute':'query-jobs','id':3}")
        equal([running.qmp.reply()["id"] for _ in range(3)], [1, 2, 3], "order")


if __name__ == "__main__":
    main()
