# SPDX-License-Identifier: MIT
"""A peer under measurement: what daemon.Daemon says of ours, said of any program and its children."""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time

from daemon import cpu_us, rss_kb


class Process:
    """with Process(words, folder, port) as p: it accepts connections; gone afterwards. `workers`: processes that it starts itself."""

    def __init__(self, words, folder, port, workers=0, **environment):
        self.words, self.folder, self.port = list(map(str, words)), pathlib.Path(folder), port
        self.workers, self.environment = workers, environment

    def __enter__(self):
        with open(self.folder / "peer.log", "ab") as log:
            self.started = time.monotonic()
            self.process = subprocess.Popen(self.words, cwd=self.folder, env=os.environ | self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        while not accepts(self.port):
            if self.process.poll() is not None or time.monotonic() > self.started + 60:
                self.__exit__()
                raise RuntimeError(f"{self.words[0]} did not start: {self.log()[-600:]}")
            time.sleep(0.0005)
        self.ready_ms = (time.monotonic() - self.started) * 1000
        return self

    @property
    def pid(self):
        """The process that works: of nginx its worker, which is not there at once."""
        end = time.monotonic() + 5
        while len(found := tree(self.process.pid)) <= self.workers and time.monotonic() < end:
            time.sleep(0.001)
        return found[-1]

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)         # its own session
            self.process.wait()

    kill = __exit__

    def log(self):
        return (self.folder / "peer.log").read_text(errors="replace")

    def cpu_us(self):
        return sum(cpu_us(pid) for pid in tree(self.process.pid))

    def rss_kb(self):
        return sum(rss_kb(pid) for pid in tree(self.process.pid))


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def tree(pid):
    """The process and its descendants."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def files(pid):
    """The program, the libraries and modules that it has loaded: {path: bytes}."""
    paths = {line.split(maxsplit=5)[5].strip() for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines() if len(line.split(maxsplit=5)) == 6}
    return {path: os.path.getsize(path) for path in paths if path.startswith("/") and not path.startswith(("/dev/", "/memfd:", "/SYSV")) and os.path.isfile(path)}
