# SPDX-License-Identifier: MIT
"""A real aqueduct under measurement: its start, its readiness, its CPU and memory from /proc, its counters, its end."""
import contextlib
import pathlib
import re
import subprocess
import time

import aqueduct
from aqueduct import free_port

TOKEN = "a-token-of-some-length-0123"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def http_source(port):
    return f"""
  hooks:
    type: http
    listen: 127.0.0.1:{port}
    paths: [{{path: /in, source: /bench, verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}]"""


def webhook_sink(url, in_flight, topic="bench"):
    return f"""
  crm:
    type: webhook
    topics: [{topic}]
    url: {url}
    secrets: [{SECRET}]
    window: {in_flight}
    concurrency: {in_flight}"""


def websocket_sink(port, **options):
    more = "".join(f"\n    {name}: {value}" for name, value in options.items())
    return f"""
  live:
    type: websocket
    listen: 127.0.0.1:{port}
    topics: [bench]
    max_listeners_per_ip: 100000{more}"""


def cpu_us(pid):
    """Of the threads that it has now."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1000


def rss_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


class Daemon(aqueduct.Daemon):
    """with Daemon(binary, folder, broker=..., sources=..., sinks=...) as d: it is ready, and gone afterwards."""

    def __init__(self, binary, folder, broker, sources="", sinks="", route="", partitions=4, topic="bench"):
        super().__init__(binary, folder)
        self.admin = free_port()
        text = f"broker: {broker}\n"
        text += f"sources:{sources}\nroutes: [{{topic: {topic}{route}}}]\n" if sources else ""
        text += f"sinks:{sinks}\n" if sinks else ""
        text += f"topics: {{{topic}: {{partitions: {partitions}}}}}\nadmin: {{listen: 127.0.0.1:{self.admin}}}\n"
        (self.folder / "bridge.yaml").write_text(text)

    def __enter__(self):
        self.started = time.monotonic()
        self.start()
        self.pid = self.process.pid
        if not self.ready(60, pause=0.0005):
            self.__exit__()
            raise RuntimeError(f"the daemon did not become ready:\n{self.log()[-1000:]}")
        self.ready_ms = (time.monotonic() - self.started) * 1000
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu_us(self):
        return cpu_us(self.pid)

    def rss_kb(self):
        return rss_kb(self.pid)

    def counter(self, name):
        """The sum of a counter over its labels."""
        return int(self.metric(f"aqueduct_{name}"))
