#!/usr/bin/env python3
"""The events of jobs, in order: each script is played to our daemon and to qemu-storage-daemon 10, and both must give
what is recorded in job_events.json (from 10.0.2)."""

import json
import os
import sys

from harness import HOME, Daemon, check_each, equal, main

RECORD = os.path.join(os.path.dirname(os.path.realpath(__file__)), "job_events.json")
MIB = 1 << 20
SCRIPTS = {}
NODES = (("source", 64), ("target", 64), ("other", 64), ("second", 64), ("small", 32))


def script(function):
    SCRIPTS[function.__name__] = function
    return function


def told(qmp):
    """The events of jobs so far, one line each, without what depends on time."""
    lines = []
    for event in qmp.events:
        name, data = event["event"], event.get("data", {})
        if name == "JOB_STATUS_CHANGE":
            lines.append(f"{data['id']} {data['status']}")
        elif name.startswith("BLOCK_JOB"):
            error = f": {data['error']}" if "error" in data else ""
            kind = f" {data['type']}" if "type" in data else ""
            lines.append(f"{name} {data.get('device', data.get('id'))}{kind}{error}")
    return lines


def settled(lines):
    """Without the pauses that the reference makes while it drains nodes: they come and go by themselves."""
    kept = []
    for line in lines:
        job, _, status = line.partition(" ")
        kept.append(line)
        for rest, back in (("paused", "running"), ("standby", "ready")):
            if kept[-3:] == [f"{job} {back}", f"{job} {rest}", f"{job} {back}"] and status == back:
                del kept[-2:]
    return kept


def start(qmp, kind, job="j", device="source", target="target", **more):
    qmp.run(f"blockdev-{kind}", job_id=job, device=device, target=target, sync="full", **more)


def ended(qmp, *jobs):
    for job in jobs or ("j",):
        qmp.wait("JOB_STATUS_CHANGE", id=job, status="null")


def at(qmp, status, job="j"):
    qmp.wait("JOB_STATUS_CHANGE", id=job, status=status)


def mirror_until_ready(qmp, **more):
    start(qmp, "mirror", **more)
    qmp.wait("BLOCK_JOB_READY", device="j")


@script
def mirror_succeeds(qmp):
    mirror_until_ready(qmp)
    qmp.run("job-complete", id="j")
    ended(qmp)


@script
def mirror_is_completed_by_the_old_command(qmp):
    mirror_until_ready(qmp)
    qmp.run("block-job-complete", device="j")
    ended(qmp)


@script
def mirror_is_cancelled_while_it_copies(qmp):
    start(qmp, "mirror", speed=1)
    qmp.run("job-cancel", id="j")
    ended(qmp)


@script
def mirror_is_cancelled_when_ready(qmp):
    mirror_until_ready(qmp)
    qmp.run("job-cancel", id="j")
    ended(qmp)


@script
def mirror_is_cancelled_softly_when_ready(qmp):
    mirror_until_ready(qmp)
    qmp.run("block-job-cancel", device="j")
    ended(qmp)


@script
def mirror_is_cancelled_softly_while_it_copies(qmp):
    start(qmp, "mirror", speed=1)
    qmp.run("block-job-cancel", device="j")
    ended(qmp)


@script
def mirror_is_paused_and_resumed_while_it_copies(qmp):
    start(qmp, "mirror", speed=1)
    qmp.events.clear()
    qmp.run("job-pause", id="j")
    at(qmp, "paused")
    qmp.run("job-resume", id="j")
    at(qmp, "running")
    return told(qmp)


@script
def mirror_is_paused_and_resumed_when_ready(qmp):
    mirror_until_ready(qmp)
    qmp.events.clear()
    qmp.run("job-pause", id="j")
    at(qmp, "standby")
    qmp.run("job-resume", id="j")
    at(qmp, "ready")
    return told(qmp)


@script
def mirror_is_cancelled_while_paused(qmp):
    start(qmp, "mirror", speed=1)
    qmp.events.clear()
    qmp.run("job-pause", id="j")
    at(qmp, "paused")
    qmp.run("job-cancel", id="j")
    ended(qmp)
    return told(qmp)


@script
def mirror_waits_for_finalize_and_dismiss(qmp):
    mirror_until_ready(qmp, auto_finalize=False, auto_dismiss=False)
    qmp.run("job-complete", id="j")
    qmp.wait("BLOCK_JOB_PENDING", id="j")
    qmp.run("job-finalize", id="j")
    at(qmp, "concluded")
    equal([job["status"] for job in qmp.run("query-jobs")], ["concluded"], "query-jobs")
    qmp.run("job-dismiss", id="j")
    ended(qmp)


@script
def mirror_is_cancelled_when_pending(qmp):
    mirror_until_ready(qmp, auto_finalize=False)
    qmp.run("job-complete", id="j")
    qmp.wait("BLOCK_JOB_PENDING", id="j")
    qmp.run("job-cancel", id="j")
    ended(qmp)


@script
def mirror_to_a_smaller_target_fails(qmp):
    start(qmp, "mirror", target="small", auto_dismiss=False)
    at(qmp, "concluded")
    equal(qmp.run("query-jobs")[0]["error"], "Source and target image have different sizes", "error of query-jobs")
    qmp.run("block-job-dismiss", id="j")
    ended(qmp)


@script
def backup_succeeds(qmp):
    start(qmp, "backup")
    ended(qmp)


@script
def backup_is_cancelled(qmp):
    start(qmp, "backup", speed=1)
    qmp.run("job-cancel", id="j")
    ended(qmp)


