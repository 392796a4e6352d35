#!/usr/bin/env python3
"""Side-by-side measurements of emu and the peer's tools: wall time of whole operations, alternating runs, medians.

usage: tools/dev bench [--runs N] [--size MIB] [--peer-dir DIR] [CASE...]
Prints per case the median of each side, the ratio emu/peer (below 1 is faster) and the bar it is held to.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from qmp import QMP

BIN = os.environ.get("EMU_BIN", "bazel-bin/emu/cmd")
CASES = []


class Side:
    """One set of binaries."""

    def __init__(self, name, img, daemon):
        self.name, self.img, self.daemon = name, img, daemon


class Daemon:
    def __init__(self, side, folder, *options):
        self.sock = os.path.join(folder, "qmp.%d" % random.randrange(1 << 40))
        self.process = subprocess.Popen(
            [side.daemon, "--chardev", f"socket,id=c,path={self.sock},server=on,wait=off", "--monitor", "chardev=c",
             *options], stderr=subprocess.DEVNULL)
        self.qmp = QMP(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.qmp.cmd("quit")
        except Exception:
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def case(bar, needs=()):
    def register(function):
        CASES.append((function.__name__, bar, needs, function))
        return function
    return register


def sh(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def timed(*args):
    start = time.perf_counter()
    sh(*args)
    return time.perf_counter() - start


def node(name, fmt, path):
    return ["--blockdev", f"driver=file,node-name={name}-f,filename={path}",
            "--blockdev", f"driver={fmt},node-name={name},file={name}-f"]


class Bench:
    def __init__(self, folder, size):
        self.dir, self.size = folder, size
        self.raw, self.qcow2 = os.path.join(folder, "src.raw"), os.path.join(folder, "src.qcow2")
        self.make_raw()
        sh("qemu-img", "convert", "-f", "raw", "-O", "qcow2", self.raw, self.qcow2)

    def make_raw(self):
        """Half data (a quarter random, a quarter text-like), half holes, in 1 MiB extents."""
        rng = random.Random(7)
        words = [bytes(rng.choices(range(97, 123), k=rng.randint(2, 9))) for _ in range(2000)]
        with open(self.raw, "wb") as out:
            out.truncate(self.size)
            for mib in range(self.size >> 20):
                out.seek(mib << 20)
                if mib % 4 == 0:
                    out.write(rng.randbytes(1 << 20))
                elif mib % 4 == 1:
                    out.write(b" ".join(rng.choices(words, k=200000))[:1 << 20].ljust(1 << 20, b"z"))

    def path(self, name):
        path = os.path.join(self.dir, name)
        if os.path.exists(path):
            os.unlink(path)
        return path

    def same(self, path, fmt):
        sh("qemu-img", "compare", "-f", "raw", "-F", fmt, self.raw, path)


@case(1.0)
def convert_raw_to_qcow2(b, side):
    out = b.path("o.qcow2")
    seconds = timed(side.img, "convert", "-f", "raw", "-O", "qcow2", b.raw, out)
    b.same(out, "qcow2")
    return seconds


@case(1.0)
def convert_qcow2_to_raw(b, side):
    out = b.path("o.raw")
    seconds = timed(side.img, "convert", "-f", "qcow2", "-O", "raw", b.qcow2, out)
    b.same(out, "raw")
    return seconds


def job(b, side, command, complete, **arguments):
    out = b.path("t.qcow2")
    sh("qemu-img", "create", "-f", "qcow2", out, str(b.size))
    with Daemon(side, b.dir, *node("s", "qcow2", b.qcow2), *node("t", "qcow2", out)) as daemon:
        start = time.perf_counter()
        daemon.qmp.cmd(command, job_id="j", device="s", target="t", sync="full", auto_dismiss=False, **arguments)
        error = daemon.qmp.wait_job("j", complete)
        seconds = time.perf_counter() - start
        if error:
            raise RuntimeError(error)
    b.same(out, "qcow2")
    return seconds


@case(1.0)
def mirror_qcow2(b, side):
    return job(b, side, "blockdev-mirror", True)


@case(1.0)
def backup_qcow2(b, side):
    return job(b, side, "blockdev-backup", False)


def nbd_daemon(b, side, path, fmt, socket):
    return Daemon(side, b.dir, *node("s", fmt, path), "--nbd-server", f"addr.type=unix,addr.path={socket}",
                  "--export", "type=nbd,id=e,node-name=s,name=s,writable=on")


@case(1.0, ["nbdcopy"])
def nbd_sequential_read(b, side):
    socket = b.path("nbd.sock")
    with nbd_daemon(b, side, b.raw, "raw", socket):
        return timed("nbdcopy", f"nbd+unix:///s?socket={socket}", "null:")


def fio(b, side, mode):
    image, socket = b.path("fio.raw"), b.path("nbd.sock")
    shutil.copyfile(b.raw, image)
    with nbd_daemon(b, side, image, "raw", socket):
        return timed("fio", "--name=t", "--ioengine=nbd", f"--uri=nbd+unix:///s?socket={socket}", f"--rw={mode}",
                     "--bs=4k", "--iodepth=32", "--number_ios=60000", "--randseed=7", "--output=/dev/null")


@case(1.0, ["fio"])
def nbd_random_read(b, side):
    return fio(b, side, "randread")


@case(1.0, ["fio"])
def nbd_random_write(b, side):
    return fio(b, side, "randwrite")


@case(0.5)
def qmp_5000_round_trips(b, side):
    with Daemon(side, b.dir) as daemon:
        start = time.perf_counter()
        for _ in range(5000):
            daemon.qmp.raw(b'{"execute": "query-version"}\n')
        return time.perf_counter() - start


def cpu_seconds(daemon):
    with open(f"/proc/{daemon.process.pid}/schedstat") as stat:
        return int(stat.read().split()[0]) / 1e9


def many_jobs(b, side, count):
    """Seconds on the wall, and of them the daemon's on a CPU."""
    with Daemon(side, b.dir) as daemon:
        qmp = daemon.qmp
        for i in range(count):
            qmp.cmd("blockdev-add", driver="null-co", node_name=f"s{i}", size=65536, read_zeroes=True)
            qmp.cmd("blockdev-add", driver="null-co", node_name=f"t{i}", size=65536, read_zeroes=True)
        qmp.events.clear()
        start, cpu = time.perf_counter(), cpu_seconds(daemon)
        for i in range(count):
            qmp.cmd("blockdev-backup", job_id=f"j{i}", device=f"s{i}", target=f"t{i}", sync="full")
        done = sum(1 for e in qmp.events if e["event"] == "BLOCK_JOB_COMPLETED")
        while done < count:
            done += qmp.next_event()["event"] == "BLOCK_JOB_COMPLETED"
        return time.perf_counter() - start, cpu_seconds(daemon) - cpu


