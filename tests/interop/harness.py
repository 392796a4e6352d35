"""Checks against other programs: cases with a verdict each, daemons, and a QMP client.

A check is a function registered with @check; it passes when it returns, fails with an exception, and is skipped by
skip(). main() runs all and writes the verdicts to $XML_OUTPUT_FILE, from which tools/dev counts.
The peer's programs are looked for in the folders of EMU_PEERS, then in PATH.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree

OURS = {
    "emu-img": "emu/cmd/img/emu-img",
    "emu-io": "emu/cmd/io/emu-io",
    "emu-nbd": "emu/cmd/nbd/emu-nbd",
    "emu-storage-daemon": "emu/cmd/daemon/emu-storage-daemon",
    "emu-system-x86_64": "emu/cmd/system/emu-system-x86_64",
    "emuctl": "emu/cmd/ctl/emuctl",
}
TIMEOUT = 60
CHECKS = []
HOME = os.getcwd()


class Skip(Exception):
    pass


def skip(reason):
    raise Skip(reason)


def check(function):
    """Registers a check without parameters."""
    CHECKS.append((function.__name__, function, ()))
    return function


def check_each(*parameters):
    """Registers one check per parameter; a tuple is spread over the arguments."""

    def register(function):
        for values in parameters:
            values = values if isinstance(values, tuple) else (values,)
            CHECKS.append((f"{function.__name__}({', '.join(map(str, values))})", function, values))
        return function

    return register


def peer(name):
    """The path of a peer's program; skips the check when it is not there."""
    path = shutil.which(name, path=os.environ.get("EMU_PEERS", "") + os.pathsep + os.environ["PATH"])
    if path and name == "qemu-storage-daemon":
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        if " version 10." not in version:
            skip(f"{name} is not version 10, whose texts are recorded")
    return path or skip(f"{name} is not installed")


def ours(name):
    root = os.environ.get("TEST_SRCDIR")
    base = os.path.join(root, os.environ.get("TEST_WORKSPACE", "emu")) if root else os.path.join(HOME, "bazel-bin")
    return os.path.join(base, OURS[name])


def program(name):
    return ours(name) if name in OURS else peer(name)


def equal(actual, expected, what="value"):
    """Of two objects only the members that differ are shown."""
    if isinstance(actual, dict) and isinstance(expected, dict):
        for key in sorted({*actual, *expected}):
            equal(actual.get(key), expected.get(key), f"{what}, {key}")
    elif actual != expected:
        raise AssertionError(f"{what}\n  expected {expected!r}\n  got      {actual!r}")


def run(*command, expect=0):
    """Runs to the end. With expect=None any exit status will do. Returns the finished process."""
    argv = [program(command[0]), *map(str, command[1:])]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    if expect is not None and done.returncode != expect:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}, expected {expect}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def output(*command):
    return run(*command).stdout


def parsed(*command):
    return json.loads(output(*command))


class Refused(Exception):
    """A command that was answered with an error."""

    def __init__(self, error):
        super().__init__(error["desc"])
        self.error_class, self.desc = error["class"], error["desc"]


class QMP:
    """A blocking client: replies are returned, events collected in order."""

    def __init__(self, stream, capabilities=()):
        self.stream, self.buffer, self.events = stream, b"", []
        self.greeting = self.message()
        if capabilities is not None:
            self.run("qmp_capabilities", **({"enable": list(capabilities)} if capabilities else {}))

    @classmethod
    def connect(cls, path, **options):
        deadline = time.monotonic() + TIMEOUT
        while True:
            stream = socket.socket(socket.AF_UNIX)
            stream.settimeout(TIMEOUT)
            try:
                stream.connect(path)
                return cls(stream, **options)
            except (FileNotFoundError, ConnectionRefusedError):
                stream.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def message(self):
        while b"\n" not in self.buffer:
            data = self.stream.recv(65536)
            if not data:
                raise EOFError("the monitor closed the connection")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def send(self, text):
        self.stream.sendall(text.encode() + b"\n")

    def reply(self):
        while True:
            message = self.message()
            if "event" not in message:
                return message
            self.events.append(message)

    def ask(self, text):
        self.send(text)
        return self.reply()

    def run(self, command, arguments=None, **more):
        arguments = {**(arguments or {}), **{key.replace("_", "-"): value for key, value in more.items()}}
        answer = self.ask(json.dumps({"execute": command, "arguments": arguments}))
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["return"]

    def refused(self, command, *arguments, **more):
        """The class and the text of the error that the command must give."""
        try:
            result = self.run(command, *arguments, **more)
        except Refused as refused:
            return refused.error_class, refused.desc
        raise AssertionError(f"{command} was not refused but returned {result}")

    def wait(self, name, **data):
        """Waits for an event whose data has these members; all events stay in self.events."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                if event["event"] == name and data.items() <= event.get("data", {}).items():
                    return event
            seen = len(self.events)
            message = self.message()
            if "event" not in message:
                raise AssertionError(f"an answer that nobody asked for: {message}")
            self.events.append(message)

    def rest(self):
        """Reads events until the monitor closes the connection."""
        try:
            while True:
                self.events.append(self.message())
        except (EOFError, ConnectionResetError):
            pass


class Daemon:
    """A storage daemon, ours unless named otherwise, with one monitor."""

    def __init__(self, *options, name="emu-storage-daemon", capabilities=(), monitor=True):
        self.folder = tempfile.mkdtemp(prefix="d", dir=os.getcwd())
        self.path = os.path.relpath(os.path.join(self.folder, "qmp"))
        first = ["--chardev", f"socket,id=qmp,path={self.path},server=on,wait=off", "--monitor", "chardev=qmp"]
        self.log = open(os.path.join(self.folder, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen([program(name), *(first if monitor else ()), *map(str, options)],
                                        stderr=self.log, stdin=subprocess.DEVNULL)
        self.qmp = None
        try:
            if monitor:
                self.qmp = self.connect(capabilities=capabilities)
        except BaseException:
            self.stop()
            raise

    def connect(self, **options):
        return QMP.connect(self.path, **options)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def run_check(function, values, case):
    """Runs one check in an empty folder; fills in its verdict and returns whether it did not fail."""
    folder = tempfile.mkdtemp(dir="/tmp")  # Short: names of sockets have 107 bytes.
    started = time.monotonic()
    os.chdir(folder)
    try:
        function(*values)
    except Skip as reason:
        ElementTree.SubElement(case, "skipped", message=str(reason))
    except Exception as error:  # A check may fail in any way.
        ElementTree.SubElement(case, "failure", message=str(error).split("\n", 1)[0]).text = traceback.format_exc()
        print(f"FAILED {case.get('name')}\n{traceback.format_exc()}", flush=True)
        return False
    finally:
        os.chdir(HOME)
        shutil.rmtree(folder, ignore_errors=True)
        case.set("time", f"{time.monotonic() - started:.3f}")
    return True


def main():
    """Runs the checks whose names contain an argument, or all."""
    suite = ElementTree.Element("testsuite", name=os.path.basename(sys.argv[0]))
    wanted = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    good = True
    os.environ.setdefault("LC_ALL", "C")
    for name, function, values in CHECKS:
        if not wanted or any(word in name for word in wanted):
            good &= run_check(function, values, ElementTree.SubElement(suite, "testcase", name=name))
    print(f"{len(suite)} checks, {len(suite.findall('*/failure'))} failed, {len(suite.findall('*/skipped'))} skipped")
    if "XML_OUTPUT_FILE" in os.environ:
        ElementTree.ElementTree(suite).write(os.environ["XML_OUTPUT_FILE"])
    sys.exit(0 if good else 1)
