# SPDX-License-Identifier: MIT
"""The real program as tests run it: its start and its end, what it logs, its pages; and what they all need beside it.

    daemon = Daemon(binary, folder)             # with folder/bridge.yaml and folder/daemon.log
    daemon.start(AQUEDUCT_CRASH_AT="...")       # switches are for this start only
    daemon.ready(10)

End-to-end tests, the ledger, the benchmarks and the guides' test each make a Daemon of their own of this one."""
import contextlib
import fcntl
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPLAINT = re.compile(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|FATAL: ThreadSanitizer|runtime error:|CHECK failed).*")


HANDED_OUT = set()      # the ports this process was given: one that is not yet listened on must not be given twice
LOCKED = open(pathlib.Path(tempfile.gettempdir()) / f"aqueduct-test-ports-{os.getuid()}", "wb")     # of all processes: byte N stands for port N


def free_port():
    """A port that nobody listens on, that was not handed out before (by any process of tests that still runs) and that the kernel does not give
    to clients, so it is still free after a restart."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(200):
        port = random.randint(10000, max(low - 1, 10999))
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            if port not in HANDED_OUT:
                fcntl.lockf(LOCKED, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                HANDED_OUT.add(port)
                return port
    raise RuntimeError("no free port found")


def wait_for(what, seconds, why="", pause=0.01):
    """The first true answer of what(); an error after `seconds`, with what `why` (a text or a function) says."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError("it did not happen in time: " + str(why() if callable(why) else why))


def unpacked(program):
    """The path of a program of a package that is unpacked and not installed (.ci/packages); or the machine's own."""
    there = ROOT / "build/unpacked/usr"
    path = shutil.which(program, path=f"{there}/sbin:{there}/bin:/usr/sbin:/usr/bin")
    assert path, f"there is no {program}: .ci/install test package"
    return path


def environment(**switches):
    """Ours without switches for the daemon, and these."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AQUEDUCT_")}
    # A second signal leaves without joining anybody, as it should.
    return ours | {"TSAN_OPTIONS": "report_thread_leaks=0"} | switches


def complaints(log):
    """What a sanitizer or a failed check wrote."""
    return [found.group(0) for found in COMPLAINT.finditer(log)]


class Daemon:
    admin = None        # the port of its pages

    def __init__(self, binary, folder, config="bridge.yaml", log="daemon.log"):
        self.binary, self.folder, self.config = str(binary), pathlib.Path(folder), str(config)
        self.log_file = self.folder / log
        self.process = None

    # ---- start and end ----

    def start(self, **switches):
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([self.binary, "run", "-c", self.config], cwd=self.folder, env=environment(**switches),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ended(self, wait=0.0):
        """The exit code, negative for a signal; None while it runs."""
        try:
            return self.process.wait(wait) if wait else self.process.poll()
        except subprocess.TimeoutExpired:
            return None

    def alive(self):
        return self.process is not None and self.ended() is None

    def signal(self, number):
        if self.alive():
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.process.wait()

    def log(self):
        return self.log_file.read_text(errors="replace")

    # ---- pages ----

    def get(self, path):
        """The text of one of its pages; OSError when it does not answer, or not with 200."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as answer:
            return answer.read().decode()

    def is_ready(self):
        try:
            with socket.create_connection(("127.0.0.1", self.admin), timeout=3) as s:
                s.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return s.recv(100).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def ready(self, wait, pause=0.02):
        """Ready within `wait` seconds? False at once when it ended."""
        end = time.monotonic() + wait
        while time.monotonic() < end and self.alive():
            if self.is_ready():
                return True
            time.sleep(pause)
        return False

    def metrics(self):
        """{(name, ((label, value), ...)): number}"""
        found = {}
        for line in self.get("/metrics").splitlines():
            if line and not line.startswith("#"):
                name, labels, value = re.fullmatch(r'([a-z_]+)(?:\{(.*)\})? (\S+)', line).groups()
                found[name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels or "")))] = float(value)
        return found

    def metric(self, name, **labels):
        """The sum of all of that name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (one, have), value in self.metrics().items() if one == name and wanted <= set(have))
