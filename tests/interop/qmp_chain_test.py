#!/usr/bin/env python3
"""Jobs and commands on backing chains: each script is played to our daemon and to qemu-storage-daemon 10, and both must
tell what is recorded in chain_events.json (from 10.0.2): errors, events in order, what the chain and the images are
afterwards. Events of pauses, which come and go by themselves while the reference drains nodes, are left out."""

import json
import os
import sys

from harness import HOME, Daemon, Refused, check_each, equal, main, output, parsed, run

RECORD = os.path.join(os.path.dirname(os.path.realpath(__file__)), "chain_events.json")
MIB = 1 << 20
SCRIPTS = {}
CHAIN = ("base", "mid", "top", "active")


def script(function):
    SCRIPTS[function.__name__] = function
    return function


class Session:
    """A daemon with a chain, and what it told."""

    def __init__(self, qmp):
        self.qmp, self.lines, self.seen = qmp, [], 0

    def events(self):
        """Puts down the events that came since the last time."""
        new = []
        for event in self.qmp.events[self.seen:]:
            name, data = event["event"], event.get("data", {})
            if name == "JOB_STATUS_CHANGE":
                new.append(f"{data['id']} {data['status']}")
            elif name.startswith("BLOCK_"):
                shown = ["device", "id", "node-name", "type", "operation", "action", "len", "offset", "error"]
                if name == "BLOCK_JOB_CANCELLED":
                    shown.remove("offset")  # How far it got.
                new.append(" ".join([name, *(str(data[key]) for key in shown if key in data)]))
        self.seen = len(self.qmp.events)
        self.lines += [line for line in new if line.split()[-1] not in ("paused", "standby")]
        kept = []
        for line in self.lines:  # "j running, j running": the first of them came before a pause.
            if not (kept and kept[-1] == line):
                kept.append(line)
        self.lines = kept

    def run(self, command, **arguments):
        """Runs a command and puts its error down; what it returns is returned."""
        try:
            result = self.qmp.run(command, **arguments)
        except Refused as error:
            self.events()
            self.lines.append(f"{command}: {error.error_class}: {error.desc}")
            return None
        self.events()
        return result

    def until(self, name, **data):
        self.qmp.wait(name, **data)
        self.events()

    def ended(self, job="j"):
        self.until("JOB_STATUS_CHANGE", id=job, status="null")

    def chain(self, node="active"):
        """The chain below a node as the monitor sees it."""
        nodes = {info["node-name"]: info for info in self.qmp.run("query-named-block-nodes")}
        image, files = nodes[node]["image"], []
        while image:
            name = image["filename"]
            while name.startswith("json:"):  # When names are made up is another matter.
                name = json.loads(name[5:])["file"]["filename"]
            files.append(name)
            image = image.get("backing-image")
        self.lines.append(f"chain of {node}: {' '.join(files)}")
        self.lines.append("read-only: " + " ".join(sorted(
            name for name, info in nodes.items() if info["ro"] and not name.startswith("#"))))


def add(qmp, name, **more):
    qmp.run("blockdev-add", driver="qcow2", node_name=name, file={"driver": "file", "filename": name}, **more)


def make_chain():
    run("qemu-img", "create", "-q", "-f", "qcow2", "base", 8 * MIB)
    for below, name in zip(CHAIN, CHAIN[1:]):
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", name)
    for name, byte, offset, length in (("base", 1, 0, 4), ("mid", 2, 1, 2), ("top", 3, 2, 2), ("active", 4, 3, 1)):
        run("qemu-io", "-c", f"write -q -P {byte} {offset}M {length}M", name)


def content():
    """The disk seen through the highest image, and what the header of each says of the one below."""
    lines = []
    for name in CHAIN:
        info = parsed("qemu-img", "info", "-U", "--output=json", name)
        lines.append(f"{name}: {info.get('backing-filename')} {info.get('backing-filename-format')}")
        run("qemu-img", "check", "-q", name)
    for byte, offset in ((1, 0), (2, 1), (3, 2), (4, 3), (0, 4)):
        run("qemu-io", "-r", "-c", f"read -q -P {byte} {offset}M 1M", "active")
    return lines