@case(0.5)
def backup_jobs_1000(b, side):
    return many_jobs(b, side, 1000)[0]


def linear(b, side):
    """Own 10,000 jobs against own 1,000: the ratio that must stay below 12.

    The daemon's CPU time counts: a short run gets a loaded machine to itself more easily than a long one.
    """
    small = statistics.median(many_jobs(b, side, 1000)[1] for _ in range(3))
    large = many_jobs(b, side, 10000)[1]
    print(f"{'backup_jobs_10000 / own 1000, CPU':32} {small:9.3f}s {large:9.3f}s {large / small:7.2f}   bar 12.0"
          f"  {'ok' if large / small <= 12 else 'MISSED'}", flush=True)


def frozen_target(b, side):
    """Another monitor's query-jobs while the NBD target of a mirror is stopped: the slowest of many."""
    image, socket = b.path("frozen.raw"), b.path("peer.sock")
    with open(image, "wb") as out:
        out.truncate(b.size)
    peer = subprocess.Popen(["qemu-nbd", "-t", "-f", "raw", "-k", socket, image])
    try:
        while not os.path.exists(socket):
            time.sleep(0.01)
        with Daemon(side, b.dir, *node("s", "qcow2", b.qcow2)) as daemon:
            daemon.qmp.cmd("blockdev-add", driver="nbd", node_name="t", server={"type": "unix", "path": socket})
            daemon.qmp.cmd("blockdev-mirror", job_id="j", device="s", target="t", sync="full", speed=32 << 20)
            time.sleep(0.3)
            peer.send_signal(signal.SIGSTOP)
            worst = 0.0
            for i in range(100):
                start = time.perf_counter()
                daemon.qmp.cmd("query-jobs")
                worst = max(worst, time.perf_counter() - start)
                time.sleep(0.01)
            start = time.perf_counter()
            daemon.qmp.cmd("block-job-cancel", device="j", force=True)
            daemon.qmp.wait_job("j")
            cancel = time.perf_counter() - start
    finally:
        peer.send_signal(signal.SIGCONT)
        peer.kill()
        peer.wait()
    print(f"{'query-jobs, target frozen (max)':32} {'':>10} {worst * 1000:8.2f}ms {'':>7}   bar 50 ms"
          f"  {'ok' if worst < 0.05 else 'MISSED'}")
    print(f"{'cancel, target frozen':32} {'':>10} {cancel * 1000:8.2f}ms {'':>7}   bar 1000 ms"
          f"  {'ok' if cancel < 1 else 'MISSED'}", flush=True)


