# SPDX-License-Identifier: MIT
"""A real aqueduct under measurement: its start, its readiness, its CPU and memory from /proc, its counters, its end."""
import contextlib
import os
import pathlib
import re
import socket
import subprocess
import time
import urllib.request

TOKEN = "a-token-of-some-length-0123"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def http_source(port):
    return f"""
  hooks:
    type: http
    listen: 127.0.0.1:{port}
    paths: [{{path: /in, verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}]"""


def webhook_sink(url, in_flight):
    return f"""
  crm:
    type: webhook
    topics: [bench]
    url: {url}
    secrets: [{SECRET}]
    window: {in_flight}
    concurrency: {in_flight}"""


def websocket_sink(port):
    return f"""
  live:
    type: websocket
    listen: 127.0.0.1:{port}
    topics: [bench]
    max_listeners_per_ip: 100000"""


class Daemon:
    """with Daemon(binary, folder, broker=..., sources=..., sinks=...) as d: it is ready, and gone afterwards."""

    def __init__(self, binary, folder, broker, sources="", sinks=""):
        self.binary, self.folder, self.admin = str(binary), pathlib.Path(folder), free_port()
        text = f"broker: {broker}\n"
        text += f"sources:{sources}\nroutes: [{{topic: bench}}]\n" if sources else ""
        text += f"sinks:{sinks}\n" if sinks else ""
        text += f"topics: {{bench: {{partitions: 4}}}}\nadmin: {{listen: 127.0.0.1:{self.admin}}}\n"
        (self.folder / "bridge.yaml").write_text(text)

    def __enter__(self):
        with open(self.folder / "daemon.log", "ab") as log:
            self.started = time.monotonic()
            self.process = subprocess.Popen([self.binary, "run", "-c", "bridge.yaml"], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={k: v for k, v in os.environ.items() if not k.startswith("AQUEDUCT_")})
        self.pid = self.process.pid
        try:
            self._await_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _await_ready(self):
        while time.monotonic() < self.started + 60:
            if self.process.poll() is not None:
                break
            if self._is_ready():
                self.ready_ms = (time.monotonic() - self.started) * 1000
                return
            time.sleep(0.0005)
        raise RuntimeError(f"the daemon did not become ready:\n{(self.folder / 'daemon.log').read_text()[-1000:]}")

    def _is_ready(self):
        try:
            with contextlib.closing(socket.create_connection(("127.0.0.1", self.admin), timeout=2)) as s:
                s.sendall(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                return s.recv(100).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def cpu_us(self):
        total = 0
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1000

    def rss_kb(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text()).group(1))

    def counter(self, name):
        """The sum of a counter over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(int(value) for value in re.findall(rf"^aqueduct_{name}(?:{{[^}}]*}})? (\d+)", text, re.M))
