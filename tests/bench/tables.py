# SPDX-License-Identifier: MIT
"""The SQLite source at size: many rows, many databases, a writer that never pauses."""
import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import time

import commits
from daemon import Daemon


def source(rule, start="now", name="app", path="app.db"):
    return f"\n  {name}: {{type: sqlite, path: {path}, start: {start}, capture: [{{{rule}}}]}}"


LOG = "name: log, kind: append, table: log, types: {insert: log.line}"
USERS = "name: users, kind: diff, table: users, watch: [role], types: {insert: user.made, update: user.changed, delete: user.gone}"


def database(folder, mode, rows):
    db = sqlite3.connect(folder / "app.db", isolation_level=None)
    db.execute(f"PRAGMA journal_mode={mode}")
    db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT, role TEXT, at INTEGER)")
    db.execute("CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", ((i, f"user number {i}", f"role {i % 5} {'x' * 40}", 1700000000000 + i) for i in range(1, rows + 1)))
    db.execute("COMMIT")
    return db


def wait_for(what, seconds=120):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise RuntimeError("what was waited for did not come")
        time.sleep(0.001)


def calm(d):
    """Until the daemon has used next to no CPU for a while."""
    last = -1e9
    while d.cpu_us() - last > 20_000:
        last = d.cpu_us()
        time.sleep(0.4)


def watching(d, times=1):
    wait_for(lambda: d.log().count("msg=watching") >= times)
    calm(d)


def snapshot(b):
    """All rows of a table that only grows, into the local broker."""
    folder, rows = b.room(), 50_000 if b.brief else 400_000
    db = sqlite3.connect(folder / "app.db", isolation_level=None)
    db.execute("CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO log(text) VALUES (?)", ((f"line number {i} of a log",) for i in range(rows)))
    db.execute("COMMIT")
    began = time.monotonic()
    count = sum(1 for _ in db.execute("SELECT * FROM log ORDER BY id"))
    raw = {"rate": count / (time.monotonic() - began)}
    with Daemon(b.binary, folder, b.broker("local", folder), source(LOG, "snapshot")) as d:
        wait_for(lambda: d.counter("source_stored_total") >= rows)
        seconds = time.monotonic() - d.started
        b.note("snapshot", f"{rows} rows of a table that only grows, snapshot into the local broker, from the start of the process", "100,000/s",
               {"reading them in Python": raw}, rate=rows / seconds, cpu_us=d.cpu_us() / rows, rss_mb=round(d.rss_kb() / 1024, 1), seconds=seconds)
    db.close()


def exactly_once(b):
    """The same into Kafka, as transactions and otherwise."""
    rows, raw = 30_000 if b.brief else 300_000, {}
    folder = b.room()
    database(folder, "WAL", 1).close()
    with contextlib.closing(sqlite3.connect(folder / "app.db", isolation_level=None)) as db:
        db.execute("BEGIN")
        db.executemany("INSERT INTO log(text) VALUES (?)", ((f"line {i} " + "x" * 900,) for i in range(rows)))
        db.execute("COMMIT")
    def told(delivery):
        other = folder / delivery
        other.mkdir()
        more = f"\n  {delivery}: {{type: sqlite, path: ../app.db, start: snapshot, hold: 20ms, delivery: {delivery}, capture: [{{{LOG}}}]}}"
        with Daemon(b.binary, other, b.broker("kafka", other), more) as d:
            wait_for(lambda: d.counter("source_stored_total") >= rows)
            seconds = time.monotonic() - d.started
            return {"rate": rows / seconds, "cpu_us": d.cpu_us() / rows}, {"rss_mb": round(d.rss_kb() / 1024, 1), "seconds": seconds}
    for what, kind in (("librdkafka's transactions alone, 1,000 in each", "raw"), ("with headers and state, without SQLite", "claimed")):
        f = b.tool("transactions", kind, 1000, b.seconds, 1024, AQUEDUCT_TEST_KAFKA=b.kafka_servers())
        raw[what] = {"rate": f["rate"], "cpu_us": f["cpu_us"]}
    raw["the same source, at_least_once"], _ = told("at_least_once")
    figures, more = told("exactly_once")
    b.note("exactly_once", f"{rows} rows of 900 bytes, snapshot into Kafka with delivery: exactly_once, from the start of the process", "51,000/s", raw, **figures, **more)