def idle_memory(b, side):
    with Daemon(side, b.dir, *node("s", "qcow2", b.qcow2)) as daemon:
        time.sleep(0.3)
        with open(f"/proc/{daemon.process.pid}/status") as status:
            rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    print(f"{'idle daemon, resident':32} {'':>10} {rss / 1024:7.1f}MiB {'':>7}   bar 12 MiB"
          f"  {'ok' if rss < 12 * 1024 else 'MISSED'}", flush=True)


OWN = {"backup_jobs_10000": linear, "frozen_target": frozen_target, "idle_memory": idle_memory}


def compare(b, name, bar, function, sides, runs):
    times = {side.name: [] for side in sides}
    for _ in range(runs):
        for side in sides:
            times[side.name].append(function(b, side))
    peer, emu = (statistics.median(times[side.name]) for side in sides)
    print(f"{name:32} {peer:9.3f}s {emu:9.3f}s {emu / peer:7.2f}   bar {bar:.2f}  "
          f"{'ok' if emu / peer <= bar else 'MISSED'}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the test disk")
    parser.add_argument("--peer-dir", help="folder of qemu-img and qemu-storage-daemon; default: PATH")
    parser.add_argument("--dir", default="/var/tmp", help="where the test disks go")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    args = parser.parse_args()
    find = (lambda tool: os.path.join(args.peer_dir, tool)) if args.peer_dir else shutil.which
    peer = Side("peer", find("qemu-img"), find("qemu-storage-daemon"))
    if not peer.img or not peer.daemon:
        print("SKIPPED: qemu-img and qemu-storage-daemon are not installed")
        return 0
    subprocess.run(["tools/dev", "build", "//emu/cmd/..."], check=True, stdout=subprocess.DEVNULL)
    emu = Side("emu", f"{BIN}/img/emu-img", f"{BIN}/daemon/emu-storage-daemon")
    folder = tempfile.mkdtemp(prefix="emu-bench.", dir=args.dir)
    try:
        b = Bench(folder, args.size << 20)
        print(f"{'case':32} {'peer':>10} {'emu':>10} {'ratio':>7}")
        for name, bar, needs, function in CASES:
            if args.cases and name not in args.cases:
                continue
            missing = [tool for tool in needs if not shutil.which(tool)]
            if missing:
                print(f"{name:32} SKIPPED: {', '.join(missing)} not installed")
                continue
            compare(b, name, bar, function, [peer, emu], args.runs)
        for name, function in OWN.items():
            if not args.cases or name in args.cases:
                function(b, emu)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
