# SPDX-License-Identifier: MIT
"""Long work says on a terminal how far it is, and nothing elsewhere."""
import os
import pty
import re
import signal
import sqlite3
import struct
import subprocess
import time
import zlib

from conftest import HTTP_SOURCE, event, post_ok, webhook_sink


def on_a_terminal(bridge, *words):
    """What it says on stderr, which is a terminal. It is held up now and then, so that it takes its time on a fast machine as well."""
    main, other = pty.openpty()
    process = subprocess.Popen([bridge.program, *words, "-c", str(bridge.config)], cwd=bridge.folder, stdout=subprocess.DEVNULL, stderr=other)
    os.close(other)
    for _ in range(4):
        time.sleep(0.03)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.45)
        process.send_signal(signal.SIGCONT)
    seen = b""
    while True:
        try:
            seen += os.read(main, 4096)
        except OSError:
            break
    os.close(main)
    assert process.wait(60) == 0, seen
    return seen.decode()


def repeat_last_record(path, topic, times):
    """Copies the newest record of a topic's first partition in a log that nobody has open, each with the checksum of its own place."""
    def seal(blob, offset, stored):
        return blob[:-4] + struct.pack("<I", zlib.crc32(struct.pack("<qq", offset, stored), zlib.crc32(blob[:-4])))
    with sqlite3.connect(path) as log:
        log.create_function("seal", 3, seal, deterministic=True)
        [part] = log.execute("SELECT id FROM partition WHERE topic = ?", [topic]).fetchone()
        offset, stored, size, blob = log.execute(f"SELECT offset, stored, bytes, record FROM log_{part} ORDER BY offset DESC").fetchone()
        assert seal(blob, offset, stored) == blob
        log.execute(f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times})
                        INSERT INTO log_{part} SELECT ? + i, ?, ? + i * ?, seal(?, ? + i, ?) FROM n""", [offset, stored, size, len(blob), blob, offset, stored])
    log.close()


def test_the_search_for_an_event(local_bridge, receivers):
    receiver = receivers()
    daemon = local_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    ids = ["the-event-of-this-test", "one-of-many-others"]
    for one in ids:
        post_ok(daemon, event(one))
    receiver.delivered(ids)
    daemon.stop()
    topic = local_bridge.topic("events")
    repeat_last_record(local_bridge.folder / "data/aqueduct.db", topic, 120000)
    for words in (["explain", "--event", ids[0]], ["status", "--event", ids[0]]):
        assert re.search(rf"^{topic}: \d+ records read\r?$", on_a_terminal(local_bridge, *words), re.MULTILINE), words
        assert " records read" not in local_bridge.command(*words).stderr


def test_the_check_of_a_large_database(local_bridge):
    with sqlite3.connect(local_bridge.folder / "app.db") as db:
        db.executescript("""CREATE TABLE job(name, state); CREATE TABLE note(name, text);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) INSERT INTO job SELECT 'job ' || i, 'ok' FROM n;
            INSERT INTO note SELECT name, 'x' FROM job;""")
    db.close()
    local_bridge.configure("""
sources:
  app:
    type: sqlite
    path: $FOLDER/app.db
    capture:
      - {name: jobs, kind: diff, key: name, watch: [state], table: job, types: {insert: job.made, update: job.changed}}
      - {name: notes, kind: diff, key: name, watch: [text], table: note, types: {insert: note.made, update: note.changed}}
routes: [{topic: $EVENTS}]
sinks: {failed: {type: dead_letter, path: $FOLDER/dead.db}}
""")
    words = ["check", "--database", str(local_bridge.folder / "app.db")]
    assert re.search(r"^(a rule is tried: (jobs|notes)|the database is read: app)\r?$", on_a_terminal(local_bridge, *words), re.MULTILINE)
    done = local_bridge.command(*words)
    assert "is tried" not in done.stderr and "is read: app" not in done.stderr, done.stderr