def blockdevs():
    options = []
    below = None
    for name in CHAIN:
        node = {"driver": "qcow2", "node-name": name, "read-only": name != "active",
                "file": {"driver": "file", "filename": name}}
        if below:
            node["backing"] = below
        options += ["--blockdev", json.dumps(node)]
        below = name
    return options


@script
def stream_all(s):
    s.run("block-stream", job_id="j", device="active")
    s.ended()
    s.chain()


@script
def stream_down_to_a_base(s):
    s.run("block-stream", job_id="j", device="active", base_node="mid")
    s.ended()
    s.chain()


@script
def stream_in_the_middle(s):
    s.run("block-stream", job_id="j", device="top", base_node="base", filter_node_name="f")
    s.ended()
    s.chain()
    s.run("blockdev-del", node_name="mid")


@script
def stream_of_nothing(s):
    s.run("block-stream", job_id="j", device="active", bottom="active")
    s.ended()
    s.chain()


@script
def stream_under_another_name(s):
    s.run("block-stream", job_id="j", device="active", base="mid", backing_file="./mid")
    s.ended()


@script
def stream_is_cancelled(s):
    s.run("block-stream", job_id="j", device="active", speed=1)
    s.run("block-job-cancel", device="j")
    s.ended()
    s.chain()


@script
def stream_waits_to_be_finalized(s):
    s.run("block-stream", job_id="j", device="active", auto_finalize=False, auto_dismiss=False)
    s.until("BLOCK_JOB_PENDING", id="j")
    s.run("job-finalize", id="j")
    s.until("JOB_STATUS_CHANGE", id="j", status="concluded")
    s.run("job-dismiss", id="j")


@script
def stream_refusals(s):
    s.run("block-stream", device="active")
    s.run("block-stream", job_id="j", device="nope")
    for more in ({"base": "nope"}, {"base_node": "nope"}, {"base_node": "active"}, {"bottom": "nope"},
                 {"bottom": "active", "base_node": "mid"}, {"base": "mid", "base_node": "mid"},
                 {"base": "mid", "bottom": "mid"}, {"backing_file": "x"}, {"speed": -1}):
        s.run("block-stream", job_id="j", device="active", **more)


@script
def nodes_of_a_stream_are_busy(s):
    s.run("block-stream", job_id="j", device="active", base_node="mid", filter_node_name="f", speed=1)
    for node in ("f", "active", "top", "mid", "base"):
        s.run("blockdev-del", node_name=node)
    s.run("block-stream", job_id="k", device="active")
    s.run("block-stream", job_id="k", device="top")
    s.run("block-commit", job_id="k", device="active")
    s.run("job-cancel", id="j")
    s.ended()


@script
def commit_in_the_middle(s):
    s.run("block-commit", job_id="j", device="active", top_node="top", base_node="mid", filter_node_name="f")
    s.ended()
    s.chain()
    s.run("blockdev-del", node_name="top")


@script
def commit_of_two_layers(s):
    s.run("block-commit", job_id="j", device="active", top="top", backing_file="./base")
    s.ended()


@script
def commit_is_cancelled(s):
    s.run("block-commit", job_id="j", device="active", top_node="top", speed=1)
    s.run("job-cancel", id="j")
    s.ended()
    s.chain()


@script
def active_commit(s):
    s.run("block-commit", job_id="j", device="active")
    s.until("BLOCK_JOB_READY", device="j")
    s.run("job-complete", id="j")
    s.ended()


@script
def active_commit_ends_without_a_pivot(s):
    s.run("block-commit", job_id="j", device="active", auto_finalize=False)
    s.until("BLOCK_JOB_READY", device="j")
    s.run("block-job-cancel", device="j")
    s.until("BLOCK_JOB_PENDING", id="j")
    s.run("job-finalize", id="j")
    s.ended()
    s.chain()


