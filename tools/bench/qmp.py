"""A small blocking QMP client for measurements."""

import json
import socket
import time


class QMPError(Exception):
    pass


class QMP:
    def __init__(self, path, timeout=30.0):
        deadline = time.time() + timeout
        while True:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self.sock.connect(path)
                break
            except OSError:
                self.sock.close()
                if time.time() > deadline:
                    raise
                time.sleep(0.01)
        self.sock.settimeout(600)
        self.buffer = b""
        self.events = []
        self.message()
        self.cmd("qmp_capabilities")

    def message(self):
        while b"\n" not in self.buffer:
            chunk = self.sock.recv(1 << 16)
            if not chunk:
                raise QMPError("connection closed")
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def raw(self, request):
        self.sock.sendall(request)
        while True:
            reply = self.message()
            if "event" in reply:
                self.events.append(reply)
            else:
                return reply

    def cmd(self, name, **args):
        request = {"execute": name}
        if args:
            request["arguments"] = {k.replace("_", "-"): v for k, v in args.items()}
        reply = self.raw(json.dumps(request).encode() + b"\n")
        if "error" in reply:
            raise QMPError(reply["error"]["desc"])
        return reply["return"]

    def next_event(self):
        while not self.events:
            message = self.message()
            if "event" in message:
                self.events.append(message)
        return self.events.pop(0)

    def wait_job(self, job, complete=False):
        """Follows a job to 'concluded' or 'null' by its events; returns its error text or None."""
        error = None
        while True:
            event = self.next_event()
            data = event.get("data", {})
            if event["event"] == "BLOCK_JOB_COMPLETED" and data.get("device") == job:
                error = data.get("error")
            if event["event"] != "JOB_STATUS_CHANGE" or data.get("id") != job:
                continue
            if data["status"] == "ready" and complete:
                self.cmd("job-complete", id=job)
            if data["status"] in ("concluded", "null"):
                return error
