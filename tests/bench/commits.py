# SPDX-License-Identifier: MIT
"""Commits in an application's database, and when each of them reached a receiver, or only woke a watcher of the folder (the raw limit)."""
import ctypes
import json
import os
import pathlib
import select
import signal
import socket
import sqlite3
import struct
import time

SCHEMA = pathlib.Path(__file__).resolve().parent.parent / "data" / "anythingllm.sql"
IN_MODIFY, IN_CREATE, IN_DELETE = 0x2, 0x100, 0x200
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Child:
    """A forked process: `work(report)` runs there until it is stopped, and what it reports are pairs of an int and a time."""

    def __init__(self, work):
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            work(lambda number: os.write(writer, struct.pack("qq", number, time.monotonic_ns())))
            os._exit(0)
        os.close(writer)
        self.reader = reader

    def reports(self, wait):
        """All that is there, after at most `wait` seconds without any."""
        if not select.select([self.reader], [], [], wait)[0]:
            return []
        return list(struct.iter_unpack("qq", os.read(self.reader, 16 * 4096)))

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.reader)


def receiver():
    """A child that answers webhooks with 204 and reports the number at the end of each event's subject. Returns it and its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def work(report):
        poll = select.epoll()
        poll.register(listener, select.EPOLLIN)
        clients = {}
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    client, _ = listener.accept()
                    clients[client.fileno()] = [client, b""]
                    poll.register(client, select.EPOLLIN)
                    continue
                client = clients[fd]
                more = client[0].recv(65536)
                client[1] += more
                if not more:
                    poll.unregister(fd)
                    clients.pop(fd)[0].close()
                head, end, body = client[1].partition(b"\r\n\r\n")
                if not end or len(body) < int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
                    continue
                report(int(json.loads(body)["subject"].rsplit("/", 1)[1]))
                client[1] = b""
                client[0].sendall(ANSWER)

    child = Child(work)
    port = listener.getsockname()[1]
    listener.close()
    return child, port


def watcher(folder):
    """A child that reports each time something in the folder was written, made or removed."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(folder), IN_MODIFY | IN_CREATE | IN_DELETE) < 0:
        raise OSError(ctypes.get_errno(), f"cannot watch {folder}")

    def work(report):
        while os.read(fd, 65536):
            report(0)

    child = Child(work)
    os.close(fd)
    return child


def database(path, mode):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA journal_mode={mode}")
    db.executescript(SCHEMA.read_text())
    return db


def write(db, count, pause):
    """Commits one audit entry after another. Returns {row id: (begun, COMMIT called, returned)}, in ns."""
    times = {}
    for i in range(count):
        begun = time.monotonic_ns()
        db.execute("BEGIN IMMEDIATE")
        row = db.execute("INSERT INTO event_logs(event, metadata, userId, occurredAt) VALUES ('bench', ?, 1, ?)",
                         (json.dumps({"text": "x" * 900}), int(time.time() * 1000))).lastrowid
        called = time.monotonic_ns()
        db.execute("COMMIT")
        times[row] = (begun, called, time.monotonic_ns())
        time.sleep(pause * (0.5 + i % 11 / 10))        # not in step with any timer
    return times