@script
def commit_refusals(s):
    s.run("block-commit", device="active")
    s.run("block-commit", device="nope")
    s.run("block-commit", job_id="j", device="mid")
    for more in ({"top": "nope"}, {"top_node": "nope"}, {"base": "nope"}, {"base_node": "nope"},
                 {"top": "top", "top_node": "top"}, {"base": "mid", "base_node": "mid"},
                 {"top_node": "top", "base_node": "top"}, {"top_node": "mid", "base_node": "top"},
                 {"top_node": "base"}, {"backing_file": "x"}, {"top_node": "top", "speed": -1}):
        s.run("block-commit", job_id="j", device="active", **more)


@script
def nodes_of_a_commit_are_busy(s):
    s.run("block-commit", job_id="j", device="active", top_node="top", base_node="mid", filter_node_name="f", speed=1)
    for node in ("mid", "base"):
        s.run("blockdev-del", node_name=node)
    s.run("block-commit", job_id="k", device="active")
    s.run("block-stream", job_id="k", device="active")
    s.run("job-cancel", id="j")
    s.ended()




def image(name, size=8):
    run("qemu-img", "create", "-q", "-f", "qcow2", name, f"{size}M")


@script
def overlays(s):
    for name in ("new", "other"):
        image(name)
        add(s.qmp, name)
    s.run("blockdev-snapshot", node="nope", overlay="new")
    s.run("blockdev-snapshot", node="active", overlay="nope")
    s.run("blockdev-snapshot", node="active", overlay="active")
    s.run("blockdev-snapshot", node="mid", overlay="new")
    s.run("blockdev-snapshot", node="active", overlay="new")
    s.chain("new")
    s.run("blockdev-snapshot", node="active", overlay="other")
    s.run("blockdev-del", node_name="active")


@script
def overlays_by_file(s):
    s.run("blockdev-snapshot-sync", snapshot_file="x")
    s.run("blockdev-snapshot-sync", node_name="active", snapshot_file="x")
    for more in ({"snapshot_node_name": "mid"}, {"snapshot_node_name": "x", "format": "nope"},
                 {"snapshot_node_name": "x", "format": "raw"}, {"snapshot_node_name": "x", "mode": "existing"}):
        s.run("blockdev-snapshot-sync", node_name="active", snapshot_file="x", **more)
    s.run("blockdev-snapshot-sync", node_name="active", snapshot_file="no/x", snapshot_node_name="x")


@script
def a_failed_transaction_leaves_no_overlay(s):
    image("new")
    add(s.qmp, "new")
    s.run("transaction", actions=[
        {"type": "blockdev-snapshot", "data": {"node": "active", "overlay": "new"}},
        {"type": "blockdev-snapshot-internal-sync", "data": {"device": "active", "name": "s"}},
        {"type": "block-dirty-bitmap-add", "data": {"node": "new", "name": "b"}},
        {"type": "abort", "data": {}}])
    s.chain()
    s.chain("new")
    s.lines.append(str(parsed("qemu-img", "info", "-U", "--output=json", "active").get("snapshots")))


@script
def snapshots_inside(s):
    s.run("blockdev-snapshot-internal-sync", device="nope", name="s")
    s.run("blockdev-snapshot-internal-sync", device="active", name="")
    s.run("blockdev-snapshot-internal-sync", device="active", name="s")
    s.run("blockdev-snapshot-internal-sync", device="active", name="s")
    s.run("blockdev-snapshot-delete-internal-sync", device="active")
    s.run("blockdev-snapshot-delete-internal-sync", device="active", name="t")
    s.run("blockdev-snapshot-delete-internal-sync", device="active", id="7", name="s")
    gone = s.run("blockdev-snapshot-delete-internal-sync", device="active", name="s")
    s.lines.append(f"{gone['id']} {gone['name']} {gone['vm-state-size']}")


@script
def another_name_of_the_backing_file(s):
    s.run("change-backing-file", device="nope", image_node_name="active", backing_file="x")
    s.run("change-backing-file", device="active", image_node_name="nope", backing_file="x")
    s.run("change-backing-file", device="active", image_node_name="base", backing_file="x")
    s.run("change-backing-file", device="active", image_node_name="top", backing_file="./mid")
    s.chain()


