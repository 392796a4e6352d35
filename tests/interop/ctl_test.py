#!/usr/bin/env python3
"""emuctl: types of arguments, the list of jobs, exit statuses."""

import json

from harness import Daemon, check, check_each, equal, main, run

NULL = "null-co,node-name=n,size=67108864"


def daemon():
    return Daemon("--chardev", "socket,id=ctl,path=ctl,server=on,wait=off", "--monitor", "ctl", "--blockdev", NULL,
                  "--blockdev", NULL.replace("=n,", "=t,"))


@check
def values_take_the_type_that_the_schema_asks_for():
    with daemon() as running:
        run("emuctl", "ctl", "blockdev-add", "driver=null-co", "node-name=12", expect=1)
        run("emuctl", "ctl", "blockdev-add", "driver=null-co", "node-name=x", "size=1M", "read-zeroes=on")
        run("emuctl", "ctl", "block-dirty-bitmap-add", "node=x", "name=5", "granularity=65536", "disabled=true")
        node = next(node for node in running.qmp.run("query-named-block-nodes") if node["node-name"] == "x")
        equal(node["image"]["virtual-size"], 1 << 20, "size")
        equal(node["dirty-bitmaps"][0]["name"], "5", "name of the bitmap")
        equal(node["dirty-bitmaps"][0]["recording"], False, "recording")


@check
def dots_nest_and_json_is_taken_as_it_is():
    with daemon() as running:
        run("emuctl", "ctl", "nbd-server-start", "addr.type=unix", "addr.data.path=nbd")
        run("emuctl", "ctl", "block-export-add", "type=nbd", "id=e", "node-name=n", "writable:=true")
        export = running.qmp.run("query-block-exports")[0]
        equal((export["id"], export["node-name"]), ("e", "n"), "export")
        run("emuctl", "ctl", "transaction", 'actions:=[{"type":"abort","data":{}}]', expect=1)


@check
def what_a_command_returns_is_printed():
    with daemon():
        nodes = json.loads(run("emuctl", "ctl", "query-named-block-nodes").stdout)
        equal(sorted(node["node-name"] for node in nodes), ["n", "t"], "nodes")
        assert "query-jobs" in run("emuctl", "ctl", '{"execute": "query-commands"}').stdout


@check
def jobs_are_listed():
    with daemon() as running:
        run("emuctl", "ctl", "blockdev-mirror", "job-id=j1", "device=n", "target=t", "sync=full", "speed=1")
        listed = run("emuctl", "ctl", "jobs").stdout
        assert "j1" in listed and "mirror" in listed and "running" in listed, listed
        run("emuctl", "ctl", "job-cancel", "id=j1")
        running.qmp.wait("JOB_STATUS_CHANGE", id="j1", status="null")
        assert "j1" not in run("emuctl", "ctl", "jobs").stdout


@check
def watching_ends_when_no_job_works():
    with daemon():
        run("emuctl", "ctl", "blockdev-mirror", "job-id=j1", "device=n", "target=t", "sync=full")
        run("emuctl", "ctl", "jobs", "--watch")


@check_each(("query-jobs", 0), ("nope", 1), ("blockdev-del node-name=zz", 1), ("query-jobs x=1", 1), ("", 2),
            ("query-jobs novalue", 1))
def exit_status(arguments, status):
    with daemon():
        done = run("emuctl", "ctl", *arguments.split(), expect=status)
        assert status == 0 or done.stderr, "nothing was said"


@check
def nobody_listens():
    done = run("emuctl", "nothere", "query-jobs", expect=1)
    assert "nothere" in done.stderr, done.stderr


@check
def errors_are_told_in_the_words_of_the_server():
    with daemon():
        done = run("emuctl", "ctl", "blockdev-del", "node-name=zz", expect=1)
        assert "Failed to find node with node-name='zz'" in done.stderr, done.stderr


if __name__ == "__main__":
    main()