@script
def backup_is_cancelled_by_the_old_command(qmp):
    start(qmp, "backup", speed=1)
    qmp.run("block-job-cancel", device="j")
    ended(qmp)


@script
def backup_is_paused_and_resumed(qmp):
    start(qmp, "backup", speed=1)
    qmp.events.clear()
    qmp.run("job-pause", id="j")
    at(qmp, "paused")
    qmp.run("job-resume", id="j")
    at(qmp, "running")
    return told(qmp)


@script
def backup_waits_for_finalize_and_dismiss(qmp):
    start(qmp, "backup", auto_finalize=False, auto_dismiss=False)
    qmp.wait("BLOCK_JOB_PENDING", id="j")
    qmp.run("block-job-finalize", id="j")
    at(qmp, "concluded")
    qmp.run("block-job-dismiss", id="j")
    ended(qmp)


@script
def backup_is_cancelled_when_pending(qmp):
    start(qmp, "backup", auto_finalize=False)
    qmp.wait("BLOCK_JOB_PENDING", id="j")
    qmp.run("job-cancel", id="j")
    ended(qmp)


@script
def backup_to_a_smaller_target_is_refused(qmp):
    equal(qmp.refused("blockdev-backup", job_id="j", device="source", target="small", sync="full"),
          ("GenericError", "Source and target image have different sizes"), "error")


@script
def backup_of_nothing_is_cancelled(qmp):
    qmp.run("blockdev-backup", job_id="j", device="source", target="target", sync="none")
    qmp.run("job-cancel", id="j")
    ended(qmp)


def backups(*pairs, **more):
    return [{"type": "blockdev-backup", "data": {"job-id": f"j{i}", "device": device, "target": target, "sync": "full",
                                                 **more.get(f"j{i}", {})}}
            for i, (device, target) in enumerate(pairs, 1)]


def transaction(qmp, actions):
    qmp.run("transaction", {"actions": actions, "properties": {"completion-mode": "grouped"}})


def of_job(lines, job):
    return settled([line for line in lines if job in line.split()])


@script
def grouped_backups_succeed(qmp):
    transaction(qmp, backups(("source", "target"), ("second", "other")))
    ended(qmp, "j1", "j2")
    return of_job(told(qmp), "j1") + of_job(told(qmp), "j2")


@script
def one_of_two_grouped_backups_is_cancelled(qmp):
    transaction(qmp, backups(("source", "target"), ("second", "other"), j1={"speed": 1}, j2={"speed": 1}))
    qmp.run("job-cancel", id="j2")
    ended(qmp, "j1", "j2")
    return of_job(told(qmp), "j1") + of_job(told(qmp), "j2")


@script
def a_transaction_with_a_bad_action_starts_nothing(qmp):
    actions = backups(("source", "target"), ("second", "small"))
    equal(qmp.refused("transaction", {"actions": actions}),
          ("GenericError", "Source and target image have different sizes"), "error")
    equal(qmp.run("query-jobs"), [], "jobs")


@script
def finalize_of_one_finalizes_the_group(qmp):
    manual = {"auto-finalize": False}
    transaction(qmp, backups(("source", "target"), ("second", "other"), j1=manual, j2=manual))
    qmp.wait("BLOCK_JOB_PENDING", id="j1")
    qmp.wait("BLOCK_JOB_PENDING", id="j2")
    qmp.run("job-finalize", id="j1")
    ended(qmp, "j1", "j2")
    return of_job(told(qmp), "j1") + of_job(told(qmp), "j2")


@script
def an_image_is_created(qmp):
    qmp.run("blockdev-create", {"job-id": "j", "options": {"driver": "file", "filename": "new", "size": MIB}})
    at(qmp, "concluded")
    qmp.run("job-dismiss", id="j")
    ended(qmp)


@script
def an_image_cannot_be_created(qmp):
    qmp.run("blockdev-create", {"job-id": "j", "options": {"driver": "file", "filename": "no/new", "size": MIB}})
    at(qmp, "concluded")
    equal(qmp.run("query-jobs")[0]["error"], "Could not create 'no/new': No such file or directory", "error")
    qmp.run("job-dismiss", id="j")
    ended(qmp)


@script
def quit_cancels_jobs(qmp):
    start(qmp, "mirror", speed=1)
    qmp.run("quit")
    qmp.rest()


def play(name, daemon="emu-storage-daemon"):
    """Plays one script; returns its events."""
    blockdevs = []
    for node, size in NODES:
        blockdevs += ["--blockdev", f"null-co,node-name={node},size={size * MIB},read-zeroes=on"]
    with Daemon(*blockdevs, name=daemon) as running:
        return SCRIPTS[name](running.qmp) or settled(told(running.qmp))


def recorded(name):
    with open(RECORD, encoding="utf-8") as file:
        return json.load(file)[name]


@check_each(*SCRIPTS)
def ours_gives(name):
    equal(play(name), recorded(name), "events")


@check_each(*SCRIPTS)
def the_reference_gives(name):
    equal(play(name, "qemu-storage-daemon"), recorded(name), "events")


if __name__ == "__main__":
    if sys.argv[1:] == ["--record"]:
        with open(os.path.join(HOME, "job_events.json"), "w", encoding="utf-8") as out:
            json.dump({name: play(name, "qemu-storage-daemon") for name in SCRIPTS}, out, indent=1)
            out.write("\n")
        sys.exit()
    main()