def options(name, **more):
    return {"driver": "qcow2", "node-name": name, "file": {"driver": "file", "filename": name}, **more}


@script
def reopening(s):
    image("one")
    add(s.qmp, "one")
    s.run("blockdev-reopen", options=[options("one")])
    for more in ({"driver": "raw"}, {"node-name": "nope"}, {"file": "nope"}, {"file": {"driver": "nbd"}},
                 {"file": {"driver": "file", "filename": "two"}}, {"force-share": True}, {"backing": "nope"},
                 {"file": {"driver": "file", "filename": "one", "locking": "off"}},
                 {"detect-zeroes": "unmap"}, {"backing": "one"}):
        s.run("blockdev-reopen", options=[{**options("one"), **more}])
    s.run("blockdev-reopen", options=[options("active")])
    s.run("blockdev-reopen", options=[options("active", backing={"driver": "qcow2"})])
    s.run("blockdev-reopen", options=[options("one", **{"read-only": True})])
    s.chain("one")
    s.run("blockdev-reopen", options=[options("one", backing="base")])
    s.chain("one")
    s.run("blockdev-reopen", options=[options("one", backing=None)])
    s.chain("one")


@script
def reopening_of_several_nodes_is_one_change(s):
    """The layers change places: neither order of single steps is possible."""
    for name in ("one", "two"):
        image(name)
    add(s.qmp, "one")
    add(s.qmp, "two", backing="one")
    s.run("blockdev-reopen", options=[options("one", backing="two"), options("two", backing=None)])
    s.chain("one")
    s.run("blockdev-reopen", options=[options("one", backing=None), options("two", backing="two")])
    s.chain("one")


@script
def a_write_beyond_the_watermark(s):
    s.run("block-set-write-threshold", node_name="nope", write_threshold=1)
    s.run("block-set-write-threshold", node_name="active", write_threshold=2 * MIB)
    for info in s.qmp.run("query-named-block-nodes"):
        if info["node-name"] == "active":
            s.lines.append(str(info["write_threshold"]))
    s.run("block-stream", job_id="j", device="active")  # Copies below the watermark's node: no guest writes.
    s.ended()
    s.run("block-commit", job_id="k", device="active", base_node="base")
    s.run("x-blockdev-change", parent="active")
    s.run("x-blockdev-change", parent="active", child="nope")
    s.run("x-blockdev-change", parent="active", child="file")
    s.run("x-blockdev-change", parent="active", node="base")


@script
def permissions_in_the_graph(s):
    graph = s.run("x-debug-query-block-graph")
    names = {node["id"]: node["name"] for node in graph["nodes"] if node["type"] == "block-driver"}
    for edge in graph["edges"]:
        if edge["name"] == "backing":
            s.lines.append(f"{names[edge['parent']]} {names[edge['child']]} {edge['perm']} {edge['shared-perm']}")
    s.lines.sort()


def play(name, daemon="emu-storage-daemon"):
    make_chain()
    with Daemon(*blockdevs(), name=daemon) as running:
        session = Session(running.qmp)
        SCRIPTS[name](session)
        running.qmp.run("query-jobs")
        session.events()
    return session.lines + content()


def recorded(name):
    with open(RECORD, encoding="utf-8") as file:
        return json.load(file)[name]


@check_each(*SCRIPTS)
def ours_gives(name):
    output("qemu-io", "--version")  # Skips without the tools that make the images.
    equal(play(name), recorded(name), "story")


@check_each(*SCRIPTS)
def the_reference_gives(name):
    equal(play(name, "qemu-storage-daemon"), recorded(name), "story")


def record():
    stories = {}
    for name in SCRIPTS:
        folder = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"record-{os.getpid()}-{name}")
        os.mkdir(folder)
        os.chdir(folder)
        stories[name] = play(name, "qemu-storage-daemon")
    with open(os.path.join(HOME, "chain_events.json"), "w", encoding="utf-8") as out:
        json.dump(stories, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--record"]:
        record()
        sys.exit()
    main()