def idle(b):
    """Databases in which nothing happens any more."""
    folder, count = b.room(), 20
    sources = ""
    for i in range(count):
        (folder / str(i)).mkdir()
        database(folder / str(i), "WAL" if i % 2 else "DELETE", 1000).close()
        sources += source(USERS, name=f"app{i}", path=f"{i}/app.db")
    with Daemon(b.binary, folder, b.broker("local", folder), sources) as d:
        watching(d, count)
        time.sleep(3)
        for i in range(count):
            with contextlib.closing(sqlite3.connect(folder / str(i) / "app.db")) as db:
                db.execute("UPDATE users SET role = 'last'")
                db.commit()
        time.sleep(3)
        cpu, began = d.cpu_us(), time.monotonic()
        time.sleep(b.seconds * 2)
        share = (d.cpu_us() - cpu) / 1e4 / (time.monotonic() - began)
        b.note("idle", f"{count} databases, a diff of 1,000 rows each, nothing happens", "0.2 % of a core", percent=share, rss_mb=round(d.rss_kb() / 1024, 1))


WRITER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
db.execute("PRAGMA synchronous=" + sys.argv[3])
count, busy, began = int(sys.argv[2]), 0, time.monotonic()
for i in range(count):
    first = True
    while True:
        try:
            db.execute("INSERT INTO log(text) VALUES ('one more line')")
            break
        except sqlite3.OperationalError:
            busy, first = busy + first, False
            time.sleep(0.0002)
print(count / (time.monotonic() - began), busy)
"""


def write(folder, count, sync):
    done = subprocess.run([sys.executable, "-c", WRITER, str(folder / "app.db"), str(count), sync], stdout=subprocess.PIPE, text=True, check=True)
    rate, busy = done.stdout.split()
    return {"rate": float(rate), "busy": int(busy)}


def writer(b):
    """A writer without a busy timeout that commits as fast as it can, alone and with the source beside it."""
    for mode in ("DELETE", "WAL"):
        folder, count = b.room(), 300 if b.brief else 3000
        database(folder, mode, 1000).close()
        keep = sqlite3.connect(folder / "app.db")       # so that the writer's last close does not end the WAL
        keep.execute("SELECT count(*) FROM users").fetchall()
        alone = write(folder, count, "FULL")
        with Daemon(b.binary, folder, b.broker("local", folder), source(LOG) + source(USERS, name="users")) as d:
            watching(d, 2)
            beside = write(folder, count, "FULL")
            b.note("writer", f"{count} commits without a pause or a busy timeout ({mode.lower()} journal), two sources beside them; busy: commits that met a lock", "2 % slower",
                   {"alone": alone}, **beside)
        keep.close()


def diff(b):
    """A table of many rows of which one changes now and then, and commits that do not concern it."""
    for mode in ("WAL", "DELETE"):
        folder, rows = b.room(), 100_000 if b.brief else 1_000_000
        db = database(folder, mode, rows)
        with Daemon(b.binary, folder, b.broker("local", folder), source(USERS)) as d:
            wait_for(lambda: "msg=watching" in d.log())
            first = time.monotonic() - d.started
        with Daemon(b.binary, folder, b.broker("local", folder), source(USERS)) as d:
            watching(d, 2)
            db.execute("INSERT INTO log(text) VALUES ('x')")
            calm(d)
            rss, disk = d.rss_kb() / 1024, sum(f.stat().st_size for f in (folder / "data").iterdir())
            cpu, count = d.cpu_us(), 40 if b.brief else 400        # more than a WAL holds until it begins anew
            for _ in range(count):
                db.execute("INSERT INTO log(text) VALUES ('x')")
                time.sleep(0.05)
            calm(d)
            elsewhere = (d.cpu_us() - cpu) / count
            took, cpu = [], d.cpu_us()
            for i in range(9):
                stored, began = d.counter("source_stored_total"), time.monotonic()
                db.execute("UPDATE users SET role = ? WHERE id = ?", (f"new {i}", i * 997 + 5))
                wait_for(lambda: d.counter("source_stored_total") > stored)
                took.append((time.monotonic() - began) * 1000)
                calm(d)
            each = (d.cpu_us() - cpu) / len(took)
            b.note("diff", f"a diff of {rows} rows ({mode.lower()} journal): its first look and its restart; 20 commits/s to another table; until the change of one row is stored", "elsewhere 1 ms, a row 100 ms, 64 bytes a row",
                   first_s=first, ready_ms=d.ready_ms, elsewhere_us=elsewhere, p50_ms=sorted(took)[len(took) // 2], cpu_us=each, rss_mb=round(rss, 1), disk_bytes=disk / rows)
        db.close()
